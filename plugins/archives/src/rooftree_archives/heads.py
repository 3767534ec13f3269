"""What an archive says of itself, as the domains know it, and as the worker reads and writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import evolve

from rooftree.interfaces.backups import BackupHead, BackupPart, PartId, PartKind, StoredPart

CORE = PartId(kind=PartKind.CORE, slug=PartKind.CORE)
SUPERVISOR = PartId(kind=PartKind.SUPERVISOR, slug=PartKind.SUPERVISOR)


def key_of(part: PartId) -> str:
    """The name of a part's inner archive, less the suffix."""
    return part.slug.replace("/", "_") if part.kind is PartKind.FOLDER else part.slug


def head_of(values: Mapping[str, Any], stored: Mapping[str, int]) -> BackupHead:
    """What the worker read.

    :param stored: the inner archives that are there, by key
    """
    core = values["core"]
    return BackupHead(
        slug=values["slug"],
        name=values["name"],
        date=datetime.fromisoformat(values["date"]),
        type=values["type"],
        supervisor_version=values["supervisor_version"],
        protected=values["protected"],
        compressed=values["compressed"],
        core_version=core and core["version"],
        exclude_database=bool(core and core["exclude_database"]),
        folders=tuple(values["folders"]),
        addons=tuple(
            BackupPart(
                id=PartId(kind=PartKind.ADDON, slug=addon["slug"]),
                name=addon["name"],
                version=addon["version"],
                size_bytes=values["sizes"].get(addon["slug"], addon["size"]),
            )
            for addon in values["addons"]
        ),
        repositories=tuple(values["repositories"]),
        has_supervisor=key_of(SUPERVISOR) in stored,
        core_size_bytes=values["sizes"].get(key_of(CORE), core["size"]) if core else 0,
        extra=values["extra"],
    )


def parts_of(head: BackupHead) -> Iterator[BackupPart]:
    """All that a head lists."""
    if head.core_version is not None:
        yield BackupPart(id=CORE, name="Home Assistant", version=head.core_version, size_bytes=head.core_size_bytes)
    yield from head.addons
    for folder in head.folders:
        yield BackupPart(id=PartId(kind=PartKind.FOLDER, slug=folder), name=folder)
    if head.has_supervisor:
        yield BackupPart(id=SUPERVISOR, name="Supervisor")


def stored_parts(head: BackupHead, values: Mapping[str, Any], stored: Mapping[str, int]) -> Iterator[StoredPart]:
    """Those that a head lists and that are there."""
    for part in parts_of(head):
        key = key_of(part.id)
        if key in stored:
            size = values["sizes"].get(key, part.size_bytes)
            yield StoredPart(
                part=evolve(part, size_bytes=size), stored_bytes=stored[key], digest=values["digests"].get(key)
            )


def values_of(head: BackupHead, parts: Sequence[StoredPart]) -> dict[str, Any]:
    """What the worker writes for a head, with what was noted of its parts."""
    sizes = {key_of(part.part.id): part.part.size_bytes for part in parts}
    core = {"version": head.core_version, "exclude_database": head.exclude_database, "size": sizes.get(key_of(CORE), 0)}
    return {
        "slug": head.slug,
        "name": head.name,
        "date": head.date.isoformat(),
        "type": head.type,
        "supervisor_version": head.supervisor_version,
        "protected": head.protected,
        "compressed": head.compressed,
        "core": None if head.core_version is None else core,
        "folders": list(head.folders),
        "addons": [
            {
                "slug": addon.id.slug,
                "name": addon.name,
                "version": addon.version,
                "size": sizes.get(addon.id.slug, addon.size_bytes),
            }
            for addon in head.addons
        ],
        "repositories": list(head.repositories),
        "extra": dict(head.extra),
        "digests": {key_of(part.part.id): part.digest for part in parts},
        "sizes": sizes,
    }

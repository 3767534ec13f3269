"""Which parts of a backup come back, and whether that may be tried at all: looked at before anything is read whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from attrs import frozen

from rooftree import Invalid, NotFound
from rooftree.interfaces.backups import BackupHead, PartId, PartKind, StoredPart
from rooftree_backups.catalogue import Backup, Copy


class BackupTooNew(Invalid):
    """A newer version made the backup. ``extra_fields``: ``backup_version``, ``supervisor_version``."""

    error_key = "backup_supervisor_version_error"


@frozen(kw_only=True)
class RestoreRequest:
    """What is to come back."""

    full: bool
    core: bool = False
    addons: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    settings: bool = True
    """Whether mounts, and logins at registries, come back with it."""


def copy_to_read(backup: Backup, location: str | None) -> Copy:
    """Where it is read from. Raises ``NotFound`` where it is not in the place that is named."""
    copy = backup.primary if location is None else backup.at(location)
    if copy is None:
        raise NotFound(f"The backup {backup.head.slug} is not in {location}")
    return copy


def refuse_newer(head: BackupHead, own_version: str) -> None:
    """Raise :class:`BackupTooNew` for a backup that a newer version has made."""
    if own_version and _numbers(head.supervisor_version) > _numbers(own_version):
        raise BackupTooNew(
            f"The backup was made by version {head.supervisor_version}, and this is {own_version}, which may not know "
            "all that is in it: update first, then restore it",
            backup_version=head.supervisor_version,
            supervisor_version=own_version,
        )


def _numbers(version: str) -> tuple[int, ...]:
    """A calendar version as numbers that compare; what comes after them says little."""
    digits = ["".join(takewhile(str.isdecimal, part)) for part in version.split(".")[:3]]
    return tuple(int(number) for number in takewhile(bool, digits))


def selected(head: BackupHead, stored: Sequence[StoredPart], request: RestoreRequest) -> list[StoredPart]:
    """The parts that come back, in no order. Raises ``Invalid`` for what is not in the backup, and for all of one that
    is not of all."""
    if request.full:
        if head.type != "full":
            raise Invalid(f"The backup {head.slug} is a partial one; name what of it is to be restored")
        return [part for part in stored if request.settings or part.part.id.kind is not PartKind.SUPERVISOR]
    wanted = {
        *(PartId(kind=PartKind.ADDON, slug=slug) for slug in request.addons),
        *(PartId(kind=PartKind.FOLDER, slug=slug) for slug in request.folders),
        *(part.part.id for part in stored if part.part.id.kind is PartKind.CORE and request.core),
        *(part.part.id for part in stored if part.part.id.kind is PartKind.SUPERVISOR and request.settings),
    }
    there = {part.part.id: part for part in stored}
    if request.core and not any(part.kind is PartKind.CORE for part in there):
        raise Invalid(f"homeassistant: the backup {head.slug} has no Home Assistant Core in it")
    missing = sorted(part.slug for part in wanted - there.keys())
    if missing:
        raise Invalid(f"The backup {head.slug} does not have {', '.join(missing)} in it")
    return [there[part] for part in wanted]

"""Archives that are plain tar files, for what is not about the format."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rooftree import Secret
from rooftree.interfaces.backups import (
    BackupDamaged,
    BackupHead,
    BackupPart,
    BackupWriter,
    PartContents,
    PartId,
    PartKind,
    Progress,
    StoredPart,
)


def head_of(raw: dict[str, Any]) -> BackupHead:
    return BackupHead(
        slug=raw["slug"], name=raw["name"], date=datetime.fromisoformat(raw["date"]), type=raw["type"],
        supervisor_version=raw["supervisor_version"], protected=raw["protected"], compressed=raw["compressed"],
        core_version=(raw["homeassistant"] or {}).get("version"), folders=tuple(raw["folders"]),
        addons=tuple(
            BackupPart(id=PartId(kind=PartKind.ADDON, slug=a["slug"]), name=a["name"], version=a["version"])
            for a in raw["addons"]
        ),
        repositories=tuple(raw["repositories"]), extra=raw["extra"],
    )  # fmt: skip


def raw_of(head: BackupHead) -> dict[str, Any]:
    return {
        "slug": head.slug, "name": head.name, "date": head.date.isoformat(), "type": head.type, "version": 2,
        "supervisor_version": head.supervisor_version, "protected": head.protected, "compressed": head.compressed,
        "homeassistant": {"version": head.core_version} if head.core_version else None,
        "folders": list(head.folders), "repositories": list(head.repositories), "extra": dict(head.extra),
        "addons": [{"slug": a.id.slug, "name": a.name, "version": a.version, "size": 0} for a in head.addons],
    }  # fmt: skip


class PlainWriter:
    def __init__(self, archives: PlainArchives, folder: Path, filename: str) -> None:
        self.archives, self.folder, self.filename = archives, folder, filename
        self.parts: dict[str, PartContents] = {}

    async def add(self, part: BackupPart, contents: PartContents, progress: Progress) -> StoredPart:
        await self.archives.reach(f"add {part.id.slug}")
        progress(1, 2)
        self.parts[part.id.slug] = contents
        return StoredPart(part=part, stored_bytes=1, digest=None)

    async def publish(self, head: BackupHead, progress: Progress) -> None:
        await self.archives.reach("publish")
        await asyncio.to_thread(write_archive, self.folder / self.filename, raw_of(head))


class PlainArchives:
    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.reached: list[str] = []
        self.reads = 0
        self.left: list[str] = []

    async def reach(self, place: str) -> None:
        self.reached.append(place)
        if place in self.gates:
            await self.gates[place].wait()
        if place in self.errors:
            raise self.errors[place]

    async def has_reached(self, place: str) -> None:
        async with asyncio.timeout(10):
            while place not in self.reached:
                await asyncio.sleep(0.005)

    async def heads(self, folder: Path, filenames: Sequence[str]) -> Sequence[BackupHead | BackupDamaged]:
        self.reads += len(filenames)
        return [await asyncio.to_thread(self._head, folder / name) for name in filenames]

    def _head(self, path: Path) -> BackupHead | BackupDamaged:
        try:
            with tarfile.open(path) as tar:
                return head_of(json.loads(tar.extractfile("./backup.json").read()))  # type: ignore[union-attr]
        except Exception as error:
            return BackupDamaged(f"not a backup: {error}")

    @asynccontextmanager
    async def writer(
        self, folder: Path, filename: str, *, password: Secret | None, core_version: str | None, compressed: bool
    ) -> AsyncIterator[BackupWriter]:
        try:
            yield PlainWriter(self, folder, filename)
        finally:
            self.left.append(filename)

    def reader(self, folder: Path, filename: str, password: Secret | None) -> Any:
        raise NotImplementedError


def write_archive(path: Path, raw: dict[str, Any]) -> None:
    data = json.dumps(raw).encode()
    with tarfile.open(path, "w") as tar:
        entry = tarfile.TarInfo("./backup.json")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))


def raw_backup(slug: str, **changes: Any) -> dict[str, Any]:
    return {
        "slug": slug, "name": f"Backup {slug}", "date": "2026-11-01T10:00:00+00:00", "type": "partial", "version": 2,
        "supervisor_version": "2026.08.2", "protected": False, "compressed": True, "homeassistant": None,
        "folders": ["ssl"], "repositories": [], "extra": {}, "addons": [],
    } | changes  # fmt: skip

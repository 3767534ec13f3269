"""A system with a vault, and a part to be kept in it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from attrs import frozen

from rooftree.interfaces.backups import BackupHead, BackupPart, PartContents, PartId, PartKind, PartTree
from rooftree.interfaces.containers import DataPath
from rooftree.process import System
from rooftree.testing import Client, Failing, running_system
from rooftree_backups_vault.plugin import BackupsVaultPlugin
from rooftree_backups_vault.proofs import PROOFS, Proofs
from rooftree_backups_vault.stored_backups import STORED_BACKUPS, StoredBackups
from rooftree_backups_vault.vault_location import VAULT_LOCATIONS, VaultLocation
from rooftree_backups_vault.vaults import VAULTS, Vaults
from tests.requirements import needs

needs_restic = needs(shutil.which("restic") is not None, "restic is not installed (package restic)")
DRIVER = EntryPoint("restic", "rooftree_backups_vault.restic:Restic", "rooftree.vaults")
KEY = "a-key-of-the-tests"
LAMP = PartId(kind=PartKind.ADDON, slug="local_lamp")
SHARE = PartId(kind=PartKind.FOLDER, slug="share")


def quiet(_: int, __: int) -> None:
    """Progress that nobody looks at."""


@frozen
class Starts:
    """A restic in front of the real one, which writes down how it is started and can be told to fail at once."""

    folder: Path

    def commands(self) -> Sequence[str]:
        """The commands so far, ``head`` for that which waits for a content."""
        lines = (self.folder / "starts").read_text().splitlines() if (self.folder / "starts").exists() else []
        return ["head" if "--stdin" in line.split() else line.split()[0] for line in lines]

    def fail(self, *, fails: bool) -> None:
        """Whether each start fails from now on."""
        (self.folder / "fails").unlink(missing_ok=True)
        if fails:
            (self.folder / "fails").touch()

    def arguments(self) -> str:
        """All that it was ever told where everybody sees it."""
        return (self.folder / "starts").read_text()

    async def failed(self) -> None:
        """Once one has failed."""
        while not (self.folder / "failed").exists():
            await asyncio.sleep(0)


@frozen
class VaultHouse:
    """A system with a vault called ``cellar`` on its disk."""

    system: System
    client: Client

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.system.data.path

    @property
    def vaults(self) -> Vaults:
        return self.system.services.get(VAULTS)

    @property
    def backups(self) -> StoredBackups:
        return self.system.services.get(STORED_BACKUPS)

    @property
    def proofs(self) -> Proofs:
        return self.system.services.get(PROOFS)

    @property
    def cellar(self) -> VaultLocation:
        return self.system.services.get(VAULT_LOCATIONS).get("cellar")

    async def back_up(self, slug: str = "0badcafe", **parts: PartContents) -> BackupHead:
        """Make a backup of the lamp, or of what is given."""
        return await store(self.cellar, slug, **parts)


async def store(location: VaultLocation, slug: str, **parts: PartContents) -> BackupHead:
    """Make a backup of the lamp, or of what is given, in a vault."""
    contents = parts or {"local_lamp": lamp_contents()}
    head = head_of(slug)
    async with location.writer(slug, None) as writer:
        for name, content in contents.items():
            kind = PartKind.FOLDER if name == "share" else PartKind.ADDON
            part = BackupPart(id=PartId(kind=kind, slug=name), name=name, version="1.0")
            await writer.add(part, content, quiet)
        await writer.publish(head, quiet)
    return head


def head_of(slug: str) -> BackupHead:
    """What a backup says of itself."""
    return BackupHead(
        slug=slug,
        name="at night",
        date=datetime(2026, 11, 30, 3, int(slug[-1], 16), tzinfo=UTC),
        type="partial",
        supervisor_version="2026.08.2",
        protected=False,
        compressed=True,
        addons=(BackupPart(id=LAMP, name="Lamp", version="1.0"),),
        extra={"maker": {"since": 1}},
    )


def lamp_contents(**options: Any) -> PartContents:
    """What the lamp has."""
    return PartContents(
        documents={"addon.json": b'{"version": "1.0"}'},
        trees=(PartTree(source=DataPath("apps/data/local_lamp"), name="data", **options),),
    )


def make_lamp(data: Path) -> Path:
    """The lamp's data: text, a database, JSON, YAML with tags of its own, links, an odd name, holes."""
    folder = data / "apps/data/local_lamp"
    (folder / "sub" / "deeper").mkdir(parents=True)
    (folder / "options.json").write_text(json.dumps({"brightness": 7}))
    (folder / "scenes.yaml").write_text("evening: !secret level\nlist: [1, 2]\n")
    (folder / "sub" / "note.txt").write_text("it was dark")
    (folder / "sub" / "deeper" / os.fsdecode(b"na\xc3\xafve \xff [x]*.log")).write_bytes(b"\0\1\2" * 50_000)
    (folder / "link").symlink_to("/etc/passwd")
    os.link(folder / "sub" / "note.txt", folder / "twin.txt")
    (folder / "sub" / "note.txt").chmod(0o640)
    with (folder / "holes").open("wb") as file:
        file.truncate(3_000_000)
    connection = sqlite3.connect(folder / "states.db")
    connection.execute("CREATE TABLE states (value TEXT)")
    connection.executemany("INSERT INTO states VALUES (?)", [("on",), ("off",)] * 500)
    connection.commit()
    connection.close()
    return folder


def picture(folder: Path) -> dict[str, tuple[Any, ...]]:
    """All there is to know of a tree, but the times of links and folders."""
    shown: dict[str, tuple[Any, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        time = status.st_mtime_ns if path.is_file() and not path.is_symlink() else 0
        shown[str(path.relative_to(folder))] = (
            status.st_mode,
            status.st_uid,
            status.st_nlink,
            time,
            sha256(content).hexdigest(),
        )
    return shown


@asynccontextmanager
async def vault_house(
    folder: Path, empty_vault: Path, allow: Collection[Failing] = (), settings: dict[str, object] | None = None
) -> AsyncIterator[VaultHouse]:
    """A house; its vault is a copy of an empty one, for to make one takes a second and more."""
    async with (
        running_system(folder, plugins=[BackupsVaultPlugin, DRIVER], allow=allow, settings=settings) as system,
        Client.over_unix(system) as client,
    ):
        house = VaultHouse(system, client)
        if "cellar" not in house.vaults:
            shutil.copytree(empty_vault, house.data / "vaults" / "cellar")
            answer = await client.post(
                "/kernel/v1/vaults", json={"name": "cellar", "place": "local", "key": KEY, "existing": True}
            )
            assert answer.status == 200, answer.text
        yield house

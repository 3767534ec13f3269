"""A house with add-ons and Core that can be backed up, and mounts, all of the test's making."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from rooftree import JobCall, Kernel, Plugin, hookimpl
from rooftree.clock import MACHINE, Clock
from rooftree.interfaces.backups import (
    BackupLocation,
    BackupPart,
    BackupSource,
    PartContents,
    PartId,
    PartKind,
    PartWishes,
    SettingsKeeper,
    StagedPart,
)
from rooftree.interfaces.containers import DataPath
from rooftree.interfaces.hooks import health_checks
from rooftree.interfaces.mounts import MOUNTS, Mount, MountDown, MountNotFound, MountsChanged
from rooftree.process.system import System
from rooftree.testing import Client, running_system
from rooftree_backups.kept_backups import KEPT_BACKUPS
from rooftree_backups.plugin import BackupsPlugin
from tests.plugins.backups.plain_archives import PlainArchives


@define
class Owner:
    """A domain with parts."""

    kind: PartKind
    there: list[BackupPart] = field(factory=list)
    errors: dict[str, Exception] = field(factory=dict)
    held: list[str] = field(factory=list)
    wishes: list[PartWishes] = field(factory=list)
    released: list[str] = field(factory=list)
    contents: PartContents = field(factory=PartContents)

    def parts(self) -> Sequence[BackupPart]:
        return self.there

    @asynccontextmanager
    async def hold(self, slug: str, wishes: PartWishes) -> AsyncIterator[PartContents]:
        self.held.append(f"hold {slug}")
        self.wishes.append(wishes)
        if slug in self.errors:
            raise self.errors[slug]
        try:
            yield self.contents
        finally:
            self.held.append(f"let go {slug}")

    async def release(self, slug: str) -> None:
        self.released.append(slug)

    def restore(self, part: StagedPart) -> JobCall[None]:
        raise NotImplementedError


def part(kind: PartKind, slug: str, version: str = "1.0") -> BackupPart:
    return BackupPart(id=PartId(kind=kind, slug=slug), name=slug.title(), version=version)


class MountsOfTheTest:
    """Folders that count as mounted."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.there: dict[str, Mount] = {}
        self.default: str | None = None
        self.restored: list[Mapping[str, Any]] = []

    def add(self, name: str, usage: Any = "backup") -> Path:
        path = self.kernel.data.path / "mounts" / name
        path.mkdir(parents=True, exist_ok=True)
        self.there[name] = Mount(
            name=name, usage=usage, state="active", path=path, data_path=DataPath(f"mounts/{name}"), read_only=False
        )
        self.kernel.publish(MountsChanged((name,)))
        return path

    def take_down(self, name: str) -> None:
        self.there[name] = evolve(self.there[name], state="failed")
        self.kernel.publish(MountsChanged((name,)))

    def mounts(self) -> tuple[Mount, ...]:
        return tuple(self.there.values())

    def mount(self, name: str) -> Mount:
        if name not in self.there:
            raise MountNotFound(f"There is no mount {name}")
        return self.there[name]

    def default_backup_mount(self) -> str | None:
        return self.default

    async def look(self, name: str) -> Mount:
        mount = self.mount(name)
        if mount.state != "active":
            raise MountDown(f"{name} is not mounted", mount=name)
        return mount

    def export(self) -> Mapping[str, Any]:
        return {"default_backup_mount": self.default, "mounts": [{"name": name} for name in self.there]}

    async def restore(self, records: Mapping[str, Any]) -> tuple[str, ...]:
        self.restored.append(records)
        return ()


@define
class Registries:
    """Logins at registries."""

    document: str = "docker.json"
    has_settings: bool = False
    restored: list[Mapping[str, Any]] = field(factory=list)

    def export(self) -> Mapping[str, Any]:
        return {"registries": {"ghcr.io": {"username": "me", "password": "mine"}}}

    async def restore(self, records: Mapping[str, Any]) -> tuple[str, ...]:
        self.restored.append(records)
        return ()


class HousePlugin(Plugin):
    """Mounts, logins, and other places for backups."""

    name = "house"
    provides = (MOUNTS,)
    locations: list[BackupLocation]

    async def setup(self, kernel: Kernel) -> None:
        self.locations = []
        self.registries = Registries()
        self.mounts = MountsOfTheTest(kernel)
        kernel.provide(MOUNTS, self.mounts)  # type: ignore[arg-type]  # what backups don't ask is left out
        type(self).latest = self

    @hookimpl
    def backup_locations(self) -> list[BackupLocation]:
        return self.locations

    @hookimpl
    def backup_settings(self) -> SettingsKeeper:
        return self.registries

    @hookimpl
    def backup_facts(self) -> Mapping[str, Any]:
        return {"repositories": ("https://example.org/addons",), "supervisor_version": "2026.11.0"}


class Addons(Plugin):
    """Add-ons."""

    name = "addons"

    async def setup(self, kernel: Kernel) -> None:
        self.owner = Owner(PartKind.ADDON, [part(PartKind.ADDON, slug) for slug in ("local_lamp", "local_bell")])
        type(self).latest = self

    @hookimpl
    def backup_source(self) -> BackupSource:
        return self.owner


class Core(Plugin):
    """Core."""

    name = "homeassistant"

    async def setup(self, kernel: Kernel) -> None:
        self.owner = Owner(PartKind.CORE, [part(PartKind.CORE, "homeassistant", "2026.11.0")])
        type(self).latest = self

    @hookimpl
    def backup_source(self) -> BackupSource:
        return self.owner


@define
class House:
    """A running one."""

    system: System
    client: Client
    folder: Path
    archives: PlainArchives
    mounts: MountsOfTheTest
    addons: Owner
    core: Owner

    @property
    def local(self) -> Path:
        """The data folder's own place for backups."""
        return self.folder / "data" / "backup"

    def names(self) -> list[str]:
        """What is in it, hidden files too."""
        return sorted(path.name for path in self.local.iterdir())

    @property
    def locations(self) -> list[BackupLocation]:
        """Places of other domains."""
        return HousePlugin.latest.locations  # type: ignore[attr-defined, no-any-return]

    @property
    def registries(self) -> Registries:
        """Logins that belong into backups."""
        return HousePlugin.latest.registries  # type: ignore[attr-defined, no-any-return]

    @property
    def backups(self) -> Any:
        return self.system.services.get(KEPT_BACKUPS)

    async def thawed(self) -> None:
        """Wait until nothing is kept still."""
        async with asyncio.timeout(10):
            while self.system.state_now != "running":
                await asyncio.sleep(0.005)

    async def listed(self) -> dict[str, dict[str, Any]]:
        """What is listed, by slug."""
        return {entry["slug"]: entry for entry in (await self.client.get("/backups")).data["backups"]}

    async def check_age(self) -> None:
        """Look whether there is a young backup."""
        ((check,),) = await self.system.hooks.call(health_checks)
        await check.run()

    async def reload(self) -> None:
        assert (await self.client.post("/backups/reload")).data == {}


@asynccontextmanager
async def house(
    folder: Path,
    archives: PlainArchives | None = None,
    clock: Clock = MACHINE,
    *,
    real: bool = False,
    plugins: Iterable[type[Plugin]] = (),
    **options: Any,
) -> AsyncIterator[House]:
    """A house; give the same folder again for a restart.

    :param real: whether its archives are of the real format
    :param plugins: further ones
    """
    plain = archives or PlainArchives()
    kept = {} if real else {"archives": staticmethod(lambda installation: plain)}
    # A class of its own: what is put into the product's own stays there for every test that comes after.
    chosen = [HousePlugin, Addons, Core, type("BackupsPlugin", (BackupsPlugin,), kept), *plugins]
    async with (
        running_system(folder, plugins=chosen, clock=clock, **options) as system,
        Client.over_unix(system) as client,
    ):
        yield House(
            system,
            client,
            folder,
            plain,
            HousePlugin.latest.mounts,  # type: ignore[attr-defined]
            Addons.latest.owner,  # type: ignore[attr-defined]
            Core.latest.owner,  # type: ignore[attr-defined]
        )

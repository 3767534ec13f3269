"""The table of contents of this domain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from rooftree import Kernel, Plugin, Routes, Task, hookimpl
from rooftree.interfaces.bus import SYSTEM_BUS
from rooftree.interfaces.hardware import Device
from rooftree.interfaces.hooks import AvailableUpdate
from rooftree.interfaces.machine import RECOGNIZED_MACHINE
from rooftree.interfaces.versions import VERSION_FEED
from rooftree_os.boards import BOARDS, Boards
from rooftree_os.data_disk import DATA_DISKS, DataDisksOfMachine
from rooftree_os.operating_system import OPERATING_SYSTEM, OperatingSystem
from rooftree_os.reboot import REBOOTS, Reboots
from rooftree_os.releases import Releases
from rooftree_os.routes import routes
from rooftree_os.updates import BUNDLES, Bundles
from rooftree_os.watch import MarkedBoot, Watch


@frozen
class OsSettings:
    """``[plugins.os]`` in rooftree.toml."""

    version_file: str | None = None
    """Where the newest versions are told, for who says it here; what ``[plugins.supervisor]`` says of it, which
    is read by all domains, counts before this."""
    data_on_host: str | None = None
    """Where the data folder is on the host, for a daemon in a container that knows it under another name: rauc reads
    the bundles of updates from there."""


class OsPlugin(Plugin):
    """The operating system of the host: its version and updates, slots, swap and data disk, through rauc and the OS
    agent; and its boards, by drivers in the group ``rooftree.boards``."""

    name = "os"
    provides = (OPERATING_SYSTEM, RECOGNIZED_MACHINE, REBOOTS, BUNDLES, DATA_DISKS, BOARDS)
    optional = (SYSTEM_BUS, VERSION_FEED)
    settings = OsSettings

    async def setup(self, kernel: Kernel) -> None:
        """Load the board drivers; everything else is looked at when the bus is there."""
        settings = kernel.settings(OsSettings)
        self.system = system = OperatingSystem(kernel, Releases(kernel, settings.version_file))
        system.register_conditions()
        reboots = await Reboots.load(kernel)
        kernel.provide(OPERATING_SYSTEM, system)
        kernel.provide(RECOGNIZED_MACHINE, system)
        kernel.provide(REBOOTS, reboots)
        kernel.provide(BUNDLES, Bundles(kernel, settings.data_on_host))
        kernel.provide(DATA_DISKS, DataDisksOfMachine(kernel, system))
        self.boards = await Boards.load(kernel, system)
        kernel.provide(BOARDS, self.boards)
        self.watch = Watch(kernel, system, self.boards, reboots, await kernel.collection(MarkedBoot))

    def routes(self) -> Routes:
        return routes

    def tasks(self) -> Iterable[Task]:
        """Stay in step with the host."""
        yield Task("operating system", self.watch.run)

    @hookimpl
    async def info(self) -> Mapping[str, Any]:
        """The version of Home Assistant OS, in ``/info``."""
        home_assistant_os = await self.system.home_assistant_os_if_known()
        return {"hassos": home_assistant_os.version if home_assistant_os is not None else None}

    @hookimpl
    def available_updates(self) -> list[AvailableUpdate]:
        """A newer version of Home Assistant OS."""
        version = self.system.update()
        return (
            [AvailableUpdate(update_type="os", version_latest=version, panel_path="/update-available/os")]
            if version
            else []
        )

    @hookimpl
    async def hardware_added(self, device: Device) -> None:
        """Boards react to devices."""
        await self.boards.tell(lambda board: board.hardware_added(device))

    @hookimpl
    async def hardware_removed(self, device: Device) -> None:
        """Boards react to devices."""
        await self.boards.tell(lambda board: board.hardware_removed(device))

"""The table of contents of this domain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from rooftree import JobCall, Kernel, Plugin, Problem, Routes, Task, hookimpl
from rooftree.interfaces.bus import SYSTEM_BUS, BusServiceChanged
from rooftree.interfaces.containers import CONTAINER_ENGINE
from rooftree.interfaces.hardware import Device
from rooftree.interfaces.journal import SYSTEM_JOURNAL
from rooftree.interfaces.mounts import MOUNTS
from rooftree.interfaces.network import InternetChanged
from rooftree_machine.systemd import SYSTEMD
from rooftree_mounts.availability import why_unavailable
from rooftree_mounts.credentials import sweep_credentials
from rooftree_mounts.disks import MOUNTABLE_DISKS, MountableDisks
from rooftree_mounts.host_mounts import HOST_MOUNTS, HostMounts
from rooftree_mounts.jobs import AVAILABLE, remedy_of
from rooftree_mounts.kept_mounts import KEPT_MOUNTS, KeptMounts
from rooftree_mounts.overview import OVERVIEW, Overview
from rooftree_mounts.removal import MOUNT_REMOVAL, MountRemoval
from rooftree_mounts.routes import routes
from rooftree_mounts.upkeep import Upkeep
from rooftree_workers import DisposableProcesses


class MountsPlugin(Plugin):
    """Network storage and local disks for add-ons and backups."""

    name = "mounts"
    provides = (MOUNTS, HOST_MOUNTS, KEPT_MOUNTS, MOUNTABLE_DISKS, MOUNT_REMOVAL, OVERVIEW)
    optional = (SYSTEM_BUS, CONTAINER_ENGINE, SYSTEM_JOURNAL)

    async def setup(self, kernel: Kernel) -> None:
        """Know what was kept. What is mounted stays mounted when we stop, and what is not is so after the start."""
        kept = await KeptMounts.load(kernel)
        processes = DisposableProcesses()
        await asyncio.to_thread(sweep_credentials, kernel.data.path)
        disks = MountableDisks(kernel.data.path, processes)
        mounts = HostMounts(kernel, kept, disks, processes)
        self.upkeep = Upkeep(kept, mounts)
        kernel.provide(MOUNTS, mounts)
        kernel.provide(HOST_MOUNTS, mounts)
        kernel.provide(KEPT_MOUNTS, kept)
        kernel.provide(MOUNTABLE_DISKS, disks)
        removal = MountRemoval(kernel, kept, mounts)
        kernel.provide(MOUNT_REMOVAL, removal)
        kernel.provide(OVERVIEW, Overview(kernel, kept, mounts, removal))
        kernel.condition(AVAILABLE, lambda _: why_unavailable(kernel))
        kernel.on(BusServiceChanged, self.bus_service_changed)
        kernel.on(InternetChanged, self.internet_changed)

    def bus_service_changed(self, event: BusServiceChanged) -> None:
        """What mounts may be there only now."""
        if event.service == SYSTEMD.service and event.runs:
            self.upkeep.hurry()

    def internet_changed(self, event: InternetChanged) -> None:
        """Servers may be reached again."""
        if event.reached:
            self.upkeep.hurry()

    def routes(self) -> Routes:
        """``/mounts…``, and ours."""
        return routes

    def tasks(self) -> Iterable[Task]:
        """Mount what is kept, and see to it that it stays so."""
        yield Task("upkeep", self.upkeep.run)

    @hookimpl
    def remedy(self, problem: Problem, suggestion: str) -> JobCall[None] | None:
        """Mount again, remove, or move what is in the way."""
        return remedy_of(problem, suggestion)

    @hookimpl
    async def hardware_added(self, device: Device) -> None:
        """Perhaps the disk that is missing."""
        if device.subsystem == "block":
            self.upkeep.hurry()

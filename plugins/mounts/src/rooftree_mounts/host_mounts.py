"""The mounts as other domains see them: what is kept of each, how it is, and what mounts it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import structlog

from rooftree import UNSET, Kernel, Problem, RooftreeError, Service
from rooftree.interfaces.bus import SYSTEM_BUS
from rooftree.interfaces.containers import DataPath
from rooftree.interfaces.mounts import Mount, MountDown, MountNotFound, MountsChanged, MountState, MountUsage
from rooftree_machine.systemd import SYSTEMD
from rooftree_mounts import places
from rooftree_mounts.backup_places import BackupPlaces
from rooftree_mounts.configuration import MountConfig
from rooftree_mounts.credentials import credentials_file
from rooftree_mounts.disks import MountableDisks
from rooftree_mounts.kept_mounts import KeptMounts
from rooftree_mounts.looking import Looks, Room
from rooftree_mounts.models import ListedMount, MountsInfo
from rooftree_mounts.mount_program import MountProgram
from rooftree_mounts.mounting import ActivationFailed, Mounter, Refused, UnmountFailed
from rooftree_mounts.orders import order_of
from rooftree_mounts.places import Places
from rooftree_mounts.systemd_units import SystemdMounter
from rooftree_mounts.usage import UsageInactive
from rooftree_workers import DisposableProcesses

log = structlog.get_logger(__name__)

FAILED = "mount_failed"
"""The type of the problem of a mount that does not work."""
RELOAD, REMOVE, MOVE = "execute_reload", "execute_remove", "move_local_data"
"""What is suggested against it."""
_MOST_LAYERS = 8
"""That somebody may have mounted over each other."""


_PACKAGES: Final = {"cifs": "cifs-utils", "nfs": "nfs-common"}
"""What Debian calls the programs that mount(8) needs, by type."""
_LACKING: Final = ("unknown filesystem type", "bad option; for several filesystems", "need a /sbin/mount.")
"""What mount(8) says where it has none."""


class HostMounts:
    """The mounts there are."""

    def __init__(self, kernel: Kernel, kept: KeptMounts, disks: MountableDisks, processes: DisposableProcesses) -> None:
        self._kernel = kernel
        self._kept = kept
        self._disks = disks
        self.data = kernel.data.path
        """The data folder."""
        self._program = MountProgram(self.data, processes)
        self._looks = Looks(self.data, processes)
        self._states: dict[str, MountState] = {}
        self._places = BackupPlaces(kernel)
        self._busy: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._anew: set[str] = set()
        """What has another configuration by now than what may be mounted there."""
        self.wanted = asyncio.Event()
        """Set when some mount should be visited at once."""

    # --- as others see them -------------------------------------------------------------------------------------------

    def mounts(self) -> tuple[Mount, ...]:
        return tuple(self.mount(name) for name in sorted(self._kept.configs))

    def mount(self, name: str) -> Mount:
        config = self._kept.config(name)
        where = Places.of(name, config.usage)
        return Mount(
            name=name,
            usage=config.usage,
            state=self.state(name),
            path=self.data / where.own,
            data_path=DataPath(where.shown or where.own),
            read_only=config.read_only,
        )

    def state(self, name: str) -> MountState:
        """How a mount is."""
        return self._states.get(name, "inactive")

    def default_backup_mount(self) -> str | None:
        return self._kept.default

    async def look(self, name: str) -> Mount:
        mount = self.mount(name)
        if mount.state != "active":
            raise MountDown(f"The mount {name} can't be used: it is {mount.state}", mount=name)
        try:
            await self._looks.answer(Places.of(name, mount.usage).own)
        except Refused as error:
            await self._has_failed(name, str(error))
            raise MountDown(f"The mount {name} can't be used: {error}", mount=name) from error
        return mount

    async def usage(self, name: str, max_depth: int) -> MountUsage:
        if name not in self._kept.configs:
            if (usage := await self._places.usage(name)) is not None:
                return usage
            raise MountNotFound(f"There is no mount {name}", name=name)
        mount = self.mount(name)
        if mount.state != "active":
            raise UsageInactive(f"The mount {name} takes no room: it is {mount.state}", name=name)
        return await self._looks.measure(name, Places.of(name, mount.usage).own, max_depth)

    def export(self) -> Mapping[str, Any]:
        return self._kept.export()

    async def restore(self, records: Mapping[str, Any]) -> tuple[str, ...]:
        changed, refused = await self._kept.take_over(records, await self._places.names())
        self._anew.update(changed)
        self.wanted.set()
        return tuple(refused)

    async def listing(self) -> MountsInfo:
        """All of them, for clients, and after them the places of other domains for backups."""
        mounts = [self.listed(name, config) for name, config in sorted(self._kept.configs.items())]
        return MountsInfo(mounts=[*mounts, *await self._places.listed()], default_backup_mount=self._kept.default)

    async def is_backup_place(self, name: str) -> bool:
        """Whether another domain's place for backups is called so."""
        return name in await self._places.names()

    def room(self, name: str) -> Room | None:
        """The room on a mount when it answered last; ``None`` for one that is not active."""
        mount = self.mount(name)
        return self._looks.room(Places.of(name, mount.usage).own) if mount.state == "active" else None

    def listed(self, name: str, config: MountConfig) -> ListedMount:
        """One of them, for clients."""
        where = Places.of(name, config.usage)
        of_disk = config.type == "disk"
        return ListedMount(
            name=name,
            type=config.type,
            usage=config.usage,
            read_only=config.read_only,
            state=self.state(name),
            user_path=None if where.shown is None else f"/{where.shown}",
            server=UNSET if config.server is None else config.server,
            port=UNSET if config.port is None else config.port,
            share=UNSET if config.share is None else config.share,
            version=config.version if config.type == "cifs" else UNSET,
            path=UNSET if config.path is None else config.path,
            uuid=(config.uuid or "") if of_disk else UNSET,
            filesystem=config.filesystem if of_disk else UNSET,
        )

    # --- mounting -----------------------------------------------------------------------------------------------------

    async def activate(self, name: str, config: MountConfig) -> None:
        """Mount it, in place of what is mounted there, and have it answer; all or nothing. Raises
        :class:`ActivationFailed`, and the errors of :mod:`rooftree_mounts.places`."""
        async with self._busy[name]:
            await self._activate(name, config)

    async def _activate(self, name: str, config: MountConfig) -> None:
        where = Places.of(name, config.usage)
        try:
            await self._take_down(where)
            await asyncio.to_thread(places.prepare, self.data, where)
            await self._mount(name, config, where)
        except Refused as error:
            with suppress(Refused):
                await self._take_down(where)
            raise ActivationFailed(f"{name} could not be mounted: {_reason(config, error)}", name=name) from error

    async def _mount(self, name: str, config: MountConfig, where: Places) -> None:
        mounter = self._mounter()
        device = await self._disks.device_of(config)
        async with credentials_file(self.data, mounter, name, config) as credentials:
            order = order_of(config, credentials=credentials, device=device)
            await mounter.mount(order, where.own, f"Rooftree {config.type} mount: {name}")
        await self._looks.wait_until_mounted(where.own, True)
        await self._looks.answer(where.own)
        await self._show(name, where)

    async def _show(self, name: str, where: Places) -> None:
        """Have add-ons see what is mounted now."""
        if where.shown is not None:
            await self._unmount(where.shown)
            await self._mounter().bind(where.own, where.shown, f"Rooftree bind mount: {name}")
            await self._looks.wait_until_mounted(where.shown, True)

    async def try_beside(self, name: str, config: MountConfig) -> None:
        """Mount it where nobody sees it, have it answer, and unmount it. Raises :class:`ActivationFailed`."""
        trial = Places.of_trial(name)
        try:
            async with self._busy[name]:
                await self._take_down(trial)
                await asyncio.to_thread(places.prepare, self.data, trial)
                await self._mount(trial.name, config, trial)
        except Refused as error:
            reason = _reason(config, error)
            raise ActivationFailed(f"{name} could not be mounted like this: {reason}", name=name) from error
        finally:
            await self.end_trial(name)

    async def end_trial(self, name: str) -> None:
        """Nothing of a trial stays."""
        trial = Places.of_trial(name)
        with suppress(Refused):
            await self._take_down(trial)
        await asyncio.to_thread(places.clear, self.data, trial)

    async def take_down(self, where: Places) -> None:
        """Unmount it, whoever uses it; raises :class:`UnmountFailed`."""
        try:
            async with self._busy[where.name]:
                await self._take_down(where)
        except Refused as error:
            raise UnmountFailed(f"{where.name} could not be unmounted: {error}", name=where.name) from error

    async def replace(self, before: Places, name: str, config: MountConfig) -> None:
        """Mount another one in place of what is mounted there; raises as :meth:`activate` does."""
        async with self._busy[name]:
            with suppress(Refused):
                await self._take_down(before)
            await self._activate(name, config)

    async def bring_back(self, name: str) -> None:
        """Mount again what is kept of it, in place of what is mounted there; where that can't be, go on trying."""
        self._anew.add(name)
        await self._see_to(name)

    async def _take_down(self, where: Places) -> None:
        for place in reversed(where.both):
            await self._unmount(place)

    async def _unmount(self, place: str) -> None:
        """Whatever is mounted there, by us or by somebody else."""
        for _ in range(_MOST_LAYERS):
            if not await self._looks.is_mounted(place):
                return
            try:
                await self._mounter().unmount(place)
                await self._looks.wait_until_mounted(place, False)
            except Refused:  # systemd waits for something, or does not know of it; we see it, so we can do it
                await self._program.unmount(place)
        await self._looks.wait_until_mounted(place, False)

    def _mounter(self) -> Mounter:
        bus = self._kernel.find(SYSTEM_BUS)
        return SystemdMounter(self._kernel, bus) if bus is not None and bus.has(SYSTEMD.service) else self._program

    async def is_mounted(self, place: str) -> bool:
        """Whether anything is mounted at a place, relative to the data folder; asks the kernel only."""
        return await self._looks.is_mounted(place)

    # --- how they are -------------------------------------------------------------------------------------------------

    def is_to_be_mounted_anew(self, name: str) -> bool:
        """Whether what may be mounted has another configuration."""
        return name in self._anew

    async def visit(self, name: str) -> bool | None:
        """See to it that a mount is there and answers; whether it does. What is wrong is a problem. ``None``: a job is
        about to make another one of it, and what is mounted may be either."""
        if self._kept.draft(name) is not None:
            return None
        return await self._see_to(name)

    async def _see_to(self, name: str) -> bool:
        try:
            await self._refresh(name, rebind=False)
        except RooftreeError as error:
            if name in self._kept.configs:
                await self._has_failed(name, error.message)
            return False
        return True

    async def reload(self, name: str) -> None:
        """Have it answer, or mount it anew; raises why that can't be."""
        try:
            await self._refresh(name, rebind=True)
        except RooftreeError as error:
            if name in self._kept.configs:
                await self._has_failed(name, error.message)
            raise

    async def _refresh(self, name: str, *, rebind: bool) -> None:
        async with self._busy[name]:
            config = self._kept.configs.get(name)
            if config is None:
                return
            where = Places.of(name, config.usage)
            if name in self._anew or not await self._answers(where):
                if self.state(name) == "inactive":
                    self._note_state(name, "activating")
                await self._activate(name, config)
                self._anew.discard(name)
            elif where.shown is not None and (rebind or not await self._looks.is_mounted(where.shown)):
                try:
                    await asyncio.to_thread(places.prepare, self.data, where)
                    await self._show(name, where)
                except Refused as error:
                    raise ActivationFailed(f"{name} could not be shown to add-ons: {error}", name=name) from error
            self.has_come(name)

    async def _answers(self, where: Places) -> bool:
        try:
            await self._looks.answer(where.own)
        except Refused as error:
            log.info("mount_does_not_answer", mount=where.name, reason=str(error))
            return False
        return True

    def has_come(self, name: str) -> None:
        """It is mounted, and answers."""
        self._kernel.problems.clear(FAILED, "mount", name)
        self._note_state(name, "active")
        self.wanted.set()

    async def _has_failed(self, name: str, reason: str) -> None:
        config = self._kept.config(name)
        in_the_way = await asyncio.to_thread(places.local_data, self.data, Places.of(name, config.usage))
        self._kernel.problems.report(
            Problem(
                FAILED,
                context="mount",
                reference=name,
                message=f"The mount {name} does not work: {reason}. It is tried again from time to time",
                suggestions=(RELOAD, REMOVE, *([MOVE] if in_the_way else [])),
            )
        )
        self._note_state(name, "failed")

    def has_gone(self, name: str) -> None:
        """There is no such mount any more."""
        self._kernel.problems.clear(FAILED, "mount", name)
        self._states.pop(name, None)
        self._anew.discard(name)

    def _note_state(self, name: str, state: MountState) -> None:
        if self.state(name) != state:
            self._states[name] = state
            self._kernel.publish(MountsChanged((name,)))


HOST_MOUNTS = Service[HostMounts]("mounts.host/1")


def _reason(config: MountConfig, error: Refused) -> str:
    """Why it could not be mounted, with what helps where this machine lacks the program for it."""
    package = _PACKAGES.get(config.type)
    lacks = package is not None and any(words in str(error) for words in _LACKING)
    return f"{error}. Install what mounts it: the package is called {package}" if lacks else str(error)

"""Changes that are tried before they stay: what the steps of such a job share.

A change begins with a checkpoint of NetworkManager's, and ends when that is destroyed. In between the disk has the old
profile: what is tried is in force, or in memory, only. So it goes back by itself when we are killed (the checkpoint),
and when the host loses its power; and where NetworkManager itself went in the middle, by our own undo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import structlog
from attrs import frozen

from rooftree import Conflict, Failed, Invalid, Kernel, Secret, Service
from rooftree.interfaces.bus import SYSTEM_BUS, BusRefused, BusUnavailable, SystemBus
from rooftree_network.activation import applied_settings, is_in_force
from rooftree_network.bus_news import BusNews
from rooftree_network.bus_objects import (
    ACTIVATE,
    ADD_CONNECTION,
    BLOCK_AUTOCONNECT,
    DELETE,
    DEVICE,
    DISCONNECT,
    IN_MEMORY,
    MANAGER,
    NO_OBJECT,
    PROFILE,
    SETTINGS,
    TO_DISK,
    UPDATE,
    StoredProfile,
)
from rooftree_network.changed_device import (
    TAKES_S,
    ChangedDevice,
    InterfaceNotManaged,
    default_generation,
    manager_of,
    profile_of_uuid,
    settings_of,
    with_secrets,
)
from rooftree_network.checkpoints import checkpoints_of, create_checkpoint, own_checkpoint, roll_back
from rooftree_network.interface_setup import AUTO, InterfaceSetup, IpSetup, Settings, setup_of, written
from rooftree_network.models import is_link_local

log = structlog.get_logger(__name__)

RESTORES_S: Final = 30.0
"""Seconds for which it is waited that an interface is what it was before."""
CONFIRMED_S: Final = 20.0
"""Seconds that a change may take to stay once it is confirmed."""


@frozen(kw_only=True)
class Earlier:
    """What an interface was before a step: for its undo."""

    checkpoints: list[str]
    """Those that were not ours."""
    uuid: str | None
    """The profile that was there …"""
    setup: InterfaceSetup | None
    """… what it said …"""
    in_force: bool
    """… and whether it was in force."""
    addresses: list[str]
    """Those that the interface had."""


@frozen(kw_only=True)
class WaitingTrial:
    """A change that waits for somebody to confirm it."""

    interface: str
    """Which it changes."""
    within_s: float
    """Seconds that are left."""


class ProfileRefused(Invalid):
    """NetworkManager finds fault with what an interface is to be like."""

    error_key = "host_network_update_config_error"


class Trials:
    """What is being tried."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.news = BusNews()
        self._keys: dict[str, Secret] = {}
        self._originals: dict[str, Settings] = {}
        self._waiting: tuple[str, float] | None = None
        self._is_confirmed = False
        self._kept: asyncio.Future[bool] | None = None

    @property
    def bus(self) -> SystemBus:
        """The system bus; raises :class:`~rooftree.Unavailable`."""
        return self._kernel.service(SYSTEM_BUS)

    @contextmanager
    def offered_key(self, reference: str, key: Secret | None) -> Iterator[None]:
        """While a job is under way, let its steps find a key, which only memory knows until NetworkManager has it."""
        if key is not None:
            self._keys[reference] = key
        try:
            yield
        finally:
            self._keys.pop(reference, None)

    def key(self, reference: str | None) -> str | None:
        """The key that is offered; raises :class:`Failed` where it is not any more."""
        if reference is None:
            return None
        if reference not in self._keys:
            raise Failed("The key of the wireless network is not known any more: ask for the change once more")
        return self._keys[reference].reveal()

    # --- a trial ------------------------------------------------------------------------------------------------------

    async def look(self, name: str, profile: str) -> Earlier:
        """What is there before a step; from now on memory knows the profile with its secrets, too.

        :param profile: the id of the one that is going to be in force
        """
        try:
            device = await ChangedDevice.read(self.bus, name)
        except InterfaceNotManaged:  # one that is to be made
            return Earlier(checkpoints=[], uuid=None, setup=None, in_force=False, addresses=[])
        if device.profile is not None and device.uuid == profile:
            self._originals[profile] = await with_secrets(self.bus, device.profile, device.settings)
        return Earlier(
            checkpoints=await checkpoints_of(self.bus, device.path),
            uuid=device.uuid,
            setup=device.setup if device.profile is not None else None,
            in_force=device.active is not None and device.active.uuid == device.uuid,
            addresses=list(device.addresses),
        )

    async def begin(self, devices: Sequence[ChangedDevice], within_s: float, *, adds: bool = False) -> None:
        """Let NetworkManager go back after so many seconds; a trial that was begun already goes on.

        :param devices: what it remembers; the first is the one that the checkpoint is found by
        """
        if await own_checkpoint(self.bus, devices[0].path) is None:
            await create_checkpoint(self.bus, [device.path for device in devices], within_s, adds=adds)

    async def remember(self, settings: Settings, profile: str) -> str:
        """Have a profile in NetworkManager's memory, and not on its disk; its path."""
        path = await profile_of_uuid(self.bus, profile)
        flags = IN_MEMORY | BLOCK_AUTOCONNECT
        try:
            if path is None:
                path, _ = await self.bus.call(SETTINGS, ADD_CONNECTION, settings, flags, {}, timeout_s=TAKES_S)
            else:
                await self.bus.call(PROFILE.at(path), UPDATE, settings, flags, {}, timeout_s=TAKES_S)
        except BusRefused as error:
            raise ProfileRefused(error.message) from error
        return str(path)

    async def take_back(
        self, name: str, profile: str, earlier: Earlier, anchor: str, tried: InterfaceSetup | None = None
    ) -> None:
        """Make an interface what it was before.

        :param profile: the id of the profile that was tried
        :param anchor: the interface whose device has the checkpoint
        :param tried: what it was to be like; ``None`` where it was to be out of use
        """
        bus = self.bus
        if (await manager_of(bus)).starts:
            raise BusUnavailable("NetworkManager was started anew, and still looks at what there is")
        device = await self.device(anchor)
        checkpoint = await own_checkpoint(bus, device.path, earlier.checkpoints) if device is not None else None
        if checkpoint is not None:
            await roll_back(bus, checkpoint)
        if earlier.uuid != profile:
            await self.forget_profile(profile)
        else:
            await self._restore(profile, earlier)
        if earlier.in_force and earlier.uuid is not None:
            await self._restore_connection(name, earlier.uuid, earlier, tried)
        elif earlier.uuid == profile and (now := await self.device(name)) is not None and now.active is not None:
            await bus.call(DEVICE.at(now.path), DISCONNECT, timeout_s=TAKES_S)
        self._originals.pop(profile, None)
        self.note_end(kept=False)

    async def forget_profile(self, profile: str) -> None:
        """Delete a profile, if it is there."""
        path = await profile_of_uuid(self.bus, profile)
        if path is not None:
            await self.bus.call(PROFILE.at(path), DELETE, timeout_s=TAKES_S)

    async def device(self, name: str) -> ChangedDevice | None:
        """A device, if there is one of that name."""
        with suppress(InterfaceNotManaged):
            return await ChangedDevice.read(self.bus, name)
        return None

    async def _restore(self, profile: str, earlier: Earlier) -> None:
        """Have a profile say what it said, on the disk too: a checkpoint leaves it in memory, or may be gone."""
        path = await profile_of_uuid(self.bus, profile)
        if path is None or earlier.setup is None:
            return
        settings = await settings_of(self.bus, path)
        if setup_of(settings) != earlier.setup:
            old = self._originals.get(profile) or written(
                settings, earlier.setup, generation=await default_generation(self.bus)
            )
            await self.bus.call(PROFILE.at(path), UPDATE, old, TO_DISK, {}, timeout_s=TAKES_S)
        else:
            await self.save(path)

    async def save(self, path: str) -> None:
        """Have a profile on disk as it is in memory."""
        if (await self.bus.read(StoredProfile, PROFILE.at(path))).unsaved:
            await self.bus.call(PROFILE.at(path), UPDATE, {}, TO_DISK, {}, timeout_s=TAKES_S)
        await self.bus.unwatch(PROFILE.at(path))

    async def _restore_connection(
        self, name: str, profile: str, earlier: Earlier, tried: InterfaceSetup | None
    ) -> None:
        """Have the earlier profile in force, where it is not by now."""
        device, path = await self.device(name), await profile_of_uuid(self.bus, profile)
        if path is None or earlier.setup is None:
            return
        as_before = device is not None and await self._is_in_force(device, profile, earlier.setup)
        if device is None or not as_before or _left_over(device, earlier, tried):
            with suppress(BusRefused):  # it may be on the way already, or the cable may be out
                at = device.path if device is not None else NO_OBJECT
                await self.bus.call(MANAGER, ACTIVATE, path, at, NO_OBJECT, timeout_s=TAKES_S)

        async def is_back() -> bool | None:
            now = await self.device(name)
            return True if now is not None and now.is_connected and now.uuid == profile else None

        try:
            await self.news.until(is_back, RESTORES_S)
        except TimeoutError:
            log.warning("connection_not_back_yet", interface=name, waited_s=RESTORES_S)

    async def _is_in_force(self, device: ChangedDevice, profile: str, setup: InterfaceSetup) -> bool:
        if device.active is None or device.active.uuid != profile:
            return False
        with suppress(BusRefused):  # it is not connected just now
            settings, _ = await applied_settings(self.bus, device.path)
            return is_in_force(settings, setup)
        return False

    # --- confirming ---------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> WaitingTrial | None:
        """What waits to be confirmed."""
        if self._waiting is None:
            return None
        interface, until = self._waiting
        return WaitingTrial(interface=interface, within_s=max(0.0, until - asyncio.get_running_loop().time()))

    async def confirmed(self, interface: str, anchor: str, within_s: float) -> bool:
        """Whether somebody confirms within so many seconds; ``False`` also where NetworkManager has gone back already.

        :param anchor: the interface whose device has the checkpoint
        """
        loop = asyncio.get_running_loop()
        self._is_confirmed = False
        self._kept = loop.create_future()
        self._waiting = (interface, loop.time() + within_s)

        async def decided() -> bool | None:
            if self._is_confirmed:
                return True
            device = await self.device(anchor)
            return None if device is not None and await own_checkpoint(self.bus, device.path) else False

        try:
            return await self.news.until(decided, within_s)
        except TimeoutError:
            return False
        finally:
            self._waiting = None

    async def confirm(self) -> None:
        """The change may stay; returns when it does. Raises :class:`Conflict` where nothing waits, and
        :class:`Failed` where it was too late."""
        kept = self._kept
        if self._waiting is None or kept is None:
            raise Conflict("No change of the network waits to be confirmed: it stays already, or was taken back")
        self._is_confirmed = True
        self.news.tell()
        try:
            async with asyncio.timeout(CONFIRMED_S):
                stays = await asyncio.shield(kept)
        except TimeoutError:
            stays = False
        if not stays:
            raise Failed("The change of the network was taken back all the same; the job says why")

    def note_end(self, *, kept: bool) -> None:
        """A trial is over."""
        if self._kept is not None and not self._kept.done():
            self._kept.set_result(kept)


def _left_over(device: ChangedDevice, earlier: Earlier, tried: InterfaceSetup | None) -> bool:
    """Whether a device has an address that it was tried with: a NetworkManager that was killed finds it there when it
    comes back, and lets it be."""
    fixed = {*(tried.ipv4.addresses if tried else ()), *(tried.ipv6.addresses if tried else ())}
    by_itself = {family for family, ip in _families(earlier.setup) if ip.method == AUTO}
    return any(
        address in fixed or (6 if ":" in address else 4) not in by_itself
        for address in device.addresses
        if address not in earlier.addresses and not is_link_local(address)
    )


def _families(setup: InterfaceSetup | None) -> list[tuple[int, IpSetup]]:
    return [(4, setup.ipv4), (6, setup.ipv6)] if setup is not None else []


TRIALS = Service[Trials]("network.trials/1")

"""The steps by which an interface is changed, tried and kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rooftree import Failed, Run, Step, step
from rooftree.interfaces.bus import BusRefused
from rooftree_network.activation import (
    activate,
    applied_settings,
    is_in_force,
    limit_s,
    reapply,
    wait_for_addresses,
)
from rooftree_network.bus_objects import DEVICE, DISCONNECT, NO_OBJECT, PROFILE, TO_DISK, UPDATE
from rooftree_network.changed_device import (
    TAKES_S,
    ChangedDevice,
    InterfaceNotManaged,
    default_generation,
    new_settings,
    profile_of_uuid,
    settings_of,
    vlan_settings,
    with_id,
    with_secrets,
)
from rooftree_network.checkpoints import destroy, extend, own_checkpoint
from rooftree_network.host_network import HostNetwork
from rooftree_network.interface_setup import InterfaceSetup, setup_of, written
from rooftree_network.reach import JUDGES_S, Reach, judge
from rooftree_network.trials import Earlier, Trials

MARGIN_S: Final = 5.0
"""Seconds between the end of our own limits and the moment when NetworkManager goes back by itself."""


@step("network.reapply_profile/1")
class ReapplyProfile(Step):
    """Give an interface its new settings without reconnecting it."""

    interface: str
    profile: str
    setup: InterfaceSetup
    differences: Sequence[str]

    async def before(self, trials: Trials) -> Earlier:
        return await trials.look(self.interface, self.profile)

    async def do(self, trials: Trials) -> None:
        """By NetworkManager's Reapply; where that can't do it after all, by connecting anew."""
        bus, limit = trials.bus, limit_s(self.setup, reconnects=False)
        device = await ChangedDevice.read(bus, self.interface)
        await trials.begin([device], limit + limit_s(self.setup, reconnects=True) + MARGIN_S)
        if not await reapply(bus, device.path, self.setup):
            wanted = written(device.settings, self.setup, generation=await default_generation(bus))
            path = await trials.remember(wanted, self.profile)
            await activate(bus, trials.news, path, device.path, self.interface, limit_s(self.setup, reconnects=True))
        await wait_for_addresses(bus, trials.news, self.interface, device, self.setup, limit)

    async def undo(self, before: Earlier, trials: Trials, network: HostNetwork) -> None:
        await trials.take_back(self.interface, self.profile, before, self.interface, self.setup)
        network.reload()

    async def notes(self) -> list[str]:
        return [*self.differences, "The connection does not drop, but for what goes over an address that is lost"]


@step("network.activate_profile/1")
class ActivateProfile(Step):
    """Connect an interface anew, with its new settings."""

    downtime = True
    interface: str
    profile: str
    setup: InterfaceSetup
    differences: Sequence[str]
    copy_of: str | None = None
    """The id of a profile that is for several interfaces, of which this one gets a copy of its own."""
    key: str | None = None
    """Refers to the key of the wireless network, which only memory knows."""

    async def before(self, trials: Trials) -> Earlier:
        return await trials.look(self.interface, self.profile)

    async def do(self, trials: Trials) -> None:
        """With the profile as it is to be in memory only."""
        bus, limit = trials.bus, limit_s(self.setup, reconnects=True)
        device = await ChangedDevice.read(bus, self.interface)
        within_s = limit + limit_s(self.setup, reconnects=False) + MARGIN_S
        await trials.begin([device], within_s, adds=device.uuid is None)
        base = device.settings
        if self.copy_of is not None and device.uuid != self.profile:
            whole = await with_secrets(bus, str(device.profile), base)
            base = with_id(whole, self.profile, self.interface)
        elif device.uuid is None:
            base = new_settings(device, self.profile)
        wanted = written(base, self.setup, generation=await default_generation(bus), key=trials.key(self.key))
        path = await trials.remember(wanted, self.profile)
        await activate(bus, trials.news, path, device.path, self.interface, limit)
        await wait_for_addresses(
            bus, trials.news, self.interface, device, self.setup, limit_s(self.setup, reconnects=False)
        )

    async def undo(self, before: Earlier, trials: Trials, network: HostNetwork) -> None:
        await trials.take_back(self.interface, self.profile, before, self.interface, self.setup)
        network.reload()

    async def notes(self) -> list[str]:
        return [*self.differences, "The connection of this interface drops for some seconds"]


@step("network.add_vlan/1")
class AddVlan(Step):
    """Add a VLAN to an interface."""

    interface: str
    """Its own name."""
    parent: str
    number: int
    profile: str
    setup: InterfaceSetup

    async def before(self, trials: Trials) -> Earlier:
        return await trials.look(self.interface, self.profile)

    async def do(self, trials: Trials) -> None:
        """Nobody waits for its address, as nobody else's connection depends on it."""
        bus, limit = trials.bus, limit_s(self.setup, reconnects=True)
        parent = await ChangedDevice.read(bus, self.parent)
        await trials.begin([parent], limit + MARGIN_S, adds=True)
        base = vlan_settings(self.parent, self.number, self.profile)
        path = await trials.remember(written(base, self.setup, generation=await default_generation(bus)), self.profile)
        await activate(bus, trials.news, path, NO_OBJECT, self.interface, limit)

    async def undo(self, before: Earlier, trials: Trials, network: HostNetwork) -> None:
        await trials.take_back(self.interface, self.profile, before, self.parent, self.setup)
        network.reload()


@step("network.disconnect/1")
class Disconnect(Step):
    """Take an interface out of use."""

    downtime = True
    interface: str
    anchor: str
    """The interface that it lies on, for a VLAN, which goes with its connection; else itself."""
    profile: str

    async def before(self, trials: Trials) -> Earlier:
        return await trials.look(self.interface, self.profile)

    async def do(self, trials: Trials) -> None:
        """Its profile is still there."""
        names = dict.fromkeys([self.anchor, self.interface])
        devices = [device for name in names if (device := await trials.device(name)) is not None]
        await trials.begin(devices, TAKES_S + MARGIN_S)
        device = devices[-1]
        if device.name == self.interface and device.active is not None:
            await trials.bus.call(DEVICE.at(device.path), DISCONNECT, timeout_s=TAKES_S)

    async def undo(self, before: Earlier, trials: Trials, network: HostNetwork) -> None:
        await trials.take_back(self.interface, self.profile, before, self.anchor)
        network.reload()

    async def notes(self) -> list[str]:
        return ["The connection of this interface ends, and what it was set to is forgotten"]


@step("network.judge_reach/1")
class JudgeReach(Step):
    """See whether those answer who answered before."""

    interface: str
    anchor: str
    """The interface whose device has the checkpoint."""
    reach: Reach

    async def do(self, trials: Trials) -> None:
        """Raises :class:`~rooftree_network.reach.NotReached`, and so takes the change back."""
        await extend_trial(trials, self.anchor, JUDGES_S + MARGIN_S)
        await judge(trials.bus, trials.news, self.interface, self.reach)

    async def undo(self, before: None) -> None:
        """There is nothing to take back."""


@step("network.await_confirmation/1")
class AwaitConfirmation(Step):
    """Wait until somebody confirms the change over the network as it is now."""

    interruptible = True
    interface: str
    anchor: str
    within_s: int

    async def do(self, run: Run, trials: Trials) -> None:
        """Raises :class:`Failed` where nobody does, and so takes the change back."""
        await extend_trial(trials, self.anchor, self.within_s + MARGIN_S)
        if not await trials.confirmed(self.interface, self.anchor, self.within_s):
            raise Failed(f"Nobody confirmed the change to {self.interface} within {self.within_s} s: it was taken back")

    async def undo(self, before: None) -> None:
        """There is nothing to take back."""

    async def notes(self) -> list[str]:
        return [f"Without POST /kernel/v1/network/confirm within {self.within_s} s everything goes back"]


@step("network.keep_profile/1")
class KeepProfile(Step):
    """Keep the change: on the disk, and for good."""

    interface: str
    anchor: str
    profile: str
    setup: InterfaceSetup

    async def do(self, trials: Trials, network: HostNetwork) -> None:
        """The profile first: from when the checkpoint is gone NetworkManager does not go back any more."""
        bus = trials.bus
        anchor = await ChangedDevice.read(bus, self.anchor)
        checkpoint = await own_checkpoint(bus, anchor.path)
        path = await profile_of_uuid(bus, self.profile)
        if path is None or (checkpoint is None and not await self._stays(trials)):
            raise Failed(f"NetworkManager went back on the change to {self.interface} by itself: ask for it once more")
        settings = await settings_of(bus, path)
        if setup_of(settings) != self.setup:
            wanted = written(settings, self.setup, generation=await default_generation(bus))
            await bus.call(PROFILE.at(path), UPDATE, wanted, TO_DISK, {}, timeout_s=TAKES_S)
        else:
            await trials.save(path)
        if checkpoint is not None:
            await destroy(bus, checkpoint)
        trials.note_end(kept=True)
        network.reload()

    async def _stays(self, trials: Trials) -> bool:
        """Whether the checkpoint is gone because this was done already."""
        try:
            device = await ChangedDevice.read(trials.bus, self.interface)
            settings, _ = await applied_settings(trials.bus, device.path)
        except (InterfaceNotManaged, BusRefused):
            return False
        return is_in_force(settings, self.setup)


@step("network.delete_profile/1")
class DeleteProfile(Step):
    """Forget what the interface was set to."""

    interface: str
    anchor: str
    profile: str

    async def do(self, trials: Trials, network: HostNetwork) -> None:
        """The checkpoint first: going back would bring the profile with it."""
        anchor, device = await trials.device(self.anchor), await trials.device(self.interface)
        checkpoint = await own_checkpoint(trials.bus, anchor.path) if anchor is not None else None
        if checkpoint is not None:
            await destroy(trials.bus, checkpoint)
        elif device is not None and device.active is not None:
            raise Failed(f"NetworkManager has connected {self.interface} again by itself: ask for it once more")
        await trials.forget_profile(self.profile)
        trials.note_end(kept=True)
        network.reload()


async def extend_trial(trials: Trials, anchor: str, within_s: float) -> None:
    """Let NetworkManager go back so many seconds from now; raises :class:`Failed` where it has already."""
    device = await ChangedDevice.read(trials.bus, anchor)
    checkpoint = await own_checkpoint(trials.bus, device.path)
    if checkpoint is None:
        raise Failed(f"NetworkManager went back on the change to {anchor} by itself: ask for it once more")
    await extend(trials.bus, checkpoint, within_s)

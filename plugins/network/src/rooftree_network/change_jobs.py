"""Changing the network: what is to be done for a change, worked out before anything is."""

from __future__ import annotations

from typing import Final

import attrs

from rooftree import CallEnds, Invalid, Lock, Steps, job
from rooftree_network.access_points import networks_in_range
from rooftree_network.change_steps import (
    ActivateProfile,
    AddVlan,
    AwaitConfirmation,
    DeleteProfile,
    Disconnect,
    JudgeReach,
    KeepProfile,
    ReapplyProfile,
)
from rooftree_network.changed_device import (
    ChangedDevice,
    InterfaceNotManaged,
    another_id,
    new_settings,
)
from rooftree_network.changes import InterfaceUpdate, VlanUpdate, changed, changed_wifi
from rooftree_network.checkpoints import refuse_taken
from rooftree_network.host_network import HostNetwork
from rooftree_network.interface_setup import AUTO, InterfaceSetup, IpSetup, differences, lost_addresses, setup_of
from rooftree_network.models import Interface
from rooftree_network.reach import reach_of, refuse_cut_off
from rooftree_network.trials import Trials

_LOCK: Final = Lock("network", "change")
HIGHEST_VLAN: Final = 4094
"""IEEE 802.1Q."""
LONGEST_NAME: Final = 15
"""Of an interface of Linux."""
_BY_ITSELF: Final = InterfaceSetup(ipv4=IpSetup(method=AUTO), ipv6=IpSetup(method=AUTO))
"""What an interface is like of which nobody has said anything."""


@job("network_interface_update", reference="interface", locks=lambda **_: [_LOCK])
async def change_interface(
    trials: Trials, network: HostNetwork, interface: str, update: InterfaceUpdate, ends: CallEnds, key: str | None
) -> Steps:
    """Change an interface, if anything is to be otherwise."""
    bus = trials.bus
    device = await ChangedDevice.read(bus, interface)
    await refuse_taken(bus, device.path, interface)
    shown = await network.interface(interface)
    if update.wifi is not None and not device.is_wireless:
        raise Invalid(f"wifi: {interface} is no wireless interface")
    if update.enabled is False:
        return await _ending(network, device, shown, update, ends)
    if device.active is None and update.enabled is None:
        raise InterfaceNotManaged(f"The interface {interface} is out of use: say enabled: true to set it up")
    old = device.setup if device.profile is not None else _BY_ITSELF
    new = changed(old, update)
    if update.wifi is not None:
        seen = await networks_in_range(bus, device.path)
        new = attrs.evolve(new, wifi=changed_wifi(old.wifi, update.wifi, seen))
    elif device.is_wireless and old.wifi is None:
        raise Invalid(f"wifi: {interface} is wireless, and nobody has said which network it is for")
    has_key = update.wifi is not None and update.wifi.psk is not None
    wanted = list(differences(old, new))
    if device.profile is not None and device.active is not None and not wanted and not has_key:
        return []
    first = await _putting_in_force(trials, device, new, [*wanted, *_lost(device, old, new)], key if has_key else None)
    keep = KeepProfile(interface, interface, first.profile, first.setup)
    return [first, await _trial(network, device, update, ends), keep]


async def _putting_in_force(
    trials: Trials, device: ChangedDevice, new: InterfaceSetup, lines: list[str], key: str | None
) -> ReapplyProfile | ActivateProfile:
    """The step that makes an interface what it is to be: without reconnecting it where that can be."""
    name = device.name
    if device.profile is None or device.uuid is None:
        profile = another_id()
        bound = attrs.evolve(new, binds=setup_of(new_settings(device, profile)).binds)
        return ActivateProfile(name, profile, bound, lines, key=key)
    is_bound = new.binds is not None or "match" in device.settings or "vlan" in device.settings
    if await device.is_shared(trials.bus):
        return ActivateProfile(name, another_id(), attrs.evolve(new, binds=name), lines, device.uuid, key)
    bound = new if is_bound else attrs.evolve(new, binds=name)
    if device.is_connected and key is None and new.wifi == device.setup.wifi:
        return ReapplyProfile(name, device.uuid, bound, lines)
    return ActivateProfile(name, device.uuid, bound, lines, key=key)


def _lost(device: ChangedDevice, old: InterfaceSetup, new: InterfaceSetup) -> list[str]:
    lost = [address.partition("/")[0] for address in lost_addresses(old, new, device.addresses)]
    return [f"What is connected over {address} loses its connection" for address in lost]


async def _ending(
    network: HostNetwork, device: ChangedDevice, shown: Interface, update: InterfaceUpdate, ends: CallEnds
) -> Steps:
    if device.active is None and device.profile is None:
        return []
    profile, anchor = device.uuid or "", device.name
    if shown.vlan is not None and shown.vlan.parent is not None:
        anchor = shown.vlan.parent
    if device.active is None:
        return [DeleteProfile(device.name, anchor, profile)]
    trial = await _trial(network, device, update, ends, anchor)
    if isinstance(trial, JudgeReach):
        refuse_cut_off(device.name, trial.reach, [], [])
    return [Disconnect(device.name, anchor, profile), trial, DeleteProfile(device.name, anchor, profile)]


async def _trial(
    network: HostNetwork, device: ChangedDevice, update: VlanUpdate, ends: CallEnds, anchor: str | None = None
) -> JudgeReach | AwaitConfirmation:
    """How it is found out whether a change may stay."""
    if update.confirm_within is not None:
        return AwaitConfirmation(device.name, anchor or device.name, update.confirm_within)
    others = [entry for entry in await network.interfaces() if entry.interface != device.name]
    is_sole = not any(entry.ipv4.gateway or entry.ipv6.gateway for entry in others)
    return JudgeReach(device.name, anchor or device.name, await reach_of(device, ends, is_sole=is_sole))


@job("network_vlan_create", reference="interface", locks=lambda **_: [_LOCK])
async def create_vlan(
    trials: Trials, network: HostNetwork, interface: str, number: int, update: VlanUpdate, ends: CallEnds
) -> Steps:
    """Add a VLAN to an interface."""
    name = f"{interface}.{number}"
    if not 1 <= number <= HIGHEST_VLAN:
        raise Invalid(f"id: must be from 1 to {HIGHEST_VLAN}, not {number}")
    if len(name) > LONGEST_NAME:
        raise Invalid(f"The VLAN would be called {name}, and the name of an interface has {LONGEST_NAME} characters")
    shown = await network.interface(interface)
    if shown.type != "ethernet":
        raise Invalid(f"{interface} is {shown.kind}; a VLAN lies on an ethernet interface")
    if any(entry.interface == name for entry in await network.interfaces()):
        raise Invalid(f"There is an interface {name} already: change it by its own name")
    device = await ChangedDevice.read(trials.bus, interface)
    await refuse_taken(trials.bus, device.path, interface)
    profile = another_id()
    setup = attrs.evolve(changed(_BY_ITSELF, update, usual_method="auto"), binds=name)
    add = AddVlan(name, interface, number, profile, setup)
    return [add, await _trial(network, device, update, ends), KeepProfile(name, interface, profile, setup)]

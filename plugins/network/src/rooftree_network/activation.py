"""Putting a profile in force on a device, and waiting until it is."""

from __future__ import annotations

import ipaddress
from typing import Final

import attrs
import structlog

from rooftree import Invalid
from rooftree.interfaces.bus import BusRefused, SystemBus
from rooftree_network.bus_news import BusNews
from rooftree_network.bus_objects import (
    ACTIVATE,
    ACTIVATED,
    ACTIVE,
    DEACTIVATED,
    DEVICE,
    GET_APPLIED,
    MANAGER,
    NO_OBJECT,
    REAPPLY,
    ActiveConnection,
)
from rooftree_network.changed_device import (
    TAKES_S,
    ChangedDevice,
    InterfaceNotManaged,
    default_generation,
    device_named,
)
from rooftree_network.interface_setup import AUTO, MANUAL, InterfaceSetup, Settings, setup_of, written
from rooftree_network.models import is_link_local

log = structlog.get_logger(__name__)

ADDRESS_S: Final = 50.0
"""Seconds until an address that is given out has to be there; NetworkManager itself gives DHCP 45."""
APPLIES_S: Final = 10.0
"""Seconds until a fixed address has to be there."""
ACTIVATES_S: Final = 60.0
"""Seconds until a connection has to be there."""
_REASONS: Final = {
    4: "NetworkManager could not set it up",
    5: "no address was given out: there is no DHCP server, or it does not answer",
    6: "the address that was given out has run out",
    7: "the key is needed, or is the wrong one",
    8: "the network does not let it in: the key may be the wrong one",
    9: "the log-in to the network failed",
    10: "the log-in to the network failed",
    11: "the network does not answer the log-in: the key may be the wrong one",
    17: "no address was given out: the DHCP server does not answer",
    36: "the device has gone",
    40: "there is no cable in it, or what is at its other end is off",
    53: "no network of that name is in range",
}
"""``NMDeviceStateReason`` in our words."""


class ActivationFailed(Invalid):
    """The connection ended instead of being there."""

    error_key = "host_network_activation_failed_error"


class ActivationTimeout(Invalid):
    """The connection, or an address of it, was not there in time."""

    error_key = "host_network_activation_timeout_error"


def limit_s(setup: InterfaceSetup, *, reconnects: bool) -> float:
    """Seconds after which it is certain that something is wrong."""
    if reconnects:
        return ACTIVATES_S
    return ADDRESS_S if AUTO in {setup.ipv4.method, setup.ipv6.method} else APPLIES_S


async def applied_settings(bus: SystemBus, device: str) -> tuple[Settings, int]:
    """What is in force on a device, which need not be what its profile says, and the number of that."""
    settings, version = await bus.call(DEVICE.at(device), GET_APPLIED, 0, timeout_s=TAKES_S)
    return settings, version


async def reapply(bus: SystemBus, device: str, setup: InterfaceSetup) -> bool:
    """Put a setup in force without reconnecting; whether that was possible. The profile stays as it is."""
    settings, version = await applied_settings(bus, device)
    wanted = written(settings, attrs.evolve(setup, binds=None), generation=await default_generation(bus))
    try:
        await bus.call(DEVICE.at(device), REAPPLY, wanted, version, 0, timeout_s=TAKES_S)
    except BusRefused as error:
        log.info("not_reapplied", reason=error.message)
        return False
    return True


async def activate(bus: SystemBus, news: BusNews, profile: str, device: str, name: str, within_s: float) -> None:
    """Connect a device by a profile, and wait until it is; raises :class:`ActivationFailed`,
    :class:`ActivationTimeout`.

    :param device: ``/`` for one that is made by it, which is waited for, and not for its addresses
    """
    try:
        path = await bus.call(MANAGER, ACTIVATE, profile, device, NO_OBJECT, timeout_s=TAKES_S)
    except BusRefused as error:
        raise ActivationFailed(f"{name} can't be connected like that: {error.message}", interface=name) from error
    at = ACTIVE.at(str(path))

    async def ended() -> bool | None:
        try:
            state = (await bus.read(ActiveConnection, at)).state
        except BusRefused:
            return False  # it is not there any more
        if state == DEACTIVATED:
            return False
        return True if state == ACTIVATED or (device == NO_OBJECT and await _exists(bus, name)) else None

    try:
        is_there = await news.until(ended, within_s)
    except TimeoutError:
        raise ActivationTimeout(f"{name} was not connected within {within_s:g} s", interface=name) from None
    finally:
        await bus.unwatch(at)
    if not is_there:
        raise ActivationFailed(f"{name} could not be connected: {await _why(bus, name)}", interface=name)


async def _exists(bus: SystemBus, name: str) -> bool:
    try:
        await device_named(bus, name)
    except InterfaceNotManaged:
        return False
    return True


async def wait_for_addresses(
    bus: SystemBus, news: BusNews, name: str, before: ChangedDevice | None, setup: InterfaceSetup, within_s: float
) -> ChangedDevice:
    """Wait until an interface has the addresses that it is to have, as it is then; raises :class:`ActivationTimeout`.

    For IPv4 that did not come before either nobody waits while there is IPv6, and for IPv6 only where it is alone.
    """

    async def there() -> ChangedDevice | None:
        device = await ChangedDevice.read(bus, name)
        return device if not _missing(device, before, setup) else None

    try:
        return await news.until(there, within_s)
    except TimeoutError:
        missing = ", ".join(_missing(await ChangedDevice.read(bus, name), before, setup))
        raise ActivationTimeout(f"{name} did not get {missing} within {within_s:g} s", interface=name) from None


def _missing(device: ChangedDevice, before: ChangedDevice | None, setup: InterfaceSetup) -> list[str]:
    """What an interface is without."""
    there = {str(ipaddress.ip_interface(address)) for address in device.addresses}
    fixed = [ip.addresses for ip in (setup.ipv4, setup.ipv6) if ip.method == MANUAL]
    missing = [address for addresses in fixed for address in addresses if address not in there]
    if setup.ipv4.method == AUTO and not _reaching(device, 4):
        was_without = before is not None and before.setup.ipv4.method == AUTO and not _reaching(before, 4)
        if not was_without or not _reaching(device, 6):
            missing.append("an IPv4 address")
    elif setup.ipv6.method == AUTO and setup.ipv4.method not in {AUTO, MANUAL} and not _reaching(device, 6):
        missing.append("an IPv6 address")
    return missing


def _reaching(device: ChangedDevice, family: int) -> list[str]:
    return [
        address for address in device.addresses if not is_link_local(address) and (6 if ":" in address else 4) == family
    ]


async def _why(bus: SystemBus, name: str) -> str:
    try:
        _, device = await device_named(bus, name)
    except InterfaceNotManaged:  # one that was to be made
        return "NetworkManager could not make it; its log says why"
    _, reason = device.reason or (0, 0)
    return _REASONS.get(reason, f"NetworkManager's reason is number {reason}")


def is_in_force(settings: Settings, setup: InterfaceSetup) -> bool:
    """Whether what is in force on a device is that setup."""
    now = setup_of(settings)
    return (now.ipv4, now.ipv6, now.wifi, now.mdns, now.llmnr) == (
        setup.ipv4,
        setup.ipv6,
        setup.wifi,
        setup.mdns,
        setup.llmnr,
    )

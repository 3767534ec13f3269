"""The wireless networks in range, as the card has just seen them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from attrs import frozen

from rooftree import Invalid
from rooftree.interfaces.bus import BusRefused, SystemBus
from rooftree_network.bus_news import BusNews
from rooftree_network.bus_objects import (
    ACCESS_POINT,
    NETWORK_MANAGER,
    OBJECTS_PATH,
    REQUEST_SCAN,
    WIRELESS,
    WirelessDevice,
)
from rooftree_network.changed_device import device_named
from rooftree_network.models import WifiMode

SCANS_S: Final = 15.0
"""Seconds that a card may take to look; then what it has seen so far is what there is."""
_WIRELESS: Final = 2
_MODES: Final[dict[int, WifiMode]] = {1: "adhoc", 2: "infrastructure", 3: "ap", 4: "mesh"}
"""``NM80211Mode``."""


@frozen(kw_only=True)
class SeenNetwork:
    """An access point in range."""

    mode: WifiMode
    ssid: str
    """Where it is no text, it is told as near to one as can be; it is known again when it comes back like that."""
    frequency: int
    """MHz."""
    signal: int
    """Percent."""
    mac: str


@frozen
class SeenNetworks:
    """The access points in range, the strongest first."""

    accesspoints: list[SeenNetwork]


async def scan(bus: SystemBus, news: BusNews, name: str) -> SeenNetworks:
    """Let a card look, and tell what it sees when it has; raises :class:`Invalid` for what is no wireless card."""
    path, device = await device_named(bus, name)
    if device.type != _WIRELESS:
        raise Invalid(f"{name} is no wireless interface")
    before = await bus.read(WirelessDevice, WIRELESS.at(path))

    async def has_looked() -> bool | None:
        now = await bus.read(WirelessDevice, WIRELESS.at(path))
        return True if now.last_scan != before.last_scan else None

    with suppress(BusRefused, TimeoutError):  # it may be refused, for having looked a moment ago
        await bus.call(WIRELESS.at(path), REQUEST_SCAN, {})
        await news.until(has_looked, SCANS_S)
    networks = [_seen(entry) for entry in await _in_range(bus, path)]
    return SeenNetworks(sorted(networks, key=lambda network: (-network.signal, network.mac)))


async def networks_in_range(bus: SystemBus, path: str) -> list[bytes]:
    """The names of the networks that a card has seen."""
    return [bytes(entry.get("Ssid", b"")) for entry in await _in_range(bus, path)]


async def _in_range(bus: SystemBus, path: str) -> list[Any]:
    """All at once: there may be a hundred, and each is gone soon."""
    device = await bus.read(WirelessDevice, WIRELESS.at(path))
    objects = await bus.objects(NETWORK_MANAGER, OBJECTS_PATH)
    seen = (objects.get(point, {}).get(ACCESS_POINT.interface) for point in device.access_points or ())
    return [entry for entry in seen if entry is not None]


def _seen(entry: Any) -> SeenNetwork:
    return SeenNetwork(
        mode=_MODES.get(entry.get("Mode", 0), "infrastructure"),
        ssid=bytes(entry.get("Ssid", b"")).decode(errors="replace"),
        frequency=entry.get("Frequency", 0),
        signal=entry.get("Strength", 0),
        mac=entry.get("HwAddress", ""),
    )

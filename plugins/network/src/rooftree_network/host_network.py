"""The host's interfaces: what NetworkManager manages as it says, everything else as the kernel has it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from rooftree import Kernel, NotFound, Service
from rooftree.interfaces.bus import SYSTEM_BUS, BusRefused, BusUnavailable, SystemBus
from rooftree_network.addon_network import AddonNetworks, addon_network_info
from rooftree_network.bus_objects import NETWORK_MANAGER, Device
from rooftree_network.internet import Internet
from rooftree_network.kernel_interfaces import interface_of, shown_links, tunnels_of
from rooftree_network.kernel_network import KernelNetwork, Link, read_kernel
from rooftree_network.kernel_news import KernelNews
from rooftree_network.models import Interface, NetworkInfo, Tunnel, is_link_local
from rooftree_network.network_manager import ManagedNetwork, NetworkManager

KEPT_S: Final = 10.0
"""Seconds for which an answer is kept, unless something is heard to have changed: profiles that were edited and are not
in force yet, and name servers, change unheard."""
UNHEARD_S: Final = 2.0
"""The same where the kernel does not let us hear of changes."""
PRIMARY: Final = "default"
"""The word for the primary interface."""


@frozen
class _Shown:
    """What there is."""

    interfaces: Sequence[Interface]
    tunnels: Sequence[Tunnel]


@frozen
class _Kept:
    """The same, and what it holds for."""

    shown: _Shown
    until: float
    """On the loop's clock."""
    revision: tuple[int, int]


class HostNetwork:
    """Knows the host's interfaces.

    :param internet: told when the way to it may be another one
    """

    def __init__(self, kernel: Kernel, internet: Internet) -> None:
        self._kernel = kernel
        self._internet = internet
        self._manager: tuple[SystemBus, NetworkManager] | None = None
        self._kept: _Kept | None = None
        self._kernel_network: tuple[int, KernelNetwork] | None = None
        self._changes = 0
        self._reading = asyncio.Lock()
        self.addon_networks = AddonNetworks(kernel)
        self.news = KernelNews(self._changed)

    def _changed(self, default_route: bool) -> None:
        self._changes += 1
        if default_route:
            self._internet.look_again()

    @property
    def revision(self) -> str:
        """Changes with what :meth:`info` says, and when it is time to look again."""
        internet = self._internet
        period = int(asyncio.get_running_loop().time() / self._kept_s)
        reached = (internet.host_internet, internet.supervisor_internet, internet.why_offline)
        return f"{self._revision()}.{self.addon_networks.revision}.{period}.{reached}"

    @property
    def _kept_s(self) -> float:
        return KEPT_S if self.news.is_heard else UNHEARD_S

    async def info(self) -> NetworkInfo:
        """Interfaces, and what can be reached."""
        shown = await self._all()
        return NetworkInfo(
            interfaces=shown.interfaces,
            tunnels=shown.tunnels,
            docker=addon_network_info(await self.addon_networks.network()),
            host_internet=self._internet.host_internet,
            supervisor_internet=self._internet.supervisor_internet,
            why_offline=self._internet.why_offline,
        )

    async def interface(self, name: str) -> Interface:
        """One, by its name, its MAC address, or :data:`PRIMARY`; raises :class:`NotFound`."""
        interfaces = await self.interfaces()
        for interface in interfaces:
            if interface.interface == name or (name.lower() == PRIMARY and interface.primary):
                return interface
        for interface in interfaces:
            if interface.mac and interface.mac.upper() == name.upper():
                return interface
        if name.lower() == PRIMARY:
            raise NotFound("Interface default does not exist: no interface of the host leads to the internet")
        there = ", ".join(interface.interface for interface in interfaces) or "none"
        raise NotFound(f"Interface {name} does not exist; the interfaces of the host are {there}")

    def reload(self) -> None:
        """Look at everything anew when it is asked for, and soon at what can be reached."""
        self._changes += 1
        self.addon_networks.forget()
        self._internet.check()

    async def interfaces(self) -> Sequence[Interface]:
        """The interfaces by name, the primary one first; none where nobody says, or where we are in a container with a
        network of its own."""
        return (await self._all()).interfaces

    async def _all(self) -> _Shown:
        if (kept := self._still_kept()) is not None:
            return kept
        async with self._reading:
            if (kept := self._still_kept()) is not None:  # somebody else has just looked
                return kept
            revision = self._revision()
            shown = await self._read()
            self._kept = _Kept(shown, asyncio.get_running_loop().time() + self._kept_s, revision)
            return shown

    def _still_kept(self) -> _Shown | None:
        kept = self._kept
        if kept is None or asyncio.get_running_loop().time() >= kept.until or kept.revision != self._revision():
            return None
        return kept.shown

    def _revision(self) -> tuple[int, int]:
        bus = self._kernel.find(SYSTEM_BUS)
        return (bus.revision if bus is not None else -1, self._changes)

    async def _read(self) -> _Shown:
        network = await self._kernel_says()
        managed = await self._managed()
        if managed is None:
            is_of_host = await self._is_of_host(network)
            links = shown_links(network) if is_of_host else []
            interfaces = [interface_of(link, network, network.primary) for link in links]
            return _Shown(_in_order(interfaces), tunnels_of(network) if is_of_host else [])
        primary = next((interface.interface for interface in managed.interfaces if interface.primary), network.primary)
        unmanaged = [
            link for link in shown_links(network) if any(_is_same(link, device) for device in managed.unmanaged)
        ]
        interfaces = [*managed.interfaces, *(interface_of(link, network, primary) for link in unmanaged)]
        return _Shown(_in_order(interfaces), managed.tunnels)

    async def _kernel_says(self) -> KernelNetwork:
        """What the kernel has; read anew where it may have changed."""
        now_s = asyncio.get_running_loop().time()
        changes = self._changes if self.news.is_heard else int(now_s / UNHEARD_S)
        if self._kernel_network is None or self._kernel_network[0] != changes:
            self._kernel_network = (changes, await read_kernel())
        return self._kernel_network[1]

    async def _managed(self) -> ManagedNetwork | None:
        """What NetworkManager says; ``None`` without one that answers."""
        bus = self._kernel.find(SYSTEM_BUS)
        if bus is None or not bus.has(NETWORK_MANAGER):
            return None
        if self._manager is None or self._manager[0] is not bus:
            self._manager = (bus, NetworkManager(bus))
        try:
            return await self._manager[1].network()
        except (BusUnavailable, BusRefused):
            return None

    async def _is_of_host(self, network: KernelNetwork) -> bool:
        """Whether what our kernel shows is the host's: the engine's bridge is among it, unless we are in a container
        that has a network of its own."""
        addon_network = await self.addon_networks.network()
        return addon_network is None or any(link.name == addon_network.interface for link in network.links)

    async def why_cut_off(self, _: int) -> str | None:
        """Why nothing beyond the host can be reached, for sure: every interface is without a connection. It is all that
        keeps a job from being tried: whether the internet answers is for the job to find out."""
        interfaces = await self.interfaces()
        if not interfaces or any(interface.connected and _reaches_out(interface) for interface in interfaces):
            return None
        names = ", ".join(interface.interface for interface in interfaces)
        return f"this host is not connected to any network: no interface ({names}) has a connection and an address"


HOST_NETWORK = Service[HostNetwork]("network.host_network/1")


def _in_order(interfaces: Sequence[Interface]) -> list[Interface]:
    return sorted(interfaces, key=lambda interface: (not interface.primary, interface.interface))


def _is_same(link: Link, device: Device) -> bool:
    """Whether a link of our kernel is a device of the host: by the address too, for in a container another link may
    have the name."""
    return link.name == device.name and link.mac == (device.mac or "").upper() != ""


def _reaches_out(interface: Interface) -> bool:
    return any(not is_link_local(address) for address in (*interface.ipv4.address, *interface.ipv6.address))

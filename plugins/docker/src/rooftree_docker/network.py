"""The network that add-ons share: a bridge with a known address for our API.

The first address is the gateway, the second is where containers reach the API, and the upper half is what the engine
hands out. Where the wanted range is in use on the host already, one of :data:`FALLBACK_SUBNETS` takes its place and
the move is reported; names keep working, because containers learn the address from the engine.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

import structlog
from aiodocker.exceptions import DockerError
from attrs import evolve, frozen

from rooftree.errors import Conflict
from rooftree.interfaces.containers import AddonNetwork
from rooftree_docker.engine_client import EngineClient, Json, refusal
from rooftree_docker.specification import INSTANCE_LABEL, Naming
from rooftree_docker.wire import NetworkWire

log = structlog.get_logger(__name__)

FALLBACK_SUBNETS: Final = tuple(
    IPv4Network(text)
    for text in (
        "172.30.34.0/23",
        "172.31.32.0/23",
        "172.29.32.0/23",
        "172.27.32.0/23",
        "10.213.32.0/23",
        "10.87.32.0/23",
        "192.168.212.0/23",
    )
)
"""Tried in this order when the wanted range is taken."""

WANTED_LABEL: Final = "io.rooftree.subnet"
"""What the network was made for, kept with it, to notice a changed setting."""

MADE_FOR_LABEL: Final = "io.rooftree.network"
"""The other settings it was made for; a network without it was made for the usual ones."""

USUAL_SUBNET: Final = IPv4Network("172.30.32.0/23")

_LONGEST_INTERFACE_NAME: Final = 15


@frozen(kw_only=True)
class NetworkSettings:
    """What the operator wants of the network."""

    name: str = "hassio"
    subnet: IPv4Network = USUAL_SUBNET
    ipv6: bool = False
    mtu: int | None = None
    """Bytes of the largest packet, or ``None`` for the engine's usual."""

    @property
    def made_for(self) -> str:
        """What a network that fits these settings is labelled with."""
        return f"ipv6={'on' if self.ipv6 else 'off'} mtu={self.mtu or 'usual'}"

    @property
    def ipv6_subnet(self) -> IPv6Network:
        """The range of local addresses (RFC 4193); each name has its own."""
        if self.name == "hassio":
            return IPv6Network("fd0c:ac1e:2100::/48")
        digest = hashlib.sha256(self.name.encode()).hexdigest()
        return IPv6Network(f"fd{digest[:2]}:{digest[2:6]}:{digest[6:10]}::/48")


@frozen(kw_only=True)
class TakenRange:
    """A range of addresses that something on the host uses."""

    subnet: IPv4Network
    by: str


@frozen(kw_only=True)
class RangeMoved:
    """The network could not have the range it was set to."""

    wanted: IPv4Network
    chosen: IPv4Network
    taken_by: str
    """What has the wanted range; empty when it was free again in the meantime, but containers hold the network."""

    def __str__(self) -> str:
        reason = f"is used by {self.taken_by}" if self.taken_by else "was in use when the network was made"
        return (
            f"The add-on network has the range {self.chosen}, because {self.wanted} {reason}. Set another range as "
            "subnet of [plugins.docker], or free the wanted one; the network moves when no container is on it."
        )


class SharedNetwork:
    """Finds the network on the engine, and makes it when it is not there.

    :param report: told about the range each time it was looked at and the answer changed; ``None`` is "as wanted"
    :param report_waiting: told at each look whether IPv6 or the packet size are not as set, because containers are on
        the network
    :param wire: makes what keeps addresses from being taken over, given how the network is described
    """

    def __init__(
        self,
        client: EngineClient,
        naming: Naming,
        settings: NetworkSettings,
        report: Callable[[RangeMoved | None], None],
        report_waiting: Callable[[bool], None],
        wire: Callable[[Callable[[], Awaitable[Json | None]]], NetworkWire],
    ) -> None:
        self.name = naming.prefix + settings.name
        self._report_waiting = report_waiting
        self._client = client
        self._naming = naming
        self._settings = settings
        self._report = report
        self._reported: RangeMoved | None = None
        self._has_reported = False
        self._making = asyncio.Lock()
        self.wire = wire(self._find)

    async def ensure(self) -> Json:
        """The engine's description of the network, once its wire is guarded. Raises ``Conflict`` for a stranger's
        network of the name."""
        async with self._making:
            network = await self._find()
            if network is not None and self._is_outdated(network) and await self._remove(network["Id"]):
                network = None
            if network is None:
                network = await self._create()
        await self.wire.guard(network)
        self._report_waiting(self._differs(network))
        subnet = subnet_of(network)
        if subnet == self._settings.subnet:
            self._tell(None)
        elif self._reported is None:
            taken = await self._taken(ignoring=network["Id"])
            blocker = first_overlap(self._settings.subnet, taken)
            by = blocker.by if blocker else ""
            self._tell(RangeMoved(wanted=self._settings.subnet, chosen=subnet, taken_by=by))
        return network

    async def _find(self) -> Json | None:
        async with self._client.call(f"describe the network {self.name}") as docker:
            # Looked up in the list: a lookup by name would also accept the beginning of another network's id.
            listed = await docker.networks.list(filters={"name": [self.name]})
            match = [network["Id"] for network in listed if network["Name"] == self.name]
            if not match:
                return None
            try:
                network: Json = await (await docker.networks.get(match[0])).show()
            except DockerError as error:
                if error.status == 404:  # removed between the two questions
                    return None
                raise
        network["Labels"] = network.get("Labels") or {}
        network["Containers"] = network.get("Containers") or {}
        if not self._naming.is_ours(network["Labels"]):
            raise Conflict(
                f"The container engine has a network {self.name} that belongs to {_owner(network['Labels'])}. Give "
                'this installation a prefix in rooftree.toml ([plugins.docker] prefix = "second_"); or, if nothing '
                f"needs that network any more, remove it ('docker network rm {self.name}')."
            )
        return network

    def _is_outdated(self, network: Json) -> bool:
        """Whether it was made for other settings, and nobody would miss it."""
        moved = network["Labels"].get(WANTED_LABEL) != str(self._settings.subnet)
        return bool(moved or self._differs(network)) and not network["Containers"]

    def _differs(self, network: Json) -> bool:
        return bool(network["Labels"].get(MADE_FOR_LABEL, NetworkSettings().made_for) != self._settings.made_for)

    def set(self, *, ipv6: bool, mtu: int | None) -> None:
        """Want it otherwise; it is made anew at the next look at which no container is on it."""
        self._settings = evolve(self._settings, ipv6=ipv6, mtu=mtu)

    async def _remove(self, network_id: str) -> bool:
        async with self._client.call(f"remove the network {self.name}") as docker:
            try:
                await (await docker.networks.get(network_id)).delete()
            except DockerError as error:
                if error.status not in {403, 404}:
                    raise
                return error.status == 404  # 403: a container came in the meantime, so it stays as it is
        await self.wire.unguard(interface_name(self.name))
        log.info("network_removed", network=self.name, reason="its range was changed in the settings")
        return True

    async def _create(self) -> Json:
        taken = await self._taken()
        refused: DockerError | None = None
        for subnet in (self._settings.subnet, *FALLBACK_SUBNETS):
            if first_overlap(subnet, taken) is not None:
                continue
            doing = f"create the network {self.name}"
            async with self._client.call(doing, deadline=self._client.deadlines.change) as docker:
                try:
                    await docker.networks.create(network_body(self.name, subnet, self._labels(), self._settings))
                except DockerError as error:
                    if "overlap" not in error.message.lower():
                        raise
                    refused = error  # taken on the engine's side, where we cannot look
                    continue
            log.info("network_created", network=self.name, subnet=str(subnet))
            created = await self._find()
            if created is not None:
                return created
        if refused is not None:
            raise refusal(f"create the network {self.name}")(refused)
        raise Conflict(
            f"Neither {self._settings.subnet} nor any of the ranges that could take its place is free on this host "
            f"for the network {self.name}. Set a free one as its subnet."
        )

    def _labels(self) -> dict[str, str]:
        wanted = {WANTED_LABEL: str(self._settings.subnet), MADE_FOR_LABEL: self._settings.made_for}
        return self._naming.labels(wanted)

    async def _taken(self, ignoring: str | None = None) -> list[TakenRange]:
        async with self._client.call("list its networks") as docker:
            networks = [network for network in await docker.networks.list() if network["Id"] != ignoring]
        bridges = {self.name, interface_name(self.name)}
        routes = await asyncio.to_thread(_routes)
        return [*engine_ranges(networks), *(taken for taken in route_ranges(routes, without_interfaces=bridges))]

    def _tell(self, moved: RangeMoved | None) -> None:
        if self._has_reported and moved == self._reported:
            return
        self._reported, self._has_reported = moved, True
        if moved is not None:
            log.warning("network_range_moved", wanted=str(moved.wanted), chosen=str(moved.chosen), by=moved.taken_by)
        self._report(moved)


def _owner(labels: Mapping[str, str]) -> str:
    instance = labels.get(INSTANCE_LABEL)
    return f"another Rooftree ({instance})" if instance else "something else"


def network_body(name: str, subnet: IPv4Network, labels: dict[str, str], settings: NetworkSettings) -> Json:
    """The body of ``POST /networks/create``."""
    *_, upper_half = subnet.subnets()
    ranges = [{"Subnet": str(subnet), "IPRange": str(upper_half), "Gateway": str(subnet[1])}]
    options = {"com.docker.network.bridge.name": interface_name(name)}
    if settings.ipv6:
        own = evolve(settings, name=name).ipv6_subnet
        ranges.append({"Subnet": str(own), "Gateway": str(own[1])})
    if settings.mtu is not None:
        options["com.docker.network.driver.mtu"] = str(settings.mtu)
    return {
        "Name": name,
        "CheckDuplicate": True,
        "Driver": "bridge",
        "EnableIPv6": settings.ipv6,
        "Labels": labels,
        "Options": options,
        "IPAM": {"Driver": "default", "Config": ranges},
    }


def addon_network(described: Json, supervisor: str | None = None) -> AddonNetwork:
    """The network in the interface's terms; ``supervisor`` when the API is reached elsewhere than planned."""
    subnet = subnet_of(described)
    gateways = [entry.get("Gateway") for entry in described["IPAM"]["Config"] if ":" not in entry["Subnet"]]
    configured = gateways[0] or str(subnet[1])
    name = described["Name"]
    return AddonNetwork(
        name=name,
        interface=(described.get("Options") or {}).get("com.docker.network.bridge.name") or interface_name(name),
        subnet=str(subnet),
        gateway=configured.split("/")[0],
        supervisor=supervisor or str(subnet[2]),
    )


def subnet_of(described: Json) -> IPv4Network:
    """The IPv4 range of a network."""
    ranges = [IPv4Network(entry["Subnet"]) for entry in described["IPAM"]["Config"] if ":" not in entry["Subnet"]]
    return ranges[0]


def interface_name(network: str) -> str:
    """The bridge's name on the host: the network's own, shortened to what the kernel allows."""
    if len(network) <= _LONGEST_INTERFACE_NAME:
        return network
    return network[:7] + hashlib.sha256(network.encode()).hexdigest()[:8]


def first_overlap(subnet: IPv4Network, taken: Iterable[TakenRange]) -> TakenRange | None:
    """What uses addresses of ``subnet``, if anything does."""
    return next((range_ for range_ in taken if range_.subnet.overlaps(subnet)), None)


def engine_ranges(networks: Iterable[Json]) -> list[TakenRange]:
    """The ranges of the engine's networks."""
    return [
        TakenRange(subnet=IPv4Network(entry["Subnet"], strict=False), by=f"the container network {network['Name']}")
        for network in networks
        for entry in (network.get("IPAM") or {}).get("Config") or ()
        if entry.get("Subnet") and ":" not in entry["Subnet"]
    ]


def route_ranges(table: str, *, without_interfaces: set[str]) -> Sequence[TakenRange]:
    """The ranges the host has routes to, its own interfaces included, by ``/proc/net/route``.

    The default route is left out. So is our own bridge, which may outlive its network for a moment.
    """
    networks = []
    for line in table.splitlines()[1:]:
        interface, destination, _, _, _, _, _, mask, *_ = line.split()
        subnet = IPv4Network((_little_endian(destination), IPv4Network((0, _bits(mask))).prefixlen), strict=False)
        if subnet.prefixlen and interface not in without_interfaces:
            networks.append(TakenRange(subnet=subnet, by=f"the route to {subnet} by {interface}"))
    return networks


def _little_endian(hexadecimal: str) -> int:
    return int.from_bytes(bytes.fromhex(hexadecimal), "little")


def _bits(mask: str) -> int:
    return _little_endian(mask).bit_count()


def _routes() -> str:
    try:
        return Path("/proc/net/route").read_text()  # ours: the kernel's
    except OSError:
        return ""  # not Linux: the engine's own networks still count

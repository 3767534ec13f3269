"""Keeps the wire that add-ons share: no container can take an address that is not its own.

All containers hang on one bridge, where whoever may send raw frames could say that our address, the gateway's or a
neighbour's is its own, and read what others send there, tokens among it. The rules against it (see
:mod:`rooftree_docker.wire_rules`) are written with ``nft``: the guard before any container is created, each port's own
when the engine says that its container runs. A hardware address that is known is pinned to its port of the bridge
besides, so that the bridge never learns it anywhere else; the kernel forgets that with the port.

The rules outlive the daemon, as the containers do; the next one replaces them in one transaction. They go with the
network. Other tables are left alone: what the operator or the engine has written holds as before, and ours is written
again when something has thrown it away (``nft flush ruleset``).

Where the rules can't be written (no root, no ``nft``, a network that this machine does not carry), everything else
works as it does, and the reason is reported.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Final

import structlog
from attrs import evolve

from rooftree.errors import RooftreeError
from rooftree_docker.bridge_ports import ports_of, ports_there
from rooftree_docker.engine_client import Json
from rooftree_docker.wire_rules import (
    GUARD,
    PORTS,
    BoundPort,
    Wire,
    derived_mac,
    guard_rules,
    port_rules,
    without_table,
)

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 5.0
"""Seconds between looks whether the bridge has ports that we were not told of."""
WRITTEN_EVERY_S: Final = 60.0
"""Seconds between looks whether our tables are still there."""
FIRST_RANDOM_MAC: Final = 28
"""From this version on Docker does not make hardware addresses of IP addresses any more."""
NOT_HERE: Final = (
    "the add-on network's bridge is not in the network that Rooftree runs in: the engine is on another machine, or "
    "Rooftree in a container with a network of its own"
)
_COMMAND_SECONDS: Final = 10
_NOT_SUPPORTED: Final = "Operation not supported"


class WireNotGuarded(Exception):
    """The rules can't be written here, and why."""


class NetworkWire:
    """The rules of one network.

    :param describe: the engine's description of the network, ``None`` when it is not there
    :param inspect: the engine's description of a container, ``None`` when it is not there
    :param version: the engine's own words about its version
    :param report: told why the rules can't be written, or ``None`` when they are, each time that changes
    """

    def __init__(
        self,
        describe: Callable[[], Awaitable[Json | None]],
        inspect: Callable[[str], Awaitable[Json | None]],
        version: Callable[[], Awaitable[Json]],
        report: Callable[[str | None], None],
    ) -> None:
        self._describe = describe
        self._inspect = inspect
        self._version = version
        self._report = report
        self._reported: str | None = ""
        """The empty reason is none that was ever reported."""
        self._wire: Wire | None = None
        """What the guard was written for."""
        self._strangers: tuple[BoundPort, ...] = ()
        self._by_bridge = True
        self._ports: dict[str, BoundPort] = {}
        """By the container's id, and ``_bound`` is what of it is written."""
        self._bound: tuple[BoundPort, ...] | None = None
        self._seen: frozenset[str] = frozenset()
        self._writing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._are_tables_due = True

    async def guard(self, described: Json) -> None:
        """Write the rules that hold for every port; returns when they do. Nothing to do when they are written.

        :param described: the network
        """
        wire = wire_of(described)
        known = self._wire
        if known is not None and evolve(wire, paired=known.paired) == known:
            return
        async with self._writing:
            paired = makes_pairs(await self._version())
            await self._write_guard(evolve(wire, paired=paired), _strangers(described, wire))
            self._bound = None
        self._changed.set()

    async def unguard(self, interface: str) -> None:
        """The network is gone, and its rules go too."""
        async with self._writing:
            self._wire, self._bound, self._ports = None, None, {}
            with suppress(WireNotGuarded):
                await asyncio.to_thread(_remove, [interface])

    @property
    def bound(self) -> frozenset[str]:
        """The ids of the containers whose ports are bound: the rules are written."""
        written = self._bound or ()
        return frozenset(container for container, port in self._ports.items() if port in written)

    def look_again(self) -> None:
        """A container has started or ended: its port is bound, or forgotten, at once."""
        self._changed.set()

    def look_at_tables(self) -> None:
        """The engine was away, and who knows what it did to the network: see to it at once that the rules are there."""
        self._are_tables_due = True
        self._changed.set()

    async def run(self) -> None:
        """Bind ports as they come, and keep the tables written, until cancelled."""
        clock = asyncio.get_running_loop().time
        checked = clock()
        while True:
            self._changed.clear()
            try:
                if self._are_tables_due or clock() - checked >= WRITTEN_EVERY_S:
                    self._are_tables_due, checked = False, clock()
                    await self._mend_tables()
                await self._bind()
            except RooftreeError as error:  # the engine is away; its containers keep the ports they have
                log.debug("ports_not_bound", reason=error.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._changed.wait()
                    self._seen = frozenset()

    async def _bind(self) -> None:
        wire = self._wire
        if wire is None or self._reported:
            return
        there = await asyncio.to_thread(ports_there, wire.interface)
        if there == self._seen and self._bound is not None:
            return
        async with self._writing:
            described = await self._describe()
            if described is None:
                return
            await self._find_ports(wire, described, there)
            strangers = _strangers(described, wire)
            if set(strangers) != set(self._strangers):
                await self._write_guard(wire, strangers)
            await self._write_ports(wire)
            if self._ports.keys() == (described.get("Containers") or {}).keys():
                self._seen = there  # else the rest is looked for next time

    async def _find_ports(self, wire: Wire, described: Json, there: frozenset[str]) -> None:
        endpoints: Mapping[str, Json] = described.get("Containers") or {}
        kept = {name: port for name, port in self._ports.items() if name in endpoints and port.port in there}
        processes: dict[int, str] = {}
        for container in endpoints.keys() - kept.keys():
            shown = await self._inspect(container)
            if shown is not None and (process := shown["State"].get("Pid")):
                processes[process] = container
        try:
            ports = await asyncio.to_thread(ports_of, wire.interface, processes) if processes else {}
        except OSError as error:  # the bridge went, or the kernel has other words: the guard holds all the same
            log.warning("ports_not_told", bridge=wire.interface, error=error.strerror or str(error))
            ports = {}
        for process, port in ports.items():
            with suppress(ValueError):
                kept[processes[process]] = bound_port(port, endpoints[processes[process]])
        self._ports = kept

    async def _write_ports(self, wire: Wire) -> None:
        bound = tuple(sorted(self._ports.values(), key=lambda port: port.port))
        if bound == self._bound:
            return
        fresh = set(bound) - set(self._bound or ())
        try:
            await asyncio.to_thread(_nft, port_rules(wire, bound))
            await asyncio.to_thread(pin_addresses, {port.port: port.mac for port in fresh})
        except WireNotGuarded as error:
            self._tell(str(error))
            return
        self._bound = bound
        log.debug("ports_bound", bridge=wire.interface, ports=[port.port for port in bound])

    async def _write_guard(self, wire: Wire, strangers: tuple[BoundPort, ...]) -> None:
        self._wire, self._strangers = wire, strangers
        if not await asyncio.to_thread(_is_here, wire.interface):
            self._tell(NOT_HERE)
            return
        try:
            try:
                await asyncio.to_thread(_nft, guard_rules(wire, strangers, by_bridge=self._by_bridge))
            except WireNotGuarded as error:
                if not self._by_bridge or _NOT_SUPPORTED not in str(error):
                    raise
                self._by_bridge = False
                await asyncio.to_thread(_nft, guard_rules(wire, strangers, by_bridge=False))
        except WireNotGuarded as error:
            self._tell(str(error))
            return
        self._tell(None)

    async def _mend_tables(self) -> None:
        """Write ours again where they are gone, and take those away whose network is gone."""
        wire = self._wire
        if wire is None:  # there is no network, and one of before may have gone while we did not run
            with suppress(WireNotGuarded):
                await asyncio.to_thread(remove_orphans)
            return
        if not self._reported:
            try:
                await asyncio.to_thread(remove_orphans)
                tables = await asyncio.to_thread(_tables)
            except WireNotGuarded as error:
                self._tell(str(error))
                return
            if wire.guard_table in tables and (self._bound is None or wire.ports_table in tables):
                return
        async with self._writing:
            await self._write_guard(wire, self._strangers)
            self._bound = None

    def _tell(self, reason: str | None) -> None:
        if reason == self._reported:
            return
        self._reported = reason
        if reason is None:
            log.info("addon_network_guarded", bridge=self._wire and self._wire.interface, by_bridge=self._by_bridge)
        else:
            log.warning("addon_network_not_guarded", reason=reason)
        self._report(reason)


def wire_of(described: Json) -> Wire:
    """What the rules have to know of a network, from the engine's description."""
    ranges = [(entry["Subnet"], entry.get("Gateway")) for entry in described["IPAM"]["Config"]]
    subnet, gateway = next((IPv4Network(subnet), gateway) for subnet, gateway in ranges if ":" not in subnet)
    six = next(((IPv6Network(subnet), gateway) for subnet, gateway in ranges if ":" in subnet), None)
    return Wire(
        interface=(described.get("Options") or {}).get("com.docker.network.bridge.name") or described["Name"],
        subnet=subnet,
        gateway=IPv4Address((gateway or str(subnet[1])).split("/")[0]),
        supervisor=subnet[2],
        ipv6_subnet=six and six[0],
        ipv6_gateway=six and IPv6Address((six[1] or str(six[0][1])).split("/")[0]),
    )


def makes_pairs(version: Json) -> bool:
    """Whether the engine makes every hardware address of the IP address: Docker before 28, and no other."""
    for component in version.get("Components") or ():
        if component.get("Name") == "Engine":
            major = str(component.get("Version") or "").split(".")[0]
            return major.isdecimal() and int(major) < FIRST_RANDOM_MAC
    return False


def bound_port(port: str, endpoint: Json) -> BoundPort:
    """A port with what the engine gave its container; raises ``ValueError`` where the engine says nothing usable."""
    four, six = (str(endpoint.get(key) or "").split("/")[0] for key in ("IPv4Address", "IPv6Address"))
    return BoundPort(
        port=port,
        mac=str(endpoint.get("MacAddress") or "").lower(),
        address=IPv4Address(four) if four else None,
        ipv6_address=IPv6Address(six) if six else None,
    )


def _strangers(described: Json, wire: Wire) -> tuple[BoundPort, ...]:
    """The containers whose hardware address somebody has chosen."""
    chosen = []
    for endpoint in (described.get("Containers") or {}).values():
        with suppress(ValueError):
            port = bound_port("", endpoint)
            if port.address is not None and port.address in wire.subnet and port.mac != derived_mac(port.address):
                chosen.append(port)
    return tuple(chosen)


def pin_addresses(macs: Mapping[str, str]) -> None:
    """Let the bridge know hardware addresses, by the names of their ports, and learn them nowhere else. Blocks.

    A second line behind the rules: where it does not work (a kernel before 5.0), they hold alone.
    """
    lines = [f"fdb replace {mac} dev {port} master static sticky" for port, mac in macs.items()]
    if lines:
        with suppress(WireNotGuarded):  # a port that is gone again, too
            _run(["bridge", "-force", "-batch", "-"], "\n".join(lines) + "\n", "iproute2")


def _is_here(interface: str) -> bool:
    return (Path("/sys/class/net") / interface / "bridge").is_dir()  # ours: the kernel's


def remove_orphans() -> None:
    """Take the tables away whose network is gone, of any Rooftree: nobody else will. Blocks."""
    interfaces = {name.removeprefix(kind) for name in _tables() for kind in (GUARD, PORTS) if name.startswith(kind)}
    _remove(interface for interface in interfaces if not _is_here(interface))


def _remove(interfaces: Iterable[str]) -> None:
    lines = [line for interface in interfaces for kind in (GUARD, PORTS) for line in without_table(kind + interface)]
    if lines:
        _nft("\n".join(lines) + "\n")


def _tables() -> frozenset[str]:
    """The names of the tables of the bridge family."""
    words = (line.split() for line in _run(["nft", "list", "tables", "bridge"], "", "nftables").splitlines())
    return frozenset(line[2] for line in words if len(line) == 3)


def _nft(script: str) -> None:
    _run(["nft", "-f", "-"], script, "nftables")


def _run(command: list[str], script: str, package: str) -> str:
    try:
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise WireNotGuarded(f"the command {command[0]} is not installed (package {package})") from error
    except subprocess.TimeoutExpired as error:
        raise WireNotGuarded(f"the command {command[0]} did not end within {_COMMAND_SECONDS} s") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[:300]
        raise WireNotGuarded(f"the command {command[0]} failed: {said}")
    return done.stdout

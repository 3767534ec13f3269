"""Interfaces, addresses and routes as the kernel has them: what there is to know without NetworkManager.

The ``ip`` command reads it (ip(8) of iproute2; the one of busybox has no JSON, and counts as missing). It is asked
again when the kernel says by netlink that something has changed; see :mod:`rooftree_network.kernel_news`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

import orjson
import structlog
from attrs import frozen

from rooftree_workers import child_process

log = structlog.get_logger(__name__)

type Family = Literal[4, 6]

ANSWER_S: Final = 5.0
"""Seconds that ``ip`` may take."""
RESOLVERS: Final = ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf")
"""Where the name servers are written, resolv.conf(5); the first lists those behind systemd-resolved."""
_ENVIRONMENT: Final = {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}
_FAMILIES: Final[Mapping[str, Family]] = {"inet": 4, "inet6": 6}


@frozen(kw_only=True)
class Address:
    """An address of an interface."""

    text: str
    """With prefix length: ``192.0.2.2/24``."""
    family: Family
    reaches_out: bool
    """Whether it is of use beyond the link."""
    dynamic: bool
    """Whether it was given for a time, by DHCP or by a router."""
    tentative: bool
    """Whether the kernel is still finding out that nobody else has it."""


@frozen(kw_only=True)
class Link:
    """An interface."""

    name: str
    kind: str
    """The kernel's word: ``vlan``, ``bridge``, ``bond``, ``veth`` …; empty for hardware."""
    mac: str
    is_up: bool
    """Whether it is switched on."""
    has_carrier: bool
    master: str | None
    """The bridge or bond that it is a port of."""
    parent: str | None
    """Of a VLAN: the interface that it lies on."""
    vlan_id: int | None
    is_wireless: bool
    temporary_addresses: int
    """``use_tempaddr`` of the kernel's ip-sysctl."""
    generation: int | None
    """``addr_gen_mode`` of the same: how it makes IPv6 addresses."""
    addresses: Sequence[Address]


@frozen(kw_only=True)
class DefaultRoute:
    """A way to everywhere."""

    family: Family
    link: str
    gateway: str | None
    metric: int


@frozen(kw_only=True)
class KernelNetwork:
    """All of it, at one moment."""

    links: Sequence[Link] = ()
    routes: Sequence[DefaultRoute] = ()
    nameservers: Sequence[str] = ()

    def default_route(self, family: Family, link: str | None = None) -> DefaultRoute | None:
        """The one that is taken, of all or of those by ``link``."""
        routes = [route for route in self.routes if route.family == family and link in {None, route.link}]
        return min(routes, key=lambda route: route.metric, default=None)

    @property
    def primary(self) -> str | None:
        """The interface that leads to everywhere."""
        route = self.default_route(4) or self.default_route(6)
        return route.link if route is not None else None


async def read_kernel() -> KernelNetwork | None:
    """Ask the kernel; ``None`` where there is no ``ip`` that says it."""
    try:
        async with asyncio.timeout(ANSWER_S):
            links, routes4, routes6 = await asyncio.gather(
                _told("-d", "address", "show"),
                _told("-4", "route", "show", "default"),
                _told("-6", "route", "show", "default"),
            )
            files, nameservers = await asyncio.to_thread(lambda: (_by_files(links), _nameservers()))
    except (OSError, ValueError, TimeoutError) as error:
        log.info("kernel_network_unknown", reason=str(error) or f"ip did not answer within {ANSWER_S:g} s")
        return None
    return KernelNetwork(
        links=[_link(said, files[said["ifname"]]) for said in links],
        routes=[*_routes(4, routes4), *_routes(6, routes6)],
        nameservers=nameservers,
    )


async def _told(*arguments: str) -> list[dict[str, Any]]:
    """What ``ip`` says; raises ``ValueError`` for what is none of its answers."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": _ENVIRONMENT}
    async with child_process("ip", "-j", *arguments, **pipes) as child:
        text, complaint = await child.communicate()
    if child.returncode != 0:
        raise ValueError(
            f"ip {' '.join(arguments)} ended with {child.returncode}: {complaint.decode(errors='replace')}"
        )
    told = orjson.loads(text or b"[]")
    if not isinstance(told, list):
        raise ValueError("ip answered with something else than a list")
    return [entry for entry in told if entry]  # ``ip`` leaves an empty object for what a filter hides


@frozen
class _Files:
    """What only files tell of a link."""

    is_wireless: bool
    temporary_addresses: int
    generation: int | None


def _link(said: Mapping[str, Any], files: _Files) -> Link:
    info = said.get("linkinfo") or {}
    data = info.get("info_data") or {}
    flags = said.get("flags") or ()
    kind = info.get("info_kind", "")
    return Link(
        name=said["ifname"],
        kind=kind if said.get("link_type") == "ether" else kind or said.get("link_type", "unknown"),
        mac=said.get("address", "").upper(),
        is_up="UP" in flags,
        has_carrier="LOWER_UP" in flags,
        master=said.get("master"),
        parent=said.get("link"),
        vlan_id=data.get("id") if kind == "vlan" else None,
        is_wireless=files.is_wireless,
        temporary_addresses=files.temporary_addresses,
        generation=files.generation,
        addresses=[
            Address(
                text=f"{address['local']}/{address['prefixlen']}",
                family=_FAMILIES[address["family"]],
                reaches_out=address.get("scope") == "global",
                dynamic=bool(address.get("dynamic")),
                tentative=bool(address.get("tentative")),
            )
            for address in said.get("addr_info") or ()
            if address.get("family") in _FAMILIES and "local" in address
        ],
    )


def _routes(family: Family, told: Sequence[Mapping[str, Any]]) -> list[DefaultRoute]:
    """The default routes; one by several ways at once is as many."""
    return [
        DefaultRoute(family=family, link=hop["dev"], gateway=hop.get("gateway"), metric=route.get("metric", 0))
        for route in told
        for hop in route.get("nexthops") or [route]
        if "dev" in hop
    ]


def _by_files(links: Sequence[Mapping[str, Any]]) -> dict[str, _Files]:
    """What only files tell, by the name of the link. Blocks for a moment."""
    return {
        link["ifname"]: _Files(
            is_wireless=Path("/sys/class/net", link["ifname"], "phy80211").exists(),  # ours: the kernel's
            temporary_addresses=_number(link["ifname"], "use_tempaddr") or 0,
            generation=_number(link["ifname"], "addr_gen_mode"),
        )
        for link in links
    }


def _number(link: str, setting: str) -> int | None:
    try:
        return int(Path("/proc/sys/net/ipv6/conf", link, setting).read_text())  # ours: the kernel's
    except (OSError, ValueError):  # no IPv6
        return None


def _nameservers() -> list[str]:
    """Those of the host, but for one on the host itself. Blocks for a moment."""
    for path in RESOLVERS:
        with suppress(OSError):
            return nameservers_in(Path(path).read_text(errors="replace"))  # ours: the host's
    return []


def nameservers_in(text: str) -> list[str]:
    """The addresses that a resolv.conf(5) names, those of this host left out."""
    addresses = []
    for line in text.splitlines():
        word, *rest = line.split()[:2] or [""]
        if word == "nameserver" and rest:
            with suppress(ValueError):
                address = ipaddress.ip_address(rest[0].partition("%")[0])
                if not address.is_loopback:
                    addresses.append(str(address))
    return addresses

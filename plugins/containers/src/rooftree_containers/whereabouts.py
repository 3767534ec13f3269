"""Where a container's token may be used: by that container, and nobody else who has overheard it.

A container on our network has addresses of its own there. One on the host's network has none: its requests come from
the host's own addresses, which no container on the network can have (see :mod:`rooftree_docker.wire`). The unix socket
is shown to no container, so a token that comes over it was copied: by an administrator, who may, or it is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address, ip_address
from itertools import pairwise
from pathlib import Path
from typing import Final

from attrs import frozen

from rooftree.interfaces.containers import Container, ContainerStatus

_IPV4_TRIE: Final = Path("/proc/net/fib_trie")
_IPV6_ADDRESSES: Final = Path("/proc/net/if_inet6")


@frozen
class _Place:
    """Where a container is."""

    on_host: bool
    addresses: frozenset[str]


class ContainerWhereabouts:
    """The addresses of a domain's containers, as the engine showed them last.

    :param look: asks the engine about a container, and lets :meth:`note` know
    :param gateway: the host's address on our network: it is the host's also where we run in a container
    """

    def __init__(self, look: Callable[[str], Awaitable[object]], gateway: Callable[[], Awaitable[str]]) -> None:
        self._look = look
        self._gateway = gateway
        self._places: dict[str, _Place] = {}
        self._host: frozenset[str] = frozenset()

    def note(self, name: str, container: Container | None) -> None:
        """The engine shows this of a container. One that runs no more stays known where it was: its tokens
        end, and what it sent with its last breath is still its own."""
        if container is None:
            self._places.pop(name, None)
        elif container.status is ContainerStatus.RUNNING:
            addresses = (container.ip_address, container.ipv6_address)
            self._places[name] = _Place(container.on_host_network, frozenset(filter(None, addresses)))

    def forget(self, name: str) -> None:
        """It is gone."""
        self._places.pop(name, None)

    def of(self, name: str) -> str:
        """Where it is, for people."""
        place = self._places.get(name)
        if place is None:
            return "nowhere"
        return "on the host's network" if place.on_host else "at " + " and ".join(sorted(place.addresses) or ["none"])

    def admits(self, subject: str, address: str | None) -> bool:
        """Whether a request from there can be its."""
        place = self._places.get(subject)
        if place is None or address is None:
            return False
        return address in (self._host if place.on_host else place.addresses)

    async def look(self, subject: str) -> None:
        """Ask the engine, and the kernel which addresses are the host's. Raises ``Unavailable`` where the engine does
        not answer, and nothing is known from before."""
        await self._look(subject)
        place = self._places.get(subject)
        if place is not None and place.on_host:
            self._host = await asyncio.to_thread(addresses_of_host) | {await self._gateway()}


def addresses_of_host() -> frozenset[str]:
    """Every address of this machine, as this network namespace has it. Blocks."""
    addresses = {"127.0.0.1", "::1"}
    lines = _lines(_IPV4_TRIE)
    for line, following in pairwise(lines):
        if following.strip() == "/32 host LOCAL":
            addresses.add(line.split()[-1])
    for line in _lines(_IPV6_ADDRESSES):
        addresses.add(str(IPv6Address(bytes.fromhex(line.split()[0]))))
    return frozenset(str(ip_address(address)) for address in addresses)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()  # ours: the kernel's
    except OSError:
        return []  # not Linux, or without IPv6

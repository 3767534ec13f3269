"""Ports of the host: what an add-on wants of them, and who listens on them. What conflicts is ``port_conflicts``'s."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from rooftree import Invalid, Problems
from rooftree_addons.container import published_ports
from rooftree_addons.installed import InstalledAddon

PROBLEM: Final = "app_port_conflict"
_LISTENS: Final = {"tcp": "0A", "udp": "07"}
"""The state of a socket that takes what comes, in the kernel's hexadecimal (``include/net/tcp_states.h``): LISTEN for
TCP, and for UDP, which does not listen, CLOSE: not connected to one peer."""


@frozen
class Listener:
    """A socket of the host that has a port; the engine, which takes a port on all addresses, cannot have it too."""

    protocol: str
    port: int
    inode: str


def listeners() -> list[Listener]:
    """Who listens on this machine, over IPv4 and IPv6 (proc_net_tcp). Blocks for a moment."""
    listening = []
    for protocol, listens in _LISTENS.items():
        for table in (protocol, f"{protocol}6"):
            with suppress(FileNotFoundError):  # a kernel without IPv6
                for line in Path("/proc/net", table).read_text().splitlines()[1:]:  # ours: the kernel's
                    fields = line.split()
                    if fields[3] == listens:
                        listening.append(Listener(protocol, int(fields[1].rpartition(":")[2], 16), fields[9]))
    return listening


def page_ports_of_others(installed: Mapping[str, InstalledAddon], slug: str) -> set[int]:
    """The ports that other add-ons have their page at which left that to us."""
    return {other.ingress_port for other in installed.values() if other.ingress_port and other.slug != slug}


def taken_page_ports(installed: Mapping[str, InstalledAddon], slug: str) -> set[int]:
    """Where the page of an add-on can't be that leaves this to us: at the ports of others, nor where somebody else on
    the host listens, whose network it may use. Blocks for a moment."""
    own = installed[slug].ingress_port if slug in installed else None
    listening = {listener.port for listener in listeners() if listener.protocol == "tcp"}
    return page_ports_of_others(installed, slug) | (listening - {own})


def process_of(listener: Listener) -> str | None:
    """The name and id of the program that has the socket, where we may know. Blocks for a moment."""
    wanted = f"socket:[{listener.inode}]"
    for file in Path("/proc").glob("[0-9]*/fd/*"):  # ours: the kernel's
        with suppress(OSError):  # it was closed, or is not ours to look into
            if str(file.readlink()) == wanted:  # ours: the kernel's
                process = file.parent.parent
                name = (process / "comm").read_text(errors="replace").strip()  # ours: the kernel's
                return f"{_printable(name)} (process {process.name})"
    return None


def refuse_doubled_ports(network: Mapping[str, int | None]) -> None:
    """Raise ``Invalid`` where two ports of a container are to have the same port of the host."""
    owners: dict[tuple[int, str], str] = {}
    for name, host in network.items():
        if host is None:
            continue
        other = owners.setdefault((host, protocol_of(name)), name)
        if other != name:
            raise Invalid(f"network.{name}: port {host} of the host is that of {other} already; give each its own")


def clear_past_conflict(problems: Problems, addon: InstalledAddon) -> None:
    """End the problem of a port that the add-on does not want any more."""
    wanted = {port.host for port in published_ports(addon)}
    for problem in problems:
        if (problem.type, problem.reference) == (PROBLEM, addon.slug) and (problem.extra or {}).get(
            "port"
        ) not in wanted:
            problems.clear(PROBLEM, "addon", addon.slug)


def protocol_of(name: str) -> str:
    """Of a port as an add-on names it, such as ``53/udp``."""
    return "udp" if name.endswith("/udp") else "tcp"


def _printable(name: str) -> str:
    """A process calls itself what it likes (prctl(2)), by any bytes."""
    return "".join(character if character.isprintable() else "?" for character in name)

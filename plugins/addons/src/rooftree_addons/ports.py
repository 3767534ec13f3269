"""Ports of the host that an add-on wants, and who has them: asked before it is started, so that the answer names both.

The engine's own refusal stays the last word: where we do not share the network of the engine's host (we run in a
container, or the engine is rootless) there is nothing to look at, and between our look and the start a port may go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from rooftree import Conflict, Invalid, Problem
from rooftree.interfaces.containers import Port
from rooftree_addons.container import published_ports

if TYPE_CHECKING:
    from rooftree_addons.addons import Addons
    from rooftree_addons.installed import InstalledAddon

PROBLEM: Final = "app_port_conflict"
_LISTENS: Final = {"tcp": "0A", "udp": "07"}
"""The state of a socket that takes what comes, in the kernel's hexadecimal (``include/net/tcp_states.h``): LISTEN for
TCP, and for UDP, which does not listen, CLOSE: not connected to one peer."""


class AddonPortConflict(Conflict):
    """A port of the host that the add-on wants is taken. ``extra_fields``: ``app``, ``port`` (int)."""

    status = 400
    error_key = "app_port_conflict"


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


def page_ports_of_others(addons: Addons, slug: str) -> set[int]:
    """The ports that other add-ons have their page at which left that to us."""
    return {other.ingress_port for other in addons.installed.values() if other.ingress_port and other.slug != slug}


def taken_page_ports(addons: Addons, slug: str) -> set[int]:
    """Where the page of an add-on can't be that leaves this to us: at the ports of others, nor where somebody else on
    the host listens, whose network it may use. Blocks for a moment."""
    own = addons.installed[slug].ingress_port if slug in addons.installed else None
    listening = {listener.port for listener in listeners() if listener.protocol == "tcp"}
    return page_ports_of_others(addons, slug) | (listening - {own})


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
        other = owners.setdefault((host, _protocol(name)), name)
        if other != name:
            raise Invalid(f"network.{name}: port {host} of the host is that of {other} already; give each its own")


async def refuse_taken_ports(addons: Addons, addon: InstalledAddon) -> None:
    """Raise :class:`AddonPortConflict`, and report the problem, where a port that the add-on publishes is taken; those
    that its container has already are its own."""
    observation = addons.containers.observation
    own = {(port.protocol, port.host) for port in observation.ports(addon.slug)}
    published = () if addon.config.host_network else published_ports(addon)
    wanted = [port for port in published if (port.protocol, port.host) not in own]
    if not wanted:
        return
    for port in wanted:
        if _holding_addon(addons, addon, port.host, port.protocol):
            raise port_conflict(addons, addon, port.host)
    network = await addons.engine.network()
    if (taken := await asyncio.to_thread(_first_taken, network.interface, wanted)) is not None:
        number, process = taken
        raise port_conflict(addons, addon, number, process)


def port_conflict(
    addons: Addons, addon: InstalledAddon, port: int | None, process: str | None = None
) -> AddonPortConflict:
    """What to raise because a port is taken, once it is reported as a problem.

    :param port: ``None`` where the engine did not say which
    :param process: who has it, where it is known
    """
    holder = _holding_addon(addons, addon, port) or process or "another program or container"
    which = f"Port {port} of the host" if port else "A port of the host"
    message = f"{which}, which add-on {addon.slug} publishes, is in use by {holder}. End that, or choose another port"
    suggestions = ("clear_port_config", "execute_start")
    addons.kernel.problems.report(Problem(PROBLEM, "addon", addon.slug, message, suggestions, extra={"port": port}))
    return AddonPortConflict(message, app=str(addon.slug), port=port)


def clear_past_conflict(addons: Addons, addon: InstalledAddon) -> None:
    """End the problem of a port that the add-on does not want any more."""
    wanted = {port.host for port in published_ports(addon)}
    for problem in addons.kernel.problems:
        if (problem.type, problem.reference) == (PROBLEM, addon.slug) and (problem.extra or {}).get(
            "port"
        ) not in wanted:
            addons.kernel.problems.clear(PROBLEM, "addon", addon.slug)


def _printable(name: str) -> str:
    """A process calls itself what it likes (prctl(2)), by any bytes."""
    return "".join(character if character.isprintable() else "?" for character in name)


def _first_taken(interface: str, wanted: Iterable[Port]) -> tuple[int, str | None] | None:
    if interface not in Path("/proc/net/dev").read_text().replace(":", " ").split():  # ours: the kernel's
        return None  # the engine publishes its ports elsewhere than where we could look
    by_port = {(listener.protocol, listener.port): listener for listener in listeners()}
    for port in wanted:
        listener = by_port.get((port.protocol, port.host))
        if listener is not None:
            return port.host, process_of(listener)
    return None


def _holding_addon(
    addons: Addons, asking: InstalledAddon, number: int | None, protocol: str | None = None
) -> str | None:
    """The running add-on that has the port: as its container was made, whatever was set since then.

    :param protocol: ``None`` for either
    """
    for other in addons.installed.values():
        if other.slug == asking.slug or number is None or not addons.runs(other.slug):
            continue
        if other.config.host_network:
            ports = [(_protocol(name), int(name.partition("/")[0])) for name in other.ports or {}]
        else:
            ports = [(port.protocol, port.host) for port in addons.containers.observation.ports(other.slug)]
        if any(port == number and protocol in {None, kind} for kind, port in ports):
            return f"add-on {other.slug}"
    return None


def _protocol(name: str) -> str:
    return "udp" if name.endswith("/udp") else "tcp"

"""Ports of the host that an add-on wants, and who has them: asked before it is started, so that the answer names both.

The engine's own refusal stays the last word: where we do not share the network of the engine's host (we run in a
container, or the engine is rootless) there is nothing to look at, and between our look and the start a port may go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from rooftree import Conflict, Problem
from rooftree.interfaces.containers import Port
from rooftree_addons.addons import Addons
from rooftree_addons.container import published_ports
from rooftree_addons.installed import InstalledAddon
from rooftree_addons.ports import PROBLEM, listeners, process_of, protocol_of


class AddonPortConflict(Conflict):
    """A port of the host that the add-on wants is taken. ``extra_fields``: ``app``, ``port`` (int)."""

    status = 400
    error_key = "app_port_conflict"


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
            ports = [(protocol_of(name), int(name.partition("/")[0])) for name in other.ports or {}]
        else:
            ports = [(port.protocol, port.host) for port in addons.containers.observation.ports(other.slug)]
        if any(port == number and protocol in {None, kind} for kind, port in ports):
            return f"add-on {other.slug}"
    return None

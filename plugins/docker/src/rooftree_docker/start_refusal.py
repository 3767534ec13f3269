"""Why a container could not be started, in our words: above all a port of the host that is taken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from aiodocker.exceptions import DockerError

from rooftree.errors import RooftreeError
from rooftree.interfaces.containers import ContainerNotFound, PortConflict
from rooftree_docker.engine_client import Explanation, Json, refusal

_PORT_IN_USE: Final = re.compile(r"port is already allocated|address already in use", re.IGNORECASE)


def start_refusal(name: str, doing: str, described: Json) -> Explanation:
    """For the start of a container of that logical name.

    :param described: what the engine says of it
    """
    wanted = _wanted_ports(described)

    def explain(error: DockerError) -> RooftreeError:
        if error.status == 404 and "no such container" in error.message.lower():
            return ContainerNotFound(f"There is no container {name} any more. Start what it belongs to again.")
        if _PORT_IN_USE.search(error.message):
            port = _named_port(error.message, wanted)
            which = f"Port {port}" if port else "A port"
            return PortConflict(
                f"{which} of the host, which {name} wants to publish, is in use. "
                "End the program or container that uses it, or give this one another port.",
                port=port,
            )
        return refusal(doing)(error)

    return explain


def _wanted_ports(described: Json) -> list[int]:
    bindings = (described.get("HostConfig") or {}).get("PortBindings") or {}
    return [int(entry["HostPort"]) for entries in bindings.values() for entry in entries or () if entry["HostPort"]]


def _named_port(text: str, wanted: Sequence[int]) -> int | None:
    """The wanted port that the engine's sentence is about, whatever its wording: IPv4, IPv6, old or new."""
    numbers = {int(number) for number in re.findall(r":(\d{1,5})\b", text)}
    named = [port for port in wanted if port in numbers]
    if len(named) == 1 or (named and len(wanted) > 1):
        return named[0]
    return wanted[0] if len(wanted) == 1 else None

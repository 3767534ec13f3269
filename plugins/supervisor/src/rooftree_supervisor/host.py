"""What can be said of this machine without asking anybody: the answer of ``/info`` until other domains know better."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from rooftree_containers.timezone import host_timezone
from rooftree_machine.machine_types import generic_machine, host_architecture
from rooftree_machine.own_names import own_operating_system
from rooftree_supervisor.version import rooftree_version


@frozen(kw_only=True)
class Host:
    """Facts that stay while the process runs."""

    operating_system: str
    """Such as ``Debian GNU/Linux 12 (bookworm)``."""
    machine_id: str | None
    """32 hex digits, machine-id(5)."""
    timezone: str
    arch: str
    machine: str
    """What it is called unless somebody recognises it."""
    rooftree: str
    """Rooftree's own version."""


def read_host() -> Host:
    """Look at this machine. Reads files: call it in a thread."""
    arch = host_architecture()
    return Host(
        operating_system=own_operating_system(),
        machine_id=read_machine_id(),
        timezone=host_timezone(),
        arch=arch,
        machine=generic_machine(arch),
        rooftree=rooftree_version(),
    )


def read_machine_id(path: Path = Path("/etc/machine-id")) -> str | None:
    """The machine's id, machine-id(5); ``None`` where there is none, or not yet."""
    try:
        text = path.read_text("ascii").strip()  # ours: the host's
    except (OSError, UnicodeDecodeError):
        return None
    return text if len(text) == 32 else None  # "uninitialized" is what an image has before its first boot

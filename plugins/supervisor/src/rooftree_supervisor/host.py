"""What can be said of this machine without asking anybody: the answer of ``/info`` until other domains know better."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from rooftree_containers.timezone import host_timezone
from rooftree_supervisor.version import rooftree_version

_ARCHITECTURES: Final[Mapping[str, str]] = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "armv7l": "armv7",
    "armv6l": "armhf",
    "i686": "i386",
    "i386": "i386",
}
"""The API's word for what uname(2) says; any other is used as it is."""
_GENERIC_MACHINES: Final[Mapping[str, str]] = {"amd64": "generic-x86-64", "aarch64": "generic-aarch64"}


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
    rooftree: str
    """Rooftree's own version."""


def read_host() -> Host:
    """Look at this machine. Reads files: call it in a thread."""
    processor = platform.machine().lower()
    arch = _ARCHITECTURES.get(processor, processor)
    return Host(
        operating_system=_operating_system(),
        machine_id=read_machine_id(),
        timezone=host_timezone(),
        arch=arch,
        machine=_GENERIC_MACHINES.get(arch, arch),
        rooftree=rooftree_version(),
    )


def read_machine_id(path: Path = Path("/etc/machine-id")) -> str | None:
    """The machine's id, machine-id(5); ``None`` where there is none, or not yet."""
    try:
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if len(text) == 32 else None  # "uninitialized" is what an image has before its first boot


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()

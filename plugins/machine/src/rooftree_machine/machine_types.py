"""What architectures and machines are called in the API."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Final

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
"""By what uname(2) says; any other is used as it is."""
_GENERIC: Final[Mapping[str, str]] = {"amd64": "generic-x86-64", "aarch64": "generic-aarch64"}
_OF_BOARDS: Final[Mapping[str, str]] = {
    "odroid-xu4": "odroid-xu",
    "ova": "qemux86-64",
    "rpi0-w": "raspberrypi",
}
"""Machines of Home Assistant OS' boards, where they go by another name altogether."""


def host_architecture() -> str:
    """The architecture that this process runs on: ``amd64``, ``aarch64`` …"""
    processor = platform.machine().lower()
    return _ARCHITECTURES.get(processor, processor)


def generic_machine(architecture: str) -> str:
    """What a machine is called of which only its architecture is known."""
    return _GENERIC.get(architecture, architecture)


def machine_of_board(board: str) -> str:
    """The machine that a board of Home Assistant OS is: ``raspberrypi4-64`` for ``rpi4-64``; most have one name."""
    named = _OF_BOARDS.get(board)
    if named is not None:
        return named
    return f"raspberrypi{board.removeprefix('rpi')}" if board.startswith("rpi") else board

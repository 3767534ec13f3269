"""What is mounted below the data folder, and whether what the host mounts there is seen by us and by containers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_MOUNTINFO: Final = Path("/proc/self/mountinfo")


def mounts_below(folder: Path, mountinfo: Path = _MOUNTINFO) -> set[str]:
    """Where something is mounted in ``folder``, relative to it. Blocks for a moment; nothing mounted is looked at."""
    try:
        lines = mountinfo.read_text(errors="surrogateescape").splitlines()  # ours: the kernel's
    except OSError:
        return set()
    top = os.path.realpath(folder).rstrip("/") + "/"  # ours: the data folder itself
    return {target.removeprefix(top) for target in map(_target, lines) if target.startswith(top)}


def _target(line: str) -> str:
    """Where a line's mount is; blanks are ``\\040``."""
    return line.split(" ")[4].encode("ascii", "surrogateescape").decode("unicode_escape")


def propagates(folder: Path, mountinfo: Path = _MOUNTINFO) -> bool:
    """Whether the mount that ``folder`` lies on gets or shares later mounts of the host: ``shared:`` or ``master:`` in
    proc_pid_mountinfo(5). Blocks for a moment."""
    try:
        lines = mountinfo.read_text(errors="surrogateescape").splitlines()  # ours: the kernel's
    except OSError:
        return False
    nearest: tuple[int, bool] = (-1, False)
    place = os.path.realpath(folder)  # ours: the data folder itself
    for line in lines:
        parts = line.split(" ")
        target = _target(line)
        if place == target or place.startswith(target.rstrip("/") + "/"):
            options = parts[6 : parts.index("-", 6)]
            told = any(option.startswith(("shared:", "master:")) for option in options)
            if len(target) >= nearest[0]:  # the last one of a place is the one on top
                nearest = (len(target), told)
    return nearest[1]

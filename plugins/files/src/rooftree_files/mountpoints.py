"""What is mounted below a folder: another disk's files, that do not belong to it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final

_TABLE: Final = Path("/proc/self/mountinfo")  # proc_pid_mountinfo(5)


def mountpoints_below(folder: Path, table: Path = _TABLE) -> tuple[PurePosixPath, ...]:
    """The paths below ``folder``, relative to it, at which something is mounted; the folder itself is none of them.

    Raises ``OSError`` where the kernel does not tell: what cannot be told apart must not be taken for the folder's.
    """
    place = PurePosixPath(folder.resolve())
    lines = table.read_bytes().splitlines()  # ours: the kernel's
    points = (PurePosixPath(_unescaped(line.split(b" ")[4])) for line in lines)
    return tuple(sorted({point.relative_to(place) for point in points if place in point.parents}))


def _unescaped(path: bytes) -> str:
    """Blanks, tabs, line ends and backslashes stand in the table as ``\\040`` and their like."""
    parts = path.split(b"\\")
    letters = parts[0] + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in parts[1:])
    return letters.decode("utf-8", "surrogateescape")

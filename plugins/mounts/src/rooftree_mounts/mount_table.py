"""What is mounted, as the kernel tells us in ``/proc/self/mountinfo``: proc_pid_mountinfo(5). Reading it asks no file
system, so that it answers whatever is mounted."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

_MOUNTINFO: Final = "/proc/self/mountinfo"


@frozen
class Mounted:
    """One mount."""

    id: str
    """No other mount has it at the same time."""
    target: str
    source: str
    filesystem: str
    device: str
    """``major:minor``."""
    propagates: bool
    """Whether it gets, or shares, mounts that are made in it elsewhere."""


class MountTable:
    """All mounts at one moment, the older first."""

    def __init__(self, mounts: list[Mounted]) -> None:
        self.mounts = mounts
        self._by_target = {mounted.target: mounted for mounted in mounts}

    @classmethod
    def read(cls) -> MountTable:
        """As it is now. Blocks for a moment."""
        text = Path(_MOUNTINFO).read_text(errors="surrogateescape")  # ours: the kernel's
        return cls([_mounted(line) for line in text.splitlines()])

    def at(self, path: Path) -> Mounted | None:
        """What is mounted at exactly that path; the last of several."""
        return self._by_target.get(str(path))

    def holding(self, path: Path) -> Mounted | None:
        """What the path lies on."""
        for parent in (path, *path.parents):
            if (mounted := self.at(parent)) is not None:
                return mounted
        return None

    def below(self, path: Path) -> list[Mounted]:
        """What is mounted below the path, or at it."""
        return [mounted for mounted in self.mounts if Path(mounted.target).is_relative_to(path)]


def _mounted(line: str) -> Mounted:
    fields = line.split(" ")
    end = fields.index("-", 6)
    filesystem, source = fields[end + 1 : end + 3]
    propagates = any(field.startswith(("shared:", "master:")) for field in fields[6:end])
    return Mounted(fields[0], _unescaped(fields[4]), _unescaped(source), filesystem, fields[2], propagates)


def _unescaped(text: str) -> str:
    """Blanks, line ends and backslashes are octal: ``\\040``."""
    head, *parts = text.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in parts)


@contextmanager
def table_changes() -> Iterator[asyncio.Event]:
    """An event that is set whenever something was mounted or unmounted, for the length of the block."""
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    descriptor = os.open(_MOUNTINFO, os.O_RDONLY | os.O_CLOEXEC)  # ours: the kernel's
    # The kernel calls the file readable at any time, and urgent when it has changed: the loop can't tell these apart.
    poll = select.epoll()
    try:
        poll.register(descriptor, select.EPOLLPRI)

        def look() -> None:
            poll.poll(
                0
            )  # which may say that there is nothing: the kernel tells of a change once, and has told the loop
            changed.set()

        loop.add_reader(poll.fileno(), look)
        try:
            yield changed
        finally:
            loop.remove_reader(poll.fileno())
    finally:
        poll.close()
        os.close(descriptor)

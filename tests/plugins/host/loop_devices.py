"""Real devices that a test can make and take away: loop devices of the running kernel."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from attrs import frozen

CONTROL = Path("/dev/loop-control")
ADD, REMOVE = 0x4C80, 0x4C81  # LOOP_CTL_ADD and LOOP_CTL_REMOVE of linux/loop.h


@frozen
class LoopDevice:
    """A loop device that nobody else has."""

    number: int
    control: int

    @property
    def node(self) -> str:
        """Its node."""
        return f"/dev/loop{self.number}"

    def add(self) -> None:
        """Let it appear."""
        fcntl.ioctl(self.control, ADD, self.number)

    def remove(self) -> None:
        """Let it vanish."""
        fcntl.ioctl(self.control, REMOVE, self.number)


@contextmanager
def unused_loop_device() -> Iterator[LoopDevice]:
    """One that is not there yet, and in the end no more; skips the test where there are none."""
    try:
        control = os.open(CONTROL, os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no loop devices can be made here: {error}")
    device = LoopDevice(700 + os.getpid() % 300, control)
    try:
        yield device
    finally:
        with suppress(OSError):
            device.remove()
        os.close(control)

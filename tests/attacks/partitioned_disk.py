"""A real disk to attack: a loop device with a partition table, made and taken away by the test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import frozen

MIB = 1024 * 1024
SECRET = b"everything that the host keeps on this disk"


@frozen
class Disk:
    """A disk with one partition, a file system on it."""

    node: str
    folder: Path

    @property
    def partition(self) -> str:
        """Its partition's node."""
        return f"{self.node}p1"

    @property
    def numbers(self) -> tuple[int, int]:
        """Its major and minor number."""
        return _numbers(self.node)

    @property
    def partition_numbers(self) -> tuple[int, int]:
        """Those of its partition."""
        return _numbers(self.partition)

    @contextmanager
    def mounted(self, *, hidden: bool = False) -> Iterator[None]:
        """Mount the partition; ``hidden``: in a mount namespace that nobody else looks into."""
        place = self.folder / "mounted"
        place.mkdir(exist_ok=True)
        if not hidden:
            subprocess.run(["mount", self.partition, place], check=True)
            try:
                yield
            finally:
                subprocess.run(["umount", place], check=True)
            return
        script = 'mount "$0" "$1" && echo ready && read line'
        with subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, self.partition, place],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield


def _numbers(node: str) -> tuple[int, int]:
    device = Path(node).stat().st_rdev
    return os.major(device), os.minor(device)


@contextmanager
def partitioned_disk(folder: Path) -> Iterator[Disk]:
    """A disk that nobody else uses; skips the test where the kernel has no loop devices with partitions.

    The kernel is told of the partition: it need not know any kind of partition table.
    """
    image = folder / "disk.img"
    image.write_bytes(SECRET)
    os.truncate(image, 8 * MIB)
    made = subprocess.run(
        ["losetup", "--find", "--show", "--partscan", image], capture_output=True, check=False, text=True
    )
    if made.returncode:
        pytest.skip(f"no loop device can be made here: {made.stderr.strip()}")
    disk = Disk(made.stdout.strip(), folder)
    subprocess.run(["addpart", disk.node, "1", str(MIB // 512), str(7 * MIB // 512)], check=False)
    try:
        if not Path(disk.partition).exists():
            pytest.skip("this kernel has no partitions of loop devices")
        subprocess.run(["mkfs.ext4", "-q", disk.partition], check=True)
        yield disk
    finally:
        subprocess.run(["losetup", "--detach", disk.node], check=True)


__all__ = ["SECRET", "Disk", "partitioned_disk"]

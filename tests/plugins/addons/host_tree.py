"""A host's ``/dev``, ``/sys`` and ``/proc`` in a folder: what the kernel would say of disks that nobody here has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rooftree_addons.device_paths import HostTree

DRIVERS = """\
Character devices:
  1 mem
  4 tty
 10 misc
 13 input
 21 sg
 81 video4linux
189 usb_device
226 drm
240 nvme
241 hidraw
242 bsg
243 tpm
244 vcio
250 apex

Block devices:
  8 sd
"""


class RecordedHost:
    """A host that is written down disk by disk."""

    def __init__(self, folder: Path) -> None:
        self.tree = HostTree(folder / "dev", folder / "sys", folder / "proc")
        for path in (self.tree.dev, self.tree.sys / "dev/block", self.tree.sys / "dev/char", self.tree.sys / "block"):
            path.mkdir(parents=True)
        for process in ("1", "self"):
            (self.tree.proc / process).mkdir(parents=True)
        (self.tree.proc / "devices").write_text(DRIVERS)
        self._write()

    def disk(self, name: str, number: str, *, made_of: Sequence[str] = ()) -> None:
        """A whole disk, or what takes the place of one, made of other devices."""
        shown = self.tree.sys / "block" / name
        for folder in ("slaves", "holders"):
            (shown / folder).mkdir(parents=True)
        (shown / "dev").write_text(f"{number}\n")
        (self.tree.sys / "dev/block" / number).symlink_to(shown)
        for below in made_of:
            (shown / "slaves" / below).symlink_to(self._shown(below))
            (self._shown(below) / "holders" / name).symlink_to(shown)

    def partition(self, disk: str, name: str, number: str) -> None:
        """A part of a disk."""
        shown = self.tree.sys / "block" / disk / name
        (shown / "holders").mkdir(parents=True)
        (shown / "dev").write_text(f"{number}\n")
        (shown / "partition").write_text("1\n")
        (self.tree.sys / "dev/block" / number).symlink_to(shown)

    def character(self, number: str, name: str, scsi_type: int | None = None) -> None:
        """A character device that sysfs shows."""
        shown = self.tree.sys / "devices" / name
        (shown / "device").mkdir(parents=True)
        (self.tree.sys / "dev/char" / number).symlink_to(shown)
        if scsi_type is not None:
            (shown / "device" / "type").write_text(f"{scsi_type}\n")

    def node(self, name: str, number: str) -> None:
        """A block device's node below ``/dev``; only root makes such."""
        major, _, minor = number.partition(":")
        os.mknod(self.tree.dev / name, 0o600 | 0o060000, os.makedev(int(major), int(minor)))

    def mount(self, number: str, place: str, source: str = "none", process: str = "1") -> None:
        """Something is mounted, as that process sees it."""
        with (self.tree.proc / process / "mountinfo").open("a") as table:
            table.write(f"30 25 {number} / {place} rw,relatime shared:1 - ext4 {source} rw\n")

    def swap_on(self, path: str) -> None:
        """A swap space."""
        with (self.tree.proc / "swaps").open("a") as table:
            table.write(f"{path}                               partition\t1024\t\t0\t\t-2\n")

    def _write(self) -> None:
        for process in ("1", "self"):
            (self.tree.proc / process / "mountinfo").touch()
        (self.tree.proc / "swaps").write_text("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")

    def _shown(self, name: str) -> Path:
        return next(path for path in self.tree.sys.glob(f"block/**/{name}") if (path / "dev").exists())

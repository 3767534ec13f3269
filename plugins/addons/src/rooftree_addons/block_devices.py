"""Disks and partitions: what of them is in use, by whom, and what the system itself lives on.

All by number, from what the kernel says: the tables of mounts and swap, sysfs's ``holders`` and ``slaves`` (device
mapper, LVM, RAID, encryption), what loop devices are made of, and the kernel itself, which refuses to open for one
alone what anybody has taken, in whatever mount namespace (open(2), ``O_EXCL`` on block devices). Labels and paths say
nothing here: whoever may write to a disk may call it what he likes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Self

from attrs import field, frozen

from rooftree_addons.device_paths import (
    DEV,
    HOST,
    HostTree,
    entries,
    folder_of,
    is_shown,
    is_taken,
    name_of,
    node_at,
    read_attribute,
    read_table,
)

type Block = tuple[int, int]
"""A block device's major and minor."""

SYSTEM_PLACES: Final = frozenset({"/", "/boot", "/boot/efi", "/boot/firmware", "/efi", "/etc", "/mnt/boot", "/mnt/data",
                                  "/mnt/overlay", "/usr", "/var"})  # fmt: skip
"""Where the system's own file systems are mounted; Home Assistant OS has some below ``/mnt``."""
MAX_DEPTH: Final = 16
"""How many layers (encryption on LVM on RAID …) are looked through."""


@frozen
class BlockDevices:
    """What of the host's block devices is in use, at one moment.

    :ivar uses: how each device is used itself: where it is mounted, or that it is swap, or what it is part of
    :ivar system_disks: the whole disks that the system, or the data folder, is on
    :ivar ask_kernel: whether the kernel itself is asked last, which may wake a disk that sleeps
    """

    tree: HostTree
    uses: Mapping[Block, str] = field(factory=dict)
    system_disks: frozenset[Block] = frozenset()
    ask_kernel: bool = True

    @classmethod
    def read(cls, data: Path | None = None, tree: HostTree = HOST, *, ask_kernel: bool = True) -> Self:
        """Look at the whole machine. Blocks for a moment.

        :param data: the data folder
        """
        data = Path(os.path.realpath(data)) if data is not None else None  # ours: the top of the data folder
        uses: dict[Block, str] = {}
        system: set[Block] = set()
        data_device = _device_below(data)
        for block, place in _mounts(tree):
            uses.setdefault(block, f"it is mounted at {place}")
            if place in SYSTEM_PLACES or block == data_device or _lies_on(data, place):
                system.add(block)
        for block in _swap(tree):
            uses.setdefault(block, "it is swap")
        for block, loop in _loop_backing(tree):
            uses.setdefault(block, f"it is what {loop} is made of")
        if data_device is not None:
            system.add(data_device)
        devices = cls(tree, uses)
        disks = {disk for block in system for disk in devices.layers(block) if not devices.is_partition(disk)}
        return cls(tree, uses, frozenset(disks), ask_kernel)

    def why_not(self, block: Block) -> str | None:
        """Why a protected add-on may not have it; ``None`` for a partition that nobody uses. Blocks for a moment."""
        if not is_shown(self._shown(block)):
            return "the kernel has no such disk"
        if not self.is_partition(block):
            return "it is a whole disk, or what takes the place of one"
        layers = list(self.layers(block))
        if not self.system_disks.isdisjoint(layers):
            return "it is on the disk that the system runs from"
        for layer in layers:
            used = self.uses.get(layer) or self._held(layer)
            if used is not None:
                return used if layer == block else f"the disk that it is on is in use: {used}"
        return "the kernel says that it is in use" if self._is_taken(block) else None

    def is_partition(self, block: Block) -> bool:
        """Whether it is part of a disk, and not one itself."""
        return is_shown(self._shown(block) / "partition")

    def layers(self, block: Block) -> Iterator[Block]:
        """The device, the disk it is a part of, and what these are made of, down to the metal."""
        visited = {block}
        level = [block]
        for _ in range(MAX_DEPTH):
            yield from level
            level = [below for upper in level for below in self._below(upper) if below not in visited]
            level = list(dict.fromkeys(level))
            visited.update(level)
            if not level:
                return

    def _below(self, block: Block) -> Iterator[Block]:
        shown = self._shown(block)
        if self.is_partition(block):
            disk = _number(read_attribute(folder_of(shown) / "dev", self.tree))
            if disk is not None:
                yield disk
        for slave in entries(shown / "slaves"):
            made_of = _number(read_attribute(slave / "dev", self.tree))
            if made_of is not None:
                yield made_of
        backing = _backing(shown, self.tree)
        if backing is not None:
            yield backing

    def _held(self, block: Block) -> str | None:
        holders = [entry.name for entry in entries(self._shown(block) / "holders")]
        return f"it is part of {', '.join(holders[:5])}" if holders else None

    def _is_taken(self, block: Block) -> bool:
        name = name_of(self._shown(block))
        return self.ask_kernel and name is not None and is_taken(f"{DEV}{name.replace('!', '/')}", self.tree)

    def _shown(self, block: Block) -> Path:
        return self.tree.sys / "dev" / "block" / f"{block[0]}:{block[1]}"


def _number(text: str | None) -> Block | None:
    major, _, minor = (text or "").strip().partition(":")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


def _mounts(tree: HostTree) -> Iterator[tuple[Block, str]]:
    """What is mounted, and where: in the host's first process's eyes where we may look through them, and in ours.

    A file system that has no device of its own (btrfs, bcachefs) says by its source which it is on.
    """
    lines = [*read_table(tree.proc / "1" / "mountinfo"), *read_table(tree.proc / "self" / "mountinfo")]
    for line in dict.fromkeys(lines):
        before, _, after = line.partition(" - ")
        parts, kinds = before.split(" "), after.split(" ")
        if len(parts) < 5 or len(kinds) < 2:
            continue
        number, place = _number(parts[2]), _unescaped(parts[4])
        if number is not None and number[0]:
            yield number, place
        for source in _unescaped(kinds[1]).split(":"):
            block = _block_at(source, tree)
            if block is not None:
                yield block, place


def _swap(tree: HostTree) -> Iterator[Block]:
    for line in read_table(tree.proc / "swaps")[1:]:
        block = _block_at(_unescaped(line.split(" ")[0].split("\t")[0]), tree)
        if block is not None:
            yield block


def _loop_backing(tree: HostTree) -> Iterator[tuple[Block, str]]:
    for entry in entries(tree.sys / "block"):
        block = _backing(entry, tree)
        if block is not None:
            yield block, entry.name


def _backing(shown: Path, tree: HostTree) -> Block | None:
    """The block device that a loop device is made of; ``None`` where it is made of a file, or no loop device."""
    path = read_attribute(shown / "loop" / "backing_file", tree)
    return _block_at(path.strip(), tree) if path else None


def _block_at(path: str, tree: HostTree) -> Block | None:
    node = node_at(path, tree)
    if node is None or not stat.S_ISBLK(node[1].st_mode):
        return None
    return os.major(node[1].st_rdev), os.minor(node[1].st_rdev)


def _unescaped(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _device_below(folder: Path | None) -> Block | None:
    """The block device that a folder is on, where its file system has one of its own."""
    try:
        device = folder.stat().st_dev if folder is not None else 0  # ours: the top of the data folder
    except OSError:
        return None
    return (os.major(device), os.minor(device)) if os.major(device) else None


def _lies_on(folder: Path | None, place: str) -> bool:
    """Whether a folder is below a place where something is mounted, other than the root."""
    return folder is not None and place != "/" and folder.is_relative_to(place)

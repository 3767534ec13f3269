"""A part as an inner archive: documents, an image, and trees read from open folder to open folder, links not followed.

What is in a tree may change while it is read. What goes is left out, what is replaced is taken as it is now; a file
that is cut while it is read is an error, for nobody could tell it from a whole one afterwards.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from attrs import field, frozen

from rooftree.errors import RooftreeError
from rooftree_archives.faults import SourceRefused
from rooftree_archives.pipeline import CHUNK, Chunk
from rooftree_archives.tar_headers import (
    BLOCK,
    FILE,
    FOLDER,
    HARD_LINK,
    LINK,
    PIPE,
    RECORD,
    Member,
    encode,
    padding,
)
from rooftree_files import Entry, Folder, TreeLimits, printable, walk

LIMITS: Final = TreeLimits(entries=5_000_000, depth=1_000)
"""What can be put back as well: a folder is held open for each level."""
_MOST_LINKED: Final = 100_000
"""So many files with further names are kept in mind; those of the others become files of their own."""
_MOST_EXTENTS: Final = 20_000
"""A file with more holes is stored without them."""
_SMALLEST_HOLE: Final = 64 * 1024


@frozen(kw_only=True)
class Tree:
    """A folder of a part; the fields are those of ``rooftree.interfaces.backups.PartTree``."""

    source: str
    name: str
    excluded: tuple[str, ...] = ()
    matching: str = "tail"
    read_from: str | None = None


@frozen(kw_only=True)
class Contents:
    """What a part holds; the fields are those of ``PartContents``."""

    data_folder: Path
    documents: Mapping[str, bytes] = field(factory=dict)
    trees: Sequence[Tree] = ()
    image: Path | None = None
    files: Mapping[str, Path] = field(factory=dict)


def pack(contents: Contents, put: Callable[[Chunk], None], progress: Callable[[int], None]) -> int:
    """Write a part as a tar archive. Returns the bytes of all files in it. Raises :class:`SourceRefused`.

    :param progress: told the bytes of files so far
    """
    packing = _Packing(contents, put, progress)
    try:
        packing.run()
    except RooftreeError as error:
        raise SourceRefused(error.message) from error
    except OSError as error:
        raise SourceRefused(f"{printable(packing.name)} can't be read: {error.strerror}") from error
    return packing.size


class _Packing:
    def __init__(self, contents: Contents, put: Callable[[Chunk], None], progress: Callable[[int], None]) -> None:
        self._contents = contents
        self._put = put
        self._progress = progress
        self._buffer = bytearray(CHUNK)
        self._filled = 0
        self._written = 0
        self._linked: dict[tuple[int, int], list[str | int]] = {}
        self._replaced = dict(contents.files)
        self._mounts = _mount_points()
        self.size = 0
        self.name = "."
        """What was begun with last."""

    def run(self) -> None:
        root = next((tree for tree in self._contents.trees if not tree.name), None)
        if root is None:
            self._member(Member(name=".", kind=FOLDER, mode=0o700, mtime_ns=time.time_ns()))
        for name, document in self._contents.documents.items():
            self._member(Member(name=f"./{name}", size=len(document), mode=0o600, mtime_ns=time.time_ns()))
            self._write(document)
            self._pad(len(document))
        if self._contents.image is not None:
            self._add_ours("./image.tar", self._contents.image)
        with Folder.open(self._contents.data_folder) as data:
            for tree in self._contents.trees:
                self.name = tree.source
                with data.folder(tree.read_from or tree.source) as folder:
                    self._add_tree(folder, tree)
        for path, file in self._replaced.items():  # what they stand for is not there any more
            self._add_ours(path, file)
        self._write(bytes(2 * BLOCK))
        self._write(bytes(-self._written % RECORD))
        self._flush()

    # --- what is archived ---------------------------------------------------------------------------------------------

    def _add_tree(self, folder: Folder, tree: Tree) -> None:
        left_out = _exclusion(tree)
        self.name = tree.name or "."
        where = str(Path(f"/proc/self/fd/{folder.descriptor}").readlink())  # ours: the kernel's
        prefix = f"{tree.name}/" if tree.name else ""
        self._describe(tree.name or ".", os.fstat(folder.descriptor), folder.descriptor)

        def wanted(entry: Entry) -> bool:
            path = entry.path
            return not left_out(path) and not (entry.is_folder and f"{where}/{path}" in self._mounts)

        for entry in walk(folder, LIMITS, enter=wanted):
            if wanted(entry):
                self._add(entry, prefix + entry.path)

    def _add(self, entry: Entry, name: str) -> None:
        self.name = name
        replacement = self._replaced.pop(name, None)
        if replacement is not None:
            self._add_ours(name, replacement, entry.status)
            return
        try:
            seen = os.open(entry.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.folder)
        except FileNotFoundError:
            return
        try:
            status = os.fstat(seen)
            if stat.S_ISDIR(status.st_mode) != entry.is_folder:
                return  # what was there has gone, and what came is not looked into
            if stat.S_ISREG(status.st_mode):
                self._add_file(name, seen, status)
            elif stat.S_ISLNK(status.st_mode):
                target = os.readlink("", dir_fd=seen)
                self._member(_described(name, status, kind=LINK, target=target))
            elif stat.S_ISDIR(status.st_mode):
                self._describe(name, status, seen)
            elif stat.S_ISFIFO(status.st_mode):
                self._member(_described(name, status, kind=PIPE))
            # Sockets are remade by who listens on them, device nodes mean another thing on another machine.
        finally:
            os.close(seen)

    def _describe(self, name: str, status: os.stat_result, descriptor: int) -> None:
        self._member(_described(name, status, kind=FOLDER, attributes=_attributes(descriptor)))

    def _add_file(self, name: str, seen: int, status: os.stat_result) -> None:
        if status.st_nlink > 1:
            original = self._linked.get((status.st_dev, status.st_ino))
            if original is not None:
                self._member(_described(name, status, kind=HARD_LINK, target=str(original[0])))
                original[1] = int(original[1]) - 1
                if not original[1]:
                    del self._linked[status.st_dev, status.st_ino]
                return
            if len(self._linked) < _MOST_LINKED:
                self._linked[status.st_dev, status.st_ino] = [name, status.st_nlink - 1]
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(f"/proc/self/fd/{seen}", flags)  # ours: the kernel's
        try:
            self._copy(_described(name, os.fstat(descriptor), attributes=_attributes(descriptor)), descriptor)
        finally:
            os.close(descriptor)

    def _add_ours(self, name: str, file: Path, original: os.stat_result | None = None) -> None:
        """A file of our own, with owner, mode and time of what it stands for."""
        self.name = name
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)  # ours: made for this backup
        try:
            status = os.fstat(descriptor)
            member = _described(name, original or status)
            member.size = status.st_size
            self._copy(member, descriptor)
        finally:
            os.close(descriptor)

    # --- bytes --------------------------------------------------------------------------------------------------------

    def _copy(self, member: Member, descriptor: int) -> None:
        size = member.size
        extents = _extents(descriptor, size)
        if extents is not None:
            table = b"".join(b"%d\n" % number for number in (len(extents), *(at for pair in extents for at in pair)))
            table += bytes(padding(len(table)))
            member.sparse_size = size
            member.size = len(table) + sum(length for _, length in extents)
            self._member(member)
            self._write(table)
        else:
            extents = [(0, size)]
            self._member(member)
        for begin, length in extents:
            self._copy_range(member.name, descriptor, begin, length)
        self._pad(member.size)

    def _copy_range(self, name: str, descriptor: int, begin: int, length: int) -> None:
        end = begin + length
        while begin < end:
            room = memoryview(self._buffer)[self._filled : self._filled + min(end - begin, CHUNK - self._filled)]
            count = os.preadv(descriptor, [room], begin)
            if not count:
                raise SourceRefused(f"{printable(name)} was cut while it was read")
            begin += count
            self.size += count
            self._advance(count)
        self._progress(self.size)

    def _member(self, member: Member) -> None:
        self._write(encode(member))

    def _pad(self, size: int) -> None:
        self._write(bytes(padding(size)))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = min(len(view), CHUNK - self._filled)
            self._buffer[self._filled : self._filled + count] = view[:count]
            view = view[count:]
            self._advance(count)

    def _advance(self, count: int) -> None:
        self._filled += count
        self._written += count
        if self._filled == CHUNK:
            self._flush()
            self._progress(self.size)

    def _flush(self) -> None:
        if self._filled:
            self._put(memoryview(self._buffer)[: self._filled])
            self._buffer = bytearray(CHUNK)
            self._filled = 0


def _described(
    name: str, status: os.stat_result, *, kind: bytes = FILE, target: str = "", attributes: Mapping[str, bytes] = {}
) -> Member:
    return Member(
        name=name, kind=kind, size=status.st_size if kind == FILE else 0, mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid, gid=status.st_gid, mtime_ns=status.st_mtime_ns, target=target, attributes=attributes,
    )  # fmt: skip


def _attributes(descriptor: int) -> Mapping[str, bytes]:
    """Extended attributes of something open, or only looked at."""
    path = f"/proc/self/fd/{descriptor}"
    try:
        return {name: os.getxattr(path, name) for name in os.listxattr(path)}  # ours: the kernel's
    except OSError:  # the file system has none, or they went meanwhile
        return {}


def _extents(descriptor: int, size: int) -> list[tuple[int, int]] | None:
    """Where a file has data, as offset and length, with an empty one at its end; ``None`` where it has no holes."""
    if os.fstat(descriptor).st_blocks * 512 >= size:
        return None
    extents: list[tuple[int, int]] = []
    at = holes = 0
    while at < size:
        try:
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:  # a hole up to the end
            begin = size
        holes += begin - at
        if begin >= size:
            break
        at = min(os.lseek(descriptor, begin, os.SEEK_HOLE), size)
        if at <= begin:
            return None  # it changes
        extents.append((begin, at - begin))
    if holes < _SMALLEST_HOLE or len(extents) > _MOST_EXTENTS:
        return None
    return [*extents, (size, 0)]


def _exclusion(tree: Tree) -> Callable[[str], bool]:
    """Whether a path below the tree is left out."""
    if not tree.excluded:
        return lambda _: False
    if tree.matching == "whole":
        return lambda path: any(PurePosixPath(path).full_match(pattern) for pattern in tree.excluded)
    whole = PurePosixPath("/data", tree.source)  # where the existing supervisor has it: patterns may begin there
    return lambda path: any((whole / path).match(pattern) for pattern in tree.excluded)


def _mount_points() -> frozenset[str]:
    """Where something is mounted, as paths."""
    text = Path("/proc/self/mountinfo").read_bytes()  # ours: the kernel's
    points = (line.split(b" ", 5)[4] for line in text.splitlines())
    return frozenset(os.fsdecode(point.decode("unicode_escape").encode("latin-1")) for point in points)

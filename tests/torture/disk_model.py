"""What a disk may hold after a power cut, worked out from the system calls that a process made.

A run is recorded with strace. Its calls are replayed into a model that keeps apart what was flushed and what was only
written: of the latter a power cut keeps any subset of 512-byte sectors, in any order. Changes to folders that were not
flushed survive up to some point in their order, as journaling file systems have it; flushing a file does not flush its
name. Nothing here is about one file format: the images are folders, to be opened by whatever wrote the original.
"""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from functools import partial
from pathlib import Path, PurePosixPath

from attrs import define, field, frozen

SECTOR_BYTES = 512
CALLS = "openat,pwrite64,write,sendfile,fsync,fdatasync,ftruncate,rename,unlink,mkdir"

_STRING = r'"((?:\\x[0-9a-f]{2})*)"'
_UNFINISHED = re.compile(r"^(\d+) +(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)\) += (\d+)(?:<(.*)>)?$")
_FILE = re.compile(r"^(\d+)<([^>]*)>")


@frozen
class Call:
    """One system call that succeeded."""

    name: str
    arguments: str
    result: int
    opened: str | None
    """The path of the file that was opened."""

    def strings(self) -> list[bytes]:
        """The string arguments, in order."""
        return [_plain(text) for text in re.findall(_STRING, self.arguments)]

    def descriptor(self) -> tuple[int, PurePosixPath]:
        """The first argument: a descriptor, and the file that it is."""
        found = _FILE.match(self.arguments)
        assert found, self
        return int(found[1]), _path(found[2])

    def source(self) -> PurePosixPath:
        """The file of the second argument."""
        found = re.search(r", \d+<([^>]*)>", self.arguments)
        assert found, self
        return _path(found[1])

    def numbers(self) -> list[int]:
        """The numbers at the end of the arguments."""
        return [int(text) for text in re.findall(r", (\d+)(?=,|$)", self.arguments)]


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _path(text: str) -> PurePosixPath:
    return PurePosixPath(_plain(text).decode() if text.startswith("\\x") else text)


def record(strace: str, arguments: Sequence[str], log: Path) -> list[Call]:
    """Run a command to its end and return what it and its children did to files, in the order of completion."""
    tracing = [strace, "-f", "-y", "-xx", "-s", "10000000", "-e", f"trace={CALLS}", "-o", str(log)]
    subprocess.run([*tracing, *arguments], check=True, stdout=subprocess.DEVNULL, timeout=120)
    return list(_calls(log))


def _calls(log: Path) -> Iterator[Call]:
    unfinished: dict[str, str] = {}
    with log.open() as lines:
        for raw in lines:
            line = raw.rstrip("\n")
            if begun := _UNFINISHED.match(line):
                unfinished[begun[1]] = begun[2]
                continue
            if ended := _RESUMED.match(line):
                line = f"{ended[1]} {unfinished.pop(ended[1])}{ended[2]}"
            if call := _CALL.match(line):
                yield Call(call[2], call[3], int(call[4]), call[5])


@frozen
class _Write:
    offset: int
    data: bytes

    def sectors(self) -> Iterator[_Write]:
        """The parts that a disk writes in one go."""
        start = 0
        while start < len(self.data):
            length = SECTOR_BYTES - (self.offset + start) % SECTOR_BYTES
            yield _Write(self.offset + start, self.data[start : start + length])
            start += length

    def apply(self, content: bytearray) -> None:
        content.extend(b"\0" * (self.offset - len(content)))
        content[self.offset : self.offset + len(self.data)] = self.data


@frozen
class _Truncate:
    size: int

    def apply(self, content: bytearray) -> None:
        del content[self.size :]
        content.extend(b"\0" * (self.size - len(content)))


@define(eq=False)
class _File:
    flushed: bytearray = field(factory=bytearray)
    pending: list[_Write | _Truncate] = field(factory=list)
    size: int = 0

    def write(self, offset: int, data: bytes) -> None:
        self.pending.append(_Write(offset, data))
        self.size = max(self.size, offset + len(data))

    def truncate(self, size: int) -> None:
        self.pending.append(_Truncate(size))
        self.size = size

    def flush(self) -> None:
        self.flushed = self.after(_all)
        self.pending.clear()

    def after(self, keep: Callable[[int, int], bool]) -> bytearray:
        """The content when ``keep`` has decided about each sector that was not flushed: which change, which sector."""
        content = bytearray(self.flushed)
        for number, change in enumerate(self.pending):
            parts: Iterable[_Write | _Truncate] = change.sectors() if isinstance(change, _Write) else [change]
            for sector, part in enumerate(parts):
                if keep(number, sector):
                    part.apply(content)
        return content


def _all(change: int, sector: int) -> bool:
    return True


def _is_in(kept: Set[tuple[_File, int]], file: _File, change: int, sector: int) -> bool:
    return (file, change) in kept


type _Entry = _File | None


@frozen
class _Rename:
    """A name that comes to stand for ``entry``; ``gone`` is the one it had before."""

    name: PurePosixPath
    entry: _Entry
    gone: PurePosixPath | None = None

    def folders(self) -> set[PurePosixPath]:
        return {path.parent for path in (self.name, self.gone) if path is not None}

    def apply(self, names: dict[PurePosixPath, _Entry]) -> None:
        if self.gone is not None:
            names.pop(self.gone, None)
        names[self.name] = self.entry


@frozen
class _Unlink:
    name: PurePosixPath

    def folders(self) -> set[PurePosixPath]:
        return {self.name.parent}

    def apply(self, names: dict[PurePosixPath, _Entry]) -> None:
        names.pop(self.name, None)


class Disk:
    """The model of everything below one folder; a folder's entry is ``None``."""

    def __init__(self, root: Path) -> None:
        """Begin with what lies at ``root``, all of it flushed."""
        self.root = PurePosixPath(root)
        self.output = b""
        self._names: dict[PurePosixPath, _Entry] = {}
        for path in sorted(root.rglob("*")):
            content = None if path.is_dir() else bytearray(path.read_bytes())
            self._names[PurePosixPath(path)] = None if content is None else _File(content, size=len(content))
        self._flushed_names = dict(self._names)
        self._pending: list[_Rename | _Unlink] = []

    def replay(self, call: Call) -> bool:
        """Do one call; whether it concerned this disk."""
        match call.name:
            case "openat":
                return self._open(call)
            case "mkdir" | "unlink" | "rename":
                return self._change_names(call.name, [PurePosixPath(text.decode()) for text in call.strings()])
        number, path = call.descriptor()
        if call.name == "write" and number == 1:
            self.output += call.strings()[0]
        if path == self.root or path in self._names:
            file = self._names.get(path)
            if call.name in {"fsync", "fdatasync"}:
                self._flush(path, file)
            elif file is not None:
                self._write(call, file)
            return True
        return False

    def _open(self, call: Call) -> bool:
        assert call.opened is not None
        path = _path(call.opened)
        if not path.is_relative_to(self.root) or path == self.root:
            return False
        if path not in self._names:
            self._change(_Rename(path, _File()))
        file = self._names[path]
        if file is not None and "O_TRUNC" in call.arguments:
            file.truncate(0)
        return True

    def _change_names(self, verb: str, paths: list[PurePosixPath]) -> bool:
        if not all(path.is_relative_to(self.root) and path != self.root for path in paths):
            return False
        if verb == "mkdir":
            self._change(_Rename(paths[0], None))
        elif verb == "unlink":
            self._change(_Unlink(paths[0]))
        else:
            self._change(_Rename(paths[1], self._names[paths[0]], paths[0]))
        return True

    def _change(self, change: _Rename | _Unlink) -> None:
        self._pending.append(change)
        change.apply(self._names)

    def _write(self, call: Call, file: _File) -> None:
        """What appends (``write``, ``sendfile``) is only understood for files that are written once, from the start."""
        if call.name == "ftruncate":
            file.truncate(call.numbers()[-1])
        elif call.name == "pwrite64":
            file.write(call.numbers()[-1], call.strings()[0])
        elif call.name == "sendfile":
            source = self._names[call.source()]
            assert source is not None
            file.write(file.size, bytes(source.after(_all)[file.size : file.size + call.result]))
        else:
            file.write(file.size, call.strings()[0])

    def _flush(self, path: PurePosixPath, file: _Entry) -> None:
        if file is not None:
            file.flush()
            return
        for change in [change for change in self._pending if path in change.folders()]:
            change.apply(self._flushed_names)
            self._pending.remove(change)

    def power_cut(self, image: Path, chance: random.Random, kept: float) -> None:
        """Make what the disk may hold now at ``image``; of what was not flushed a share of ``kept`` survives."""
        contents = {file: file.after(lambda *_: chance.random() < kept) for file in self._files()}
        self._make(image, round(len(self._pending) * kept), contents)

    def every_power_cut(self, image: Path, most_writes: int) -> Iterator[bool]:
        """Make, one after the other, at ``image`` all that the disk may hold now by this reckoning: each beginning of
        the changes to folders, with each set of writes, and with all writes of which one ends at any of its sectors.

        Yields whether that was everything: with more than ``most_writes`` writes it is their beginnings only.
        """
        writes = [(file, number) for file in self._files() for number in range(len(file.pending))]
        complete = len(writes) <= most_writes
        sets = range(1 << len(writes)) if complete else [(1 << many) - 1 for many in range(len(writes) + 1)]
        seen = set[tuple[int, tuple[bytes, ...]]]()
        for names in range(len(self._pending) + 1):
            for contents in (*map(partial(self._with_set, writes), sets), *self._torn(writes)):
                key = (names, tuple(hashlib.sha256(content).digest() for content in contents.values()))
                if key not in seen:
                    seen.add(key)
                    self._make(image, names, contents)
                    yield complete

    def _files(self) -> list[_File]:
        on_the_way = [change.entry for change in self._pending if isinstance(change, _Rename)]
        files = [*self._names.values(), *self._flushed_names.values(), *on_the_way]
        return list(dict.fromkeys(file for file in files if file is not None))

    def _with_set(self, writes: list[tuple[_File, int]], chosen: int) -> dict[_File, bytearray]:
        kept = {write for bit, write in enumerate(writes) if chosen >> bit & 1}
        return {file: file.after(partial(_is_in, kept, file)) for file in self._files()}

    def _torn(self, writes: list[tuple[_File, int]]) -> Iterator[dict[_File, bytearray]]:
        for torn, number in writes:
            change = torn.pending[number]
            for sectors in range(1, len(list(change.sectors()))) if isinstance(change, _Write) else ():

                def keep(change: int, sector: int, number: int = number, sectors: int = sectors) -> bool:
                    return change != number or sector < sectors

                yield {file: file.after(keep if file is torn else _all) for file in self._files()}

    def _make(self, image: Path, changes: int, contents: dict[_File, bytearray]) -> None:
        """Make an image with so many of the changes to folders."""
        names = dict(self._flushed_names)
        for change in self._pending[:changes]:
            change.apply(names)
        image.mkdir()
        for name, file in sorted(names.items(), key=lambda entry: len(entry[0].parts)):
            path = image / name.relative_to(self.root)
            path.parent.mkdir(parents=True, exist_ok=True)
            if file is None:
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(contents[file])

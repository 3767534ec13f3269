"""An archive that is being made, in a file with a hidden name beside the one that it will have."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from attrs import define, frozen

from rooftree_archives.checking import Checking
from rooftree_archives.deflating import Deflate
from rooftree_archives.faults import Damaged, TargetFailed
from rooftree_archives.inner_archives import DIGEST, open_part
from rooftree_archives.naming import create_hidden, give_name
from rooftree_archives.outer_archive import InnerArchive, read_outer
from rooftree_archives.packing import Contents, pack
from rooftree_archives.pipeline import Chunk, Outflow, Stage
from rooftree_archives.tar_headers import BLOCK, RECORD, Member, encode, padding
from rooftree_archives.unpacking import UnpackLimits, unpack
from rooftree_files import Folder

if TYPE_CHECKING:
    from rooftree_archives.sealing import Keys, Seal

_WHATEVER: Final = UnpackLimits(ratio=2**40)


@frozen
class MadePart:
    """A part in the archive: its place there, its digest, and the bytes of what is in it."""

    inner: InnerArchive
    kind: str
    digest: str
    size: int


class Archive:
    """An archive that is being made. A part that fails leaves nothing in it."""

    def __init__(
        self, folder: Folder, hidden_name: str, password: str | None, version: Literal[2, 3], compressed: bool
    ) -> None:
        self._folder = folder
        self._hidden_name = hidden_name
        self._seal: Callable[[], Seal] | None = None
        self._keys: Keys | None = None
        if password is not None:
            from rooftree_archives.sealing import Keys, Seal  # noqa: PLC0415  # not for archives that are not encrypted

            keys = self._keys = Keys(password)
            self._seal = lambda: Seal(keys, version)
        self._version = version
        self._compressed = compressed
        self._parts: dict[str, MadePart] = {}
        self._size = 0
        self._descriptor = create_hidden(folder, hidden_name)

    def add(self, key: str, kind: str, contents: Contents, progress: Callable[[int], None]) -> MadePart:
        """Read a part and store it. Raises what :func:`~rooftree_archives.packing.pack` does, and
        :class:`TargetFailed`."""
        name = f"{key}.tar.gz" if self._compressed else f"{key}.tar"
        header = encode(Member(name=name, mtime_ns=time.time_ns()), always_extended=True)
        begin = self._size + len(header)
        seal = None if self._seal is None else self._seal()
        digest, sink = _Digest(), _Sink(self._descriptor, begin)
        stages: list[Stage] = [digest, seal, sink] if seal is not None else [digest, sink]
        try:
            with ExitStack() as threads:
                if self._compressed:
                    stages.insert(0, threads.enter_context(closing(Deflate())))
                flow = threads.enter_context(Outflow(*stages))
                size = pack(contents, flow.put, progress)
            stored = sink.position - begin
            if seal is not None:
                self._write(seal.header(), begin)
            inner = InnerArchive(name, begin, stored)
            self._write(bytes(padding(stored)), sink.position)
            self._write(
                encode(Member(name=name, size=stored, mtime_ns=time.time_ns()), always_extended=True), self._size
            )
        except BaseException:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size = sink.position + padding(stored)
        made = MadePart(inner, kind, digest.text, size)
        self._parts[key] = made
        return made

    def publish(self, name: str, metadata: bytes, *, replace: bool, progress: Callable[[int, int], None]) -> None:
        """Complete it, read it back, and give it its name. Raises :class:`Damaged`, :class:`TargetFailed`,
        ``TargetExists``."""
        block = encode(Member(name="./backup.json", size=len(metadata), mtime_ns=int(time.time()) * 1_000_000_000))
        end = block + metadata + bytes(padding(len(metadata))) + bytes(2 * BLOCK)
        end += bytes(-(self._size + len(end)) % RECORD)
        self._write(end, self._size)
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise TargetFailed(f"The archive can't be written: {error.strerror}") from error
        self._read_back(metadata, progress)
        give_name(self._folder, self._hidden_name, name, replace=replace)

    def _write(self, data: bytes, at: int) -> None:
        try:
            rest = memoryview(data)
            while rest:
                count = os.pwrite(self._descriptor, rest, at)
                rest, at = rest[count:], at + count
        except OSError as error:
            raise TargetFailed(f"The archive can't be written: {error.strerror}") from error

    def _read_back(self, metadata: bytes, progress: Callable[[int, int], None]) -> None:
        outer = read_outer(self._descriptor)
        if outer.metadata != metadata or dict(outer.inner) != {key: part.inner for key, part in self._parts.items()}:
            raise Damaged("What was written can't be read back: its members are not what they were")
        total = sum(part.inner.size for part in self._parts.values())
        done = 0
        for key, part in self._parts.items():
            try:
                self._check(part, partial(_tell, progress, done, total))
            except Damaged as error:
                raise Damaged(f"What was written can't be read back: {key}: {error}") from None
            done += part.inner.size

    def _check(self, part: MadePart, progress: Callable[[int], None]) -> None:
        keys, expected = self._keys, part.digest
        with open_part(
            self._descriptor, part.inner, keys, protected=keys is not None, expected=expected, progress=progress
        ) as stream:
            if stream.version != (0 if keys is None else self._version):
                raise Damaged("it is not encrypted as it should be")
            for _ in unpack(stream.tar, part.kind, Checking(), _WHATEVER, part.inner.size):
                pass
            stream.finish()


def _tell(progress: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    progress(before + done, total)


class _Digest:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    @property
    def text(self) -> str:
        return f"{DIGEST}:{self._hash.hexdigest()}"

    def take(self, chunk: Chunk) -> Iterable[Chunk]:
        self._hash.update(chunk)
        yield chunk

    def end(self) -> Iterable[Chunk]:
        return ()


@define
class _Sink:
    """The last stage: the file."""

    _descriptor: int
    position: int

    def take(self, chunk: Chunk) -> Iterable[Chunk]:
        rest = memoryview(chunk)
        try:
            while rest:
                count = os.pwrite(self._descriptor, rest, self.position)
                rest = rest[count:]
                self.position += count
        except OSError as error:
            raise TargetFailed(f"The archive can't be written: {error.strerror}") from error
        return ()

    def end(self) -> Iterable[Chunk]:
        return ()

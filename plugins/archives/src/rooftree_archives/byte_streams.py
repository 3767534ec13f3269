"""Bytes to be read one after another: from chunks that come, or from a file in which one can go on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from rooftree_archives.faults import Damaged
from rooftree_archives.pipeline import Chunk
from rooftree_archives.tar_headers import BLOCK, END, Member, decode, padding


class ByteStream:
    """The bytes of chunks.

    :ivar position: how many were read
    """

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self.position = 0

    def take(self, size: int) -> bytes:
        """Exactly that many; raises :class:`Damaged` where there are fewer."""
        if size <= len(self._rest):
            taken = bytes(self._rest[:size])
            self._rest = self._rest[size:]
            self.position += size
            return taken
        parts: list[bytes] = []
        self.pour(size, lambda piece: parts.append(bytes(piece)))
        return b"".join(parts)

    def pour(self, size: int, into: Callable[[memoryview], object]) -> None:
        """As :meth:`take`, in pieces, as they come."""
        while size:
            if not self._rest and not self._fill():
                raise Damaged("it ends in the middle")
            piece = self._rest[:size]
            self._rest = self._rest[len(piece) :]
            self.position += len(piece)
            size -= len(piece)
            into(piece)

    def skip(self, size: int) -> None:
        """Leave so many out."""
        self.pour(size, len)

    def drain(self) -> None:
        """Read to the end: what checks the stream may have it checked only there."""
        while self._rest or self._fill():
            self.skip(len(self._rest))

    def _fill(self) -> bool:
        for chunk in self._chunks:
            if len(chunk):
                self._rest = memoryview(chunk)
                return True
        return False


class FileBytes:
    """The bytes of an open tar archive, some at a time: what is skipped is not read. Where the file ends, the block of
    zeros that should come first is taken for granted."""

    _AHEAD = 4096

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._buffer = b""
        self._buffered_from = 0
        self.position = 0

    def take(self, size: int) -> bytes:
        """As :meth:`ByteStream.take`."""
        if self.position == self._size and size == BLOCK:
            return END
        begin = self.position - self._buffered_from
        if not 0 <= begin <= len(self._buffer) - size:
            self._buffer = os.pread(self._descriptor, max(size, self._AHEAD), self.position)
            self._buffered_from, begin = self.position, 0
        taken = self._buffer[begin : begin + size]
        if len(taken) < size:
            raise Damaged("it ends in the middle")
        self.position += size
        return taken

    def skip(self, size: int) -> None:
        """As :meth:`ByteStream.skip`."""
        if self.position + size > self._size:
            raise Damaged("it ends in the middle")
        self.position += size


def members(source: ByteStream | FileBytes) -> Iterator[Member]:
    """The members of a tar archive up to the block of zeros that ends it; what is not read of one is skipped before
    the next. Raises :class:`Damaged`."""
    while (member := decode(source.take)) is not None:
        end = source.position + member.size + padding(member.size)
        yield member
        source.skip(end - source.position)

"""Compression on several cores, as one stream of gzip (RFC 1952): pieces are deflated side by side, each by itself and
up to a whole byte, and stand one after another.

So every part is made on all cores, whether a backup has one or twenty; and parts need not be made beside each other,
which would take room for each on the disk, or memory.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from isal import isal_zlib

from rooftree_archives.pipeline import Chunk

_LEVEL: Final = 2
"""Of deflate, as isal counts: near gzip's 6 in size, ten times as fast."""
_MOST_THREADS: Final = 3
"""With more, the worker would need more than its 64 MiB; and by then other work holds it up."""
_HEADER: Final = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
_LAST_BLOCK: Final = b"\x03\x00"
"""An empty one, which ends a stream of deflate (RFC 1951)."""


class Deflate:
    """A stage that compresses. What it is given stays as it is until it was taken on."""

    def __init__(self) -> None:
        count = min(os.process_cpu_count() or 1, _MOST_THREADS)
        self._threads = ThreadPoolExecutor(count, "deflate")
        self._most_waiting = count + 1
        self._waiting = deque[Future[bytes]]()
        self._checksum = 0
        self._size = 0
        self._header = _HEADER
        """What is still to stand before all else."""

    def take(self, chunk: Chunk) -> Iterable[Chunk]:
        """As ``Stage`` says."""
        yield from self._begin()
        self._waiting.append(self._threads.submit(_deflated, chunk))
        self._checksum = isal_zlib.crc32(chunk, self._checksum)
        self._size += len(chunk)
        if len(self._waiting) > self._most_waiting:
            yield self._waiting.popleft().result()

    def end(self) -> Iterable[Chunk]:
        """As ``Stage`` says."""
        yield from self._begin()
        while self._waiting:
            yield self._waiting.popleft().result()
        yield _LAST_BLOCK + self._checksum.to_bytes(4, "little") + (self._size % 2**32).to_bytes(4, "little")

    def _begin(self) -> Iterable[Chunk]:
        if self._header:
            yield self._header
            self._header = b""

    def close(self) -> None:
        """End its threads, also where the stream came to no end."""
        self._threads.shutdown(cancel_futures=True)


def _deflated(chunk: Chunk) -> bytes:
    compressor = isal_zlib.compressobj(_LEVEL, wbits=-15)
    return bytes(compressor.compress(chunk) + compressor.flush(isal_zlib.Z_SYNC_FLUSH))

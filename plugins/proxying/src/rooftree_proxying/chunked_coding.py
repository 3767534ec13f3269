"""The chunked coding taken apart: what is in the chunks, and the trailers behind them (RFC 9112, section 7.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from rooftree import Field
from rooftree_proxying.response_heads import HEAD_BYTES, NoResponse, parse_fields

LINE_BYTES: Final = 4096
"""How long the line of a chunk may be that has its size."""
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n\0]*)?")


class Unchunker:
    """Is fed what comes, and gives what is in it; when it :attr:`has_ended` there are :attr:`trailers` and
    :attr:`rest`."""

    def __init__(self) -> None:
        self._missing = 0
        """Bytes of the chunk that are to come."""
        self._is_behind_chunk = False
        self._is_behind_last = False
        self._held = b""
        """What is not whole yet: a line, or the trailers."""
        self.has_ended = False
        self.trailers: Sequence[Field] = ()
        self.rest = b""
        """What came behind the end."""

    def feed(self, data: bytes) -> bytes:
        """The content of what came; raises :class:`~rooftree_proxying.response_heads.NoResponse` where it has no
        chunks in it."""
        if self._held:
            data, self._held = self._held + data, b""
        pieces = []
        at, size = 0, len(data)
        while at < size and not self.has_ended:
            if self._missing:
                piece = data[at : at + self._missing]
                pieces.append(piece)
                at += len(piece)
                self._missing -= len(piece)
                self._is_behind_chunk = not self._missing
                continue
            end = self._end_of_trailers(data, at) if self._is_behind_last else self._end_of_line(data, at)
            if not end:
                self._held = data[at:]
                break
            at = end
        if self.has_ended:
            self.rest = data[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _end_of_line(self, data: bytes, at: int) -> int:
        """Where the line ends that begins there, once it is read; 0 while it is not whole."""
        end = data.find(b"\r\n", at, at + LINE_BYTES)
        if end < 0:
            if len(data) - at >= LINE_BYTES:
                raise NoResponse("the line of a chunk is too long")
            return 0
        if self._is_behind_chunk:
            if end != at:
                raise NoResponse("a chunk is longer than it said")
            self._is_behind_chunk = False
            return end + 2
        size = _SIZE.fullmatch(data, at, end)
        if size is None:
            raise NoResponse(f"a chunk has the size {data[at:end][:20]!r}")
        self._missing = int(size[1], 16)
        self._is_behind_last = not self._missing
        return end + 2

    def _end_of_trailers(self, data: bytes, at: int) -> int:
        """Where the trailers end that begin there, once they are read; 0 while they are not whole."""
        if data.startswith(b"\r\n", at):
            self.has_ended = True
            return at + 2
        end = data.find(b"\r\n\r\n", at, at + HEAD_BYTES)
        if end < 0:
            if len(data) - at >= HEAD_BYTES:
                raise NoResponse(f"its trailers are longer than {HEAD_BYTES} bytes")
            return 0
        self.trailers = parse_fields(data[at : end + 2])
        self.has_ended = True
        return end + 4

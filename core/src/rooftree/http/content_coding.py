"""Taking the content coding off a request's body (RFC 9110, 8.4.1).

aiohttp would do it, but takes a gzip body that was cut short for a whole one.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Final

from rooftree.errors import Invalid

PIECE_BYTES: Final = 64 * 1024
"""What is unpacked at a time: a few bytes can become very many."""
_WINDOWS: Final[Mapping[str, int]] = {
    "gzip": zlib.MAX_WBITS | 16,
    "x-gzip": zlib.MAX_WBITS | 16,
    "deflate": zlib.MAX_WBITS,
}


def without_coding(chunks: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    """The body as it was before ``coding``, the header's value; raises :class:`~rooftree.errors.Invalid`."""
    name = coding.strip().lower()
    if name in {"", "identity"}:
        return chunks
    if name not in _WINDOWS:
        raise Invalid(f"Content-Encoding: {coding[:60]!r} is not understood here; send {', '.join(_WINDOWS)} or none")
    return _inflated(chunks, name)


async def _inflated(chunks: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    inflater = zlib.decompressobj(_WINDOWS[coding])
    begun = False
    async for chunk in chunks:
        begun = True
        packed = chunk
        while True:
            try:
                piece = inflater.decompress(packed, PIECE_BYTES)
            except zlib.error as error:
                raise Invalid(f"The body is not {coding}: {error}") from None
            if inflater.unused_data or (inflater.eof and inflater.unconsumed_tail):
                raise Invalid(f"The body goes on behind its {coding} end")
            if piece:
                yield piece
            packed = inflater.unconsumed_tail
            if not packed and len(piece) < PIECE_BYTES:
                break
    if begun and not inflater.eof:
        raise Invalid(f"The body breaks off: its {coding} end is missing")

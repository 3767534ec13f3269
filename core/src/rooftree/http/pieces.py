"""Large answers, sent in pieces: one goes out when its predecessor has left, and when it is the connection's turn.

The bytes themselves are never copied, and those of an answer that is kept are the same for all who get it.
"""

from __future__ import annotations

from typing import Any, Final

from aiohttp.payload import Payload

from rooftree.http.connection import Connection

PIECE_BYTES: Final = 64 * 1024
"""Bytes of a stream that are handed to a connection at a time, which copies them; answers up to this go out at once."""
UNCOPIED_BYTES: Final = 256 * 1024
"""The same of a large body: nothing of it is copied, so that only the time of the others bounds a piece."""
SMALLEST_BYTES: Final = 4 * 1024
"""What the smallest piece of a stream counts for: it is work too."""


class LargeBody(Payload):
    """Bytes that are too many to be sent at once.

    :param is_shared: whether they are kept anyway, so that a reader holds none for itself
    """

    _value: bytes
    _autoclose = True

    def __init__(self, value: bytes | bytearray, *, is_shared: bool = False) -> None:
        super().__init__(value)
        self._size = len(value)
        self.is_shared = is_shared

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The bytes as text."""
        return self._value.decode(encoding, errors)

    async def write(self, writer: Any) -> None:
        """Send all."""
        connection = writer.protocol
        assert isinstance(connection, Connection)
        writer.send_headers()  # by themselves: aiohttp would join them with the first piece, and hold a copy of both
        content = memoryview(self._value)
        for begin in range(0, len(content), UNCOPIED_BYTES):
            if begin:  # the first one goes with the request's own turn
                await connection.wait_for_turn()
            await writer.write(content[begin : begin + UNCOPIED_BYTES], drain=False)
            await writer.drain()

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        """Send all: the length that was announced is that of all."""
        await self.write(writer)

"""What is left of a connection when both sides have switched to another protocol: bytes both ways.

They are handed on as they come, without a task in between; who does not take them in makes the other side wait.
"""

from __future__ import annotations

import asyncio

from rooftree.http.connection import Connection
from rooftree.http.in_flight import TooMuchInFlight


class Tunnel:
    """Bytes between the client and ``far``, whose protocol tells of its side: :meth:`send`, :meth:`pause`,
    :meth:`resume`, :meth:`close`."""

    def __init__(self, connection: Connection, far: asyncio.Transport) -> None:
        self._connection = connection
        self._far = far
        self._held = 0
        self._closed = asyncio.get_running_loop().create_future()
        connection.begin_tunnel(self)

    def send(self, data: bytes) -> None:
        """These came from the far side."""
        self._connection.send_raw(data)

    def pause(self) -> None:
        """The far side does not take in what the client sends: let the client wait."""
        self._connection.pause_reading()

    def resume(self) -> None:
        """It takes in more."""
        self._connection.resume_reading()

    def close(self) -> None:
        """The far side has ended; the client gets what is on its way."""
        if not self._closed.done():
            self._closed.set_result(None)

    async def closed(self) -> None:
        """Wait until the far side has ended. When the client ends, whoever waits here is cancelled."""
        await self._closed

    # --- told by the connection ---------------------------------------------------------------------------------------

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """These came from the client. The answer is for aiohttp, which asks for more."""
        if not self._far.is_closing():
            self._far.write(data)
        return False, b""

    def feed_eof(self) -> None:
        """The client has gone, and who waits for the end is cancelled."""

    def client_waits(self) -> None:
        """The client does not take in what it is sent: let the far side wait."""
        self._far.pause_reading()
        try:
            self._held = self._connection.unsent
            self._connection.hold(self._held)
        except TooMuchInFlight:
            self._held = 0
            self._connection.let_go()

    def client_goes_on(self) -> None:
        """It takes in more."""
        held, self._held = self._held, 0
        self._connection.let_go_of(held)
        if not self._far.is_closing():
            self._far.resume_reading()

"""The load: keep-alive connections over raw sockets, each asking again as soon as it is answered.

One process, one thread, epoll: a few microseconds a request, so that the server's core is what is measured. Both sides
of a comparison get exactly the same bytes from it, and every answer's status and length are checked.
"""

from __future__ import annotations

import gc
import select
import socket
import time
from array import array
from collections.abc import Sequence

from attrs import frozen

HOST = "127.0.0.1"
TIMEOUT_S = 10.0
_CHUNK_BYTES = 256 * 1024


class WrongAnswer(Exception):
    """A server answered something else than it should."""


@frozen
class Answer:
    """One whole answer."""

    status: int
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes
    size_bytes: int
    """Everything on the wire, headers included."""


@frozen
class Slice:
    """What a stretch of load came to."""

    seconds: float
    latencies_s: Sequence[float]
    """One for each request."""


def get(path: str, **headers: str) -> bytes:
    """The bytes of a request; ``If_None_Match="…"`` becomes the header ``If-None-Match``."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", *(f"{n.replace('_', '-')}: {v}" for n, v in headers.items())]
    return "\r\n".join((*lines, "", "")).encode()


def ask(port: int, request: bytes) -> Answer:
    """Send one request over a connection of its own; raises ``OSError`` where nobody listens."""
    with socket.create_connection((HOST, port), TIMEOUT_S) as connection:
        return ask_again(connection, request)


def ask_again(connection: socket.socket, request: bytes) -> Answer:
    """Send one request over a connection that stays open."""
    connection.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    while len(body) < length:
        body += _some(connection)
    return Answer(int(status_line.split()[1]), headers, body, len(head) + 4 + len(body))


def _some(connection: socket.socket) -> bytes:
    chunk = connection.recv(_CHUNK_BYTES)
    if not chunk:
        raise WrongAnswer("the server hung up in the middle of an answer")
    return chunk


class Clients:
    """Connections that stay open, and ask without a pause for as long as :meth:`load` runs.

    :param expected: what each answer has to look like
    """

    def __init__(self, port: int, request: bytes, expected: Answer, connections: int) -> None:
        self._request = request
        self._status = f"HTTP/1.1 {expected.status} ".encode()
        self._size = expected.size_bytes
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        for _ in range(connections):
            opened = socket.create_connection((HOST, port), TIMEOUT_S)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setblocking(False)
            self._sockets[opened.fileno()] = opened
            self._epoll.register(opened, select.EPOLLIN)

    def close(self) -> None:
        """Hang up."""
        self._epoll.close()
        for opened in self._sockets.values():
            opened.close()

    def load(self, seconds: float) -> Slice:
        """Ask for so long, and wait for what was asked; raises :class:`WrongAnswer` for an unexpected answer."""
        gc.disable()
        try:
            return self._load(seconds)
        finally:
            gc.enable()

    def _load(self, seconds: float) -> Slice:
        now, sockets, request, size = time.perf_counter, self._sockets, self._request, self._size
        missing = dict.fromkeys(sockets, size)
        took = array("d")
        began = now()
        until = began + seconds
        asked = dict.fromkeys(sockets, began)
        for opened in sockets.values():
            opened.send(request)
        waiting = len(sockets)
        while waiting:
            events = self._epoll.poll(TIMEOUT_S)
            if not events:
                raise WrongAnswer(f"no answer for {TIMEOUT_S} s")
            for number, _ in events:
                chunk = sockets[number].recv(_CHUNK_BYTES)
                self._check(chunk, missing[number])
                missing[number] -= len(chunk)
                if missing[number]:
                    continue
                moment = now()
                took.append(moment - asked[number])
                if moment < until:
                    missing[number] = size
                    asked[number] = moment
                    sockets[number].send(request)
                else:
                    waiting -= 1
        return Slice(now() - began, took)

    def _check(self, chunk: bytes, missing: int) -> None:
        if not chunk or len(chunk) > missing:
            raise WrongAnswer(f"an answer is not as long as the first one, {self._size} bytes: …{chunk[-200:]!r}")
        if missing == self._size and not chunk.startswith(self._status):
            raise WrongAnswer(f"expected {self._status!r}, got {chunk[:200]!r}")

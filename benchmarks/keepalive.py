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
from statistics import quantiles

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
class Throughput:
    """What one stretch of load came to."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def get(path: str, **headers: str) -> bytes:
    """The bytes of a request; ``If_None_Match="…"`` becomes the header ``If-None-Match``."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", *(f"{n.replace('_', '-')}: {v}" for n, v in headers.items())]
    return "\r\n".join((*lines, "", "")).encode()


def ask(port: int, request: bytes) -> Answer:
    """Send one request over a connection of its own; raises ``OSError`` where nobody listens."""
    with socket.create_connection((HOST, port), TIMEOUT_S) as connection:
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


def load(port: int, request: bytes, expected: Answer, *, connections: int, seconds: float) -> Throughput:
    """Ask over that many connections for so long; raises :class:`WrongAnswer` for any other answer."""
    sockets = {}
    epoll = select.epoll()
    try:
        for _ in range(connections):
            opened = socket.create_connection((HOST, port), TIMEOUT_S)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setblocking(False)
            sockets[opened.fileno()] = opened
            epoll.register(opened, select.EPOLLIN)
        gc.collect()
        gc.disable()
        return _keep_asking(epoll, sockets, request, expected, seconds)
    finally:
        gc.enable()
        epoll.close()
        for opened in sockets.values():
            opened.close()


def _keep_asking(
    epoll: select.epoll, sockets: dict[int, socket.socket], request: bytes, expected: Answer, seconds: float
) -> Throughput:
    now = time.perf_counter
    status = f"HTTP/1.1 {expected.status} ".encode()
    size = expected.size_bytes
    left = dict.fromkeys(sockets, size)
    asked = dict.fromkeys(sockets, 0.0)
    took = array("d")
    began = now()
    until = began + seconds
    for number, opened in sockets.items():
        asked[number] = now()
        opened.send(request)
    while (moment := now()) < until:
        events = epoll.poll(TIMEOUT_S)
        if not events:
            raise WrongAnswer(f"no answer for {TIMEOUT_S} s")
        for number, _ in events:
            opened = sockets[number]
            chunk = opened.recv(_CHUNK_BYTES)
            missing = left[number]
            if missing == size and not chunk.startswith(status):
                raise WrongAnswer(f"expected {status!r}, got {chunk[:200]!r}")
            missing -= len(chunk)
            if missing < 0 or not chunk:
                raise WrongAnswer(f"an answer is not as long as the first one, {size} bytes: …{chunk[-200:]!r}")
            if missing:
                left[number] = missing
                continue
            left[number] = size
            moment = now()
            took.append(moment - asked[number])
            asked[number] = moment
            opened.send(request)
    hundredths = quantiles(took, n=100)
    return Throughput(len(took), moment - began, hundredths[49] * 1e3, hundredths[98] * 1e3)

"""How long the API takes to answer while something else goes on: it is asked by a process of its own, as by a client.

An answer is there when the kernel has it for the asker. When that one gets to read it is another matter: it shares its
core with the load, and where the kernel lets nobody interrupt a call of the system (``CONFIG_PREEMPT_NONE``), an nginx
that sends a large file keeps even those with real-time priority waiting for 20 ms.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from statistics import quantiles

from keepalive import HOST, TIMEOUT_S, WrongAnswer, ask_again, get

PERIOD_S = 0.01
_STAMP = 35
"""``SO_TIMESTAMPNS`` (socket(7)), which Python has no name for: that of an answer's last bytes is their arrival."""
_TIMESPEC = struct.Struct("@ll")
_STAMP_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
_ANSWER_BYTES = 64 * 1024


@contextlib.contextmanager
def asked_meanwhile(port: int, token: str) -> Iterator[list[float]]:
    """Seconds that each answer took, asked for 100 times a second within the block; they are there behind it."""
    latencies_s: list[float] = []
    request = get("/ingress/panels", Authorization=f"Bearer {token}")
    asker = subprocess.Popen([sys.executable, __file__, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert asker.stdin is not None and asker.stdout is not None
    with asker:
        asker.stdin.write(b"%d\n%b" % (len(request), request))
        asker.stdin.flush()
        try:
            asker.stdout.readline()  # it asks from now on
            yield latencies_s
        finally:
            asker.stdin.close()
            told = asker.stdout.read()
    if asker.returncode:
        raise WrongAnswer("who asked meanwhile was not answered")
    latencies_s += json.loads(told)


def p99_ms(latencies_s: Sequence[float]) -> float:
    """In milliseconds what a hundredth of them took longer than."""
    return quantiles(latencies_s, n=100)[98] * 1e3


def _ask_until_closed(port: int) -> None:
    """Ask until our standard input ends, which begins with the request."""
    request = sys.stdin.buffer.read(int(sys.stdin.buffer.readline()))
    latencies_s = []
    with socket.create_connection((HOST, port), TIMEOUT_S) as opened:
        expected = ask_again(opened, request)
        opened.setsockopt(socket.SOL_SOCKET, _STAMP, 1)
        print(flush=True)
        while not select.select([sys.stdin], [], [], PERIOD_S)[0]:
            began = time.time()
            opened.sendall(request)
            latencies_s.append(_arrival(opened, expected.status, expected.size_bytes) - began)
    json.dump(latencies_s, sys.stdout)


def _arrival(opened: socket.socket, status: int, size: int) -> float:
    """When the last bytes of an answer arrived."""
    answer = b""
    while len(answer) < size:
        received, stamps, _, _ = opened.recvmsg(_ANSWER_BYTES, _STAMP_BYTES)
        if not received:
            raise WrongAnswer("the server hung up")
        answer += received
    if not answer.startswith(b"HTTP/1.1 %d " % status) or len(answer) > size:
        raise WrongAnswer(f"expected {status} and {size} bytes, got {answer[:200]!r}")
    seconds, nanoseconds = _TIMESPEC.unpack(stamps[0][2])
    return float(seconds + nanoseconds / 1e9)


if __name__ == "__main__":
    _ask_until_closed(int(sys.argv[1]))

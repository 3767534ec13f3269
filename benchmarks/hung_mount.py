"""What a mount whose server is gone costs the daemon: nothing, while it runs, starts and stops. A FUSE file system that
reads what it is asked and answers nothing stands for the server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median

import processes
from keepalive import HOST, Clients, ask, get
from pytest import MonkeyPatch
from rows import Bench, Row, Skipped
from servers import Installation

from tests.plugins.mounts.conftest import Shares, served_shares

PING = "/supervisor/ping"
FILMS = {"name": "films", "type": "cifs", "usage": "media", "server": "nas", "share": "films"}
USAGE = "/host/disks/films/usage?max_depth=1"
P99_MS, LATER_S, STOP_S = 20, 0.1, 10
"""What an answer may take, how much later a start may be than one without a mount, and how long a stop may take."""


def hung_mount(bench: Bench) -> Iterator[Row]:
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        raise Skipped("root, and /dev/fuse")
    with contextlib.ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="rt-")))
        shares = closing.enter_context(served_shares(folder, closing.enter_context(MonkeyPatch.context())))
        hanging, bare = Installation(folder), bench.settled("no-mount")
        share = shares.add("films", dies=True)
        yield _ping(bench, hanging, shares, share)
        yield from _start_and_stop(bench, hanging, bare)


def _ping(bench: Bench, hanging: Installation, shares: Shares, share: Path) -> Row:
    """How long the slowest of a hundred pings takes while somebody waits for the server; leaves the server hanging."""
    with hanging.running() as (daemon, token):
        authorized = {"Authorization": f"Bearer {token}"}
        before_ms = _p99_ms(bench, daemon.port)
        _mount(daemon.port, authorized)
        share.with_name("films.hangs").touch()
        shares.signal(share, signal.SIGUSR1)
        waiting = threading.Thread(target=_wait, args=(daemon.port, authorized), daemon=True)
        waiting.start()
        p99s = [p99_ms for counts in bench.rounds() if (p99_ms := _p99_ms(bench, daemon.port)) and counts]
        if not waiting.is_alive():
            raise RuntimeError("the server has answered: it does not hang")
    return Row(
        f"p99 of {PING}, a mount hangs", p99s, " ms", P99_MS, False, f"before it was mounted {before_ms:.1f} ms", p99s
    )


def _p99_ms(bench: Bench, port: int) -> float:
    """Milliseconds that 99 of 100 pings take at most, one after the other."""
    request = get(PING)
    with contextlib.closing(Clients(port, request, ask(port, request), 1)) as clients:
        latencies = sorted(clients.load(bench.pace.seconds).latencies_s)
    return latencies[int(len(latencies) * 0.99)] * 1000


def _mount(port: int, authorized: dict[str, str]) -> None:
    with contextlib.closing(HTTPConnection(HOST, port)) as connection:
        connection.request("POST", "/mounts", json.dumps(FILMS), {**authorized, "Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"nothing could be mounted: {answer.read()!r}")


def _wait(port: int, authorized: dict[str, str]) -> None:
    """Ask what the server knows, which answers after a minute at the latest."""
    with contextlib.closing(HTTPConnection(HOST, port)) as connection, contextlib.suppress(OSError, HTTPException):
        connection.request("GET", USAGE, headers=authorized)
        connection.getresponse().read()


def _start_and_stop(bench: Bench, hanging: Installation, bare: Installation) -> Iterator[Row]:
    rounds = []
    for counts in bench.rounds():
        figures = {}
        for name, installation in (("hanging", hanging), ("without", bare)):
            with installation.started() as starting:
                figures[f"{name}_ready_s"] = starting.ready_s()
                began = time.perf_counter()
                processes.stop(starting.server.process)
                figures[f"{name}_stop_s"] = time.perf_counter() - began
        if counts:
            rounds.append(figures)
    more = [each["hanging_ready_s"] - each["without_ready_s"] for each in rounds]
    stops = [each["hanging_stop_s"] for each in rounds]
    ours, theirs, stop_s = (
        median(each[key] for each in rounds) for key in ("hanging_ready_s", "without_ready_s", "without_stop_s")
    )
    against = f"more than without a mount ({ours:.2f} of {theirs:.2f} s)"
    yield Row("every plugin ready, a mount hangs", more, " s", LATER_S, False, against, rounds)
    yield Row("stop, a mount hangs", stops, " s", STOP_S, False, f"without a mount {stop_s:.2f} s", None)

"""How quick an answer is beside a ping of the same daemon, while nothing changes."""

from __future__ import annotations

import contextlib
import time
from statistics import median

from keepalive import Clients, ask, get
from rows import TIMES, Bench, Row

CONNECTIONS = 8
TURN_S = 0.1
PING = "/supervisor/ping"


def beside_ping(bench: Bench, port: int, authorized: dict[str, str], path: str) -> Row:
    """A row for ``GET`` of that path, which is to be answered at least 0.6 times as often as a ping."""
    rounds = []
    with contextlib.ExitStack() as closing:
        clients = {}
        for asked in (path, PING):
            request = get(asked, **authorized)
            clients[asked] = Clients(port, request, ask(port, request), CONNECTIONS)
            closing.callback(clients[asked].close)
        for counts in bench.rounds():
            turns: dict[str, list[float]] = {asked: [] for asked in clients}
            until = time.perf_counter() + bench.pace.seconds
            while time.perf_counter() < until:
                for asked, client in clients.items():
                    part = client.load(TURN_S)
                    turns[asked].append(len(part.latencies_s) / part.seconds)
            if counts:
                rounds.append({asked: median(each) for asked, each in turns.items()})
    ratios = [each[path] / each[PING] for each in rounds]
    ours, theirs = (median(each[asked] for each in rounds) for asked in (path, PING))
    against = f"GET {PING} of the same daemon: {ours / 1000:.1f} k of {theirs / 1000:.1f} k/s"
    return Row(f"GET {path}, nothing changed", ratios, TIMES, 0.6, True, against, None)

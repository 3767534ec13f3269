"""How fast small and large answers are given: the daemon beside a bare handler with the same bytes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from statistics import median, quantiles

import processes
from addon_repositories import refuse_few
from attrs import asdict
from keepalive import Answer, Clients, Slice, WrongAnswer, ask, get
from processes import Memory
from rows import TIMES, Bench, Row
from servers import Installation, Running, bare_server

CONNECTIONS = 8
TURN_S = 0.1
CONDITIONAL_CPU_MS = 0.1
"""What an answer may cost that says that nothing has changed."""


def ping(bench: Bench) -> Iterator[Row]:
    with bench.installation.running() as (daemon, token):
        request = get("/supervisor/ping", Authorization=f"Bearer {token}")
        yield _throughput(bench, daemon, "GET /supervisor/ping, with a token", request, 0.7)


def store(bench: Bench) -> Iterator[Row]:
    yield from _listing(bench, bench.installation, "/store")


def addons(bench: Bench) -> Iterator[Row]:
    yield from _listing(bench, bench.with_all_installed, "/addons")


def _listing(bench: Bench, installation: Installation, path: str) -> Iterator[Row]:
    with installation.running() as (daemon, token):
        request = get(path, Authorization=f"Bearer {token}")
        whole = ask(daemon.port, request)
        count = len(json.loads(whole.body)["data"]["addons"])
        refuse_few(count)
        what = f"GET {path}, {count} add-ons, {len(whole.body) // 1000} kB"
        yield _throughput(bench, daemon, what, request, 0.6)
        again = get(path, Authorization=f"Bearer {token}", If_None_Match=whole.headers["etag"])
        unchanged = _throughput(bench, daemon, f"GET {path}, If-None-Match", again, 0.6)
        yield unchanged
        cpu_ms = [each["daemon"]["cpu_us"] / 1e3 for each in unchanged.raw["rounds"]]
        yield Row(f"GET {path}, If-None-Match, CPU of the daemon", cpu_ms, " ms", CONDITIONAL_CPU_MS, False, "", None)


def _throughput(bench: Bench, daemon: Running, what: str, request: bytes, gate: float) -> Row:
    """Requests per second of the daemon, as a part of what a bare handler with the same answer comes to."""
    expected = ask(daemon.port, request)
    with contextlib.ExitStack() as closing:
        bare = closing.enter_context(bare_server(bench.folder, expected))
        answers = {daemon: expected, bare: _same(expected, ask(bare.port, request))}
        clients = {}
        for server, answer in answers.items():
            clients[server] = Clients(server.port, request, answer, CONNECTIONS)
            closing.callback(clients[server].close)
        rounds = []
        for counts in bench.rounds():
            daemon_side, bare_side = _round(bench, clients)
            if counts:
                rounds.append({"daemon": daemon_side, "bare": bare_side})
        for server, answer in answers.items():
            _same(answer, ask(server.port, request))
    ratios = [each["daemon"]["per_second"] / each["bare"]["per_second"] for each in rounds]
    by_cpu = median(each["bare"]["cpu_us"] / each["daemon"]["cpu_us"] for each in rounds)
    ours, theirs = (median(each[name]["per_second"] for each in rounds) for name in ("daemon", "bare"))
    raw = {"rounds": rounds, "body_bytes": len(expected.body), "memory_after": asdict(Memory.of(daemon.pid))}
    against = f"bare aiohttp handler: {ours / 1000:.1f} k of {theirs / 1000:.1f} k/s; by CPU time {by_cpu:.2f}"
    return Row(what, ratios, TIMES, gate, True, against, raw)


def _same(expected: Answer, answer: Answer) -> Answer:
    if (answer.status, answer.body) != (expected.status, expected.body):
        raise WrongAnswer("the daemon and the bare handler do not give the same bytes")
    return answer


def _round(bench: Bench, clients: Mapping[Running, Clients]) -> list[dict[str, float]]:
    """One round: the figures of each server, asked in turn until each was asked for the time of a round."""
    slices: dict[Running, list[Slice]] = {server: [] for server in clients}
    cpu_s = dict.fromkeys(clients, 0.0)
    for _ in range(max(1, round(bench.pace.seconds / TURN_S))):
        for server, asking in clients.items():
            before = processes.cpu_seconds(server.pid)
            slices[server].append(asking.load(TURN_S))
            cpu_s[server] += processes.cpu_seconds(server.pid) - before
    return [_figures(slices[server], cpu_s[server]) for server in clients]


def _figures(slices: Sequence[Slice], cpu_s: float) -> dict[str, float]:
    latencies = [latency for each in slices for latency in each.latencies_s]
    seconds = sum(each.seconds for each in slices)
    hundredths = quantiles(latencies, n=100)
    return {
        "requests": len(latencies),
        "per_second": len(latencies) / seconds,
        "p50_ms": hundredths[49] * 1e3,
        "p99_ms": hundredths[98] * 1e3,
        "cpu_us": cpu_s / len(latencies) * 1e6,
        "share_of_core": cpu_s / seconds,
    }

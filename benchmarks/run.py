"""The numbers of the README, as ratios measured in one run: ``make bench`` or ``run.py --rows ping,store``.

The server has one core and the load the other. The two sides of a comparison take turns every tenth of a second, so
that what else the machine does hits both; what counts is the median of the rounds' ratios, after a round for nothing.
The two give the same bytes, which is checked. Raw figures go to ``benchmarks/results/``. The exit status is 1 when a
gate is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import processes
from addon_repositories import lay_out, origin
from attrs import asdict, frozen
from keepalive import Answer, Clients, Slice, WrongAnswer, ask, get
from processes import Memory
from rich.console import Console
from rich.table import Table
from servers import Installation, Running, bare_server

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LIBRARIES = "import aiohttp, aiodocker, cattrs, apscheduler"
CONNECTIONS = 8
TURN_S = 0.1
MB = 1_000_000
TIMES = " \N{MULTIPLICATION SIGN}"
BUSY_BELOW = 0.9
"""A server that got less of its core than this, while it was asked without a pause, shared it with somebody."""


@frozen
class Pace:
    """How long everything is measured."""

    rounds: int
    seconds: float
    idle_s: float
    """How long the daemon is left alone before its memory is read."""


THOROUGH = Pace(rounds=5, seconds=2.0, idle_s=5.0)
QUICK = Pace(rounds=2, seconds=0.3, idle_s=1.0)


@frozen
class Row:
    """One line of the table."""

    what: str
    figures: Sequence[float]
    """One for each round, in ``unit``; their median counts."""
    unit: str
    gate: float
    at_least: bool
    against: str
    raw: Any

    @property
    def result(self) -> float:
        """What is compared with the gate."""
        return median(self.figures)

    @property
    def ok(self) -> bool:
        """Whether the gate is met."""
        return self.result >= self.gate if self.at_least else self.result <= self.gate

    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        return (
            self.what,
            self._shown(self.result),
            f"{'≥' if self.at_least else '≤'} {self.gate:g}{self.unit}",
            f"{self._shown(min(self.figures))} to {self._shown(max(self.figures))}",
            self.against,
            "[green]ok[/]" if self.ok else "[bold red]missed[/]",
        )

    def _shown(self, value: float) -> str:
        return f"{value:.3g}{self.unit}"


class Bench:
    """What the rows share: a folder, the pace, and a daemon that runs for as long as rows ask it."""

    def __init__(self, folder: Path, pace: Pace) -> None:
        self.folder = folder
        self.pace = pace

    @cached_property
    def installation(self) -> Installation:
        """The 400 add-ons; no container engine."""
        return self._installation("no-engine")

    @cached_property
    def with_hung_engine(self) -> Installation:
        """The same with an engine that hangs."""
        return self._installation("hung-engine", hung_engine=True)

    def _installation(self, name: str, *, hung_engine: bool = False) -> Installation:
        folder = self.folder / name
        folder.mkdir()
        made = Installation(folder, hung_engine=hung_engine)
        with made.running():  # the first start makes the database and compiles what is not compiled yet
            return made

    def rounds(self) -> Iterator[bool]:
        """Whether the round counts; the first doesn't."""
        yield False
        for _ in range(self.pace.rounds):
            yield True


# --- answers ----------------------------------------------------------------------------------------------------------


def ping(bench: Bench) -> Iterator[Row]:
    with bench.installation.running() as (daemon, token):
        request = get("/supervisor/ping", Authorization=f"Bearer {token}")
        yield _throughput(bench, daemon, "GET /supervisor/ping, with a token", request, 0.7)


def store(bench: Bench) -> Iterator[Row]:
    with bench.installation.running() as (daemon, token):
        request = get("/store", Authorization=f"Bearer {token}")
        whole = ask(daemon.port, request)
        addons = len(json.loads(whole.body)["data"]["addons"])
        _refuse_few(addons)
        what = f"GET /store, {addons} add-ons, {len(whole.body) // 1000} kB"
        yield _throughput(bench, daemon, what, request, 0.6)
        again = get("/store", Authorization=f"Bearer {token}", If_None_Match=whole.headers["etag"])
        yield _throughput(bench, daemon, "GET /store, If-None-Match", again, 0.6)


def _refuse_few(addons: int) -> None:
    if addons < 400:
        raise RuntimeError(f"the store offers {addons} add-ons; the benchmark needs 400")


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


# --- start ------------------------------------------------------------------------------------------------------------


def start(bench: Bench) -> Iterator[Row]:
    rounds = []
    for counts in bench.rounds():
        began = time.perf_counter()
        processes.run([sys.executable, "-c", LIBRARIES])
        libraries_s = time.perf_counter() - began
        with bench.installation.started() as starting:
            first_s, ready_s = starting.first_answer_s(), starting.ready_s()
        if counts:
            rounds.append({"libraries_s": libraries_s, "first_answer_s": first_s, "ready_s": ready_s})
    ratios = [each["first_answer_s"] / each["libraries_s"] for each in rounds]
    ours, theirs = (median(each[name] for each in rounds) for name in ("first_answer_s", "libraries_s"))
    against = f"importing our libraries ({ours:.2f} s of {theirs:.2f} s)"
    yield Row("start to the first answer", ratios, TIMES, 3, False, against, rounds)
    ready = [each["ready_s"] for each in rounds]
    yield Row("every plugin ready, no engine", ready, " s", 3, False, "", rounds)


def hung_engine(bench: Bench) -> Iterator[Row]:
    ready = []
    for counts in bench.rounds():
        with bench.with_hung_engine.started() as starting:
            seconds = starting.ready_s()
        if counts:
            ready.append(seconds)
    yield Row("every plugin ready, engine hangs", ready, " s", 3, False, "", ready)


# --- reading and keeping ----------------------------------------------------------------------------------------------


def configs(bench: Bench) -> Iterator[Row]:
    rounds = []
    folder = bench.folder / "configs"
    urls = lay_out(folder / "data")
    for counts in bench.rounds():
        figures = json.loads(processes.run([sys.executable, HERE / "read_configs.py", folder, *urls]).splitlines()[-1])
        _refuse_few(figures["addons"])
        if counts:
            rounds.append(figures)
    cold = [each["cold_cpu_s"] for each in rounds]
    yield Row("configs read from nothing, CPU", cold, " s", 1, False, "", rounds)
    again = [median(each["unchanged_cpu_s"]) for each in rounds]
    yield Row("configs read again, nothing changed, CPU", again, " s", 0.05, False, "", rounds)


def memory(bench: Bench) -> Iterator[Row]:
    rounds = []
    for _ in range(min(bench.pace.rounds, 3)):
        with bench.installation.running() as (daemon, token):
            listed = json.loads(ask(daemon.port, get("/store", Authorization=f"Bearer {token}")).body)
            _refuse_few(len(listed["data"]["addons"]))
            time.sleep(bench.pace.idle_s)
            rounds.append(Memory.of(daemon.pid))
    pss = median(each.pss_bytes for each in rounds) / MB
    figures = [each.rss_bytes / MB for each in rounds]
    yield Row(
        "resident memory, idle, listed", figures, " MB", 75, False, f"PSS {pss:.0f} MB", list(map(asdict, rounds))
    )


ROWS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "ping": ping,
    "store": store,
    "start": start,
    "hung-engine": hung_engine,
    "configs": configs,
    "memory": memory,
}


# --- the run ----------------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"which, separated by commas: {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="a smoke run: short rounds, whose figures mean little")
    options = parser.parse_args()
    chosen = options.rows.split(",")
    if unknown := [name for name in chosen if name not in ROWS]:
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    console = Console(stderr=True)
    processes.stay_off_the_server_core()
    before, began = os.getloadavg(), datetime.now(UTC)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="rooftree-bench-") as folder:
        bench = Bench(Path(folder), QUICK if options.quick else THOROUGH)
        for name in chosen:
            with console.status(f"measuring {name} …"):
                rows.extend(ROWS[name](bench))
    facts = {
        "began": began.isoformat(),
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": len(processes.CORES),
        "quick": options.quick,
        "addons": origin(),
        "load_before": before,
        "load_after": os.getloadavg(),
    }
    _show(rows, facts)
    _keep(rows, facts)
    return 0 if all(row.ok for row in rows) else 1


def _show(rows: Sequence[Row], facts: dict[str, Any]) -> None:
    table = Table("what", "result", "gate", "spread", "against", "ok")
    for row in rows:
        table.add_row(*row.cells())
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    console.print(
        f"Add-ons: {facts['addons']}. Python {facts['python']}, {facts['cores']} cores, "
        f"load before {facts['load_before'][0]:.1f}"
        + ("; a quick run, whose figures mean little" if facts["quick"] else "")
    )
    sides = [side for row in rows if isinstance(row.raw, dict) for each in row.raw["rounds"] for side in each.values()]
    shares = [side["share_of_core"] for side in sides]
    if shares and min(shares) < BUSY_BELOW:
        console.print(f"Others used the servers' core too: of it, they got {min(shares):.0%} to {max(shares):.0%}.")


def _keep(rows: Sequence[Row], facts: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    shown = [{**asdict(row, recurse=False), "result": row.result, "ok": row.ok} for row in rows]
    name = f"{facts['began'].replace(':', '').partition('.')[0]}.json"
    (RESULTS / name).write_text(json.dumps({**facts, "rows": shown}, indent=1) + "\n")


def _commit() -> str | None:
    """Where the checkout stands, with ``-dirty`` behind it when files differ."""
    try:
        command = ["git", "describe", "--always", "--dirty"]
        return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


if __name__ == "__main__":
    sys.exit(main())

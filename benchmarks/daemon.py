"""What the daemon needs for itself: to start, to read the add-ons' configurations, to sit there."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import processes
from addon_repositories import lay_out, refuse_few
from attrs import asdict
from keepalive import ask, get
from processes import Memory
from rows import TIMES, Bench, Row

HERE = Path(__file__).parent
LIBRARIES = "import aiohttp, aiodocker, cattrs, apscheduler"
MB = 1_000_000
BUS_PLUGINS = ("host", "os")
NO_TIME_OUT_S = 0.5
"""What they may take longer to start: their code is read, and nobody is waited for."""


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
    first = [each["first_answer_s"] for each in rounds]
    libraries_s = median(each["libraries_s"] for each in rounds)
    ratio = median(each["first_answer_s"] / each["libraries_s"] for each in rounds)
    against = f"{ratio:.1f}{TIMES} importing our libraries ({libraries_s:.2f} s)"
    yield Row("start to the first answer", first, " s", 1, False, against, rounds)
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


def without_bus(bench: Bench) -> Iterator[Row]:
    sides = {
        "bus_absent": bench.settled("no-bus", bus=f"unix:path={bench.folder / 'nowhere'}"),
        "plugins_off": bench.settled("no-bus-plugins", without=BUS_PLUGINS),
    }
    rounds = []
    for counts in bench.rounds():
        figures = {}
        for name, installation in sides.items():
            with installation.started() as starting:
                figures[f"{name}_first_s"], figures[f"{name}_ready_s"] = starting.first_answer_s(), starting.ready_s()
        if counts:
            rounds.append(figures)
    named = {"first": "start to the first answer, no bus", "ready": "every plugin ready, no bus"}
    for what, name in named.items():
        more = [each[f"bus_absent_{what}_s"] - each[f"plugins_off_{what}_s"] for each in rounds]
        ours, theirs = (median(each[f"{side}_{what}_s"] for each in rounds) for side in sides)
        against = f"more than without the plugins that need one ({ours:.2f} of {theirs:.2f} s)"
        yield Row(name, more, " s", NO_TIME_OUT_S, False, against, rounds)


# --- reading and keeping ----------------------------------------------------------------------------------------------


def configs(bench: Bench) -> Iterator[Row]:
    rounds = []
    folder = bench.folder / "configs"
    urls = lay_out(folder / "data")
    for counts in bench.rounds():
        figures = json.loads(processes.run([sys.executable, HERE / "read_configs.py", folder, *urls]).splitlines()[-1])
        refuse_few(figures["addons"])
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
            refuse_few(len(listed["data"]["addons"]))
            time.sleep(bench.pace.idle_s)
            rounds.append(Memory.of(daemon.pid))
    pss = median(each.pss_bytes for each in rounds) / MB
    figures = [each.rss_bytes / MB for each in rounds]
    yield Row(
        "resident memory, idle, listed", figures, " MB", 75, False, f"PSS {pss:.0f} MB", list(map(asdict, rounds))
    )

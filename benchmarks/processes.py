"""Processes under measurement: on which core they run, how much of it they got, what memory they hold.

Two cores are told apart: the servers run on one, the load and everything else of the benchmark on the other.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = CORES[0]
LOAD_CORE = CORES[-1]
STOP_S = 30.0

type Process = subprocess.Popen[bytes]


class TookTooLong(Exception):
    """Something did not happen in time."""


@frozen
class Memory:
    """What a process holds in memory, in bytes."""

    rss_bytes: int
    pss_bytes: int
    """Its fair share: pages of libraries that others use too are divided."""

    @classmethod
    def of(cls, pid: int) -> Memory:
        """As the kernel of this machine counts it now."""
        return cls(_kib(f"/proc/{pid}/status", "VmRSS:"), _kib(f"/proc/{pid}/smaps_rollup", "Pss:"))


def _kib(path: str, name: str) -> int:
    """A line such as ``VmRSS:   1234 kB`` (proc(5): the unit is 1024 bytes), in bytes."""
    line = next(line for line in Path(path).read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def forget_peak_memory(pid: int) -> int:
    """What it holds now, in bytes; the peak is counted from here on (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_memory_bytes(pid)


def peak_memory_bytes(pid: int) -> int:
    """The most that it held."""
    return _kib(f"/proc/{pid}/status", "VmHWM:")


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads that live, to the nanosecond: the ticks of /proc/<pid>/stat are too coarse for us."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def threads(pid: int) -> int:
    """How many threads it has."""
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


def stay_off_the_server_core() -> None:
    """Put this process, and what it starts from now on, on the load's core."""
    os.sched_setaffinity(0, {LOAD_CORE})


@contextlib.contextmanager
def _on(core: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def all_cores() -> Iterator[None]:
    """What runs here, and what it starts, may use them all."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def give_all_cores(pid: int) -> None:
    """Let a process that runs, and what it starts from now on, use them all."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), CORES)


def start(command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None) -> Process:
    """Start a process on the servers' core; what it prints goes to ``log``."""
    with _on(SERVER_CORE), log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )


def run(command: Sequence[str | Path]) -> str:
    """Run a process to its end on the servers' core; what it printed. Raises ``CalledProcessError``."""
    with _on(SERVER_CORE):
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True).stdout


def stop(process: Process) -> None:
    """SIGTERM, and SIGKILL for one that does not end."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until[T](condition: Callable[[], T | None], process: Process, *, within_s: float, what: str) -> T:
    """Ask every two milliseconds until there is an answer; raises when the process ends or time is up."""
    deadline = time.perf_counter() + within_s
    while (found := condition()) is None:
        if process.poll() is not None:
            raise TookTooLong(f"the process ended with status {process.returncode} before {what}")
        if time.perf_counter() > deadline:
            raise TookTooLong(f"{what} did not come within {within_s} s")
        time.sleep(0.002)
    return found

"""A process that saves numbered batches as fast as it can, and the check of what a killed one left.

Each batch writes its number to two documents, an entry of its own, and removes the entry of ten before: any torn or
lost batch shows. ``ack N`` goes to standard output once batch N was acknowledged, in one system call. A refused batch
kills the process on the spot: it must not be there afterwards.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from rooftree.state.database import Database
from rooftree.state.database_file import StateUnwritable
from rooftree.state.documents import Collection, State, document
from rooftree.state.folder import DataFolder

KEPT_ENTRIES = 10
WRITING = "pwrite64,fdatasync,fsync,ftruncate,rename,unlink"
"""The system calls by which the state comes to the disk."""


@document("test.number")
@frozen
class Number:
    """A batch's number, with something to fill pages."""

    n: int
    text: str = ""


async def save_batches(path: Path, amount: int, together: int = 3) -> None:
    """Save ``amount`` batches after those that are there, ``together`` at a time, and a copy every tenth time."""
    folder = await asyncio.to_thread(DataFolder.open, path)
    database = await Database.open(folder)
    state = State(database)
    numbers = await state.collection(Number)
    last = numbers["left"].n if numbers else 0

    async def save(n: int) -> None:
        changes = [numbers.put(key, Number(n, "x" * (n % 7) * 300)) for key in ("left", f"entry-{n}", "right")]
        try:
            await state.commit(*changes, numbers.delete(f"entry-{n - KEPT_ENTRIES}"))
        except StateUnwritable:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(1, f"ack {n}\n".encode())

    for turn, first in enumerate(range(last + 1, last + amount + 1, together)):
        async with asyncio.TaskGroup() as group:
            for n in range(first, first + together):
                group.create_task(save(n))
        if turn % 10 == 5:
            await database.copy()
    await database.close()
    folder.close()


async def check_batches(path: Path, acknowledged: int, *, lost: bool = False) -> int:
    """Open what a killed process left: every batch wholly there or not at all, every acknowledged one there.

    Returns the number of the last batch. ``lost``: whether a loss has to be told, otherwise none may be.
    """
    started = time.monotonic()
    folder = await asyncio.to_thread(DataFolder.open, path)
    try:
        database = await Database.open(folder)
        try:
            numbers = await State(database).collection(Number)
            assert time.monotonic() - started < 3
            assert bool(database.losses) is lost, database.losses
            last = whole_batches(numbers)
            assert last >= acknowledged, f"batch {acknowledged} was acknowledged and is not there; the last is {last}"
            return last
        finally:
            await database.close()
    finally:
        folder.close()


def whole_batches(numbers: Collection[Number]) -> int:
    """The last batch's number, once all that must go with it was seen."""
    last = numbers["left"].n if "left" in numbers else 0
    entries = {f"entry-{n}" for n in range(max(1, last - KEPT_ENTRIES + 1), last + 1)}
    assert set(numbers) == (entries | {"left", "right"} if last else set())
    assert all(numbers[key].n == last for key in ("left", "right") if last)
    assert all(numbers[key].n == int(key.removeprefix("entry-")) for key in entries)
    return last


def last_acknowledged(output: str) -> int:
    """The number of the last batch whose acknowledgement was read."""
    return max((int(n) for n in re.findall(r"^ack (\d+)$", output, re.M)), default=0)


def command(path: Path, amount: int) -> list[str]:
    """The command that runs this file as a process of its own."""
    return [sys.executable, __file__, str(path), str(amount)]


def run(arguments: Sequence[str], failpoints: str = "") -> subprocess.CompletedProcess[str]:
    """Run it to its end, whatever that is."""
    environment = {**os.environ, "ROOFTREE_FAILPOINTS": failpoints}
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60, env=environment)


if __name__ == "__main__":
    asyncio.run(save_batches(Path(sys.argv[1]), int(sys.argv[2])))

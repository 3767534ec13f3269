"""The state under faults, exhaustively: killed at every call, refused at every call, the power cut after every call."""

from __future__ import annotations

import asyncio
import os
import random
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rooftree.state.folder import DataFolder
from tests.torture import disk_model, numbered_batches
from tests.torture.requirements import require_strace

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]

BATCHES = 18
"""Enough for a copy in the middle."""


def nothing(path: Path) -> int:
    """Not even the folder."""
    return 0


def only_the_folder(path: Path) -> int:
    """A first start that ended before the database was made."""
    DataFolder.open(path).close()
    return 0


def after_a_kill(path: Path) -> int:
    """A database whose last batches are in its log; how many there are."""
    arguments = numbered_batches.command(path, 12)
    killed = numbered_batches.run(arguments, "database.after_commit=kill@3")
    assert killed.returncode == -9, killed.stderr
    return asyncio.run(numbered_batches.check_batches(shutil.copytree(path, path.with_suffix(".looked")), 0))


each_start = pytest.mark.parametrize("prepare", [nothing, only_the_folder, after_a_kill])


def run_with_fault(path: Path, calls: str, fault: str, log: str = os.devnull) -> subprocess.CompletedProcess[str]:
    tracing = [require_strace(), "-f", "-qq", "-o", log, "-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"]
    return numbered_batches.run([*tracing, *numbered_batches.command(path, BATCHES)])


@each_start
def test_killed_at_every_system_call_it_keeps_whole_batches_and_all_acknowledged(
    tmp_path: Path, prepare: Callable[[Path], int]
) -> None:
    origin = tmp_path / "origin"
    before = prepare(origin)
    for call in range(1, 10_000):
        image = tmp_path / f"image-{call}"
        if origin.exists():
            shutil.copytree(origin, image)
        child = run_with_fault(image, numbered_batches.WRITING, f"signal=KILL:when={call}")
        acknowledged = numbered_batches.last_acknowledged(child.stdout) or before
        asyncio.run(numbered_batches.check_batches(image, acknowledged))
        shutil.rmtree(image)
        if child.returncode == 0:
            break
    assert call > 30, "the faults must have hit something"


@each_start
@pytest.mark.parametrize(
    ("calls", "error"),
    [
        ("pwrite64", "ENOSPC"),
        ("fdatasync,fsync", "EIO"),
        ("ftruncate,rename,unlink", "EROFS"),
        ("pread64", "EIO"),
    ],
)
def test_refused_at_every_system_call_it_keeps_exactly_what_it_acknowledged(
    tmp_path: Path, prepare: Callable[[Path], int], calls: str, error: str
) -> None:
    """Plain ``write`` is left out: the acknowledgements go by it."""
    origin, log = tmp_path / "origin", tmp_path / "trace"
    before = prepare(origin)
    for call in range(1, 10_000):
        image = tmp_path / f"image-{call}"
        if origin.exists():
            shutil.copytree(origin, image)
        child = run_with_fault(image, calls, f"error={error}:when={call}", str(log))
        acknowledged = numbered_batches.last_acknowledged(child.stdout) or before
        assert asyncio.run(numbered_batches.check_batches(image, acknowledged)) == acknowledged, (call, child)
        shutil.rmtree(image)
        if "(INJECTED)" not in log.read_text(errors="replace"):
            break
    assert call > 1, "the faults must have hit something"


def power_cuts(tmp_path: Path, origin: Path, arguments: list[str], check: Callable[[Path, bytes], object]) -> int:
    """Record a run on ``origin``; check what the disk may hold after each of its calls; how many such disks."""
    disk = disk_model.Disk(origin)
    calls = disk_model.record(require_strace(), arguments, tmp_path / "trace")
    chance = random.Random(20261123)
    cuts = 0
    for call in calls:
        if not disk.replay(call):
            continue
        for kept in (0, 0.25, 0.5, 0.75, 1):
            image = tmp_path / "image"
            disk.power_cut(image, chance, kept)
            check(image, disk.output)
            shutil.rmtree(image)
            cuts += 1
    return cuts


@each_start
def test_power_cut_after_every_call_keeps_whole_batches_and_all_acknowledged(
    tmp_path: Path, prepare: Callable[[Path], int]
) -> None:
    origin = tmp_path / "origin"
    before = prepare(origin)
    origin.mkdir(exist_ok=True)

    def check(image: Path, output: bytes) -> None:
        acknowledged = numbered_batches.last_acknowledged(output.decode()) or before
        asyncio.run(numbered_batches.check_batches(image, acknowledged))

    lives = " && ".join(shlex.join(numbered_batches.command(origin, amount)) for amount in (BATCHES, 6))
    assert power_cuts(tmp_path, origin, ["sh", "-c", lives], check) > 500


MOST_WRITES = 10
"""Writes between two flushes of which every set is tried: 1,024 disks."""


@each_start
def test_power_cut_before_any_flush_of_a_commit_keeps_whole_batches_whichever_writes_came_through(
    tmp_path: Path, prepare: Callable[[Path], int], record_property: Callable[[str, object], None]
) -> None:
    """Every set of writes before a flush contains every set of the writes before each call before it."""
    origin = tmp_path / "origin"
    before = prepare(origin)
    origin.mkdir(exist_ok=True)
    disk = disk_model.Disk(origin)
    calls = disk_model.record(require_strace(), numbered_batches.command(origin, 1), tmp_path / "trace")
    disks = flushes = complete = 0
    for call in [*calls, None]:
        if call is None or call.name in {"fsync", "fdatasync"}:
            flushes += 1
            acknowledged = numbered_batches.last_acknowledged(disk.output.decode()) or before
            image = tmp_path / "image"
            everything = True
            for everything in disk.every_power_cut(image, MOST_WRITES):  # noqa: B007  # its last value is counted
                asyncio.run(numbered_batches.check_batches(image, acknowledged))
                shutil.rmtree(image)
                disks += 1
            complete += everything
        if call is not None:
            disk.replay(call)
    figures = f"{disks} disks at {flushes} flushes, every set of writes at {complete} of them"
    print(figures)
    record_property("figures", figures)
    assert disks > 300
    assert complete > flushes / 2


def test_power_cut_while_a_damaged_database_is_replaced_loses_neither_the_copy_nor_the_message(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    saved = numbered_batches.run(numbered_batches.command(origin, BATCHES))
    assert saved.returncode == 0, saved.stderr
    (origin / "rooftree.db").write_bytes(b"damaged" * 5000)

    def check(image: Path, output: bytes) -> None:
        assert asyncio.run(numbered_batches.check_batches(image, BATCHES, lost=True)) >= BATCHES
        assert [path.read_bytes() for path in image.glob("damaged/*/rooftree.db")] == [b"damaged" * 5000]

    assert power_cuts(tmp_path, origin, numbered_batches.command(origin, 3), check) > 100

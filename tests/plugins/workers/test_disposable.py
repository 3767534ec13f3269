"""Programs that may never end: waited for as long as they are told, killed, and left behind."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from rooftree_workers import DisposableProcesses, Hanging
from tests.rig.dead_share import Share
from tests.rig.waiting import until


@pytest.fixture
def processes() -> DisposableProcesses:
    return DisposableProcesses()


async def test_program_that_ends_says_what_it_printed(processes: DisposableProcesses) -> None:
    ended = await processes.run("x", "sh", "-c", "echo out; echo no >&2; echo more >&2; exit 3", within_s=10)

    assert (ended.code, ended.output, ended.reason) == (3, b"out\n", "no")
    assert processes.left_behind() == 0


async def test_program_that_is_not_there_is_told(processes: DisposableProcesses) -> None:
    with pytest.raises(FileNotFoundError):
        await processes.run("x", "no-such-program", within_s=10)


async def test_program_that_takes_too_long_is_killed_with_what_it_started(
    processes: DisposableProcesses, tmp_path: Path
) -> None:
    command = f"sleep 1000 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(Hanging):
        await processes.run("x", "sh", "-c", command, within_s=0.5)

    async def is_gone() -> bool:
        return not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()

    await until(is_gone, within_s=5, what="the end of what it started")
    assert processes.left_behind() == 0


async def test_what_goes_on_with_a_programs_pipes_is_not_waited_for(processes: DisposableProcesses) -> None:
    began = time.monotonic()

    ended = await processes.run("x", "sh", "-c", "echo out; (sleep 20 &)", within_s=10)

    assert ended.output == b"out\n"
    assert time.monotonic() - began < 5


async def test_one_that_the_kernel_holds_is_left_behind_and_no_other_is_started_for_the_same(
    processes: DisposableProcesses, dead_share: Share
) -> None:
    folder = dead_share.folder
    while processes.left_behind() == 0:  # it may be killed before it has asked anything
        with pytest.raises(Hanging):
            await processes.run("share", "stat", "--file-system", str(folder), within_s=0.5)
    with pytest.raises(Hanging, match="before still hangs"):
        await processes.run("share", "true", within_s=10)

    assert processes.left_behind() == 1
    assert (await processes.run("something else", "true", within_s=10)).code == 0

    dead_share.answer()

    async def is_let_go() -> bool:
        return processes.left_behind() == 0

    await until(is_let_go, within_s=5, what="the end of the one that was left behind")
    assert (await processes.run("share", "stat", "--file-system", str(folder), within_s=10)).code == 0


async def test_cancelled_call_waits_for_nobody(processes: DisposableProcesses, dead_share: Share) -> None:
    command = ("stat", "--file-system", str(dead_share.folder))
    call = asyncio.ensure_future(processes.run("share", *command, within_s=100))
    await asyncio.to_thread(dead_share.wait_until_asked)

    call.cancel()
    async with asyncio.timeout(3):
        await asyncio.wait({call})

    assert processes.left_behind() == 1


async def test_more_output_than_is_wanted_is_dropped_and_the_program_ends(processes: DisposableProcesses) -> None:
    ended = await processes.run("x", "head", "-c", "20000000", "/dev/zero", within_s=20)

    assert ended.code == 0
    assert len(ended.output) == 4 * 2**20

"""Programs beside the daemon keep to their limits and end with whoever wanted them, with util-linux and without."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rooftree_workers import child_process, child_processes
from rooftree_workers.child_processes import _helpers
from tests.rig.dead_share import Share

PIPE = asyncio.subprocess.PIPE
WRITE = "import sys; open(sys.argv[1], 'wb').write(b'x' * 2_000_000)"
TAKE = "bytes(500_000_000)"
LIMITS = """
import resource
print(*(resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_DATA)))
"""
DAEMON = """
import asyncio, sys
from rooftree_workers import child_process, child_processes

async def main():
    if sys.argv[1] == "copied":
        child_processes._helpers = lambda: None
    async with child_process("sleep", "1000", limits={"fsize": 2**20}) as child:
        print(child.pid, flush=True)
        await child.wait()

asyncio.run(main())
"""


@pytest.fixture(params=["helped", "copied"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """How programs are confined: by others, or in a copy of ourselves."""
    if request.param == "copied":
        monkeypatch.setattr("rooftree_workers.child_processes._helpers", lambda: None)
    else:
        assert _helpers() is not None, "this machine lacks setpriv or prlimit"
    yield request.param


async def test_program_gets_what_it_is_told_and_nothing_else(tmp_path: Path) -> None:
    async with child_process("env", env={"PATH": os.environ["PATH"], "A": "1"}, stdout=PIPE, cwd=tmp_path) as child:
        said, _ = await child.communicate()

    assert said.decode().splitlines() == [f"PATH={os.environ['PATH']}", "A=1"]


async def test_limits_are_those_that_were_given() -> None:
    async with child_process(
        sys.executable, "-c", LIMITS, limits={"fsize": 2**20, "data": 2**30}, stdout=PIPE
    ) as child:
        said, _ = await child.communicate()

    assert said.split() == [b"%d" % 2**20, b"%d" % 2**30]


async def test_too_large_a_file_fails_with_a_reason_and_kills_nobody(tmp_path: Path) -> None:
    file = tmp_path / "file"
    async with child_process(sys.executable, "-c", WRITE, str(file), limits={"fsize": 1_000_000}, stderr=PIPE) as child:
        _, errors = await child.communicate()

    assert child.returncode == 1
    assert b"File too large" in errors
    assert file.stat().st_size <= 1_000_000


async def test_too_much_memory_fails() -> None:
    async with child_process(sys.executable, "-c", TAKE, limits={"data": 200_000_000}, stderr=PIPE) as child:
        _, errors = await child.communicate()

    assert b"MemoryError" in errors


async def test_program_that_is_not_there_is_not_found() -> None:
    with pytest.raises(FileNotFoundError) as missing:
        async with child_process("no-such-program", limits={"fsize": 1}):
            pass

    assert missing.value.filename == "no-such-program"


async def test_program_and_what_it_started_end_with_the_block() -> None:
    async with child_process("sh", "-c", "sleep 1000 & echo $!; wait", stdout=PIPE) as child:
        assert child.stdout is not None
        started = int(await child.stdout.readline())

    assert child.returncode == -signal.SIGKILL
    await until_gone(started)


async def test_program_ends_with_a_daemon_that_is_killed(way: str) -> None:
    daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", DAEMON, way, stdout=PIPE)
    assert daemon.stdout is not None
    child = int(await daemon.stdout.readline())
    while Path(f"/proc/{child}/comm").read_text() != "sleep\n":  # it is still becoming that
        await asyncio.sleep(0.01)

    daemon.kill()
    await daemon.wait()

    await until_gone(child)


async def until_gone(pid: int) -> None:
    """Wait until there is no such process, or nothing of it but its exit status."""
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}").exists() and ") Z " not in Path(f"/proc/{pid}/stat").read_text():
            await asyncio.sleep(0.01)


async def test_one_that_the_kernel_holds_is_left_behind(dead_share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_processes, "ENDS_S", 0.5)

    async with asyncio.timeout(20):
        async with child_process("stat", "--file-system", str(dead_share.folder), stdout=PIPE) as child:
            await asyncio.to_thread(dead_share.wait_until_asked)
        assert child.returncode is None
        dead_share.answer()
        assert await child.wait() == -signal.SIGKILL

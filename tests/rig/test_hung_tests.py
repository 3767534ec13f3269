"""What a test tells whose time is over, and where it is ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent


def ended(tmp_path: Path, test: str) -> str:
    """What pytest says of a test that does not end."""
    head = "import asyncio, socket, time\nfrom tests.rig import hung_tests\n"
    (tmp_path / "conftest.py").write_text("from tests.rig.hung_tests import pytest_timeout_set_timer\n")
    (tmp_path / "test_hanging.py").write_text(head + dedent(test))
    options = ("-p", "no:cacheprovider", "--timeout", "0.5", "-o", "asyncio_mode=auto", "--rootdir", str(tmp_path))
    words = [sys.executable, "-m", "pytest", *options, str(tmp_path)]
    done = subprocess.run(words, check=False, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)
    return done.stdout


def test_test_that_hangs_tells_what_its_tasks_wait_for_and_what_lies_in_its_sockets(tmp_path: Path) -> None:
    said = ended(tmp_path, """
        async def ask(door):
            await door.wait()

        async def test_hangs(tmp_path):
            served = await asyncio.start_unix_server(lambda reader, writer: None, tmp_path / "door")
            async with served:
                await asyncio.gather(asyncio.create_task(ask(asyncio.Event()), name="who asks"))
    """)  # fmt: skip

    assert "Timeout (>0.5s)" in said
    assert "who asks\n" in said
    assert "test_hanging.py:5 ask\n" in said
    assert "locks.py" in said
    assert f"{tmp_path}" in said.partition("State")[2]


def test_time_that_is_over_amid_a_callback_of_the_loop_ends_the_test_all_the_same(tmp_path: Path) -> None:
    said = ended(tmp_path, """
        async def test_hangs():
            asyncio.get_running_loop().call_later(0.2, time.sleep, 0.6)
            await asyncio.Event().wait()
    """)  # fmt: skip

    assert "1 failed" in said
    assert "Timeout (>0.5s)" in said
    assert "Exception in callback" not in said


def test_loop_that_never_waits_is_ended_too(tmp_path: Path) -> None:
    said = ended(tmp_path, """
        hung_tests.BUSY = 4

        async def test_hangs():
            while True:
                await asyncio.sleep(0)
                time.sleep(0)
    """)  # fmt: skip

    assert "1 failed" in said

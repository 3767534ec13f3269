"""The daemon as a process: started, asked, stopped, killed."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.kernel.daemon_process import Daemon, ended, printed


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    with TemporaryDirectory(prefix="rt-") as folder:  # short, for the unix socket in it
        yield Daemon(Path(folder))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_daemon_starts_answers_tells_systemd_and_stops_without_leftovers(daemon: Daemon, number: int) -> None:
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    address = daemon.folder / "notify"
    notify.bind(str(address))
    with notify:
        async with daemon.process(NOTIFY_SOCKET=str(address)) as process:
            await printed(process, "plugins_started")
            assert await daemon.get("/acme") == (200, {"result": "ok", "data": {"acme": "here"}})
            assert notify.recv(100) == b"READY=1"

            process.send_signal(number)
            status, rest = await ended(process)

        assert status == 0
        assert "acme has stopped" in rest
        assert "Traceback" not in rest
        assert notify.recv(100) == b"STOPPING=1"
    left = {path.name for path in (daemon.folder / "data").iterdir()}
    assert left == {"admin-token", "copies", "disk-reserve", "instance-id", "rooftree.db", "rooftree.lock"}


async def test_daemon_takes_the_files_that_it_may_open(daemon: Daemon) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # inherited
    try:
        async with daemon.process() as process:
            await printed(process, "plugins_started")
            given = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert given == (min(65_536, hard), hard)


async def test_second_daemon_on_the_same_folder_is_refused_and_the_first_serves_on(daemon: Daemon) -> None:
    async with daemon.process() as first:
        await printed(first, "plugins_started")

        async with daemon.process() as second:
            status, said = await ended(second)

        assert status == 1
        assert str(first.pid) in said
        assert "Traceback" not in said
        assert (await daemon.get("/acme"))[0] == 200


async def test_port_in_use_is_an_error_that_says_so(daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon.flags["kernel.port"] = taken.getsockname()[1]

        async with daemon.process() as process:
            status, said = await ended(process)

    assert status == 1
    assert f"Cannot listen on 127.0.0.1 port {daemon.flags['kernel.port']}" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("in_setup", "await asyncio.Event().wait()"),
        ("at_import", 'print("acme sets up", flush=True); threading.Event().wait()'),
    ],
    ids=["setup", "import"],
)
async def test_daemon_stops_at_once_while_a_plugin_hangs_in_its_start(daemon: Daemon, where: str, code: str) -> None:
    daemon.install(**{where: code})

    async with daemon.process() as process:
        await printed(process, "acme sets up")
        process.terminate()
        async with asyncio.timeout(5):
            status, rest = await ended(process)

    assert status == 0
    assert "Traceback" not in rest
    assert ("acme has stopped" in rest) == (where == "in_setup")


async def test_killed_daemon_starts_again_over_its_leftovers(daemon: Daemon) -> None:
    async with daemon.process() as first:
        await printed(first, "plugins_started")
        first.kill()
        await first.wait()
    assert daemon.socket.exists()

    async with daemon.process() as second:
        await printed(second, "plugins_started")
        assert (await daemon.get("/acme"))[0] == 200
        (problem,) = (await daemon.get("/kernel/v1/problems"))[1]["data"]["problems"]

    assert problem["type"] == "ended_unexpectedly"
    assert problem["message"].startswith("Rooftree ended without being told to, and was started again, last at ")


async def test_daemon_does_not_carry_what_only_the_command_line_draws_with() -> None:
    look = "print([name for name in ('rich', 'pygments', 'click') if name in sys.modules])"
    code = f"import sys, rooftree.daemon; {look}"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)
    output, _ = await process.communicate()

    assert output.decode().strip() == "[]"


async def test_daemon_keeps_no_text_of_generated_code() -> None:
    code = (
        "import rooftree.daemon, linecache, attrs; from rooftree.model import structure\n"
        "@attrs.frozen\nclass Lamp:\n    name: str\n"
        "print(structure({'name': 'hall'}, Lamp), [key for key in linecache.cache if 'attrs generated' in key])"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)
    output, _ = await process.communicate()

    assert output.decode().strip() == "Lamp(name='hall') []"

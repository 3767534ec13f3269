"""The daemon as a process: started, asked, stopped, killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest

DEADLINE_S = 20

DAEMON = """
import json, sys
from rooftree.daemon import run
from rooftree.settings import load
sys.exit(run(load(config=None, environ={"ROOFTREE_CONFIG": ""}, flags=json.loads(sys.argv[1]))))
"""

PLUGIN = """
import asyncio, threading
from pathlib import Path
from rooftree import PUBLIC, Plugin, Routes

{at_import}

routes = Routes()

@routes.get("/acme", access=PUBLIC)
def acme() -> dict[str, str]:
    return {{"acme": "here"}}

class Acme(Plugin):
    name = "acme"

    def routes(self):
        return routes

    async def setup(self, kernel):
        self.folder = kernel.data.path
        print("acme sets up", flush=True)
        {in_setup}

    async def stop(self):
        print("acme has stopped", flush=True)
"""


class Daemon:
    """A daemon whose only plugin is ``acme``, found through a real entry point."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "site"
        self.flags: dict[str, object] = {
            "kernel.data_dir": str(folder / "data"),
            "kernel.port": 0,
            "plugins.enabled": ["acme"],
        }
        self.install()

    @property
    def socket(self) -> Path:
        return self.folder / "data" / "rooftree.sock"

    def install(self, at_import: str = "", in_setup: str = "") -> None:
        """Install the plugin, with lines of code at two places."""
        info = self.site / "acme-1.0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\nRequires-Dist: rooftree\n")
        (info / "entry_points.txt").write_text("[rooftree.plugins]\nacme = acme:Acme\n")
        (self.site / "acme.py").write_text(PLUGIN.format(at_import=at_import, in_setup=in_setup))

    @asynccontextmanager
    async def process(self, **environment: str) -> AsyncIterator[Process]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            DAEMON,
            json.dumps(self.flags),
            stdout=PIPE,
            stderr=STDOUT,
            env={**os.environ, "PYTHONPATH": str(self.site), "PYTHONUNBUFFERED": "1", **environment},
        )
        try:
            async with asyncio.timeout(DEADLINE_S):
                yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def get(self, path: str) -> tuple[int, dict[str, object]]:
        """Ask over the unix socket."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket))) as session,
            session.get(f"http://rooftree{path}") as answer,
        ):
            return answer.status, await answer.json()


async def printed(process: Process, text: str) -> str:
    """Wait until the process has printed ``text``; everything until then."""
    assert process.stdout is not None
    lines = ""
    while text not in lines:
        line = await process.stdout.readline()
        assert line, f"it ended without printing {text!r}:\n{lines}"
        lines += line.decode()
    return lines


async def ended(process: Process) -> tuple[int, str]:
    """The exit status, and what was still printed."""
    assert process.stdout is not None
    rest = (await process.stdout.read()).decode()
    return await process.wait(), rest


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


async def test_daemon_does_not_carry_what_only_the_command_line_draws_with() -> None:
    code = "import sys, rooftree.daemon; print([name for name in ('rich', 'pygments', 'click') if name in sys.modules])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)
    output, _ = await process.communicate()

    assert output.decode().strip() == "[]"

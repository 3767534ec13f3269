"""A daemon as a process of its own, whose only plugin is ``acme``, found through a real entry point.

``python -m tests.kernel.daemon_process SITE FLAGS`` is one for forks: the folder that the plugin is installed in, and
settings as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rooftree.daemon import run  # first, as in the command

# isort: split
import aiohttp

from rooftree.settings import load
from tests.rig.fork_server import ForkedProcess, forked

DEADLINE_S = 20

DAEMON = """
import json, sys
from rooftree.daemon import run
from rooftree.settings import load
sys.exit(run(load(config=None, environ={"ROOFTREE_CONFIG": ""}, flags=json.loads(sys.argv[1]))))
"""

PLUGIN = """
import asyncio, threading, time
from pathlib import Path
from rooftree import PUBLIC, Plugin, Routes

{at_import}

routes = Routes()

@routes.get("/acme", access=PUBLIC)
def acme() -> dict[str, str]:
    {in_route}
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

    def install(self, at_import: str = "", in_setup: str = "", in_route: str = "") -> None:
        """Install the plugin, with lines of code at three places."""
        info = self.site / "acme-1.0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\nRequires-Dist: rooftree\n")
        (info / "entry_points.txt").write_text("[rooftree.plugins]\nacme = acme:Acme\n")
        (self.site / "acme.py").write_text(PLUGIN.format(at_import=at_import, in_setup=in_setup, in_route=in_route))

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

    @asynccontextmanager
    async def fork(self, **environment: str) -> AsyncIterator[ForkedProcess]:
        """The same as a fork, for what is not about the start."""
        arguments = [str(self.site), json.dumps(self.flags)]
        async with (
            forked("tests.kernel.daemon_process", *arguments, environment={**os.environ, **environment}) as process,
            asyncio.timeout(DEADLINE_S),
        ):
            yield process

    async def get(self, path: str) -> tuple[int, dict[str, object]]:
        """Ask over the unix socket."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket))) as session,
            session.get(f"http://rooftree{path}") as answer,
        ):
            return answer.status, await answer.json()


async def printed(process: Process | ForkedProcess, text: str) -> str:
    """Wait until the process has printed ``text``; everything until then."""
    assert process.stdout is not None
    lines = ""
    while text not in lines:
        line = await process.stdout.readline()
        assert line, f"it ended without printing {text!r}:\n{lines}"
        lines += line.decode()
    return lines


async def ended(process: Process | ForkedProcess) -> tuple[int, str]:
    """The exit status, and what was still printed."""
    assert process.stdout is not None
    rest = (await process.stdout.read()).decode()
    return await process.wait(), rest


if __name__ == "__main__":
    os.dup2(sys.stdout.fileno(), sys.stderr.fileno())
    sys.path.insert(0, sys.argv[1])
    sys.exit(run(load(config=None, environ={"ROOFTREE_CONFIG": ""}, flags=json.loads(sys.argv[2]))))

"""The real ``rooftree run`` as a process, beside whatever else uses the same engine.

Each daemon has a data folder, a port, a prefix for its names and an add-on network of its own. It is talked to over
HTTP and by signals, and everything it made on the engine is found by its instance id.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.rig.service_process import free_port
from tests.e2e.rig.waiting import until

ROOFTREE = Path(sys.executable).with_name("rooftree")
ADMIN = "the admin token"
"""Stands for the token that the daemon wrote into its data folder."""
START_S = 20.0
STOP_S = 30.0
SETTINGS = """\
[kernel]
data_dir = {data_dir}
host = "127.0.0.1"
port = {port}
log_level = "debug"

[plugins.docker]
prefix = {prefix}
subnet = {subnet}
"""


class Daemon:
    """One daemon with its folders; start it, call it, kill it, start it again."""

    def __init__(self, folder: Path, *, subnet: str) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.settings = folder / "rooftree.toml"
        self.prefix = f"rt{secrets.token_hex(4)}_"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.settings.write_text(
            SETTINGS.format(
                data_dir=json.dumps(str(self.data_dir)),
                port=self.port,
                prefix=json.dumps(self.prefix),
                subnet=json.dumps(subnet),
            ),
            encoding="utf-8",
        )

    @property
    def admin_token(self) -> str:
        """The token that the daemon made at its first start."""
        return (self.data_dir / "admin-token").read_text(encoding="utf-8").strip()

    @property
    def instance(self) -> str | None:
        """The instance id that labels everything it makes on the engine; ``None`` before its first start."""
        with contextlib.suppress(FileNotFoundError):
            return (self.data_dir / "instance-id").read_text(encoding="utf-8").strip()
        return None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """Everything that it and its predecessors printed."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    async def start(self, *, failpoints: str = "") -> None:
        """Start it and wait until it answers; ``failpoints`` such as ``docker.pull_image=kill``.

        Raises :class:`RuntimeError` with its log when it ends instead.
        """
        assert not self.running, "it runs already"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ROOFTREE_")}
        if failpoints:
            environment["ROOFTREE_FAILPOINTS"] = failpoints
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [ROOFTREE, "run", "--config", self.settings],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        await until(self._answers, within_s=START_S, what="the first answer")

    async def stop(self) -> int:
        """SIGTERM, as a service manager does. The exit status."""
        assert self._process is not None, "it was never started"
        self._process.terminate()
        return await self.ended()

    async def kill(self) -> None:
        """SIGKILL: no goodbye."""
        assert self._process is not None, "it was never started"
        self._process.kill()
        await self.ended()

    async def restart(self) -> None:
        """Stop it and start it again on the same data folder."""
        await self.stop()
        await self.start()

    async def ended(self, within_s: float = STOP_S) -> int:
        """Wait for its end, by a signal or a failpoint. The exit status, negative for a signal."""
        assert self._process is not None, "it was never started"
        return await asyncio.to_thread(self._process.wait, within_s)

    async def call(self, method: str, path: str, json: object = None, *, token: str | None = ADMIN) -> tuple[int, Any]:
        """Call the API. Status and body: decoded JSON, or the text where the answer is none."""
        async with self.request(method, path, json, token=token) as response:
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.text())

    @contextlib.asynccontextmanager
    async def request(
        self, method: str, path: str, json: object = None, *, token: str | None = ADMIN
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer while it comes, for streams. ``token=None`` calls without any."""
        bearer = self.admin_token if token == ADMIN else token
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        async with (
            aiohttp.ClientSession(self.url, headers=headers) as session,
            session.request(method, path, json=json) as response,
        ):
            yield response

    async def _answers(self) -> bool:
        if not self.running:
            raise RuntimeError(f"the daemon ended instead of answering:\n{self.log()}")
        with contextlib.suppress(aiohttp.ClientConnectionError):
            status, _ = await self.call("GET", "/supervisor/ping", token=None)
            return status == 200
        return False

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
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from rooftree_docker.network import interface_name
from rooftree_docker.wire_rules import GUARD, PORTS
from tests.rig.engine import HERE, Engine, Surroundings
from tests.rig.fork_server import ForkedProgram, fork, is_as_new
from tests.rig.service_process import free_port
from tests.rig.waiting import until

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

[plugins.store]
repositories = []

[plugins.homeassistant]
install = false

[plugins.docker]
prefix = {prefix}
subnet = {subnet}
{docker}
"""
JOB_S = 30.0


class Daemon:
    """One daemon with its folders; start it, call it, kill it, start it again.

    :param docker: more settings of ``[plugins.docker]``, as lines of TOML: another engine's socket, its deadlines
    """

    def __init__(
        self,
        folder: Path,
        *,
        subnet: str,
        docker: Iterable[str] = (),
        surroundings: Surroundings = HERE,
    ) -> None:
        self.folder = folder
        self.surroundings = surroundings
        self.subnet = subnet
        self.data_dir = folder / "data"
        self.settings = folder / "rooftree.toml"
        self.prefix = f"rt{secrets.token_hex(4)}_"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment: dict[str, str] = {}
        """What its operator's shell adds to the environment."""
        self.by_command = False
        """Whether it is the command itself that is run, as its operator does, imports and all; else it is forked."""
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | ForkedProgram | None = None
        self.settings.write_text(
            SETTINGS.format(
                data_dir=json.dumps(str(self.data_dir)),
                port=self.port,
                prefix=json.dumps(self.prefix),
                subnet=json.dumps(subnet),
                docker="\n".join(docker),
            ),
            encoding="utf-8",
        )

    def wants_core(self, *settings: str) -> None:
        """Core is installed by it, from its next start on; perhaps with more of ``[plugins.homeassistant]``."""
        text = self.settings.read_text(encoding="utf-8")
        wanted = "\n".join(["install = true", *settings])
        self.settings.write_text(text.replace("install = false", wanted), encoding="utf-8")

    @property
    def admin_token(self) -> str:
        """The token that the daemon made at its first start."""
        return (self.data_dir / "admin-token").read_text(encoding="utf-8").strip()

    @property
    def socket(self) -> Path:
        """Its unix socket."""
        return self.data_dir / "rooftree.sock"

    @property
    def bridge(self) -> str:
        """The name of its network's bridge on the host."""
        return interface_name(f"{self.prefix}hassio")

    def wire_rules(self) -> str:
        """The rules that it has written for the wire of its network."""
        tables = (kind + self.bridge for kind in (GUARD, PORTS))
        return "\n".join(
            subprocess.run(["nft", "list", "table", "bridge", table], check=True, capture_output=True, text=True).stdout
            for table in tables
        )

    def remove_wire_rules(self) -> None:
        """Take its rules away, which outlive it as long as its network is there."""
        for kind in (GUARD, PORTS):
            with contextlib.suppress(FileNotFoundError):
                command = ["nft", "delete", "table", "bridge", kind + self.bridge]
                subprocess.run(command, check=False, capture_output=True)

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

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None, "it was never started"
        return self._process.pid

    def log(self) -> str:
        """Everything that it and its predecessors printed."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    async def start(self, *, failpoints: str = "") -> None:
        """Start it and wait until every plugin has started; ``failpoints`` such as ``job:accepted=kill``.

        Raises :class:`RuntimeError` with its log when it ends instead.
        """
        assert not self.running, "it runs already"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ROOFTREE_")}
        environment |= {**self.surroundings.environment, **self.environment}
        if failpoints:
            environment["ROOFTREE_FAILPOINTS"] = failpoints
        environment["NOTIFY_SOCKET"] = str(self.folder / "notify")
        arguments = ["run", "--config", str(self.settings)]
        with self._log.open("ab") as output, _service_manager(self.folder / "notify") as service_manager:
            if not (self.by_command or self.surroundings.command) and is_as_new(environment):
                self._process = fork(
                    "tests.rig.rooftree_command", *arguments, environment=environment, output=output.fileno()
                )
            else:
                self._process = subprocess.Popen(
                    [*self.surroundings.command, ROOFTREE, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environment,
                    start_new_session=True,
                )

            async def has_started() -> bool:
                if not self.running:
                    raise RuntimeError(f"the daemon ended instead of starting:\n{self.log()[-3000:]}")
                with contextlib.suppress(BlockingIOError):
                    return service_manager.recv(1024) == b"READY=1"
                return False

            await until(has_started, within_s=START_S, what="the end of the start")

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

    async def ok(self, method: str, path: str, json: object = None) -> Any:
        """Call the API as the administrator. The data of a good answer; any other fails the test with its sentence."""
        status, body = await self.call(method, path, json)
        assert status == 200, f"{method} {path} answered {status}: {body}"
        return body["data"] if isinstance(body, dict) else body

    async def job(self, job_id: str) -> Any:
        """A job once it has ended; raises :class:`TimeoutError` when it does not."""

        async def ended() -> Any:
            job = await self.ok("GET", f"/jobs/{job_id}")
            return job if job["done"] else None

        return await until(ended, within_s=JOB_S, what=f"the end of job {job_id}")

    async def recovered(self) -> None:
        """Wait until every plugin is well, no job is under way, and it is known what each add-on does."""

        async def is_quiet() -> bool:
            plugins = (await self.ok("GET", "/kernel/v1/plugins"))["plugins"]
            jobs = (await self.ok("GET", "/jobs/info"))["jobs"]
            addons = (await self.ok("GET", "/addons"))["addons"]
            return (
                all(plugin["state"] == "ok" for plugin in plugins)
                and all(job["done"] for job in jobs)
                and all(addon["state"] not in {"unknown", "startup"} for addon in addons)
            )

        await until(is_quiet, within_s=JOB_S, what="the end of the recovery")

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        json: object = None,
        *,
        token: str | None = ADMIN,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer while it comes, for streams. ``token=None`` calls without any.

        Another token than the administrator's is sent over the unix socket: there we may use whatever token, and from
        our address an add-on's is refused, whose container is elsewhere.
        """
        bearer = self.admin_token if token == ADMIN else token
        authorization = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        unix = None if token in {ADMIN, None} else aiohttp.UnixConnector(str(self.socket))
        async with (
            aiohttp.ClientSession(self.url, headers=authorization, connector=unix) as session,
            session.request(method, path, json=json, headers=headers) as response,
        ):
            yield response


@contextlib.contextmanager
def _service_manager(path: Path) -> Iterator[socket.socket]:
    """What a service manager listens to (sd_notify(3)). To ask the API instead, again and again, would be a fifth of
    what a start costs."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as line:
        line.bind(str(path))
        yield line


@contextlib.asynccontextmanager
async def disposable_daemon(engine: Engine, docker: Iterable[str] = ()) -> AsyncIterator[Daemon]:
    """A daemon that is ready to be started; at the end nothing of it stays on the engine.

    Its log is printed at the end, so that pytest shows it beside a failure.
    """
    around = engine.surroundings
    # Short: the path of a unix socket has 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="rt-", dir=around.folder))
    daemon = Daemon(folder, subnet=engine.free_subnet(), docker=docker, surroundings=around)
    try:
        yield daemon
    finally:
        if daemon.running:
            await daemon.kill()
        print(daemon.log())
        if daemon.instance:
            engine.remove_instance(daemon.instance)
        daemon.remove_wire_rules()
        for kept in (*daemon.data_dir.glob("apps/kept/*/*"), *daemon.data_dir.glob("kept/core/*/*")):
            engine.remove_image(f"rooftree-kept:{kept.name}")
        shutil.rmtree(folder)

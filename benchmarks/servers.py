"""The two sides of a comparison: the daemon with its 400 add-ons, and a bare aiohttp handler with the same bytes."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import processes
from attrs import frozen
from keepalive import HOST, Answer, WrongAnswer, ask, get

ROOFTREE = Path(sys.executable).with_name("rooftree")
BARE = Path(__file__).with_name("bare_server.py")
INSTALL_ALL = Path(__file__).with_name("install_all.py")
START_S = 60.0
PATIENCE_S = 600
SETTINGS = """\
[kernel]
data_dir = {data_dir}
host = "127.0.0.1"
port = {port}

[plugins]
disabled = {without}

[plugins.store]
repositories = {repositories}
reload_every_s = 1e9

[plugins.homeassistant]
install = false

[plugins.network]
internet_endpoints = []

[plugins.docker]
{docker}

[plugins.host]
{host}
"""


@frozen
class Running:
    """A server that answers."""

    process: processes.Process
    port: int

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid


class Installation:
    """A data folder, and the daemon that is started on it again and again.

    :param repositories: what its store shows beside the local add-ons
    :param hung_engine: a container engine that accepts connections and never says a word, rather than none at all
    :param docker: lines of ``[plugins.docker]``, to use an engine that works
    :param journal: where the gateway of a system journal is
    :param bus: the address of a system bus
    :param without: plugins that are switched off
    """

    def __init__(
        self,
        folder: Path,
        *,
        repositories: Sequence[str] = (),
        hung_engine: bool = False,
        docker: Sequence[str] | None = None,
        journal: str | None = None,
        bus: str | None = None,
        without: Sequence[str] = (),
    ) -> None:
        self.data_dir = folder / "data"
        self.log = folder / "log"
        self._settings = folder / "rooftree.toml"
        self._notify = folder / "notify"
        self._engine = folder / "docker.sock"
        self._hung_engine = hung_engine
        self.port = _free_port()
        self._repositories = repositories
        self._settings.write_text(
            SETTINGS.format(
                data_dir=json.dumps(str(self.data_dir)),
                port=self.port,
                without=json.dumps([*without]),
                repositories=json.dumps([*repositories]),
                docker="\n".join(docker or [f"socket = {json.dumps(f'unix://{self._engine}')}"]),
                host="\n".join(
                    f"{name} = {json.dumps(value)}" for name, value in (("journal", journal), ("bus", bus)) if value
                ),
            )
        )

    def install_all(self) -> None:
        """Enter every add-on as installed; the daemon must not run."""
        processes.run([sys.executable, INSTALL_ALL, self.data_dir.parent, *self._repositories])

    @contextlib.contextmanager
    def started(self) -> Iterator[Start]:
        """The daemon, just spawned; stopped at the end of the block."""
        with contextlib.ExitStack() as closing:
            if self._hung_engine:
                engine = closing.enter_context(socket.socket(socket.AF_UNIX))
                closing.callback(self._engine.unlink)
                engine.bind(str(self._engine))
                engine.listen(64)
            notified = closing.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            closing.callback(self._notify.unlink)
            notified.bind(str(self._notify))
            notified.setblocking(False)
            began = time.perf_counter()
            process = processes.start(
                [ROOFTREE, "run", "--config", self._settings],
                log=self.log,
                environment={"NOTIFY_SOCKET": str(self._notify)},
            )
            closing.callback(processes.stop, process)
            yield Start(Running(process, self.port), began, notified, self.data_dir / "admin-token")

    @contextlib.contextmanager
    def running(self) -> Iterator[tuple[Running, str]]:
        """The daemon with every plugin ready, and the administrator's token."""
        with self.started() as start:
            start.ready_s()
            yield start.server, start.token()


def post(server: Running, token: str, path: str, body: Any) -> Any:
    """Call the API, and wait for the answer's data; raises :class:`WrongAnswer` for an error."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with contextlib.closing(HTTPConnection(HOST, server.port, timeout=PATIENCE_S)) as connection:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    if answer.status != 200:
        raise WrongAnswer(f"{path} answers {answer.status}: {text[:500]!r}")
    return json.loads(text)["data"]


@frozen
class Start:
    """A start that is being watched. Each time is counted from before the process was spawned."""

    server: Running
    began: float
    notified: socket.socket
    token_file: Path

    def token(self) -> str:
        """The administrator's token."""
        return self.token_file.read_text().strip()

    def first_answer_s(self) -> float:
        """Seconds until /supervisor/ping answered with 200."""
        request = get("/supervisor/ping")

        def answered() -> float | None:
            with contextlib.suppress(ConnectionError):
                if ask(self.server.port, request).status == 200:
                    return time.perf_counter() - self.began
            return None

        return processes.until(answered, self.server.process, within_s=START_S, what="the first answer")

    def ready_s(self) -> float:
        """Seconds until the daemon told its service manager that every plugin is there, which is then checked."""

        def told() -> float | None:
            with contextlib.suppress(BlockingIOError):
                if b"READY=1" in self.notified.recv(4096):
                    return time.perf_counter() - self.began
            return None

        seconds = processes.until(told, self.server.process, within_s=START_S, what="READY=1")
        answer = ask(self.server.port, get("/kernel/v1/plugins", Authorization=f"Bearer {self.token()}"))
        if answer.status != 200:
            raise WrongAnswer(f"/kernel/v1/plugins: {answer.body!r}")
        states = {plugin["name"]: plugin["state"] for plugin in json.loads(answer.body)["data"]["plugins"]}
        if not {"docker", "store", "addons", "supervisor"} <= states.keys() or "failed" in states.values():
            raise RuntimeError(f"the daemon is not what should be measured: {states}")
        return seconds


@contextlib.contextmanager
def bare_server(folder: Path, answer: Answer) -> Iterator[Running]:
    """An aiohttp application whose one handler gives the body of ``answer`` to whoever asks."""
    body = folder / "body"
    body.write_bytes(answer.body)
    port = _free_port()
    process = processes.start(
        [sys.executable, BARE, str(port), body, str(answer.status), answer.headers.get("etag", "")],
        log=folder / "bare.log",
    )

    def answers() -> bool | None:
        with contextlib.suppress(ConnectionError):
            return ask(port, get("/")).status is not None
        return None

    try:
        processes.until(answers, process, within_s=START_S, what="the bare handler's first answer")
        yield Running(process, port)
    finally:
        processes.stop(process)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listening:
        return int(listening.getsockname()[1])

"""The daemon of an environment, as the person sees it who has installed it there."""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from tests.packaging.environments import Environment, environment_without_ours

START_S = 60.0
"""What a start may take on a busy machine."""
PAUSE_S = 0.1


@frozen
class InstalledDaemon:
    """A daemon that can be started again and again on one data folder."""

    environment: Environment
    data: Path
    settings: Mapping[str, object] = field(factory=dict)
    variables: Mapping[str, str] = field(factory=dict)
    """Beside those of the tests' own environment."""

    @contextmanager
    def running(self) -> Iterator[Running]:
        """The daemon, until the block ends."""
        self.data.mkdir(parents=True, exist_ok=True)
        config = self.data.parent / f"{self.data.name}.toml"
        config.write_text("".join(f"plugins.{key} = {json.dumps(value)}\n" for key, value in self.settings.items()))
        with tempfile.TemporaryDirectory(prefix="rooftree-") as short:  # a unix socket's path has 107 characters
            socket = Path(short) / "s"
            places = ("--config", str(config), "--data-dir", str(self.data), "--socket", str(socket))
            with (self.data.parent / f"{self.data.name}.log").open("wb") as output:
                process = subprocess.Popen(
                    (self.environment.command("rooftree"), "run", "--port", "0", *places),
                    stdout=output, stderr=output, env=environment_without_ours() | self.variables,
                )  # fmt: skip
            running = Running(self, socket, process, Path(output.name))
            try:
                running.wait_until_started()
                yield running
            finally:
                process.terminate()
                status = process.wait(START_S)
            assert status == 0, running.log()


@frozen
class Running:
    """One run of it."""

    daemon: InstalledDaemon
    socket: Path
    process: subprocess.Popen[bytes]
    output: Path

    def log(self) -> str:
        return self.output.read_text()

    def rooftree(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The ``rooftree`` command, told where the daemon is."""
        command = (self.daemon.environment.command("rooftree"), "--socket", str(self.socket), "--json", *arguments)
        env = environment_without_ours()
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=START_S, check=False)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's data."""
        answer = self._answer(method, path, body)
        assert answer["result"] == "ok", f"{answer}\n{self.log()}"
        return answer["data"]

    def refusal(self, method: str, path: str) -> str:
        """The sentence of an answer that is an error."""
        answer = self._answer(method, path)
        assert answer["result"] == "error", answer
        return str(answer["message"])

    def _answer(self, method: str, path: str, body: object = None) -> Any:
        """As ``rooftree call`` asks, which the pages for authors do; to start it takes longer than all that it does."""
        connection = HTTPConnection("localhost", timeout=START_S)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.socket))
        with closing(connection):
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            return json.loads(connection.getresponse().read())

    def plugins(self) -> dict[str, Any]:
        """The plugins that run or say why they do not, by name."""
        told = json.loads(self.rooftree("plugins").stdout)["plugins"]
        return {plugin["name"]: plugin for plugin in told}

    def wait_until_started(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                pytest.fail(f"the daemon ended with {self.process.returncode}\n{self.log()}", pytrace=False)
            if "plugins_started" in self.log():
                return
            time.sleep(PAUSE_S)
        pytest.fail(f"the daemon has not started\n{self.log()}", pytrace=False)

"""An add-on as its user handles it: by its verbs, its container and its data."""

from __future__ import annotations

import json
import socket
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from tests.rig.daemon import Daemon
from tests.rig.engine import Engine
from tests.rig.namespaces import in_namespace_of

OWN = "$SUPERVISOR_TOKEN"
"""Stands for the token that an add-on finds in its environment."""


class Addon:
    """One add-on of a daemon, installed or not."""

    def __init__(self, daemon: Daemon, engine: Engine, slug: str) -> None:
        self.daemon = daemon
        self.engine = engine
        self.slug = slug
        self.container = f"{daemon.prefix}app_{slug}"

    @property
    def data(self) -> Path:
        """The folder of its own data."""
        return self.daemon.data_dir / "apps" / "data" / self.slug

    async def install(self) -> None:
        """Install it from the store."""
        await self.daemon.ok("POST", f"/store/addons/{self.slug}/install", {})

    async def update(self) -> None:
        """Bring it to the version that the store offers."""
        await self.daemon.ok("POST", f"/store/addons/{self.slug}/update", {})

    async def roll_back(self) -> None:
        """Put the version before the last update back."""
        await self.daemon.ok("POST", f"/kernel/v1/addons/{self.slug}/roll-back", {})

    async def start(self) -> None:
        """Start it."""
        await self.daemon.ok("POST", f"/addons/{self.slug}/start")

    async def stop(self) -> None:
        """Stop it."""
        await self.daemon.ok("POST", f"/addons/{self.slug}/stop")

    async def restart(self) -> None:
        """Restart it."""
        await self.daemon.ok("POST", f"/addons/{self.slug}/restart")

    async def uninstall(self) -> None:
        """Uninstall it."""
        await self.daemon.ok("POST", f"/addons/{self.slug}/uninstall", {})

    async def info(self) -> Any:
        """What the API says of it."""
        return await self.daemon.ok("GET", f"/addons/{self.slug}/info")

    def container_id(self) -> str:
        """The engine's id of its container."""
        return str(self.engine.container(self.container)["Id"])

    def runs(self) -> bool:
        """Whether the engine shows its container running."""
        return any(shown.state == "running" for shown in self.engine.containers(name=f"^/{self.container}$"))

    def socket(self, address: str | None = None) -> socket.socket:
        """A socket as a program in its container opens it, connected to the API where it is on its network.

        :param address: where the API is looked for instead
        """
        process = int(self.engine.container(self.container)["State"]["Pid"])
        target = (address, self.daemon.port) if address else (str(IPv4Network(self.daemon.subnet)[2]), 80)
        return in_namespace_of(process, lambda: socket.create_connection(target, timeout=10))

    def status(self, *lines: str, address: str | None = None) -> int:
        """The status of the answer to a request that is sent from inside its container, line by line."""
        with self.socket(address) as connection:
            connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
            return int(connection.makefile("rb").readline().split()[1])

    def run_inside(self, script: str) -> str:
        """The output of a shell script in its container, which may what its programs may."""
        return self.engine.run("exec", self.container, "sh", "-c", script)

    def run_beside(self, script: str) -> str:
        """The output of a shell script that finds what its programs find, and may more: files, network, environment.
        For who wants to know what is there, or to ask us; cheap."""
        return self.engine.enter(self.container, "sh", "-c", script)

    def variable(self, name: str) -> str:
        """What its programs find in their environment, empty where there is nothing."""
        return self.engine.environment_of(self.container).get(name, "")

    def token(self) -> str:
        """The token that it finds in its environment."""
        return self.variable("SUPERVISOR_TOKEN")

    def ask(self, path: str, *, token: str | None = OWN, body: object = None) -> tuple[int, Any]:
        """Call ``http://supervisor`` from inside its container. Status, and the data of a good answer."""
        header = "" if token is None else f'--header "Authorization: Bearer {token}"'
        posted = "" if body is None else f"--post-data '{json.dumps(body)}'"
        # timeout, not wget's own -T: with that the wget of busybox 1.35 crashes.
        said = self.run_beside(f"timeout 10 wget -S -O - {header} {posted} http://supervisor{path} 2>&1; true")
        status = next((int(line.split()[1]) for line in map(str.strip, said.splitlines()) if "HTTP/1." in line[:7]), 0)
        assert status, f"http://supervisor{path} did not answer: {said}"
        answer = next((line for line in said.splitlines() if line.startswith("{")), "{}")
        return status, json.loads(answer[: answer.rindex("}") + 1]).get("data")

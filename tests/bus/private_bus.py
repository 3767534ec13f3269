"""A bus of the test's own: the real dbus-daemon, and services on it that do as the test says."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from signal import SIGKILL
from typing import Any

from tests.requirements import missing
from tests.rig.fork_server import ForkedProcess, forked

CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{activatable}</servicedir>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="signal"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
  </policy>
</busconfig>
"""


class PrivateBus:
    """A bus that can be started and killed; its address stays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self.socket = folder / "bus"
        self.address = f"unix:path={self.socket}"
        self.activatable = folder / "services"
        """The folder of ``.service`` files: services that the bus starts when they are called."""

    async def start(self) -> None:
        """Start it, and wait until it listens; skips the test where there is no dbus-daemon, fails it in CI."""
        if shutil.which("dbus-daemon") is None:
            missing("needs dbus-daemon, of the package of that name or of dbus")
        self.activatable.mkdir(exist_ok=True)
        file = self._folder / "bus.conf"
        file.write_text(CONFIGURATION.format(socket=self.socket, activatable=self.activatable))
        self._process = await asyncio.create_subprocess_exec(
            "dbus-daemon", f"--config-file={file}", "--nofork", "--nopidfile", "--nosyslog", "--print-address",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert await self._process.stdout.readline(), "dbus-daemon did not begin to listen"

    def offers(self, name: str, command: str) -> None:
        """Let it start a service when it is called, from its next start on."""
        text = f"[D-BUS Service]\nName={name}\nExec={command}\n"
        (self.activatable / f"{name}.service").write_text(text)

    async def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(SIGKILL)
            await self._process.communicate()
            self._process = None
        self.socket.unlink(missing_ok=True)


@asynccontextmanager
async def private_bus(folder: Path) -> AsyncIterator[PrivateBus]:
    """A bus that runs for the length of the block."""
    bus = PrivateBus(folder)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.kill()


class Services:
    """Stand-ins for services of the system, in a process of their own; see :mod:`tests.bus.stand_ins`."""

    def __init__(self, process: ForkedProcess) -> None:
        self._process = process

    async def order(self, **order: Any) -> Any:
        """Tell the process something; its answer."""
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        answer = json.loads(await self._process.stdout.readline())
        assert answer["ok"], answer
        return answer.get("value")

    async def change(self, service: str, path: str, interface: str, *, told: bool = True, **properties: Any) -> None:
        """Set properties, and tell of it."""
        await self.order(do="change", service=service, path=path, interface=interface, values=properties, told=told)

    async def calls(self) -> list[tuple[str, list[Any]]]:
        """The methods that were called since this was asked last, with their arguments; reading properties is
        ``GetAll`` with the interface's name."""
        return [(name, arguments) for name, arguments in await self.order(do="calls")]

    async def kill(self) -> None:
        """End the process as a crash would."""
        self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def services(address: str, *names: str, machine: str = "tests.bus.stand_ins") -> AsyncIterator[Services]:
    """The stand-ins of that name (all, if none is named) on a bus.

    :param machine: the module that is the machine
    """
    async with forked(machine, address, *names, limit_bytes=2**20) as process:
        running = Services(process)
        await running.order(do="nothing")  # it answers when all are on the bus
        yield running

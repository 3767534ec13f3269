"""A house on a machine that is written down: ``umockdev-wrapper python -m tests.plugins.host.recorded_machine``.

umockdev (https://github.com/martinpitt/umockdev) gives this process a ``/sys``, a ``/dev`` and uevents as a description
says; libudev and what is above it are the real ones. Orders come as JSON lines on standard input, each is answered by
one on standard output.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from attrs import define, field, frozen

from rooftree import Plugin, hookimpl
from rooftree.interfaces.hardware import HARDWARE, Device
from rooftree.testing import Client, running_system
from rooftree_host.plugin import HostPlugin
from tests.requirements import needs

MACHINES = Path(__file__).with_name("machines")
WITHIN_S = 30.0
NO_BUS = {"plugins.host.bus": "unix:path=/nonexistent/bus"}

needs_umockdev = needs(
    shutil.which("umockdev-wrapper") is not None, "umockdev is missing: install the package umockdev"
)


@frozen
class Answer:
    """An answer of the house's API."""

    status: int
    etag: str | None
    data: Any


class RecordedMachine:
    """The process, as a test sees it: one after the other, it is many machines."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Self]:
        """A process of its own. It is waited for: starting one costs more than all that is asked of it."""
        process = subprocess.Popen(
            ["umockdev-wrapper", sys.executable, "-m", "tests.plugins.host.recorded_machine"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            yield cls(process)
        finally:
            process.communicate()  # it ends when its standard input does

    @contextmanager
    def being(self, folder: Path, name: str) -> Iterator[Self]:
        """Be that machine of ``tests/plugins/host/machines``, with a house in ``folder``."""
        self.order(do="begin", folder=str(folder), text=_description(name))
        try:
            yield self
        finally:
            self.order(do="end")

    def order(self, **order: Any) -> Any:
        """Tell the process something; its answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the recorded machine has ended; its standard error says why"
        answer = json.loads(line)
        assert answer["ok"], answer
        return answer["value"]

    def get(self, path: str) -> Answer:
        """What the API answers."""
        return Answer(**self.order(do="get", path=path))

    def devices(self) -> dict[str, dict[str, Any]]:
        """The devices that the API lists, by node."""
        return {device["dev_path"]: device for device in self.get("/hardware/info").data["devices"]}

    def device(self, path: str) -> str | None:
        """The node of the device that is found by a path."""
        found: str | None = self.order(do="find", path=path)
        return found

    def plug(self, name: str, times: int = 1, *, and_unplug: bool = False) -> None:
        """Plug something in that is written down, ``times`` times with unplugging in between, and after if so said."""
        self.order(do="plug", text=_description(name), times=times, and_unplug=and_unplug)

    def unplug(self, name: str) -> None:
        """Unplug it."""
        self.order(do="unplug", text=_description(name))

    def told(self, until: str, there: bool) -> list[tuple[str, bool]]:
        """What the hooks were told so far: nodes, and whether they are there; waited for until they heard that of
        ``until``, and have nothing more to hear."""
        return [(node, there) for node, there in self.order(do="told", until=until, there=there)]


def _description(name: str) -> str:
    return (MACHINES / f"{name}.umockdev").read_text()


# --- in the process ---------------------------------------------------------------------------------------------------


class Testbed:
    """umockdev's testbed, through its C library."""

    def __init__(self, description: str) -> None:
        self._library = ctypes.CDLL("libumockdev.so.0")
        self._library.umockdev_testbed_new.restype = ctypes.c_void_p
        self._library.umockdev_testbed_get_root_dir.restype = ctypes.c_char_p
        self._bed = ctypes.c_void_p(self._library.umockdev_testbed_new())
        self._folder = Path(self._library.umockdev_testbed_get_root_dir(self._bed).decode())
        self.plug(description)

    def plug(self, description: str) -> None:
        """Let devices appear, in that order, with their uevents. (A terminal can't come back: umockdev keeps it.)"""
        added = self._library.umockdev_testbed_add_from_string(self._bed, description.encode(), None)
        assert added, "umockdev refuses the description"

    def unplug(self, description: str) -> None:
        """Let them vanish, the last first."""
        lines = description.splitlines()
        for line in reversed([line for line in lines if line.startswith("P: ")]):
            path = line.replace("P: ", "/sys").encode()
            self._library.umockdev_testbed_uevent(self._bed, path, b"remove")
            self._library.umockdev_testbed_remove_device(self._bed, path)
            (self._folder / "sys" / "block" / Path(line).name).unlink(missing_ok=True)  # umockdev leaves it, and these
        for line in lines:
            if line.startswith("S: "):
                (self._folder / "dev" / line.removeprefix("S: ")).unlink(missing_ok=True)

    def close(self) -> None:
        """Take the folder away."""
        ctypes.CDLL("libgobject-2.0.so.0").g_object_unref(self._bed)


@define
class Heard:
    """What hooks were told."""

    devices: list[tuple[str, bool]] = field(factory=list)
    news: asyncio.Event = field(factory=asyncio.Event)

    def __call__(self, device: Device, there: bool) -> None:
        self.devices.append((device.dev_path, there))
        self.news.set()

    async def until(self, news: tuple[str, bool]) -> list[tuple[str, bool]]:
        """All of it, once that was the last about its device, and a moment after."""
        quiet_s = 2.5  # longer than a burst may last
        while dict(self.devices).get(news[0]) is not news[1]:
            self.news.clear()
            await self.news.wait()
        with suppress(TimeoutError):
            while True:
                self.news.clear()
                async with asyncio.timeout(quiet_s):
                    await self.news.wait()
        return self.devices


def _listener(heard: Heard) -> type[Plugin]:
    class ListenerPlugin(Plugin):
        """A domain that wants to know of devices."""

        name = "listener"

        @hookimpl
        def hardware_added(self, device: Device) -> None:
            heard(device, True)

        @hookimpl
        async def hardware_removed(self, device: Device) -> None:
            heard(device, False)

    return ListenerPlugin


@asynccontextmanager
async def _house(folder: Path, description: str) -> AsyncIterator[Callable[[Mapping[str, Any]], Awaitable[Any]]]:
    """A house on that machine; what obeys orders."""
    testbed, heard = Testbed(description), Heard()
    plugins: list[type[Plugin]] = [HostPlugin, _listener(heard)]
    async with (
        running_system(folder, plugins=plugins, settings=NO_BUS) as system,
        Client.over_unix(system) as client,
    ):
        hardware = system.services.get(HARDWARE)

        async def obey(order: Mapping[str, Any]) -> Any:
            match order:
                case {"do": "get", "path": path}:
                    answer = await client.get(path)
                    return {"status": answer.status, "etag": answer.headers.get("ETag"), "data": answer.data}
                case {"do": "find", "path": path}:
                    device = hardware.device(path)
                    return device and device.dev_path
                case {"do": "plug", "text": text, "times": times, "and_unplug": and_unplug}:
                    for time in range(times):
                        testbed.plug(text)
                        await asyncio.sleep(0)  # what reads uevents has its turn
                        if and_unplug or time < times - 1:
                            testbed.unplug(text)
                            await asyncio.sleep(0)
                case {"do": "unplug", "text": text}:
                    testbed.unplug(text)
                case {"do": "told", "until": node, "there": there}:
                    async with asyncio.timeout(WITHIN_S):
                        return await heard.until((node, there))
                case _:
                    raise ValueError(f"no such order: {order}")
            return None

        yield obey
    testbed.close()


async def main() -> None:
    """Serve until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # where the log goes
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    house = AsyncExitStack()
    obey = None
    while line := await reader.readline():
        order = json.loads(line)
        answer: dict[str, Any] = {"ok": True, "value": None}
        try:
            if order["do"] == "begin":
                obey = await house.enter_async_context(_house(Path(order["folder"]), order["text"]))
            elif order["do"] == "end":
                await house.aclose()
            else:
                assert obey is not None
                answer["value"] = await obey(order)
        except Exception as error:  # the test shows it
            answer = {"ok": False, "error": repr(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    asyncio.run(main())

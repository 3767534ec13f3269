"""A machine of a make that the test invents, with a switch in a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from attrs import frozen

from rooftree import Invalid
from rooftree.interfaces.boards import GROUP, Board
from rooftree.interfaces.hardware import Device
from rooftree.process.system import System
from rooftree.testing import Failing, InstalledPlugin, running_system
from rooftree_os import updates
from rooftree_os.plugin import OsPlugin
from tests.plugins.os.haos import Haos, Surroundings, surroundings


@frozen
class Lamps:
    """Two lamps and how bright."""

    power: bool = True
    night: bool = False
    brightness: int = 3


class Box(Board):
    """A board that writes its lamps down; ``wrong`` is what its verbs raise."""

    name = "box"
    settings = Lamps
    lamps = Lamps()
    written: ClassVar[list[Lamps]] = []
    devices: ClassVar[list[str]] = []
    wrong: Exception | None = None
    wrong_after_write: Exception | None = None
    stopped = 0

    async def read(self) -> Lamps:
        if Box.wrong:
            raise Box.wrong
        return Box.lamps

    async def write(self, lamps: Lamps) -> None:
        if Box.wrong:
            raise Box.wrong
        if lamps.brightness > 10:
            raise Invalid("brightness: this box goes up to 10")
        Box.lamps = lamps
        Box.written.append(lamps)
        if Box.wrong_after_write:
            raise Box.wrong_after_write

    async def hardware_added(self, device: Device) -> None:
        if Box.wrong:
            raise Box.wrong
        Box.devices.append(f"+{device.name}")

    async def hardware_removed(self, device: Device) -> None:
        Box.devices.append(f"-{device.name}")

    async def stop(self) -> None:
        Box.stopped += 1


type Running = Callable[..., AbstractAsyncContextManager[System]]


def driver(name: str, loading: Callable[[], Any]) -> InstalledPlugin:
    """An installed board driver."""
    return InstalledPlugin(name, loading, group=GROUP)


@pytest.fixture
def machine(tmp_path: Path) -> Running:
    """A system with the os plugin and these drivers; the same data folder each time."""
    Box.lamps, Box.written, Box.devices, Box.wrong, Box.wrong_after_write, Box.stopped = Lamps(), [], [], None, None, 0

    @asynccontextmanager
    async def run(*drivers: InstalledPlugin, allow: Collection[Failing] = ()) -> AsyncIterator[System]:
        chosen = drivers or (driver("box", lambda: Box),)
        async with running_system(tmp_path, plugins=[OsPlugin, *chosen], allow=allow) as system:
            yield system

    return run


@pytest.fixture
async def around(tmp_path: Path) -> AsyncIterator[Surroundings]:
    """A bus with everything that Home Assistant OS has on it, and a server of versions."""
    async with surroundings(tmp_path) as made:
        yield made


@pytest.fixture
async def haos(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Haos]:
    """A system on Home Assistant OS 16.0 on a Yellow, when all about it is known."""
    monkeypatch.setattr(updates, "LOOK_S", 0.02)
    async with around.system() as running:
        yield await running.settled()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def haos_as_it_is(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Haos]:
    """The same for all tests of a module that change nothing; they run on its event loop."""
    async with surroundings(tmp_path_factory.mktemp("haos")) as around, around.system() as running:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(updates, "LOOK_S", 0.02)
            await running.settled()
        yield running

"""The driver in a running system, with a folder for lights."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from rooftree.interfaces import hooks
from rooftree.interfaces.boards import GROUP
from rooftree.interfaces.hardware import Device
from rooftree.process import System
from rooftree.testing import Client, InstalledPlugin, running_system
from rooftree_os.plugin import OsPlugin

from rooftree_board_acme import Acme

STICK = Device(name="ttyUSB0", sysfs="/sys/devices/usb1/ttyUSB0", dev_path="/dev/ttyUSB0", subsystem="tty")


@pytest.fixture
def lights(tmp_path: Path) -> Path:
    """The lights of a box."""
    for light in ("power", "activity", "radio"):
        folder = tmp_path / "leds" / f"acme:{light}"
        folder.mkdir(parents=True)
        (folder / "brightness").write_text("0\n" if light == "radio" else "1\n")
    return tmp_path / "leds"


@pytest.fixture
async def system(tmp_path: Path, lights: Path) -> AsyncIterator[System]:
    """A system on that box."""
    driver = InstalledPlugin("acme", lambda: Acme, group=GROUP)
    settings = {"boards.acme.leds": str(lights)}
    async with running_system(tmp_path, plugins=[OsPlugin, driver], settings=settings) as running:
        yield running


def shines(lights: Path, light: str) -> bool:
    return (lights / f"acme:{light}" / "brightness").read_text().strip() == "1"


async def test_lights_are_read_and_switched(system: System, lights: Path) -> None:
    async with Client.over_unix(system) as client:
        assert (await client.get("/os/boards/acme")).data == {"power": True, "activity": True}

        await client.post("/os/boards/acme", json={"power": False})

        assert (await client.get("/os/boards/acme")).data == {"power": False, "activity": True}
    assert not shines(lights, "power")
    assert shines(lights, "activity")


async def test_radio_light_shines_while_a_stick_is_plugged_in(system: System, lights: Path) -> None:
    await system.hooks.call(hooks.hardware_added, STICK)
    assert shines(lights, "radio")

    await system.hooks.call(hooks.hardware_removed, STICK)
    assert not shines(lights, "radio")


def test_driver_is_installed_under_its_name() -> None:
    (driver,) = (point for point in entry_points(group=GROUP) if point.name == "acme")
    assert driver.load() is Acme

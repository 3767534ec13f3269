"""``examples/board-acme`` as a stranger's package: a board that is there after nothing but ``pip install``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.environments import Environment, Wheels, checks
from tests.packaging.installed_daemon import InstalledDaemon
from tests.workspace import ROOT

pytestmark = [pytest.mark.xdist_group("packaging"), pytest.mark.timeout(600)]

ACME = ROOT / "examples" / "board-acme"
BOARD = "/os/boards/acme"
LEDS = "ROOFTREE_BOARDS__ACME__LEDS"

PLUGGER_PROJECT = """
[project]
name = "rooftree-plugger"
version = "1.0"
dependencies = ["rooftree~=0.1.0"]

[project.entry-points."rooftree.plugins"]
plugger = "rooftree_plugger:PluggerPlugin"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
only-include = ["rooftree_plugger.py"]
"""
PLUGGER = '''
"""Tells all plugins of a device, as the plugin does that watches the machine's hardware."""

from rooftree import Kernel, Plugin, Role, Routes, Service, role
from rooftree.interfaces import hooks
from rooftree.interfaces.hardware import Device

STICK = Device(name="ttyUSB0", sysfs="/sys/devices/usb1/ttyUSB0", dev_path="/dev/ttyUSB0", subsystem="tty")


class Plugger:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel


PLUGGER = Service[Plugger]("plugger/1")
routes = Routes()


@routes.post("/plugger/in", access=role(Role.ADMIN))
async def plug_in(plugger: Plugger) -> None:
    """Plug the stick in."""
    await plugger.kernel.call(hooks.hardware_added, STICK)


@routes.post("/plugger/out", access=role(Role.ADMIN))
async def pull_out(plugger: Plugger) -> None:
    """Pull it out."""
    await plugger.kernel.call(hooks.hardware_removed, STICK)


class PluggerPlugin(Plugin):
    name = "plugger"
    provides = (PLUGGER,)

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(PLUGGER, Plugger(kernel))

    def routes(self) -> Routes:
        return routes
'''


@pytest.fixture(scope="module")
def environment(
    wheels: Wheels, new_environment: Callable[[], Environment], tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """An environment with the driver, and a plugin that tells of devices."""
    plugger = tmp_path_factory.mktemp("source") / "plugger"
    plugger.mkdir()
    (plugger / "pyproject.toml").write_text(PLUGGER_PROJECT)
    (plugger / "rooftree_plugger.py").write_text(PLUGGER)
    made = new_environment()
    made.install(wheels.of(ROOT / "plugins" / "os"), wheels.of(ACME), wheels.of(plugger))
    return made


@pytest.fixture
def lights(tmp_path: Path) -> Path:
    """The lights of an Acme Home Box."""
    for light, brightness in {"power": "1", "activity": "1", "radio": "0"}.items():
        (tmp_path / "leds" / f"acme:{light}").mkdir(parents=True)
        (tmp_path / "leds" / f"acme:{light}" / "brightness").write_text(brightness)
    return tmp_path / "leds"


def brightness(lights: Path, light: str) -> str:
    return (lights / f"acme:{light}" / "brightness").read_text()


def test_driver_passes_its_own_tests_where_it_is_installed(environment: Environment) -> None:
    told = environment.run("python", "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", cwd=ACME)

    assert " passed" in told
    assert "skipped" not in told


def test_driver_holds_to_the_linters_with_what_is_published(environment: Environment) -> None:
    checks(environment, ACME, ("rooftree_board_acme.py", "tests"))


def test_board_is_served_kept_over_a_restart_and_hears_of_devices(
    environment: Environment, lights: Path, tmp_path: Path
) -> None:
    daemon = InstalledDaemon(environment, tmp_path / "data", variables={LEDS: str(lights)})
    with daemon.running() as running:
        assert running.call("GET", BOARD) == {"power": True, "activity": True}

        running.call("POST", BOARD, {"power": False})
        running.call("POST", "/plugger/in")

        assert (brightness(lights, "power"), brightness(lights, "activity")) == ("0", "1")
        assert brightness(lights, "radio") == "1"
        running.call("POST", "/plugger/out")
        assert brightness(lights, "radio") == "0"
    (lights / "acme:power" / "brightness").write_text("1")  # as after a power cut

    with daemon.running() as running:
        assert running.call("GET", BOARD) == {"power": False, "activity": True}
    assert brightness(lights, "power") == "0"


def test_board_is_not_there_on_another_machine(environment: Environment, tmp_path: Path) -> None:
    daemon = InstalledDaemon(environment, tmp_path / "data", variables={LEDS: str(tmp_path)})
    with daemon.running() as running:
        assert "This machine is no board acme" in running.refusal("GET", BOARD)
        assert running.call("GET", "/kernel/v1/problems")["problems"] == []


def test_boards_of_ours_are_there_after_nothing_but_the_installation_too(
    wheels: Wheels, new_environment: Callable[[], Environment], tmp_path: Path
) -> None:
    made = new_environment()
    made.install(*(wheels.of(ROOT / "plugins" / name) for name in ("os", "board-yellow", "board-green")))

    with InstalledDaemon(made, tmp_path / "data").running() as running:
        refusals = [running.refusal("GET", f"/os/boards/{name}") for name in ("yellow", "green")]
        assert running.call("GET", "/kernel/v1/problems")["problems"] == []

    assert ["This machine is no board" in refusal for refusal in refusals] == [True, True]


def test_uninstalled_driver_leaves_nothing_but_the_settings_that_the_os_keeps_for_its_return(
    wheels: Wheels, new_environment: Callable[[], Environment], lights: Path, tmp_path: Path
) -> None:
    made = new_environment()
    made.install(wheels.of(ROOT / "plugins" / "os"), wheels.of(ACME))
    daemon = InstalledDaemon(made, tmp_path / "data", variables={LEDS: str(lights)})
    with daemon.running() as running:
        running.call("POST", BOARD, {"activity": False})

    made.uninstall("rooftree-board-acme")
    with InstalledDaemon(made, tmp_path / "data").running() as running:
        assert "no driver of that name is loaded" in running.refusal("GET", BOARD)
        assert running.call("GET", "/kernel/v1/problems")["problems"] == []
    assert not list(made.folder.glob("lib/*/site-packages/*board_acme*"))

    made.install(wheels.of(ACME))
    (lights / "acme:activity" / "brightness").write_text("1")
    with daemon.running() as running:
        assert running.call("GET", BOARD) == {"power": True, "activity": False}

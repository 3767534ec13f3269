"""``/os/boards/…``: reading, changing, keeping and taking back the settings of boards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import frozen

from rooftree import Unavailable
from rooftree.interfaces import hooks
from rooftree.interfaces.boards import GROUP, Board, BoardServices
from rooftree.interfaces.bus import BusServiceChanged
from rooftree.interfaces.hardware import Device
from rooftree.process.system import System
from rooftree.testing import Client, running_system
from rooftree_os import boards
from rooftree_os.plugin import OsPlugin
from tests.plugins.os.conftest import Box, Lamps, Running, driver
from tests.rig.waiting import until

BOX = "/os/boards/box"
STICK = Device(name="ttyUSB0", sysfs="/sys/devices/x/ttyUSB0", dev_path="/dev/ttyUSB0", subsystem="tty")


def problems(system: System) -> dict[str, str]:
    return {f"{problem.type} {problem.reference}": problem.message for problem in system.problems}


async def test_settings_of_the_board_are_shown_and_a_part_of_them_is_changed(machine: Running) -> None:
    async with machine() as system, Client.over_unix(system) as client:
        assert (await client.get(BOX)).data == {"power": True, "night": False, "brightness": 3}

        assert (await client.post(BOX, json={"night": True})).status == 200

        assert (await client.get(BOX)).data == {"power": True, "night": True, "brightness": 3}
    assert Box.written == [Lamps(night=True)]


async def test_what_was_set_is_written_again_when_the_board_has_forgotten_it(machine: Running) -> None:
    async with machine() as system, Client.over_unix(system) as client:
        await client.post(BOX, json={"power": False})
    Box.lamps = Lamps()

    async with machine():
        assert Box.lamps == Lamps(power=False)


async def test_board_that_remembers_is_not_written_to_at_the_start(machine: Running) -> None:
    async with machine() as system, Client.over_unix(system) as client:
        await client.post(BOX, json={"power": False})
    Box.written.clear()

    async with machine():
        assert Box.written == []


async def test_settings_that_a_newer_driver_no_longer_knows_are_said_and_the_rest_goes_on(machine: Running) -> None:
    @frozen
    class Fewer:
        power: bool = True

    class Newer(Board):
        name = "box"
        settings = Fewer

        async def read(self) -> Fewer:
            return Fewer()

        async def write(self, settings: Fewer) -> None:
            raise AssertionError("nothing is written")

    async with machine() as system, Client.over_unix(system) as client:
        await client.post(BOX, json={"night": True})

    async with machine(driver("box", lambda: Newer)) as system, Client.over_unix(system) as client:
        assert "night: is not known here" in problems(system)["board_failed box"]
        assert (await client.get(BOX)).data == {"power": True}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"power": "yes"}, "power: must be true or false"),
        ({"nacht": True}, "nacht: is not known here; allowed are brightness, night, power"),
        ({"brightness": 11}, "brightness: this box goes up to 10"),
        ({"brightness": None}, "brightness: must be a whole number"),
    ],
)
async def test_wrong_settings_are_named_and_nothing_changes(
    machine: Running, body: dict[str, object], sentence: str
) -> None:
    async with machine() as system, Client.over_unix(system) as client:
        answer = await client.post(BOX, json=body)

        assert answer.status == 400
        assert sentence in answer.message
        assert Box.lamps == Lamps()
    async with machine():
        assert Box.lamps == Lamps()


async def test_change_that_fails_half_way_is_taken_back_with_what_is_kept(machine: Running) -> None:
    async with machine() as system, Client.over_unix(system) as client:
        await client.post(BOX, json={"brightness": 5})
        Box.wrong_after_write = OSError("a fuse")
        asking = asyncio.create_task(client.post(BOX, json={"brightness": 7}))
        while Box.written[-1] != Lamps(brightness=7):
            await asyncio.sleep(0)
        Box.wrong_after_write = None

        answer = await asking

        assert answer.status == 503
        assert "Board box does not answer: a fuse" in answer.message
        assert Box.lamps == Lamps(brightness=5)
    Box.lamps = Lamps()
    async with machine():
        assert Box.lamps == Lamps(brightness=5)


async def test_plan_says_what_would_be_written_and_writes_nothing(machine: Running) -> None:
    async with machine() as system, Client.over_unix(system) as client:
        plan = (await client.post(f"{BOX}?plan=1", json={"night": True})).data

        assert [(step["kind"], step["subject"], step["reversible"]) for step in plan["steps"]] == [
            ("os.write_board/1", "box", True)
        ]
    assert Box.written == []


async def test_setting_what_is_set_writes_nothing(machine: Running) -> None:
    async with machine() as system, Client.over_unix(system) as client:
        await client.post(BOX, json={"night": True})
        Box.written.clear()

        assert (await client.post(BOX, json={"night": True})).status == 200
    assert Box.written == []


async def test_another_board_is_refused_as_not_in_use_and_the_answer_says_which_there_is(machine: Running) -> None:
    async with machine() as system, Client.over_unix(system) as client:
        for answer in (await client.get("/os/boards/yellow"), await client.post("/os/boards/yellow", json={})):
            assert answer.status == 400
            assert answer.envelope["error_key"] == "os_board_not_in_use_error"
            assert answer.message == (
                "This machine is no board yellow; there is box, "
                "and no driver of that name is loaded (see rooftree plugins)"
            )


async def test_board_that_is_not_this_machine_is_not_there(machine: Running) -> None:
    class Elsewhere(Box):
        async def present(self) -> bool:
            return False

    async with machine(driver("box", lambda: Elsewhere)) as system, Client.over_unix(system) as client:
        answer = await client.get(BOX)

        assert answer.status == 400
        assert answer.message == "This machine is no board box; no board driver is in use"
        assert problems(system) == {}


async def test_board_without_settings_shows_an_empty_object_and_refuses_changes(machine: Running) -> None:
    class Plain(Board):
        name = "plain"

    async with machine(driver("plain", lambda: Plain)) as system, Client.over_unix(system) as client:
        assert (await client.get("/os/boards/plain")).data == {}
        answer = await client.post("/os/boards/plain", json={"power": True})

        assert (answer.status, answer.message) == (400, "Board plain has no settings")


async def test_board_that_does_not_answer_is_unavailable_and_comes_back(
    machine: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async with machine() as system, Client.over_unix(system) as client:
        Box.wrong = OSError("the bus is off")
        answer = await client.get(BOX)
        Box.wrong = None

        assert answer.status == 503
        assert answer.message == "Board box does not answer: the bus is off"
        assert "exc_info" not in caplog.text
        assert (await client.get(BOX)).status == 200


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"power": True}, "its driver read dict, and Lamps is what its settings are"),
        (None, "its driver read NoneType, and Lamps is what its settings are"),
        (Lamps(power="on"), "its driver read what is none of its settings: power: must be true or false"),  # type: ignore[arg-type]
    ],
)
async def test_board_whose_driver_reads_what_are_no_settings_is_unavailable(
    machine: Running, settings: object, said: str
) -> None:
    class Wrong(Box):
        async def read(self) -> Lamps:
            return settings  # type: ignore[return-value]

    async with machine(driver("box", lambda: Wrong)) as system, Client.over_unix(system) as client:
        answer = await client.get(BOX)

    assert answer.status == 503
    assert answer.message is not None
    assert answer.message.startswith(f"Board box does not answer: {said}")


async def test_board_that_hangs_is_unavailable_after_its_deadline(
    machine: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(Box):
        async def read(self) -> Lamps:
            await asyncio.Event().wait()
            raise AssertionError

    async with machine(driver("box", lambda: Hanging)) as system, Client.over_unix(system) as client:
        monkeypatch.setattr(boards, "DEADLINE_S", 0.05)
        answer = await client.get(BOX)

        assert answer.status == 503
        assert "did not answer within" in answer.message


async def test_hook_hardware_added_reaches_every_board_and_one_that_fails_harms_no_other(machine: Running) -> None:
    class Deaf(Board):
        name = "deaf"

        async def hardware_added(self, device: Device) -> None:
            raise RuntimeError("no ears")

    async with machine(driver("deaf", lambda: Deaf), driver("box", lambda: Box)) as system:
        await system.hooks.call(hooks.hardware_added, STICK)

        assert Box.devices == ["+ttyUSB0"]
        assert problems(system) == {"board_failed deaf": "Board deaf: Board deaf does not answer: no ears"}


async def test_hook_hardware_removed_reaches_the_board(machine: Running) -> None:
    async with machine() as system:
        await system.hooks.call(hooks.hardware_removed, STICK)

        assert Box.devices == ["-ttyUSB0"]


async def test_board_that_was_failing_and_answers_again_is_no_problem_any_more(machine: Running) -> None:
    async with machine() as system:
        Box.wrong = Unavailable("asleep")
        await system.hooks.call(hooks.hardware_added, STICK)
        assert problems(system) == {"board_failed box": "Board box: asleep"}

        Box.wrong = None
        await system.hooks.call(hooks.hardware_added, STICK)

        assert problems(system) == {}


async def become(true: Callable[[], bool], what: str) -> None:
    """Wait for that."""

    async def look() -> bool:
        return true()

    await until(look, within_s=5, what=what)


def comes(system: System, service: str) -> None:
    """Let a service come to the bus."""
    system.bus.publish(BusServiceChanged(service, runs=True))


async def test_board_is_looked_at_again_when_its_service_comes_and_only_then(machine: Running) -> None:
    looked: list[str] = []

    class Near(Box):
        bus_services = ("org.acme.near",)

        async def present(self) -> bool:
            looked.append("near")
            if len(looked) == 1:
                raise OSError("not there yet")
            return True

    class Far(Board):
        name = "far"
        bus_services = ("org.acme.far",)

        async def present(self) -> bool:
            looked.append("far")
            return True

    async with machine(driver("box", lambda: Near), driver("far", lambda: Far)) as system:
        await become(lambda: len(looked) >= 4, "the first looks")  # two while loading, two when it runs
        assert problems(system) == {}
        looked.clear()

        comes(system, "org.acme.far")
        await become(lambda: bool(looked), "another look")
        comes(system, "org.acme.near")
        await become(lambda: len(looked) >= 2, "another look")

        assert looked == ["far", "near"]


async def test_step_of_a_job_waits_for_a_board_that_its_driver_does_not_see_yet(machine: Running) -> None:
    """After a kill a job may be taken back before the bus has come that the board is reached by."""

    class Late(Box):
        bus_services = ("org.acme.late",)
        here = False

        async def present(self) -> bool:
            return self.here

    Box.lamps = Lamps()
    async with machine(driver("box", lambda: Late)) as system:
        board = system.services.get(boards.BOARDS)
        with pytest.raises(Unavailable, match=r"org\.acme\.late is not there"):
            await board.change("box", {"power": False}, None)

        Late.here = True
        comes(system, "org.acme.late")
        await become(lambda: "box" in list(board), "the board")
        await board.change("box", {"power": False}, None)

        assert Box.written[-1] == Lamps(power=False)


async def test_board_that_failed_when_it_was_looked_at_and_answers_again_is_no_problem_any_more(
    machine: Running,
) -> None:
    class Near(Box):
        bus_services = ("org.acme.near",)

    Box.lamps = Lamps()
    async with machine(driver("box", lambda: Near)) as system, Client.over_unix(system) as client:
        await client.post(BOX, json={"night": True})
        Box.wrong = OSError("asleep")
        comes(system, "org.acme.near")
        await become(lambda: bool(problems(system)), "the problem")

        Box.wrong = None
        comes(system, "org.acme.near")

        await become(lambda: not problems(system), "the end of the problem")


async def test_change_waits_for_what_is_being_written_to_the_board_again(machine: Running) -> None:
    gate, writing = asyncio.Event(), asyncio.Event()
    gate.set()

    class Slow(Box):
        bus_services = ("org.acme.slow",)

        async def write(self, lamps: Lamps) -> None:
            writing.set()
            await gate.wait()
            await super().write(lamps)

    async with machine(driver("box", lambda: Slow)) as system, Client.over_unix(system) as client:
        await client.post(BOX, json={"power": False})
        Box.lamps = Lamps()
        writing.clear()
        gate.clear()
        comes(system, "org.acme.slow")
        await writing.wait()
        writing.clear()

        changing = asyncio.create_task(client.post(BOX, json={"night": True}))
        with pytest.raises(TimeoutError):  # it is not even begun
            async with asyncio.timeout(0.3):
                await writing.wait()
        gate.set()
        answer = await changing

        assert answer.status == 200
        assert Box.written[-2:] == [Lamps(power=False), Lamps(night=True)]


async def test_drivers_are_let_go_when_the_plugin_stops(machine: Running) -> None:
    async with machine():
        pass
    assert Box.stopped == 1


async def test_drivers_are_constructed_anew_when_the_plugin_is_restarted(machine: Running) -> None:
    async with machine() as system, Client.over_unix(system) as client:
        await client.post(BOX, json={"night": True})
        Box.lamps = Lamps()

        await system.plugins.restart("os")

        assert (await client.get(BOX)).data["night"] is True


@pytest.mark.parametrize(
    ("loading", "reason"),
    [
        (lambda: 1 / 0, "division by zero"),
        (lambda: object, "which is no subclass of Board"),
        (lambda: OsPlugin, "which is no subclass of Board"),
        (lambda: type("Other", (Board,), {"name": "other"}), "its class is called 'other', its entry point 'box'"),
        (lambda: type("Slip", (Board,), {"name": "box", "reads": lambda self: None}), "Slip.reads: did you mean read?"),
        (lambda: type("Dumb", (Board,), {"name": "box", "settings": Lamps}), "it needs read and write"),
        (lambda: type("Odd", (Board,), {"name": "box", "settings": dict}), "settings must be an attrs class"),
    ],
)
async def test_driver_that_cannot_be_used_is_left_out_with_its_reason(
    machine: Running, loading: object, reason: str
) -> None:
    assert callable(loading)
    async with (
        machine(
            driver("box", loading),
            driver("other-box", lambda: type("Fine", (Board,), {"name": "other-box"})),
            allow={"driver_failed"},
        ) as system,
        Client.over_unix(system) as client,
    ):
        assert reason in problems(system)[f"driver_failed {GROUP}:box"]
        assert (await client.get(BOX)).status == 400
        assert (await client.get("/os/boards/other-box")).data == {}

    async with machine() as system:  # mended
        assert problems(system) == {}


async def test_problem_of_a_driver_goes_when_the_driver_is_uninstalled(machine: Running) -> None:
    async with machine(driver("box", lambda: 1 / 0), allow={"driver_failed"}) as system:
        assert problems(system)

    async with machine(driver("other", lambda: type("Other", (Board,), {"name": "other"}))) as system:
        assert problems(system) == {}


async def test_driver_whose_constructor_fails_is_a_problem_of_that_board(machine: Running) -> None:
    class Sore(Board):
        name = "sore"

        def __init__(self) -> None:
            raise OSError("no such chip")

    async with machine(driver("sore", lambda: Sore), driver("box", lambda: Box)) as system:
        assert problems(system) == {"board_failed sore": "Board sore: no such chip"}
        async with Client.over_unix(system) as client:
            assert (await client.get(BOX)).status == 200


async def test_operator_sets_up_a_board_and_sees_how_it_is(tmp_path: Path) -> None:
    @frozen
    class Wiring:
        pin: int = 4

    class Wired(Box):
        operator_settings = Wiring
        pins: ClassVar[list[int]] = []

        async def connect(self, services: BoardServices, /) -> None:
            Wired.pins.append(services.settings(Wiring).pin)

        async def present(self) -> bool:
            return Wired.pins[-1] != 9

    async def state(**settings: object) -> tuple[str, str | None, list[str]]:
        async with running_system(
            tmp_path, plugins=[OsPlugin, driver("box", lambda: Wired)], settings=settings, allow={"driver_failed"}
        ) as system:
            (info,) = system.plugins.drivers()
            return info.state, info.reason, [problem.type for problem in system.problems]

    assert await state() == ("in_use", None, [])
    assert await state(**{"boards.box.pin": 9}) == ("idle", "this machine is no such board", [])
    failed = await state(**{"boards.box.pin": "nine"})
    assert failed[0] == "failed"
    assert "boards.box.pin must be a whole number" in (failed[1] or "")
    assert Wired.pins == [4, 9]


async def test_board_is_switched_off_and_its_settings_go_with_the_driver_when_that_is_purged(machine: Running) -> None:
    async with machine() as system, Client.over_unix(system) as client:
        await client.post(BOX, json={"night": True})
        await system.plugins.disable("boards.box")
        assert (await client.get(BOX)).status == 400
        await system.plugins.enable("boards.box")
        assert (await client.get(BOX)).data["night"] is True
    async with machine(driver("other", lambda: type("Other", (Board,), {"name": "other"}))) as system:
        (left,) = await system.plugins.left_behind()
        assert (left.name, left.collections, left.documents) == ("boards.box", ["os.board_settings"], 1)
        await system.plugins.purge("boards.box")
    Box.lamps = Lamps()
    async with machine():
        assert Box.lamps == Lamps()

"""What the OS agent and systemd do for us: swap, configuration from a stick, boot firmware, the lights of boards."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohasupervisor.models.os import GreenInfo, RaspberryPiFirmwareInfo, SwapInfo, YellowInfo

from rooftree_os.models import SwapSize
from tests.bus.machine import AGENT, HOSTNAME, SYSTEMD
from tests.bus.os_machine import CPE
from tests.bus.private_bus import services
from tests.plugins.os.haos import MACHINE, Haos, Surroundings, surroundings
from tests.rig.waiting import until

SWAP = "/os/config/swap"
FIRMWARE = "/os/boards/raspberrypi/firmware"
PI = "/io/hass/os/Boards/RaspberryPi/Firmware"
PI_INTERFACE = "io.hass.os.Boards.RaspberryPi.Firmware"
YELLOW = "/os/boards/yellow"
HOST = "/org/freedesktop/hostname1"


async def runs(haos: Haos, version: str, board: str = "yellow") -> None:
    """Let another version run."""
    name = CPE.format(version=version, board=board)
    await haos.parts.change(HOSTNAME, HOST, HOSTNAME, OperatingSystemCPEName=name)

    async def seen() -> bool:
        return bool((await haos.get("/os/info"))["version"] == version)

    await until(seen, within_s=5, what="the other version")


# --- swap -------------------------------------------------------------------------------------------------------------


async def test_swap_is_shown_and_a_change_needs_a_reboot(haos: Haos) -> None:
    before = await haos.get(SWAP)

    await haos.done(SWAP, {"swappiness": 60})

    assert (before, await haos.get(SWAP)) == (
        {"swap_size": "2G", "swappiness": 1},
        {"swap_size": "2G", "swappiness": 60},
    )
    assert SwapInfo.from_dict(before).swappiness == 1
    assert [arguments[1:] for _, arguments in await haos.called("Set")] == [["Swappiness", 60]]
    assert "swap" in haos.problems()["reboot_required"]


async def test_swap_as_it_is_writes_nothing(haos: Haos) -> None:
    for same in ({"swap_size": "2G", "swappiness": None}, {"swap_size": None, "swappiness": 1}):
        await haos.done(SWAP, same)

    assert await haos.called("Set") == []
    assert "reboot_required" not in haos.problems()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"swap_size": "two"}, "swap_size: must be a whole number with an optional unit"),
        ({"swap_size": "1.5G"}, "swap_size: must be a whole number"),
        ({"swap_size": "999999999999999"}, "swap_size: must be less than the data disk holds ("),
        ({"swap_size": "999999G"}, "swap_size: must be less than the data disk holds ("),
        ({"swap_size": "999999999MiB"}, "swap_size: must be less than the data disk holds ("),
        ({"swap_size": "999999999999KB"}, "M), not 999999999999KB"),
        ({"swap_size": "2T"}, "swap_size: must be a whole number"),
        ({"swap_size": "2G\nSWAPSIZE=9G"}, "swap_size: must be a whole number"),
        ({"swappiness": 201}, "swappiness: must be from 0 to 200, not 201"),
        ({"swappiness": -1}, "swappiness: must be from 0 to 200, not -1"),
        ({"swappiness": "60"}, "swappiness: must be a whole number"),
        ({"size": "2G"}, "size: is not known here"),
    ],
)
async def test_wrong_swap_is_named_and_nothing_is_written(
    haos_as_it_is: Haos, body: Mapping[str, object], sentence: str
) -> None:
    answer = await haos_as_it_is.post(SWAP, body)

    assert (answer.status, sentence in answer.message) == (400, True), answer.message
    assert await haos_as_it_is.called("Set") == []


@pytest.mark.parametrize("size", ["0", "512M", "1GiB", "2GB", "100K", "39K", "1000000B"])
async def test_every_form_of_a_swap_size_is_taken(haos: Haos, size: str) -> None:
    await haos.done(SWAP, {"swap_size": size})

    assert (await haos.get(SWAP))["swap_size"] == size


@pytest.mark.parametrize(
    ("size", "size_bytes"),
    [("0", 0), ("7", 7), ("7B", 7), ("7iB", 7), ("2K", 2048), ("2KB", 2048), ("3MiB", 3145728), ("1G", 1073741824)],
)
def test_swap_size_is_a_number_of_bytes(size: str, size_bytes: int) -> None:
    assert SwapSize.parse(size).size_bytes == size_bytes


async def test_swap_is_smaller_than_the_disk(haos: Haos) -> None:
    total = (await asyncio.to_thread(shutil.disk_usage, haos.system.data.path)).total

    refused = await haos.post(SWAP, {"swap_size": str(total)})
    await haos.done(SWAP, {"swap_size": str(total - 1)})

    assert f"swap_size: must be less than the data disk holds ({total // 1024**2}M), not {total}" in refused.message
    assert (await haos.get(SWAP))["swap_size"] == str(total - 1)


async def test_swap_that_was_too_large_before_does_not_keep_the_rest_from_being_changed(haos: Haos) -> None:
    await haos.parts.change(AGENT, "/io/hass/os/Config/Swap", "io.hass.os.Config.Swap", SwapSize="999999G")

    await haos.done(SWAP, {"swap_size": "999999G", "swappiness": 9})

    assert await haos.get(SWAP) == {"swap_size": "999999G", "swappiness": 9}
    written = [arguments[1:] for _, arguments in await haos.called("Set")]
    assert written == [["Swappiness", 9]]


async def test_swap_is_not_offered_before_15(haos: Haos) -> None:
    await runs(haos, "14.2")

    for answer in (await haos.client.get(SWAP), await haos.post(SWAP, {"swappiness": 9})):
        assert answer.status == 404
        assert "Home Assistant OS 15.0 and later" in answer.message


async def test_swap_that_is_half_written_is_put_back(haos: Haos) -> None:
    await haos.parts.order(
        do="fail",
        service=AGENT,
        method="Set Swappiness",
        error="io.hass.Failed",
        text="read-only file system",
        once=True,
    )

    answer = await haos.post(SWAP, {"swap_size": "1G", "swappiness": 9})

    assert (answer.status, "read-only" in answer.message) == (500, True)
    assert await haos.get(SWAP) == {"swap_size": "2G", "swappiness": 1}
    written = [arguments[1:] for _, arguments in await haos.called("Set")]
    assert written == [["SwapSize", "1G"], ["Swappiness", 9], ["SwapSize", "2G"], ["Swappiness", 1]]
    assert "reboot_required" not in haos.problems()


async def test_only_what_was_to_change_of_the_swap_is_put_back(haos: Haos) -> None:
    await haos.parts.order(
        do="fail", service=AGENT, method="Set SwapSize", error="io.hass.Failed", text="no room", once=True
    )

    await haos.post(SWAP, {"swap_size": "1G"})

    written = [arguments[1:] for _, arguments in await haos.called("Set")]
    assert written == [["SwapSize", "1G"], ["SwapSize", "2G"]]


async def test_agent_without_swap_does_not_offer_it(haos: Haos) -> None:
    await haos.parts.order(do="remove", service=AGENT, path="/io/hass/os/Config/Swap")

    assert (await haos.client.get(SWAP)).status == 404


# --- configuration from a stick ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "unit"),
    [("16.0", "hassos-config.service"), ("18.0.rc1", "haos-config.service"), ("18.1", "haos-config.service")],
)
async def test_configuration_is_taken_over_by_the_unit_of_that_version(haos: Haos, version: str, unit: str) -> None:
    await runs(haos, version)

    await haos.done("/os/config/sync")

    assert await haos.called("RestartUnit") == [("RestartUnit", [unit, "replace"])]


async def test_configuration_is_taken_over_again(haos: Haos) -> None:
    await haos.done("/os/config/sync")
    await haos.done("/host/service/ssh/reload")  # whoever is first, of the two, has subscribed to systemd's signals

    await haos.done("/os/config/sync")

    assert len(await haos.called("RestartUnit")) == 2


async def test_unit_that_fails_is_said(haos: Haos) -> None:
    await haos.parts.order(do="remember", service=SYSTEMD, result="failed")

    answer = await haos.post("/os/config/sync")

    assert (answer.status, "hassos-config.service was not restarted: failed" in answer.message) == (500, True)


async def test_unit_that_does_not_end_is_given_up(haos: Haos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rooftree_os.config_sync.TAKES_S", 0.1)
    await haos.parts.order(do="remember", service=SYSTEMD, result="")

    answer = await haos.post("/os/config/sync")

    assert (answer.status, "was not restarted within 0.1 s" in answer.message) == (503, True)


# --- firmware ---------------------------------------------------------------------------------------------------------


async def test_firmware_is_shown_and_updated(haos: Haos) -> None:
    before = await haos.get(FIRMWARE)

    await haos.done(f"{FIRMWARE}/update")

    assert before == {
        "current_version": "1618412973",
        "latest_version": "1733160348",
        "update_available": True,
        "update_blocked": False,
        "update_pending": False,
        "blocked_reason": None,
    }
    assert RaspberryPiFirmwareInfo.from_dict(before).blocked_reason is None
    assert await haos.called("Update") == [("Update", [])]
    assert "boot firmware" in haos.problems()["reboot_required"]
    again = await haos.post(f"{FIRMWARE}/update")
    assert (again.status, "written already; reboot" in again.message) == (400, True)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"UpdateAvailable": False}, "The firmware 1618412973 is the newest there is"),
        ({"UpdateBlocked": True, "BlockedReason": "unsupported_boot_device"}, "unsupported_boot_device"),
    ],
)
async def test_firmware_that_cannot_be_updated_says_why(haos: Haos, state: Mapping[str, object], sentence: str) -> None:
    await haos.parts.change(AGENT, PI, PI_INTERFACE, **state)

    answer = await haos.post(f"{FIRMWARE}/update")

    assert (answer.status, sentence in answer.message) == (400, True)
    assert await haos.called("Update") == []


async def test_machine_without_such_firmware_is_not_found(haos: Haos) -> None:
    await haos.parts.order(do="remove", service=AGENT, path=PI)

    for answer in (await haos.client.get(FIRMWARE), await haos.post(f"{FIRMWARE}/update")):
        assert (answer.status, "no Raspberry Pi firmware" in answer.message) == (404, True)


# --- the lights of boards ---------------------------------------------------------------------------------------------


async def test_lights_of_a_yellow_are_switched_and_need_a_reboot(haos: Haos) -> None:
    before = await haos.get(YELLOW)

    await haos.done(YELLOW, {"disk_led": False})

    assert YellowInfo.from_dict(before) == YellowInfo(disk_led=True, heartbeat_led=True, power_led=True)
    assert await haos.get(YELLOW) == {"disk_led": False, "heartbeat_led": True, "power_led": True}
    assert [arguments for _, arguments in await haos.called("Set")] == [["io.hass.os.Boards.Yellow", "DiskLED", False]]
    assert "board yellow" in haos.problems()["reboot_required"]


async def test_lights_of_a_green_have_names_of_their_own_and_shine_at_once(around: Surroundings) -> None:
    await around.parts.change(AGENT, "/io/hass/os/Boards", "io.hass.os.Boards", Board="Green")
    async with around.system() as running:
        await running.done("/os/boards/green", {"system_health_led": False})

        answer = await running.get("/os/boards/green")
        assert GreenInfo.from_dict(answer) == GreenInfo(activity_led=True, power_led=True, system_health_led=False)
        assert [arguments[1:] for _, arguments in await running.called("Set")] == [["UserLED", False]]
        assert "reboot_required" not in running.problems()
        assert (await running.client.get(YELLOW)).status == 503  # so the CPE name says; the agent says otherwise


async def test_board_that_the_agent_no_longer_sees_is_none_any_more_and_another_may_be(around: Surroundings) -> None:
    name = CPE.format(version="16.0", board="ova")
    await around.parts.change(HOSTNAME, HOST, HOSTNAME, OperatingSystemCPEName=name)
    async with around.system() as running:
        await running.get(YELLOW)

        await running.parts.order(do="vanish", service=AGENT)
        await running.parts.change(AGENT, "/io/hass/os/Boards", "io.hass.os.Boards", Board="Green")
        await running.parts.order(do="appear", service=AGENT)

        async def green() -> bool:
            return bool((await running.client.get("/os/boards/green")).status == 200)

        await until(green, within_s=5, what="the other board")
        answer = await running.client.get(YELLOW)
        assert (answer.status, answer.message) == (400, "This machine is no board yellow; there is green")


async def test_machine_without_the_agent_has_no_such_board_and_no_problem(tmp_path: Path) -> None:
    async with surroundings(tmp_path, HOSTNAME) as around, around.system() as running:
        answer = await running.client.get("/os/boards/green")

        assert (answer.status, "no board driver is in use" in answer.message) == (400, True)
        assert "board_failed" not in running.problems()


async def test_other_boards_are_refused_on_a_yellow(haos: Haos) -> None:
    answer = await haos.client.get("/os/boards/green")

    assert (answer.status, answer.message) == (400, "This machine is no board green; there is yellow")


async def test_board_that_the_system_is_has_no_settings_where_no_driver_knows_it(around: Surroundings) -> None:
    name = CPE.format(version="16.0", board="ova")
    await around.parts.change(HOSTNAME, HOST, HOSTNAME, OperatingSystemCPEName=name)
    async with around.system(boards=()) as running:
        assert await running.get("/os/boards/ova") == {}
        assert (await running.post("/os/boards/ova", {"x": 1})).status == 400
        assert (await running.client.get(YELLOW)).status == 400


async def test_wrong_lights_are_named(haos: Haos) -> None:
    answer = await haos.post(YELLOW, {"user_led": True})

    assert (answer.status, answer.message) == (
        400,
        "user_led: is not known here; allowed are disk_led, heartbeat_led, power_led",
    )


async def test_lights_are_switched_again_when_the_agent_comes_again_without_them(haos: Haos) -> None:
    await haos.done(YELLOW, {"power_led": False})
    await haos.parts.order(do="vanish", service=AGENT)

    async def gone() -> bool:
        return bool((await haos.client.get(YELLOW)).status == 503)

    await until(gone, within_s=5, what="the end of the agent")
    async with services(haos.around.bus.address, AGENT, machine=MACHINE) as again:

        async def switched() -> bool:
            return any(arguments[1:] == ["PowerLED", False] for name, arguments in await again.calls() if name == "Set")

        await until(switched, within_s=5, what="the light")
        assert await haos.get(YELLOW) == {"disk_led": True, "heartbeat_led": True, "power_led": False}


async def test_light_that_the_agent_refuses_is_taken_back(haos: Haos) -> None:
    await haos.parts.order(do="fail", service=AGENT, method="Set", error="io.hass.Failed", text="no such light")

    answer = await haos.post(YELLOW, {"power_led": False})

    assert (answer.status, "no such light" in answer.message) == (500, True)
    assert "reboot_required" not in haos.problems()


async def test_agent_that_tells_only_some_lights_is_said(haos: Haos) -> None:
    await haos.parts.order(do="remove", service=AGENT, path="/io/hass/os/Boards/Yellow")
    await haos.parts.order(
        do="put",
        service=AGENT,
        path="/io/hass/os/Boards/Yellow",
        interface="io.hass.os.Boards.Yellow",
        values={"DiskLED": ("b", True)},
    )
    await haos.system.plugins.restart("host")

    answer = await haos.client.get(YELLOW)

    assert (answer.status, "does not tell all the lights" in answer.message) == (503, True)

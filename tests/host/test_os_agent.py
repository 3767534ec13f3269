"""The OS agent's stand-in: a real service on the host's bus, which tests tell what it is and ask what it was asked."""

from __future__ import annotations

import asyncio

import pytest
from dbus_fast import Message, Variant

from tests.host.rig.bus import PROPERTIES, BusError, bus_of
from tests.host.rig.host import Host
from tests.host.rig.releases import HomeAssistantOs

pytestmark = pytest.mark.xdist_group("host")

AGENT = "io.hass.os"
METHODS = {
    "AppArmor.LoadProfile": ("ss", ["/data/profile", "/data/cache"], True),
    "AppArmor.UnloadProfile": ("ss", ["/data/profile", "/data/cache"], True),
    "CGroup.AddDevicesAllowed": ("ss", ["0123", "c 81:* rwm"], True),
    "DataDisk.ChangeDevice": ("s", ["/dev/sdb"], True),
    "DataDisk.ReloadDevice": ("", [], True),
    "DataDisk.MarkDataMove": ("", [], []),
    "System.ScheduleWipeDevice": ("", [], True),
    "System.MigrateDockerStorageDriver": ("s", ["overlayfs"], []),
}
"""Every method that is there on every board: signature, arguments, and what it returns."""


def path_of(part: str) -> str:
    """The object of an interface."""
    return "/".join(["/io/hass/os", *filter(None, part.split("."))])


@pytest.mark.parametrize("method", METHODS)
async def test_call_is_answered_and_written_down(host: Host, method: str) -> None:
    signature, arguments, returned = METHODS[method]
    part = method.partition(".")[0]

    async with bus_of(host) as bus:
        answer = await bus.call(AGENT, path_of(part), f"{AGENT}.{method}", signature, *arguments)

    assert answer == returned
    assert host.agent.called(f"{AGENT}.{method}") == [arguments]


async def test_call_that_is_to_fail_fails_with_the_given_sentence(host: Host) -> None:
    host.agent.configure(refuse={"io.hass.os.System.ScheduleWipeDevice": "the boot partition is read-only"})

    async with bus_of(host) as bus:
        with pytest.raises(BusError, match=r"Error\.Failed: the boot partition is read-only"):
            await bus.call(AGENT, "/io/hass/os/System", "io.hass.os.System.ScheduleWipeDevice")


async def test_changed_property_is_signalled_and_survives_a_reboot(host: Host) -> None:
    path, interface = "/io/hass/os/Config/Swap", "io.hass.os.Config.Swap"
    heard = asyncio.get_running_loop().create_future()

    def hear(message: Message) -> None:
        if message.member == "PropertiesChanged" and message.path == path:
            heard.set_result(message.body)

    async with bus_of(host) as bus:
        bus.connection.add_message_handler(hear)
        rule = f"type='signal',sender='{AGENT}',interface='{PROPERTIES}'"
        await bus.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.AddMatch", "s", rule)
        await bus.call(AGENT, path, f"{PROPERTIES}.Set", "ssv", interface, "SwapSize", Variant("s", "512M"))
        async with asyncio.timeout(5):
            changed = await heard
    host.restart()
    async with bus_of(host) as bus:
        kept = await bus.properties(AGENT, path, interface)

    assert changed == [interface, {"SwapSize": Variant("s", "512M")}, []]
    assert kept == {"SwapSize": "512M", "Swappiness": 1}
    assert host.agent.calls() == [{"interface": interface, "property": "SwapSize", "value": "512M"}]


@pytest.mark.parametrize(("name", "value"), [("SwapSize", Variant("s", "much")), ("Swappiness", Variant("i", 201))])
async def test_swap_that_cannot_be_is_refused_and_nothing_changes(host: Host, name: str, value: Variant) -> None:
    path, interface = "/io/hass/os/Config/Swap", "io.hass.os.Config.Swap"

    async with bus_of(host) as bus:
        with pytest.raises(BusError, match="swap"):
            await bus.call(AGENT, path, f"{PROPERTIES}.Set", "ssv", interface, name, value)
        unchanged = await bus.properties(AGENT, path, interface)

    assert unchanged == {"SwapSize": "", "Swappiness": 1}
    assert host.agent.calls() == []


@pytest.mark.parametrize(
    ("home_assistant_os", "board", "lights"),
    [
        (HomeAssistantOs(board="green"), "Green", {"ActivityLED", "PowerLED", "UserLED"}),
        (HomeAssistantOs(board="yellow"), "Yellow", {"DiskLED", "HeartbeatLED", "PowerLED"}),
    ],
    indirect=["home_assistant_os"],
)
async def test_board_has_its_lights_and_no_others(
    host: Host, home_assistant_os: HomeAssistantOs, board: str, lights: set[str]
) -> None:
    other = {"Green": "Yellow", "Yellow": "Green"}[board]
    path, interface = f"/io/hass/os/Boards/{board}", f"{AGENT}.Boards.{board}"

    async with bus_of(host) as bus:
        named = await bus.properties(AGENT, "/io/hass/os/Boards", f"{AGENT}.Boards")
        before = await bus.properties(AGENT, path, interface)
        await bus.call(AGENT, path, f"{PROPERTIES}.Set", "ssv", interface, "PowerLED", Variant("b", False))
        after = await bus.properties(AGENT, path, interface)
        with pytest.raises(BusError):
            await bus.properties(AGENT, f"/io/hass/os/Boards/{other}", f"{AGENT}.Boards.{other}")

    assert named == {"Board": board}
    assert before == dict.fromkeys(lights, True)
    assert after == before | {"PowerLED": False}


@pytest.mark.parametrize("home_assistant_os", [HomeAssistantOs(board="rpi5-64")], indirect=True)
async def test_raspberry_pi_has_firmware_that_is_pending_once_it_was_updated(
    host: Host, home_assistant_os: HomeAssistantOs
) -> None:
    path, interface = "/io/hass/os/Boards/RaspberryPi/Firmware", "io.hass.os.Boards.RaspberryPi.Firmware"

    async with bus_of(host) as bus:
        before = await bus.properties(AGENT, path, interface)
        await bus.call(AGENT, path, f"{interface}.Update")
        after = await bus.properties(AGENT, path, interface)

    assert (before["UpdateAvailable"], before["UpdatePending"]) == (True, False)
    assert after == before | {"UpdatePending": True}


async def test_plain_debian_is_supervised_and_has_no_board(host: Host) -> None:
    async with bus_of(host) as bus:
        named = await bus.properties(AGENT, "/io/hass/os/Boards", f"{AGENT}.Boards")
        supervised = await bus.properties(AGENT, "/io/hass/os/Boards/Supervised", f"{AGENT}.Boards.Supervised")
        agent = await bus.properties(AGENT, "/io/hass/os", AGENT)

    assert named == {"Board": "Supervised"} and supervised == {}
    assert agent == {"Version": "1.9.0", "Diagnostics": False}


async def test_older_agent_is_a_matter_of_its_state(host: Host) -> None:
    host.agent.configure(**{"io.hass.os.Version": "1.4.0"})

    async with bus_of(host) as bus:
        agent = await bus.properties(AGENT, "/io/hass/os", AGENT)

    assert agent["Version"] == "1.4.0"

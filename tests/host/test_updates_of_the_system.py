"""rauc on the host: slots, real bundles, and a boot into what was installed."""

from __future__ import annotations

import asyncio

import pytest
from dbus_fast import Message

from tests.host.rig.bus import Bus, bus_of
from tests.host.rig.host import Host
from tests.host.rig.releases import HomeAssistantOs

pytestmark = pytest.mark.xdist_group("host")

RAUC = ("de.pengutronix.rauc", "/")
INSTALLER = "de.pengutronix.rauc.Installer"
HOSTNAMED = ("org.freedesktop.hostname1", "/org/freedesktop/hostname1", "org.freedesktop.hostname1")


async def install(bus: Bus, bundle: object) -> int:
    """Install a bundle and wait for rauc's signal. Its code: 0 is good."""
    completed = asyncio.get_running_loop().create_future()

    def hear(message: Message) -> None:
        if message.member == "Completed" and message.interface == INSTALLER:
            completed.set_result(message.body[0])

    bus.connection.add_message_handler(hear)
    rule = f"type='signal',interface='{INSTALLER}',member='Completed'"
    await bus.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.AddMatch", "s", rule)
    await bus.call(*RAUC, f"{INSTALLER}.Install", "s", str(bundle))
    async with asyncio.timeout(20):
        code: int = await completed
    return code


async def slots_of(bus: Bus) -> dict[str, dict[str, str]]:
    """What rauc says of each slot."""
    return dict(await bus.call(*RAUC, f"{INSTALLER}.GetSlotStatus"))


async def test_two_pairs_of_slots_are_there_and_the_first_is_booted(host: Host) -> None:
    async with bus_of(host) as bus:
        slots = await slots_of(bus)
        primary = await bus.call(*RAUC, f"{INSTALLER}.GetPrimary")
        installer = await bus.properties(*RAUC, INSTALLER)

    assert {name: (slot["state"], slot.get("bootname")) for name, slot in slots.items()} == {
        "kernel.0": ("booted", "A"),
        "rootfs.0": ("active", None),
        "kernel.1": ("inactive", "B"),
        "rootfs.1": ("inactive", None),
    }
    assert (primary, installer["BootSlot"], installer["Compatible"]) == ("kernel.0", "A", "test-host")


async def test_host_is_a_home_assistant_os_when_a_test_wants_that(
    host: Host, home_assistant_os: HomeAssistantOs
) -> None:
    async with bus_of(host) as bus:
        shown = await bus.properties(*HOSTNAMED)
    host.restart()
    async with bus_of(host) as bus:
        after_boot = await bus.properties(*HOSTNAMED)
    host.reset()
    async with bus_of(host) as bus:
        after_reset = await bus.properties(*HOSTNAMED)

    cpe = "cpe:2.3:o:home-assistant:haos:16.3:*:production:*:*:*:generic-x86-64:*"
    assert (shown["OperatingSystemCPEName"], shown["OperatingSystemPrettyName"]) == (cpe, "Home Assistant OS 16.3")
    assert after_boot["OperatingSystemCPEName"] == cpe
    assert after_reset["OperatingSystemCPEName"] == ""


async def test_bundle_is_installed_into_the_other_slot_and_is_what_the_next_boot_shows(
    host: Host, home_assistant_os: HomeAssistantOs
) -> None:
    bundle = HomeAssistantOs("17.0").bundle(host)

    async with bus_of(host) as bus:
        code = await install(bus, bundle)
        installed = await slots_of(bus)
        before_boot = await bus.properties(*HOSTNAMED)
        primary = await bus.call(*RAUC, f"{INSTALLER}.GetPrimary")
    host.restart()
    async with bus_of(host) as bus:
        booted = await slots_of(bus)
        after_boot = await bus.properties(*HOSTNAMED)

    assert code == 0
    assert (installed["kernel.1"]["bundle.version"], primary) == ("17.0", "kernel.1")
    assert before_boot["OperatingSystemPrettyName"] == "Home Assistant OS 16.3"
    assert (booted["kernel.0"]["state"], booted["kernel.1"]["state"]) == ("inactive", "booted")
    assert after_boot["OperatingSystemPrettyName"] == "Home Assistant OS 17.0"


async def test_bundle_for_another_system_is_refused_and_changes_nothing(host: Host) -> None:
    bundle = HomeAssistantOs("17.0").bundle(host, compatible="another-host")

    async with bus_of(host) as bus:
        code = await install(bus, bundle)
        slots = await slots_of(bus)
        installer = await bus.properties(*RAUC, INSTALLER)

    assert code != 0 and "Compatible" in installer["LastError"]
    assert "bundle.version" not in slots["kernel.1"]


async def test_bundle_that_was_tampered_with_is_refused(host: Host) -> None:
    bundle = HomeAssistantOs("17.0").bundle(host)
    content = bytearray(bundle.read_bytes())
    content[200] ^= 0xFF
    bundle.write_bytes(content)

    async with bus_of(host) as bus:
        code = await install(bus, bundle)
        installer = await bus.properties(*RAUC, INSTALLER)

    assert code != 0 and "signature" in installer["LastError"]


async def test_slot_that_is_marked_is_the_one_that_is_booted(host: Host) -> None:
    async with bus_of(host) as bus:
        await bus.call(*RAUC, f"{INSTALLER}.Mark", "ss", "active", "other")
        await bus.call(*RAUC, f"{INSTALLER}.Mark", "ss", "bad", "booted")
        marked = await slots_of(bus)
    host.restart()
    async with bus_of(host) as bus:
        booted = await slots_of(bus)

    assert (marked["kernel.0"]["boot-status"], marked["kernel.1"]["boot-status"]) == ("bad", "good")
    assert (booted["kernel.0"]["state"], booted["kernel.1"]["state"]) == ("inactive", "booted")

"""Drives and file systems, from a UDisks2 on a real bus: a stand-in with its objects and signals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rooftree.testing import Client, running_system
from rooftree_host import drives as drives_module
from rooftree_host import system_bus
from rooftree_host.plugin import HostPlugin
from tests.bus.disks import BLOCK, DRIVE, FILESYSTEM, READER, ROOT, STICK, block, disks, mounted, properties
from tests.bus.machine import UDISKS
from tests.bus.private_bus import PrivateBus
from tests.bus.stand_ins import Service
from tests.rig.waiting import until

WITHIN_S = 10.0
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"


@pytest.fixture
async def bus(socket_folder: Path) -> AsyncIterator[PrivateBus]:
    """A bus of the test's own."""
    bus = PrivateBus(socket_folder)
    await bus.start()
    yield bus
    await bus.kill()


@pytest.fixture
async def udisks(bus: PrivateBus) -> AsyncIterator[Service]:
    """UDisks2 on it."""
    service = Service(UDISKS, {ROOT: {}, **disks()})
    await service.appear(bus.address)
    yield service
    await service.vanish()


@pytest.fixture
async def client(bus: PrivateBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """An administrator of a house on that machine."""
    monkeypatch.setattr(system_bus, "RETRY_S", 0.05)
    settings = {"plugins.host.bus": bus.address}
    async with (
        running_system(tmp_path, plugins=[HostPlugin], settings=settings) as system,
        Client.over_unix(system) as found,
    ):
        yield found


async def drives(client: Client) -> dict[str, dict[str, Any]]:
    """The drives that are shown, by model."""
    return {drive["model"]: drive for drive in (await client.get("/hardware/info")).data["drives"]}


async def shows(client: Client, what: str, expected: object) -> None:
    """Wait until that is what is shown of the stick's file systems (or of drives)."""

    async def does() -> bool:
        shown = await drives(client)
        return (sorted(shown) if what == "drives" else shown["Cruzer Blade"][what]) == expected

    await until(does, within_s=WITHIN_S, what=f"{what}: {expected}")


PHOTOS = {
    "device": "/dev/sdb1",
    "id": "by-uuid-sdb1",
    "size": 8_003_256_320,
    "name": "Holidays",
    "system": False,
    "mount_points": [],
}


async def test_drives_have_their_file_systems(udisks: Service, client: Client) -> None:
    shown = await drives(client)

    assert sorted(shown) == ["CT500MX500SSD1", "Card Reader", "Cruzer Blade"]
    assert shown["Cruzer Blade"] == {
        "vendor": "SanDisk",
        "model": "Cruzer Blade",
        "revision": "1.00",
        "serial": "4C530001230120115142",
        "id": "SanDisk-Cruzer-Blade-4C530001230120115142",
        "size": 8_004_304_896,
        "time_detected": "2023-02-15T21:44:22.504878+00:00",
        "connection_bus": "usb",
        "seat": "seat0",
        "removable": True,
        "ejectable": True,
        "filesystems": [PHOTOS],
    }
    assert [
        (each["device"], each["name"], each["mount_points"]) for each in shown["CT500MX500SSD1"]["filesystems"]
    ] == [("/dev/sda1", "EFI", ["/boot/efi"]), ("/dev/sda2", "", ["/", "/var/lib/docker"])]
    assert shown["Card Reader"]["filesystems"] == []


@pytest.mark.parametrize("detected_us", [2**63, 2**64 - 1, 0])
async def test_time_that_is_in_no_calendar_is_not_known_and_costs_nothing_else(
    udisks: Service, client: Client, detected_us: int
) -> None:
    await drives(client)

    udisks.change(STICK, DRIVE, properties(TimeDetected=detected_us))

    await shows(client, "time_detected", None)
    shown = await drives(client)
    assert shown["CT500MX500SSD1"]["time_detected"] == "2023-02-15T21:44:22.504878+00:00"
    assert shown["Cruzer Blade"]["filesystems"] == [PHOTOS]


async def test_udisks_is_asked_once_while_nothing_changes(udisks: Service, client: Client) -> None:
    async def is_known() -> bool:
        """Once it is heard of changes, which comes soon after the start, what was read before is not believed."""
        udisks.calls.clear()
        await client.get("/hardware/info")
        return not udisks.calls

    await until(is_known, within_s=WITHIN_S, what="an answer without asking UDisks2")
    first = await client.get("/hardware/info")

    again = [await client.get("/hardware/info") for _ in range(5)]
    unchanged = await client.get("/hardware/info", headers={"If-None-Match": first.headers["ETag"]})

    assert udisks.calls == []
    assert {answer.text for answer in again} == {first.text}
    assert unchanged.status == 304


async def test_what_is_mounted_is_shown_at_once(udisks: Service, client: Client) -> None:
    await drives(client)

    udisks.change(block("sdb1"), FILESYSTEM, {"MountPoints": mounted("/media/käse")})

    await shows(client, "filesystems", [PHOTOS | {"mount_points": ["/media/käse"]}])


async def test_medium_that_is_put_in_is_shown(udisks: Service, client: Client) -> None:
    before = (await drives(client))["Card Reader"]["size"]

    udisks.change(READER, DRIVE, properties(Size=32_000_000_000))

    async def is_shown() -> bool:
        return bool((await drives(client))["Card Reader"]["size"] == 32_000_000_000)

    await until(is_shown, within_s=WITHIN_S, what="the medium")
    assert before == 0


async def test_stick_that_is_pulled_out_is_gone_and_another_one_in_its_place_is_itself(
    udisks: Service, client: Client
) -> None:
    assert "Cruzer Blade" in await drives(client)
    old = {path: udisks.objects.pop(path) for path in (STICK, block("sdb1"))}
    for path, interfaces in old.items():
        udisks.signal(ROOT, OBJECT_MANAGER, "InterfacesRemoved", "oas", [path, [*interfaces]])
    await shows(client, "drives", ["CT500MX500SSD1", "Card Reader"])

    old[block("sdb1")][BLOCK] |= properties(Id="by-uuid-other", HintName="Other")
    udisks.objects |= old
    for path, interfaces in old.items():
        udisks.signal(ROOT, OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [path, interfaces])

    await until(lambda: _has(client, "Cruzer Blade"), within_s=WITHIN_S, what="the stick")
    await shows(client, "filesystems", [PHOTOS | {"id": "by-uuid-other", "name": "Other"}])


async def _has(client: Client, model: str) -> bool:
    return model in await drives(client)


async def test_without_udisks_no_drives_are_known_until_it_comes_and_after_it_went(
    bus: PrivateBus, client: Client
) -> None:
    without = await client.get("/hardware/info")
    service = Service(UDISKS, {ROOT: {}, **disks()})
    await service.appear(bus.address)
    await shows(client, "drives", ["CT500MX500SSD1", "Card Reader", "Cruzer Blade"])
    await service.vanish()
    await shows(client, "drives", [])

    assert without.status == 200
    assert without.data["drives"] == []
    assert without.data["devices"] != []


async def test_udisks_that_hangs_is_waited_for_once(
    udisks: Service, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drives_module, "READ_S", 0.3)
    udisks.answers.clear()

    first, second = await client.get("/hardware/info"), await client.get("/hardware/info")

    udisks.answers.set()
    assert [answer.data["drives"] for answer in (first, second)] == [[], []]
    assert [name for name, _ in udisks.calls] == ["GetManagedObjects"]


async def test_udisks_that_hung_is_asked_again_when_its_time_has_come(
    udisks: Service, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drives_module, "READ_S", 0.3)
    monkeypatch.setattr(drives_module, "SILENCE_S", 0.5)
    udisks.answers.clear()
    hung = await drives(client)
    udisks.answers.set()

    await shows(client, "drives", ["CT500MX500SSD1", "Card Reader", "Cruzer Blade"])

    assert hung == {}


async def test_bus_that_is_restarted_is_read_anew(bus: PrivateBus, client: Client) -> None:
    first = Service(UDISKS, {ROOT: {}, **disks()})
    await first.appear(bus.address)
    await shows(client, "drives", ["CT500MX500SSD1", "Card Reader", "Cruzer Blade"])
    await bus.kill()
    await shows(client, "drives", [])

    await bus.start()
    second = Service(UDISKS, {ROOT: {}, **{path: each for path, each in disks().items() if path != STICK}})
    await second.appear(bus.address)

    await shows(client, "drives", ["CT500MX500SSD1", "Card Reader"])
    await second.vanish()

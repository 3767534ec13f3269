"""``/host/info``: every field from its source, and what is left when a source is missing."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohasupervisor.models import HostInfo as ClientsHostInfo

from rooftree import Kernel, Plugin
from rooftree.interfaces import hooks
from rooftree.interfaces.bus import SYSTEM_BUS, BusPropertiesChanged
from rooftree.interfaces.preferences import INSTALLATION_PREFERENCES
from rooftree.testing import Client, running_system
from rooftree_host import facts
from rooftree_host.disk_wear import disk_of, emmc_wear
from rooftree_host.mounts_seen import propagates
from rooftree_host.plugin import HostPlugin
from rooftree_supervisor.plugin import SupervisorPlugin
from tests.bus.machine import AGENT, HOSTNAME, LOGIN, RESOLVE, SYSTEMD, SYSTEMD_PATH, TIMEDATE
from tests.plugins.host.house import House, house
from tests.plugins.recordings import difference, needs_recordings, recorded
from tests.rig.waiting import until


async def test_every_field_has_its_source(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        info = (await home.client.get("/host/info")).data

    now = datetime.fromisoformat(info.pop("dt_utc"))
    disk = [info.pop(f"disk_{part}") for part in ("total", "used", "free")]
    features = info.pop("features")
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
    assert all(isinstance(number, float) and number >= 0 for number in disk)
    assert disk[0] >= disk[1]
    assert set(features) - {"mount"} == {
        "hostname", "os_agent", "reboot", "resolved", "services", "shutdown", "timedate",
    }  # fmt: skip
    assert info == {
        "agent_version": "1.7.2",
        "apparmor_version": "3.1.7",
        "boot_timestamp": 1_767_225_600_000_000,
        "broadcast_llmnr": True,
        "broadcast_mdns": False,
        "chassis": "embedded",
        "virtualization": "kvm",
        "cpe": "cpe:2.3:o:debian:debian_linux:12:*:*:*:*:*:*:*",
        "deployment": "production",
        "disk_life_time": info["disk_life_time"],
        "hostname": "attic",
        "llmnr_hostname": "ATTIC",
        "kernel": "6.12.9",
        "operating_system": "Debian GNU/Linux 12 (bookworm)",
        "timezone": "Europe/Berlin",
        "dt_synchronized": True,
        "use_ntp": True,
        "startup_time": 14.75,
    }


async def test_second_answer_asks_nobody(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        first = (await home.client.get("/host/info")).data
        asked = {name for name, _ in await home.machine.calls()}
        second = (await home.client.get("/host/info")).data

        assert await home.machine.calls() == []
    assert asked == {"GetAll"}
    assert {**first, "dt_utc": ""} == {**second, "dt_utc": ""}


async def test_change_is_seen_and_reload_asks_anew(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        before = (await home.client.get("/host/info")).data["hostname"]
        await home.machine.change(HOSTNAME, "/org/freedesktop/hostname1", HOSTNAME, told=False, StaticHostname="cellar")
        unnoticed = (await home.client.get("/host/info")).data["hostname"]
        reloaded = await home.client.post("/host/reload")
        after = (await home.client.get("/host/info")).data["hostname"]

    assert (before, unnoticed, reloaded.data, after) == ("attic", "attic", {}, "cellar")


async def test_what_the_bus_tells_is_in_the_very_next_answer(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        for _ in range(3):
            await home.client.get("/host/info")  # what was learnt while one was put together voids it once more
        told = asyncio.Event()
        home.system.bus.subscribe(BusPropertiesChanged, lambda _: told.set(), "test")
        await home.machine.change(HOSTNAME, "/org/freedesktop/hostname1", HOSTNAME, StaticHostname="cellar")
        await asyncio.wait_for(told.wait(), 10)
        renamed = (await home.client.get("/host/info")).data
        await home.machine.order(do="vanish", service=RESOLVE)
        await until(lambda: _lost(home, RESOLVE), within_s=10, what="the end of the service")
        without = (await home.client.get("/host/info")).data

    assert renamed["hostname"] == "cellar"
    assert ("resolved" in renamed["features"], "resolved" in without["features"]) == (True, False)


async def test_what_becomes_void_while_another_source_is_asked_is_no_gap_in_the_answer(
    tmp_path: Path, socket_folder: Path
) -> None:
    async with house(tmp_path, socket_folder) as home:
        await home.client.get("/host/info")
        await _voided(home, RESOLVE, "/org/freedesktop/resolve1", f"{RESOLVE}.Manager", "LLMNR")
        await home.machine.calls()
        await home.machine.order(do="hang", service=RESOLVE)
        asking = asyncio.create_task(home.client.get("/host/info"))
        while await home.machine.calls() == []:
            await asyncio.sleep(0.01)

        await _voided(home, HOSTNAME, "/org/freedesktop/hostname1", HOSTNAME, "StaticHostname")
        await home.machine.order(do="answer", service=RESOLVE)

        assert (await asking).data["hostname"] == "attic"


async def _voided(home: House, service: str, path: str, interface: str, name: str) -> None:
    """Let a service tell that a property is another, but not what it is."""
    told = asyncio.Event()
    home.system.bus.subscribe(BusPropertiesChanged, lambda _: told.set(), f"test of {service}")
    await home.machine.order(
        do="signal", service=service, path=path, interface="org.freedesktop.DBus.Properties",
        name="PropertiesChanged", signature="sa{sv}as", arguments=[interface, {}, [name]],
    )  # fmt: skip
    await asyncio.wait_for(told.wait(), 10)


async def _lost(home: House, service: str) -> bool:
    return not home.system.services.get(SYSTEM_BUS).has(service)


async def test_time_of_day_is_that_of_the_answer(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        times = [(await home.client.get("/host/info")).data["dt_utc"] for _ in range(5)]

    assert len(set(times)) == 5
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("missing", "fields", "features"),
    [
        (HOSTNAME, {"chassis", "cpe", "deployment"}, {"hostname"}),
        (SYSTEMD, {"virtualization", "boot_timestamp", "startup_time"}, {"services"}),
        (TIMEDATE, {"use_ntp", "dt_synchronized"}, {"timedate"}),
        (RESOLVE, {"broadcast_llmnr", "broadcast_mdns", "llmnr_hostname"}, {"resolved"}),
        (AGENT, {"agent_version", "apparmor_version"}, {"os_agent"}),
        (LOGIN, set(), set()),
    ],
)
async def test_service_that_is_missing_leaves_its_fields_empty_and_no_others(
    tmp_path: Path, socket_folder: Path, missing: str, fields: set[str], features: set[str]
) -> None:
    everybody = (HOSTNAME, SYSTEMD, TIMEDATE, RESOLVE, AGENT, LOGIN)
    async with house(tmp_path, socket_folder, *(name for name in everybody if name != missing)) as home:
        info = (await home.client.get("/host/info")).data

    empty = {key for key, value in info.items() if value is None} - {"disk_life_time"}
    assert empty == fields
    there = {"hostname", "os_agent", "reboot", "resolved", "services", "shutdown", "timedate"}
    assert set(info["features"]) - {"mount"} == there - features


async def test_without_a_bus_the_answer_comes_at_once_with_what_the_kernel_knows(tmp_path: Path) -> None:
    settings = {"plugins.host.bus": f"unix:path={tmp_path / 'nothing'}"}
    began = asyncio.get_running_loop().time()
    async with (
        running_system(tmp_path, plugins=[HostPlugin, SupervisorPlugin], settings=settings) as system,
        Client.over_unix(system) as client,
    ):
        info = (await client.get("/host/info")).data
        overview = (await client.get("/info")).data

    assert asyncio.get_running_loop().time() - began < 5
    assert (info["hostname"], info["startup_time"]) == (socket.gethostname(), None)
    assert (info["hostname"], info["operating_system"]) == (overview["hostname"], overview["operating_system"])
    assert info["operating_system"] == platform.freedesktop_os_release()["PRETTY_NAME"]
    assert "reboot" not in info["features"]
    assert info["disk_total"] > 0
    assert info["kernel"] == os.uname().release
    assert ClientsHostInfo.from_dict(info).timezone == info["timezone"]


async def test_service_that_hangs_delays_one_answer_and_not_the_next(
    tmp_path: Path, socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooftree_host.system_bus.READ_S", 0.5)
    async with house(tmp_path, socket_folder) as home:
        await home.machine.order(do="hang", service=HOSTNAME)
        first = (await home.client.get("/host/info")).data
        began = asyncio.get_running_loop().time()
        second = (await home.client.get("/host/info")).data

    assert asyncio.get_running_loop().time() - began < 3
    assert {first["hostname"], second["hostname"]} == {socket.gethostname()}
    assert second["timezone"] == "Europe/Berlin"


async def test_machine_that_still_boots_has_no_boot_time_yet(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        await home.machine.change(
            SYSTEMD, SYSTEMD_PATH, f"{SYSTEMD}.Manager", FinishTimestamp=0, FinishTimestampMonotonic=0
        )
        info = (await home.client.get("/host/info")).data

    assert (info["boot_timestamp"], info["startup_time"]) == (None, None)


class Preferences(Plugin):
    """Provides the user's preferences, of which only the time zone is looked at here."""

    name = "preferences"
    provides = (INSTALLATION_PREFERENCES,)
    is_first_start = False
    wait_boot_s = 0
    channel = "stable"
    timezone: str | None = "Asia/Tokyo"

    async def setup(self, kernel: Kernel) -> None:
        """Provide itself."""
        kernel.provide(INSTALLATION_PREFERENCES, self)


async def test_time_zone_that_the_user_chooses_is_in_the_very_next_answer(
    tmp_path: Path, socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "KEPT_S", 1000.0)
    async with house(tmp_path, socket_folder, plugins=[Preferences]) as home:
        chosen = []
        for zone in ("Asia/Tokyo", "Asia/Tokyo", "Asia/Tokyo", "America/Lima", None):
            monkeypatch.setattr(Preferences, "timezone", zone)
            chosen.append((await home.client.get("/host/info")).data["timezone"])

    assert chosen == ["Asia/Tokyo", "Asia/Tokyo", "Asia/Tokyo", "America/Lima", "Europe/Berlin"]


async def test_what_comes_unannounced_is_seen_a_moment_later(
    tmp_path: Path, socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, socket_folder) as home:
        for _ in range(3):
            before = (await home.client.get("/host/info")).data["features"]
        (socket_folder / "journal.sock").touch()
        soon = (await home.client.get("/host/info")).data["features"]
        for limit in ("KEPT_S", "DISK_S"):
            monkeypatch.setattr(facts, limit, 0.0)
        async with asyncio.timeout(10):
            while "journal" not in (later := (await home.client.get("/host/info")).data["features"]):
                await asyncio.sleep(0.05)

    assert ("journal" in before, "journal" in soon) == (False, False)
    assert set(later) == {*before, "journal"}


async def test_containers_start_is_counted_from_its_first_process(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        await home.machine.change(HOSTNAME, "/org/freedesktop/hostname1", HOSTNAME, Chassis="container")
        info = (await home.client.get("/host/info")).data

    assert (info["chassis"], info["startup_time"]) == ("container", 10.25)


async def test_service_without_the_object_that_is_asked_for_leaves_its_fields_empty(
    tmp_path: Path, socket_folder: Path
) -> None:
    async with house(tmp_path, socket_folder) as home:
        await home.machine.order(do="remove", service=RESOLVE, path="/org/freedesktop/resolve1")
        info = (await home.client.get("/host/info")).data

    assert (info["broadcast_mdns"], info["llmnr_hostname"], info["hostname"]) == (None, None, "attic")
    assert "resolved" in info["features"]


@pytest.mark.parametrize(("propagate", "names"), [(True, (SYSTEMD,)), (False, (SYSTEMD,)), (True, (HOSTNAME,))])
async def test_mounts_are_offered_where_systemd_makes_them_and_we_would_see_them(
    tmp_path: Path, socket_folder: Path, monkeypatch: pytest.MonkeyPatch, propagate: bool, names: tuple[str, ...]
) -> None:
    monkeypatch.setattr(facts, "propagates", lambda _: propagate)
    async with house(tmp_path, socket_folder, *names) as home:
        features = (await home.client.get("/host/info")).data["features"]

    assert ("mount" in features) is (propagate and SYSTEMD in names)


async def test_overview_has_the_hosts_names(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        (overview,) = await home.system.hooks.call(hooks.info)

    assert overview["hostname"] == "attic"
    assert overview["operating_system"] == "Debian GNU/Linux 12 (bookworm)"
    assert "reboot" in overview["features"]


@needs_recordings
async def test_answer_has_the_recorded_shape(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        info = (await home.client.get("/host/info")).data

    assert difference(recorded("host.info")["answer"]["data"], info) == []


async def test_home_assistant_os_is_a_feature(tmp_path: Path, socket_folder: Path) -> None:
    haos = "cpe:2.3:o:home-assistant:haos:16.2:*:production:*:*:*:generic-x86-64:*"
    async with house(tmp_path, socket_folder) as home:
        before = (await home.client.get("/host/info")).data["features"]
        path = "/org/freedesktop/hostname1"
        await home.machine.change(HOSTNAME, path, HOSTNAME, told=False, OperatingSystemCPEName=haos)
        await home.client.post("/host/reload")
        after = (await home.client.get("/host/info")).data["features"]

    assert ("haos" in before, "haos" in after) == (False, True)


# --- the disk ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "percent"),
    [("0x01 0x02\n", 10.0), ("0x03 0x01", 0.0), ("0x01 0x0b", 100.0), ("0x00 0x00", None), ("0x01", None), ("", None)],
)
def test_wear_of_an_emmc_is_its_second_number(tmp_path: Path, text: str, percent: float | None) -> None:
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / "life_time").write_text(text)

    assert emmc_wear(tmp_path) == percent


def test_disk_without_that_file_does_not_tell(tmp_path: Path) -> None:
    assert emmc_wear(tmp_path) is None


def test_disk_of_a_folder_is_found_below_partitions_and_volumes(tmp_path: Path) -> None:
    sys = tmp_path / "sys"
    partition = sys / "devices" / "mmc0" / "block" / "mmcblk0" / "mmcblk0p8"
    volume = sys / "devices" / "virtual" / "block" / "dm-0"
    (volume / "slaves").mkdir(parents=True)
    partition.mkdir(parents=True)
    (partition / "partition").write_text("8\n")
    (volume / "slaves" / "mmcblk0p8").symlink_to(partition)
    (sys / "block").mkdir()
    (sys / "block" / "mmcblk0").symlink_to(partition.parent)
    number = tmp_path.stat().st_dev
    numbers = sys / "dev" / "block"
    numbers.mkdir(parents=True)
    (numbers / f"{number >> 8 & 0xFFF}:{number & 0xFF}").symlink_to(volume)

    assert disk_of(tmp_path, sys) == "mmcblk0"


def test_folder_on_no_disk_has_none(tmp_path: Path) -> None:
    assert disk_of(tmp_path, tmp_path) is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw"], True),
        (["1 0 8:1 / / rw - ext4 /dev/sda1 rw"], False),
        (["1 0 8:1 / / rw - ext4 x rw", "2 1 8:2 / /data rw master:3 - ext4 x rw"], True),
        (["1 0 8:1 / / rw shared:1 - ext4 x rw", "2 1 8:2 / /data rw - ext4 x rw"], False),
        (["1 0 8:1 / / rw - ext4 x rw", "2 1 8:2 / /database rw master:3 - ext4 x rw"], False),
        ([], False),
    ],
)
def test_mounts_of_the_host_are_seen_where_they_propagate(tmp_path: Path, lines: list[str], expected: bool) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text("\n".join(lines))

    assert propagates(Path("/data/rooftree"), mountinfo) is expected

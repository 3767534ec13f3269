"""``/os/info`` and what is known of the system besides: slots, versions, support, conditions."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from aiohasupervisor.models.os import OSInfo

from rooftree.interfaces.hooks import available_updates, info
from rooftree.jobs.conditions import CONDITIONS, ConditionNotMet
from rooftree_machine.machine_types import generic_machine, host_architecture
from rooftree_os import data_disk
from rooftree_os.operating_system import OPERATING_SYSTEM
from rooftree_os.watch import MarkedBoot
from tests.bus.machine import AGENT, HOSTNAME, UDISKS
from tests.bus.os_machine import CPE, RAUC
from tests.bus.private_bus import services
from tests.plugins.os.haos import MACHINE, NEW, Haos, Surroundings, surroundings
from tests.rig.waiting import until

HOST = "/org/freedesktop/hostname1"
NOTHING = {
    "version": None,
    "version_latest": None,
    "version_pending": None,
    "update_available": False,
    "board": None,
    "boot": None,
    "data_disk": None,
    "boot_slots": {},
}
"""The recorded answer of the reference on another system."""


async def test_info_has_each_field_from_its_source(haos: Haos) -> None:
    answer = await haos.get("/os/info")

    assert answer == {
        "version": "16.0",
        "version_latest": NEW,
        "version_pending": None,
        "update_available": True,
        "board": "yellow",
        "boot": "A",
        "data_disk": "eMMC-0001",
        "boot_slots": {
            "A": {"state": "active", "status": "good", "version": "16.0"},
            "B": {"state": "inactive", "status": "good", "version": "15.2"},
        },
    }
    assert OSInfo.from_dict(answer).boot_slots["B"].version == "15.2"


async def test_other_domains_are_told_of_the_version_and_of_its_update(haos: Haos) -> None:
    told = await haos.system.hooks.call(info)
    updates = await haos.system.hooks.call(available_updates)

    assert {"hassos": "16.0"} in told
    assert [(one.update_type, one.version_latest, one.panel_path) for each in updates for one in each] == [
        ("os", NEW, "/update-available/os")
    ]


async def test_machine_is_known_by_the_board_to_all_who_ask(haos: Haos) -> None:
    assert (await haos.get("/info"))["machine"] == "yellow"


async def test_hook_reload_updates_reads_the_version_file_anew(haos: Haos) -> None:
    haos.versions.file["hassos"]["yellow"] = "16.3"

    await haos.done("/reload_updates")

    updates = (await haos.get("/available_updates"))["available_updates"]
    assert [(update["update_type"], update["version_latest"]) for update in updates] == [("os", "16.3")]


async def test_version_file_that_can_not_be_read_is_told_to_who_asked_for_it_and_what_was_known_stays(
    haos: Haos,
) -> None:
    haos.versions.broken = True

    answer = await haos.post("/reload_updates")

    assert (answer.status, answer.envelope["error_key"]) == (503, "versions_unknown_error")
    assert haos.versions.url in answer.message
    assert (await haos.get("/os/info"))["version_latest"] == NEW
    assert haos.problems() == {}  # it is no fault of the plugin's


async def test_another_system_answers_null_and_says_what_is_missing(tmp_path: Path) -> None:
    async with surroundings(tmp_path, machine="tests.bus.stand_ins") as around, around.system() as running:
        assert await running.get("/os/info") == NOTHING
        assert (await running.get("/info"))["machine"] == generic_machine(host_architecture())
        assert await running.get("/os/datadisk/list") == {"devices": [], "disks": []}
        assert (await running.client.get("/os/config/swap")).status == 404
        assert (await running.client.get("/os/boards/raspberrypi/firmware")).status == 404
        for path, body in {
            "/os/update": {},
            "/os/boot-slot": {"boot_slot": "B"},
            "/os/config/sync": {},
            "/os/datadisk/move": {"device": "x"},
            "/os/datadisk/wipe": {},
        }.items():
            answer = await running.post(path, body)
            assert (answer.status, "Debian GNU/Linux 12" in answer.message) == (400, True), path
            assert answer.envelope["error_key"] == "job_condition_error"
        assert (await running.post("/os/config/swap", {"swap_size": "1G"})).status == 404
        assert (await running.client.get("/os/boards/yellow")).status == 400
        assert running.versions.asked == []
        assert {"hassos": None} in await running.system.hooks.call(info)
        assert running.system.problems.supported  # it is as good as any


async def _reported(running: Haos, problem: str) -> bool:
    return problem in running.problems()


async def test_without_a_bus_nothing_is_known_and_nothing_waits(around: Surroundings) -> None:
    async with around.system(settings={"plugins.host.bus": "unix:path=/nonexistent/bus"}) as running:
        assert await running.get("/os/info") == NOTHING
        answer = await running.post("/os/update")
        swap = await running.client.get("/os/config/swap")

        assert answer.status == 400
        assert "can't be told" in answer.message
        assert (swap.status, "There is no system bus" in swap.message) == (503, True)
        assert running.problems() == {}


async def test_bus_that_comes_later_is_noticed(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rooftree_host.system_bus.RETRY_S", 0.05)
    await around.bus.kill()
    async with around.system() as running:
        assert await running.get("/os/info") == NOTHING

        await around.bus.start()
        async with services(around.bus.address, machine=MACHINE) as parts:
            around.parts = parts
            await running.settled()

            assert (await running.get("/os/boards/yellow"))["disk_led"] is True


async def test_missing_agent_is_a_problem_until_it_comes_and_blocks_nothing_else(tmp_path: Path) -> None:
    async with surroundings(tmp_path, HOSTNAME, RAUC) as around, around.system() as running:
        await running.settled()
        assert "unsupported os_agent" in running.problems()
        assert (await running.get("/os/info"))["data_disk"] is None
        board = await running.client.get("/os/boards/yellow")
        assert (board.status, board.message) == (503, "Board yellow can't be reached: io.hass.os is not there")
        refused = await running.post("/os/datadisk/wipe")
        assert (refused.status, AGENT in refused.message) == (400, True)

        async with services(around.bus.address, AGENT, machine=MACHINE):
            await until(lambda: _gone(running, "unsupported os_agent"), within_s=5, what="the agent")
            assert (await running.get("/os/info"))["data_disk"] == "/dev/mmcblk0p8"
            assert (await running.client.get("/os/boards/yellow")).status == 200


async def _gone(running: Haos, problem: str) -> bool:
    return problem not in running.problems()


async def test_agent_that_hangs_leaves_out_what_it_knows(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rooftree_host.system_bus.READ_S", 0.2)
    await around.parts.order(do="hang", service=AGENT)
    async with around.system() as running:
        answer = await running.get("/os/info")

        assert (answer["version"], answer["data_disk"]) == ("16.0", None)
        assert "io.hass.os does not answer" in running.problems()["board_failed"]
        assert (await running.client.get("/os/boards/yellow")).status == 503


async def test_disks_that_nobody_describes_in_time_are_named_by_their_device(
    haos: Haos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_disk, "LOOKS_S", 0.2)
    await haos.parts.order(do="hang", service=UDISKS)

    assert (await haos.get("/os/info"))["data_disk"] == "/dev/mmcblk0p8"


async def test_missing_rauc_leaves_out_the_slots(tmp_path: Path) -> None:
    async with surroundings(tmp_path, HOSTNAME, AGENT) as around, around.system() as running:
        answer = await running.get("/os/info")

        assert (answer["version"], answer["boot"], answer["boot_slots"]) == ("16.0", None, {})
        await until(lambda: _reported(running, "boot_slot_not_marked"), within_s=5, what="the problem")

        async with services(around.bus.address, RAUC, machine=MACHINE) as rauc:
            await until(lambda: _gone(running, "boot_slot_not_marked"), within_s=5, what="rauc")
            assert ("Mark", ["good", "booted"]) in await rauc.calls()


async def test_what_runs_is_marked_good_at_each_start_and_made_the_next_one_once_in_a_boot(
    around: Surroundings,
) -> None:
    async with around.system() as running:
        await until(lambda: _marked(running), within_s=5, what="the mark")
        first = [arguments for name, arguments in await around.parts.calls() if name == "Mark"]
    await around.parts.order(do="remember", service=RAUC, primary="kernel.1")  # as after an update

    async with around.system() as running:
        await until(lambda: _marked(running), within_s=5, what="the mark")
        again = [arguments for name, arguments in await around.parts.calls() if name == "Mark"]
        pending = (await running.get("/os/info"))["version_pending"]

    assert first == [["good", "booted"], ["active", "booted"]]
    assert again == [["good", "booted"]]
    assert pending == "15.2"


async def test_slot_that_could_not_be_marked_is_marked_later(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooftree_os.watch.AGAIN_S", 0.05)
    await around.parts.order(
        do="fail",
        service=RAUC,
        method="Mark",
        error="org.gtk.GDBus.Error",
        text="the boot partition is busy",
        once=True,
    )

    async with around.system() as running:
        await until(lambda: _marked(running), within_s=5, what="the mark")

        assert "boot_slot_not_marked" not in running.problems()


async def test_what_runs_is_not_made_the_next_one_while_something_waits_for_a_reboot(around: Surroundings) -> None:
    await around.parts.order(do="vanish", service=RAUC)
    async with around.system() as running:
        await until(lambda: _reported(running, "boot_slot_not_marked"), within_s=5, what="the problem")
        await running.done("/os/config/swap", {"swappiness": 9})

        await around.parts.order(do="appear", service=RAUC)
        await until(lambda: _gone(running, "boot_slot_not_marked"), within_s=5, what="the mark")

        marks = [arguments for name, arguments in await around.parts.calls() if name == "Mark"]
        assert marks == [["good", "booted"]]


async def test_what_runs_after_another_boot_is_made_the_next_one_again(
    around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for boot in ("first", "second"):
        (tmp_path / "boot_id").write_text(f"{boot}\n")
        monkeypatch.setattr("rooftree.clock.BOOT_ID", tmp_path / "boot_id")
        async with around.system() as running:
            await until(partial(_marked_in, running, boot), within_s=5, what="the mark")
            marks = [arguments for name, arguments in await around.parts.calls() if name == "Mark"]

        assert marks == [["good", "booted"], ["active", "booted"]]


async def _marked_in(running: Haos, boot: str) -> bool:
    kept = await running.system.state.collection(MarkedBoot)
    return any(kept[key].boot_id == boot for key in kept)


async def _marked(running: Haos) -> bool:
    return bool(await running.system.state.collection(MarkedBoot)) and (
        (await running.get("/os/info"))["boot_slots"]["A"]["status"] == "good"
    )


WAYS = {
    "16.0": "17.1",  # nothing is known of 16
    "15.1": "15.2",  # first to the last of its own
    "15.2": "17.1",  # that of 16 is not known
    "14.2": "15.2",  # then through the next one's last
    "17.1": "17.1",
    "18.0": "17.1",
}
"""Where an update leads, by what runs."""


async def test_way_to_the_newest_version_leads_through_the_last_of_each_major_one(around: Surroundings) -> None:
    around.versions.file |= {"hassos": {"yellow": "17.1"}, "hassos-upgrade": {"14": "14.2", "15": "15.2"}}
    async with around.system() as running:
        releases = (await running.settled()).system.services.get(OPERATING_SYSTEM).releases

        assert {current: releases.next_after(current, "yellow") for current in WAYS} == WAYS
        assert releases.next_after("16.0", "other") is None


async def test_older_version_in_the_file_is_no_update(around: Surroundings) -> None:
    around.versions.file["hassos"]["yellow"] = "15.9"
    async with around.system() as running:
        await running.settled()
        answer = await running.get("/os/info")

        assert (answer["version_latest"], answer["update_available"]) == ("15.9", False)


async def test_version_file_that_is_none_leaves_the_latest_version_unknown(around: Surroundings) -> None:
    around.versions.broken = True
    async with around.system() as running:
        await until(lambda: _asked(running), within_s=5, what="the first reading")
        answer = await running.get("/os/info")
        refused = await running.post("/os/update")

        assert (answer["version_latest"], answer["update_available"]) == (None, False)
        assert (refused.status, refused.envelope["error_key"]) == (503, "os_versions_unknown_error")
        assert "stable.json can't be read" in refused.message


async def _asked(running: Haos) -> bool:
    return bool(running.versions.asked)


async def test_place_of_the_version_file_is_taken_from_the_settings_of_this_domain_too(around: Surroundings) -> None:
    address = around.versions.url + "/{channel}.json"
    async with around.system(
        settings={"plugins.os.version_file": address}, without="plugins.supervisor.version_file"
    ) as running:
        assert (await (await running.settled()).get("/os/info"))["version_latest"] == NEW


async def test_without_a_version_feed_the_latest_version_is_unknown_and_an_update_says_why(
    around: Surroundings,
) -> None:
    async with around.system() as running:
        await running.settled()
        await running.done("/kernel/v1/plugins/supervisor/disable")

        assert (await running.get("/os/info"))["version_latest"] is None
        refused = await running.post("/os/update")
        assert (refused.status, refused.envelope["error_key"]) == (503, "os_versions_unknown_error")
        assert "supervisor, which does, is not running" in refused.message

        await running.done("/kernel/v1/plugins/supervisor/enable")
        await running.settled()


async def test_version_file_of_another_channel_is_refused(around: Surroundings) -> None:
    around.versions.file["channel"] = "beta"
    async with around.system() as running:
        refused = await running.post("/os/update")

        assert "its channel is 'beta', not 'stable'" in refused.message


async def test_system_too_old_is_unsupported_until_it_is_updated(haos: Haos) -> None:
    conditions = haos.system.services.get(CONDITIONS)
    await conditions.require("a job", ["os_supported", "haos", "os_agent"])
    old = CPE.format(version="12.4", board="yellow")

    await haos.parts.change(HOSTNAME, HOST, HOSTNAME, OperatingSystemCPEName=old)
    await haos.parts.order(do="vanish", service=AGENT)  # so that it is looked at
    await until(lambda: _reported(haos, "unsupported os_version"), within_s=5, what="the judgement")

    with pytest.raises(ConditionNotMet, match=r"12\.4 is no longer supported: update to 13\.0"):
        await conditions.require("a job", ["os_supported"])

"""``/os/update``, ``/os/boot-slot``: bundles fetched, given to rauc, waited for, and taken back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rooftree.interfaces.bus import SYSTEM_BUS
from rooftree.interfaces.hooks import available_updates
from rooftree.interfaces.power import HOST_POWER
from rooftree_os import updates
from rooftree_os.reboot import REBOOTS
from rooftree_os.slots import operation
from tests.bus.machine import LOGIN, SYSTEMD
from tests.bus.os_machine import INSTALLER, RAUC
from tests.plugins.os.haos import NEW, Haos, Surroundings
from tests.rig.waiting import until


def bundles(haos: Haos) -> list[str]:
    return sorted(file.name for file in (haos.system.data.path / "tmp").glob("*"))


async def test_update_is_fetched_installed_and_waits_for_a_reboot(haos: Haos) -> None:
    await haos.done("/os/update")

    answer = await haos.get("/os/info")
    calls = await haos.called("InstallBundle", "Reboot")
    assert calls == [("InstallBundle", [str(haos.system.data.path / "tmp" / f"hassos-{NEW}.raucb"), {}])]
    assert f"/{NEW}/yellow/haos_yellow-{NEW}.raucb" in haos.versions.asked
    assert (answer["version"], answer["version_pending"], answer["update_available"]) == ("16.0", NEW, False)
    assert "16.2 is installed and runs after a reboot" in haos.problems()["reboot_required"]
    assert bundles(haos) == []
    assert [one for each in await haos.system.hooks.call(available_updates) for one in each] == []


async def test_another_version_may_be_named(haos: Haos) -> None:
    await haos.done("/os/update", {"version": "15.9"})

    assert (await haos.get("/os/info"))["version_pending"] == "15.9"


async def test_data_folder_may_have_another_name_on_the_host(around: Surroundings) -> None:
    async with around.system(settings={"plugins.os.data_on_host": "/mnt/data/rooftree"}) as running:
        await running.settled()

        answer = await running.post("/os/update")

        assert await running.called("InstallBundle") == [
            ("InstallBundle", [f"/mnt/data/rooftree/tmp/hassos-{NEW}.raucb", {}])
        ]
        assert "it is no bundle" in answer.message  # there is none on this host


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("version", ["../../etc/passwd", "16.2/..", "latest", "", "16.2 ", "1" * 40, 16])
async def test_version_that_is_none_is_refused(haos_as_it_is: Haos, version: object) -> None:
    answer = await haos_as_it_is.post("/os/update", {"version": version})

    assert (answer.status, "version: must be" in answer.message) == (400, True), answer.message


async def test_version_that_runs_is_refused_and_so_is_one_that_waits_for_the_reboot(haos: Haos) -> None:
    runs = await haos.post("/os/update", {"version": "16.0"})
    await haos.done("/os/update")
    waits = await haos.post("/os/update")

    assert (runs.status, runs.envelope["error_key"]) == (400, "hassos_update_already_installed_error")
    assert (waits.status, waits.envelope["error_key"]) == (400, "hassos_update_pending_reboot_error")
    assert len(await haos.called("InstallBundle")) == 1


async def test_board_without_a_version_in_the_file_is_told_to_name_one(haos: Haos) -> None:
    haos.versions.file["hassos"] = {"ova": NEW}
    await haos.done("/reload_updates")

    answer = await haos.post("/os/update")

    assert (answer.status, answer.envelope["error_key"]) == (400, "os_no_update_available_error")
    assert "no version for the board yellow" in answer.message


async def test_rauc_that_is_busy_is_left_alone(haos: Haos) -> None:
    await haos.parts.change(RAUC, "/", INSTALLER, Operation="installing")
    await until(lambda: _busy(haos), within_s=5, what="rauc's word")

    answer = await haos.post("/os/update")

    assert (answer.status, answer.message) == (409, "rauc is busy (installing); try again when that has ended")
    assert bundles(haos) == []


async def _busy(haos: Haos) -> bool:
    return (await operation(haos.system.services.get(SYSTEM_BUS))).operation == "installing"


async def test_rauc_that_becomes_busy_while_the_bundle_is_fetched_says_so(haos: Haos) -> None:
    await haos.parts.order(
        do="fail", service=RAUC, method="InstallBundle", error="org.gtk.GDBus.Error", text="Already processing"
    )

    answer = await haos.post("/os/update")

    assert (answer.status, "Already processing" in answer.message) == (500, True)
    assert bundles(haos) == []


async def test_update_that_rauc_fails_in_the_middle_has_its_reason_and_changes_nothing(haos: Haos) -> None:
    await haos.parts.order(do="remember", service=RAUC, fail="No space left on device")

    answer = await haos.post("/os/update")

    assert (answer.status, answer.envelope["error_key"]) == (500, "os_installation_failed_error")
    assert answer.envelope["extra_fields"] == {"version": NEW, "reason": "No space left on device"}
    info = await haos.get("/os/info")
    assert (info["version_pending"], info["update_available"]) == (None, True)
    assert "reboot_required" not in haos.problems()
    assert bundles(haos) == []

    await haos.parts.order(do="remember", service=RAUC, fail="")
    await haos.done("/os/update")


async def test_rauc_that_goes_away_in_the_middle_fails_the_update(haos: Haos) -> None:
    await haos.parts.order(do="remember", service=RAUC, hold=True)
    asking = asyncio.create_task(haos.post("/os/update"))
    await until(lambda: _installing(haos), within_s=10, what="the installation")

    await haos.parts.order(do="vanish", service=RAUC)
    answer = await asking

    assert (answer.status, "went away" in answer.message) == (503, True)


async def _installing(haos: Haos) -> bool:
    jobs = (await haos.get("/jobs/info"))["jobs"]
    return any(each["stage"] == "install_bundle" and each["progress"] >= 50 for each in jobs)


async def test_installation_that_makes_no_progress_is_given_up(haos: Haos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "STALLED_S", 0.3)
    await haos.parts.order(do="remember", service=RAUC, hold=True)

    answer = await haos.post("/os/update")

    assert "rauc has made no progress for 0.3 s" in answer.message


async def test_progress_is_that_of_the_download_and_then_of_rauc(haos: Haos) -> None:
    haos.versions.gate.clear()
    await haos.parts.order(do="remember", service=RAUC, hold=True)
    asking = asyncio.create_task(haos.post("/os/update"))
    await until(lambda: _progress(haos, "download_bundle", 15), within_s=10, what="half of the bundle")

    haos.versions.gate.set()
    # The bundle counts 4 of 12, rauc 6: 40 of 100 there.
    await until(lambda: _progress(haos, "install_bundle", 53.3), within_s=10, what="rauc's progress")
    await haos.parts.order(do="remember", service=RAUC, hold=False)

    assert (await asking).status == 200


async def _progress(haos: Haos, stage: str, least: float) -> bool:
    jobs = (await haos.get("/jobs/info"))["jobs"]
    return any(each["stage"] == stage and each["progress"] >= least for each in jobs)


async def test_second_update_is_refused_while_one_is_under_way(haos: Haos) -> None:
    haos.versions.gate.clear()
    asking = asyncio.create_task(haos.post("/os/update"))
    await until(lambda: _progress(haos, "download_bundle", 1), within_s=10, what="the first")

    second = await haos.post("/os/update")
    slot = await haos.post("/os/boot-slot", {"boot_slot": "B"})
    haos.versions.gate.set()

    assert (second.status, slot.status) == (400, 400)
    assert "os_manager_update can't begin while" in second.message
    assert (await asking).status == 200


async def test_update_that_is_cancelled_while_it_is_fetched_leaves_nothing(haos: Haos) -> None:
    haos.versions.gate.clear()
    asking = asyncio.create_task(haos.post("/os/update"))
    await until(lambda: _progress(haos, "download_bundle", 1), within_s=10, what="the download")
    (job,) = (await haos.get("/jobs/info"))["jobs"]

    cancelled = await haos.client.post(f"/kernel/v1/jobs/{job['uuid']}/cancel")

    assert cancelled.status == 200, cancelled.text
    assert "was cancelled by" in (await asking).message
    assert bundles(haos) == []
    assert await haos.called("InstallBundle") == []


async def test_update_that_is_cancelled_while_rauc_works_boots_what_runs_now(haos: Haos) -> None:
    await haos.parts.order(do="remember", service=RAUC, hold=True)
    asking = asyncio.create_task(haos.post("/os/update"))
    await until(lambda: _installing(haos), within_s=10, what="the installation")
    (job,) = (await haos.get("/jobs/info"))["jobs"]
    assert (await haos.client.post(f"/kernel/v1/jobs/{job['uuid']}/cancel")).status == 200

    await haos.parts.order(do="remember", service=RAUC, hold=False)

    assert "was cancelled by" in (await asking).message
    info = await haos.get("/os/info")
    assert (info["version_pending"], info["boot_slots"]["B"]["version"]) == (None, NEW)
    assert ("Mark", ["active", "booted"]) in await haos.parts.calls()


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "the server answers 404 Not Found"), (500, "the server answers 500")]
)
async def test_bundle_that_the_server_does_not_have_is_said(haos: Haos, status: int, reason: str) -> None:
    haos.versions.status = status

    answer = await haos.post("/os/update", {"version": "99.0"})

    assert (answer.status, answer.envelope["error_key"]) == (500, "os_bundle_not_fetched_error")
    assert reason in answer.message
    assert bundles(haos) == []


async def test_bundle_that_comes_by_half_is_removed(haos: Haos) -> None:
    haos.versions.short = True

    answer = await haos.post("/os/update")

    assert answer.envelope["error_key"] == "os_bundle_not_fetched_error"
    assert bundles(haos) == []
    assert await haos.called("InstallBundle") == []


async def test_bundle_for_which_there_is_no_room_is_not_fetched(haos: Haos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rooftree_os.updates.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))

    answer = await haos.post("/os/update")

    assert "and 1000 are free on the data disk" in answer.message


async def test_plan_says_how_much_is_fetched_and_that_the_machine_is_not_rebooted(haos: Haos) -> None:
    plan = (await haos.client.post("/os/update?plan=1", json={})).data

    assert [step["kind"] for step in plan["steps"]] == [
        "os.download_bundle/1",
        "os.install_bundle/1",
        "os.remove_bundle/1",
        "os.require_reboot/2",
    ]
    assert (plan["fetch_bytes"], plan["downtime"]) == (100_012, False)
    assert await haos.called("InstallBundle") == []


# --- slots ------------------------------------------------------------------------------------------------------------


async def test_other_slot_is_made_the_next_one_and_the_machine_rebooted(haos: Haos) -> None:
    await haos.done("/os/boot-slot", {"boot_slot": "B"})

    assert sorted(await haos.called("Mark", "Reboot")) == [("Mark", ["active", "kernel.1"]), ("Reboot", [False])]


@pytest.mark.parametrize("slot", ["C", "", "kernel.1", None])
async def test_slot_that_is_none_is_refused_with_those_that_are(haos: Haos, slot: object) -> None:
    answer = await haos.post("/os/boot-slot", {"boot_slot": slot})

    assert answer.status == 400
    assert "boot_slot:" in answer.message
    assert await haos.called("Mark", "Reboot") == []


async def test_reboot_that_is_refused_makes_the_slot_the_next_one_that_was(haos: Haos) -> None:
    error = "org.freedesktop.DBus.Error.AccessDenied"
    for service in (LOGIN, SYSTEMD):
        await haos.parts.order(
            do="fail", service=service, method="Reboot", error=error, text="Interactive login required"
        )

    answer = await haos.post("/os/boot-slot", {"boot_slot": "B"})

    assert (answer.status, "Interactive login required" in answer.message) == (500, True)
    assert (await haos.get("/os/info"))["version_pending"] is None


async def test_reboot_of_an_earlier_boot_is_not_done_again(haos: Haos) -> None:
    reboots = haos.system.services.get(REBOOTS)
    await reboots.now(haos.system.services.get(HOST_POWER), "0" * 32)

    assert await haos.called("Reboot") == []


async def test_reboot_that_was_needed_is_not_any_more_after_a_boot(
    around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with around.system() as running:
        running.system.services.get(REBOOTS).require("for a reason")
    async with around.system() as running:
        assert "reboot_required" in running.problems()
    other = tmp_path / "boot_id"
    other.write_text("11111111-2222-3333-4444-555555555555\n")
    monkeypatch.setattr("rooftree.clock.BOOT_ID", other)

    async with around.system() as running:
        assert "reboot_required" not in running.problems()

"""A kill at any step of a job of this domain: after the next start it is finished, or as if it had never begun."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from signal import SIGKILL

import pytest

from rooftree.interfaces.bus import SystemBus
from rooftree_os import updates
from rooftree_os.bus_objects import IDLE, Installer
from rooftree_os.reboot import Reboots
from rooftree_os.slots import operation
from tests.bus.os_machine import RAUC
from tests.plugins.os.haos import NEW, Haos, Surroundings
from tests.rig.fork_server import ForkedProcess, forked
from tests.rig.waiting import until


@asynccontextmanager
async def calling(
    around: Surroundings, path: str, body: Mapping[str, object], armed: str = ""
) -> AsyncIterator[ForkedProcess]:
    """A process that makes that call, and dies where ``armed`` says."""
    arguments = [str(around.folder), path, json.dumps(body), json.dumps(around.settings), armed]
    async with forked("tests.plugins.os.killed_call", *arguments) as process:
        yield process


async def killed(around: Surroundings, path: str, body: Mapping[str, object], place: str) -> None:
    """Make that call in a process that is killed at that place."""
    async with calling(around, path, body, f"{place}=kill") as process:
        said, _ = await process.communicate()
    assert process.returncode == -SIGKILL, said


async def killed_while_rauc_installs(around: Surroundings) -> None:
    """Update the system in a process that is killed while rauc, which stops in the middle, is at work."""
    await around.parts.order(do="remember", service=RAUC, hold=True)

    async def installs() -> bool:
        return any(name == "InstallBundle" for name, _ in await around.parts.calls())

    async with calling(around, "/os/update", {}) as process:
        await until(installs, within_s=20, what="the installation")
        process.kill()
        await process.wait()


async def recovered(running: Haos) -> list[dict[str, object]]:
    """The jobs that were left, once they have ended."""

    async def ended() -> list[dict[str, object]]:
        jobs: list[dict[str, object]] = (await running.get("/jobs/info"))["jobs"]
        return jobs if jobs and all(job["done"] for job in jobs) else []

    return await until(ended, within_s=15, what="the end of the recovery")


def errors(jobs: list[dict[str, object]]) -> list[object]:
    return [job["errors"] for job in jobs if job["errors"]]


@pytest.mark.parametrize(
    "place",
    [
        "step:os.download_bundle/1:do",
        "step:os.download_bundle/1:done",
        "step:os.install_bundle/1:do",
        "step:os.install_bundle/1:done",
        "step:os.remove_bundle/1:done",
        "step:os.require_reboot/2:done",
    ],
)
async def test_update_is_finished_wherever_it_was_killed_and_installed_once(around: Surroundings, place: str) -> None:
    await killed(around, "/os/update", {}, place)

    async with around.system() as running:
        assert errors(await recovered(running)) == []
        assert (await running.get("/os/info"))["version_pending"] == NEW
        assert "reboot_required" in running.problems()
        assert list((running.system.data.path / "tmp").glob("*")) == []
        assert len(await running.called("InstallBundle")) == 1


@pytest.mark.parametrize(
    ("path", "body", "place", "held", "version"),
    [
        ("/os/update", {}, "step:os.install_bundle/1:done", (updates, "_remove"), NEW),
        ("/os/boot-slot", {"boot_slot": "B"}, "step:os.activate_slot/1:done", (Reboots, "now"), "15.2"),
    ],
)
async def test_slot_chosen_by_a_job_that_a_boot_interrupted_stays_the_next_one_while_the_job_goes_on(
    around: Surroundings,
    next_boot: None,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    body: Mapping[str, object],
    place: str,
    held: tuple[object, str],
    version: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await killed(around, path, body, place)
    gate = asyncio.Event()

    async def waits(*_: object) -> None:
        await gate.wait()

    monkeypatch.setattr(*held, waits)
    await around.parts.calls()

    async with around.system() as running:

        async def decided() -> bool:
            return "slot_not_marked_active" in caplog.text

        await until(decided, within_s=10, what="what is done with the slot that runs")
        gate.set()

        assert errors(await recovered(running)) == []
        marks = [arguments for _, arguments in await running.called("Mark")]
        assert ["good", "booted"] in marks
        assert ["active", "booted"] not in marks
        assert (await running.get("/os/info"))["version_pending"] == version


async def test_installation_that_ends_between_two_looks_is_not_done_again(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await killed_while_rauc_installs(around)

    async def ended(bus: SystemBus) -> Installer:
        await around.parts.order(do="remember", service=RAUC, hold=False)
        while (now := await operation(bus)).operation != IDLE:
            await asyncio.sleep(0.02)
        return now

    monkeypatch.setattr(updates, "operation", ended)

    async with around.system() as running:
        assert errors(await recovered(running)) == []

        assert (await running.get("/os/info"))["version_pending"] == NEW
        assert await running.called("InstallBundle") == []


async def test_installation_that_goes_on_while_rooftree_is_dead_is_waited_for(around: Surroundings) -> None:
    await killed_while_rauc_installs(around)

    async with around.system() as running:

        async def shows() -> bool:
            return any(job["stage"] == "install_bundle" for job in (await running.get("/jobs/info"))["jobs"])

        await until(shows, within_s=10, what="the step")
        await around.parts.order(do="remember", service=RAUC, hold=False)

        assert errors(await recovered(running)) == []
        assert (await running.get("/os/info"))["version_pending"] == NEW
        assert await running.called("InstallBundle") == []


@pytest.mark.parametrize("place", ["step:os.set_swap/1:do", "step:os.set_swap/1:done"])
async def test_swap_is_as_it_was_after_a_kill(around: Surroundings, place: str) -> None:
    await killed(around, "/os/config/swap", {"swap_size": "1G"}, place)

    async with around.system() as running:
        await recovered(running)
        assert await running.get("/os/config/swap") == {"swap_size": "2G", "swappiness": 1}
        assert "reboot_required" not in running.problems()


@pytest.mark.parametrize("place", ["step:os.write_board/1:do", "step:os.write_board/1:done"])
async def test_lights_are_as_they_were_after_a_kill(around: Surroundings, place: str) -> None:
    await killed(around, "/os/boards/yellow", {"disk_led": False}, place)

    async with around.system() as running:
        await recovered(running)
        assert (await running.get("/os/boards/yellow"))["disk_led"] is True


@pytest.mark.parametrize(
    "place", ["step:os.partition_disk/1:do", "step:os.partition_disk/1:done", "step:os.mark_data_move/1:done"]
)
async def test_data_is_moved_wherever_the_job_was_killed_and_the_disk_formatted_once(
    around: Surroundings, place: str
) -> None:
    await killed(around, "/os/datadisk/move", {"device": "SSD-0002"}, place)

    async with around.system() as running:
        assert errors(await recovered(running)) == []
        names = [name for name, _ in await running.called("Format", "CreatePartition", "Reboot")]
        assert sorted(names) == ["CreatePartition", "Format", "Reboot"]


@pytest.fixture
async def next_boot(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system of this process is in another boot than what was killed."""
    other = around.folder / "boot_id"
    await asyncio.to_thread(other.write_text, "11111111-2222-3333-4444-555555555555\n")
    monkeypatch.setattr("rooftree.clock.BOOT_ID", other)


async def test_reboot_that_ended_the_process_is_not_done_again_in_the_next_boot(
    around: Surroundings, next_boot: None
) -> None:
    await killed(around, "/os/boot-slot", {"boot_slot": "B"}, "step:os.reboot/2:done")
    assert any(name == "Reboot" for name, _ in await around.parts.calls())

    async with around.system() as running:
        assert errors(await recovered(running)) == []
        assert await running.called("Reboot") == []


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/os/boot-slot", {"boot_slot": "B"}, "step:os.activate_slot/1:do"),
        ("/os/datadisk/move", {"device": "SSD-0002"}, "step:os.partition_disk/1:done"),
    ],
)
async def test_reboot_of_a_job_that_another_reboot_interrupted_earlier_is_still_done(
    around: Surroundings, next_boot: None, path: str, body: Mapping[str, object], place: str
) -> None:
    await killed(around, path, body, place)

    async with around.system() as running:
        assert errors(await recovered(running)) == []
        assert [name for name, _ in await running.called("Reboot")] == ["Reboot"]


async def test_change_that_is_made_after_another_reboot_interrupted_its_job_asks_for_one_of_its_own(
    around: Surroundings, next_boot: None
) -> None:
    await killed(around, "/os/update", {}, "step:os.download_bundle/1:done")

    async with around.system() as running:
        assert errors(await recovered(running)) == []
        assert "reboot_required" in running.problems()

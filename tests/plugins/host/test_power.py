"""Ending the machine: what is ended first, what may object, and that it happens once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import pytest

from rooftree import Plugin, hookimpl
from rooftree.interfaces.hooks import EndingWork
from rooftree.interfaces.power import HostStays
from tests.bus.machine import HOSTNAME, LOGIN, SYSTEMD
from tests.plugins.host.house import House, house


class Tenant(Plugin):
    """Runs things that have to be ended, and may object."""

    name = "tenant"
    happened: ClassVar[list[str]] = []
    objection: ClassVar[str | None] = None

    @hookimpl
    def before_host_ends(self) -> list[EndingWork]:
        """Three works, one of which hangs and one of which breaks."""

        async def note(name: str) -> None:
            self.happened.append(name)

        async def hang() -> None:
            self.happened.append("hangs")
            await asyncio.Event().wait()

        async def break_() -> None:
            raise RuntimeError("It broke")

        return [
            EndingWork(name="last", order=30, run=lambda: note("last"), within_s=5, ends=("lamp",)),
            EndingWork(name="first", order=10, run=lambda: note("first"), within_s=5, ends=("attic", "cellar")),
            EndingWork(name="broken", order=10, run=break_, within_s=5),
            EndingWork(name="hanging", order=20, run=hang, within_s=0.1),
        ]

    @hookimpl
    def objections_to_host_end(self) -> str | None:
        """What the test says."""
        return self.objection


@pytest.fixture(autouse=True)
def fresh_tenant() -> None:
    """Nothing has happened, and nothing speaks against it."""
    Tenant.happened.clear()
    Tenant.objection = None


@pytest.fixture
async def home(tmp_path: Path, socket_folder: Path) -> AsyncIterator[House]:
    """A house with a tenant."""
    async with house(tmp_path, socket_folder, plugins=[Tenant]) as found:
        yield found


def ending(calls: list[tuple[str, list[object]]]) -> list[tuple[str, list[object]]]:
    """The calls that end a machine."""
    return [call for call in calls if call[0] in {"Reboot", "PowerOff"}]


@pytest.mark.parametrize(("verb", "method"), [("reboot", "Reboot"), ("shutdown", "PowerOff")])
async def test_hook_before_host_ends_gives_work_that_is_done_first_in_order(
    home: House, verb: str, method: str
) -> None:
    answer = await home.client.post(f"/host/{verb}")

    assert answer.data == {}
    assert Tenant.happened == ["first", "hangs", "last"]
    assert ending(await home.machine.calls()) == [(method, [False])]


async def test_machine_that_cannot_be_ended_says_that_it_stays(home: House) -> None:
    stays: list[HostStays] = []
    home.system.bus.subscribe(HostStays, stays.append, "test")
    for service in (LOGIN, SYSTEMD):
        await home.machine.order(
            do="fail", service=service, method="Reboot", error="org.freedesktop.DBus.Error.AccessDenied", text="No"
        )

    answer = await home.client.post("/host/reboot")

    assert (answer.status, "could not be ended" in answer.envelope["message"]) == (500, True)
    async with asyncio.timeout(5):
        while not stays:
            await asyncio.sleep(0.01)


async def test_without_logind_systemd_is_asked(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder, SYSTEMD) as home:
        assert (await home.client.post("/host/reboot")).data == {}
        assert ending(await home.machine.calls()) == [("Reboot", [])]


async def test_logind_that_refuses_is_gone_around(home: House) -> None:
    await home.machine.order(
        do="fail", service=LOGIN, method="PowerOff", error="org.freedesktop.login1.Blocked", text="Somebody objects"
    )

    answer = await home.client.post("/host/shutdown", json={"force": False})

    assert answer.data == {}
    assert ending(await home.machine.calls()) == [("PowerOff", [False]), ("PowerOff", [])]


async def test_hook_objections_to_host_end_makes_a_503_and_force_goes_over_it(home: House) -> None:
    Tenant.objection = "Core changes its database"

    refused = await home.client.post("/host/reboot")
    before = (list(Tenant.happened), ending(await home.machine.calls()))
    forced = await home.client.post("/host/reboot", json={"force": True})

    assert (refused.status, refused.envelope["error_key"]) == (503, "host_busy_error")
    assert "Core changes its database" in refused.envelope["message"]
    assert before == ([], [])
    assert forced.data == {}
    assert ending(await home.machine.calls()) == [("Reboot", [False])]


async def test_machine_that_nobody_can_end_goes_on_with_what_it_runs(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder, HOSTNAME, plugins=[Tenant]) as home:
        answer = await home.client.post("/host/reboot")

    assert answer.status == 503
    assert "neither systemd-logind nor systemd" in answer.envelope["message"]
    assert Tenant.happened == []


async def test_plan_names_the_steps_and_changes_nothing(home: House) -> None:
    answer = await home.client.post("/host/reboot?plan=1")

    steps = [(step["kind"], step["subject"]) for step in answer.data["steps"]]
    assert steps == [("host.end_what_runs/1", "attic, cellar, lamp"), ("host.end/1", "reboot")]
    assert answer.data["steps"][1]["what"] == "Reboot or switch off the machine."
    assert (Tenant.happened, ending(await home.machine.calls())) == ([], [])


async def test_job_that_is_found_after_the_reboot_does_not_end_the_machine_again(
    tmp_path: Path, socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boots = tmp_path / "boot_id"
    boots.write_text("first\n")
    monkeypatch.setattr("rooftree.clock.BOOT_ID", boots)
    async with house(tmp_path, socket_folder, plugins=[Tenant], stop_timeout_s=1) as home:
        await home.machine.order(do="hang", service=LOGIN)
        rebooting = asyncio.create_task(home.client.post("/host/reboot"))
        while ("Reboot", [False]) not in await home.machine.calls():
            await asyncio.sleep(0.05)
    await asyncio.wait({rebooting})  # the machine went down with us
    rebooting.exception()
    Tenant.happened.clear()
    boots.write_text("second\n")

    async with house(tmp_path, socket_folder, plugins=[Tenant]) as home:
        async with asyncio.timeout(10):
            while any(not job.done for job in home.system.jobs.listing()):
                await asyncio.sleep(0.05)
        (job,) = home.system.jobs.listing()

        assert (job.name, job.errors) == ("host_reboot", [])
        assert (Tenant.happened, ending(await home.machine.calls())) == ([], [])


class Slow(Plugin):
    """Takes its time to end."""

    name = "slow"
    begun: ClassVar[list[str]] = []

    @hookimpl
    def before_host_ends(self) -> list[EndingWork]:
        """One work, which would take an hour."""

        async def hang() -> None:
            self.begun.append("hangs")
            await asyncio.Event().wait()

        return [EndingWork(name="slow", order=10, run=hang, within_s=3600)]


@pytest.mark.torture
async def test_job_that_went_down_while_things_were_ended_ends_nothing_after_the_reboot(
    tmp_path: Path, socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boots = tmp_path / "boot_id"
    boots.write_text("first\n")
    monkeypatch.setattr("rooftree.clock.BOOT_ID", boots)
    async with house(tmp_path, socket_folder, plugins=[Slow]) as home:
        rebooting = asyncio.create_task(home.client.post("/host/reboot"))
        async with asyncio.timeout(10):
            while not Slow.begun:
                await asyncio.sleep(0.02)
        rebooting.cancel()  # its client hangs up, and the power fails
    Slow.begun.clear()
    boots.write_text("second\n")

    async with house(tmp_path, socket_folder, plugins=[Slow]) as home:
        async with asyncio.timeout(10):
            while any(not job.done for job in home.system.jobs.listing()):
                await asyncio.sleep(0.02)

        assert (Slow.begun, ending(await home.machine.calls())) == ([], [])

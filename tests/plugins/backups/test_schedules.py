"""Backups by themselves, on a clock that is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rooftree import Failed
from rooftree.interfaces.hooks import health_checks, remedy
from rooftree.testing import FakeClock
from rooftree_backups.pruning import prune
from rooftree_backups.retention import Retention
from tests.plugins.backups.house import House, house
from tests.plugins.backups.plain_archives import raw_backup, write_archive

MONDAY = datetime(2026, 11, 30, 12, tzinfo=UTC)
SCHEDULES = "/kernel/v1/backups/schedules"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(MONDAY)


@pytest.fixture
async def home(tmp_path: Path, clock: FakeClock) -> AsyncIterator[House]:
    async with house(tmp_path, clock=clock) as running:
        yield running


async def comes(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def schedules(home: House) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in (await home.client.get(SCHEDULES)).data["schedules"]}


async def come_to_night(clock: FakeClock) -> None:
    """Let the next day's half past three come by. The day until then is left out: what a house does every minute of it
    is most of what a test would take."""
    clock.put((clock.now() + timedelta(days=1)).replace(hour=3, minute=29))
    await clock.advance(timedelta(minutes=2))


async def pass_nights(home: House, clock: FakeClock, count: int) -> None:
    """Let nights pass, each with its backup."""
    for _ in range(count):
        before = home.archives.reached.count("publish")
        await come_to_night(clock)
        await comes(lambda before=before: home.archives.reached.count("publish") > before)  # type: ignore[misc]
        await home.thawed()


async def test_schedule_makes_its_backups_and_lets_the_old_ones_go(home: House, clock: FakeClock) -> None:
    write_archive(home.local / "mine.tar", raw_backup("aaaaaaaa", date="2026-01-01T00:00:00+00:00"))
    await home.reload()
    body = {"cron": "30 3 * * *", "type": "full", "keep": {".local": {"last": 2}}, "password": "secret"}
    assert (await home.client.post(f"{SCHEDULES}/nightly", json=body)).data == {}
    shown = (await schedules(home))["nightly"]
    assert (shown["next_run"], shown["protected"], "password" in shown) == ("2026-12-01T03:30:00+00:00", True, False)

    await pass_nights(home, clock, 4)

    async def kept() -> list[str]:
        return [entry["name"] for entry in (await home.listed()).values()]

    async with asyncio.timeout(10):
        while len(await kept()) != 3:
            await asyncio.sleep(0.01)
    assert await kept() == ["Backup aaaaaaaa", "nightly 2026-12-03", "nightly 2026-12-04"]
    known = (await home.client.get("/kernel/v1/backups")).data["backups"]
    assert [entry["made_by"] for entry in known] == ["other", "schedule", "schedule"]
    shown = (await schedules(home))["nightly"]
    assert (shown["last_error"], shown["last_slug"]) == (None, known[-1]["slug"])


async def test_schedule_that_fails_is_a_problem_until_it_works_again(home: House, clock: FakeClock) -> None:
    await home.client.post(f"{SCHEDULES}/nightly", json={"cron": "30 3 * * *", "type": "full"})
    home.core.errors["homeassistant"] = Failed("Core's database is locked")

    def problems() -> list[str]:
        return [problem.message for problem in home.system.problems if problem.type == "backup_schedule_failed"]

    await come_to_night(clock)
    await comes(lambda: bool(problems()))

    assert problems() == ["The backup of the schedule nightly could not be made: Core's database is locked"]
    assert (await schedules(home))["nightly"]["last_error"] == "Core's database is locked"
    home.core.errors.clear()
    await pass_nights(home, clock, 1)
    await comes(lambda: not problems())


async def test_backup_that_began_and_failed_is_not_made_again_and_again(home: House, clock: FakeClock) -> None:
    await home.client.post(f"{SCHEDULES}/nightly", json={"cron": "30 3 * * *", "type": "full"})
    home.core.errors["homeassistant"] = Failed("Core's database is locked")

    await clock.advance(timedelta(days=1))
    await comes(lambda: "backup_schedule_failed" in {problem.type for problem in home.system.problems})

    assert home.core.held.count("hold homeassistant") == 1


async def test_what_is_said_of_every_other_place_holds_where_nothing_else_is_said(
    home: House, clock: FakeClock
) -> None:
    await home.client.post(f"{SCHEDULES}/nightly", json={"cron": "30 3 * * *", "keep": {"*": {"last": 1}}})

    await pass_nights(home, clock, 3)

    async with asyncio.timeout(10):
        while len(await home.listed()) != 1:
            await asyncio.sleep(0.01)


async def test_archives_themselves_say_whose_schedule_made_them_and_what_failed(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with house(tmp_path, clock=clock, real=True) as home:
        await home.client.post(f"{SCHEDULES}/nightly", json={"cron": "30 3 * * *", "keep": {"*": {"last": 1}}})
        home.addons.errors["local_lamp"] = Failed("It would not be still")
        await clock.advance(timedelta(days=1))
        async with asyncio.timeout(20):
            while not await home.listed():
                await asyncio.sleep(0.01)
        ((_, entry),) = (await home.listed()).items()

        assert [part["slug"] for part in entry["failed"]] == ["local_lamp"]
        (known,) = (await home.client.get("/kernel/v1/backups")).data["backups"]
        assert (known["made_by"], known["schedule"]) == ("schedule", "nightly")


async def test_schedule_of_another_house_keeps_its_backups_on_a_share_that_both_use(
    home: House, clock: FakeClock
) -> None:
    nas = home.mounts.add("nas")
    theirs = {"rooftree": {"schedule": "nightly", "installation": "0" * 32}}
    for slug in ("aaaaaaaa", "bbbbbbbb"):
        write_archive(nas / f"{slug}.tar", raw_backup(slug, extra=theirs))
    await home.reload()
    body = {"cron": "30 3 * * *", "locations": ["nas"], "keep": {"nas": {"last": 1}}}
    await home.client.post(f"{SCHEDULES}/nightly", json=body)

    await pass_nights(home, clock, 3)

    async with asyncio.timeout(10):
        while len(await home.listed()) != 3:
            await asyncio.sleep(0.01)
    assert {"aaaaaaaa", "bbbbbbbb"} < (await home.listed()).keys()


async def test_backup_that_was_made_just_now_stays_where_the_clock_calls_it_an_old_one(home: House) -> None:
    write_archive(home.local / "now.tar", raw_backup("aaaaaaaa", date="1970-01-01T00:05:00+00:00"))
    write_archive(home.local / "before.tar", raw_backup("bbbbbbbb", date="2026-11-01T00:00:00+00:00"))
    await home.reload()

    await prune(home.backups, {"*": Retention(last=1)}, lambda _: True, spared="aaaaaaaa")
    assert (await home.listed()).keys() == {"aaaaaaaa", "bbbbbbbb"}

    await prune(home.backups, {"*": Retention(last=1)}, lambda _: True, spared="bbbbbbbb")
    assert (await home.listed()).keys() == {"bbbbbbbb"}


async def test_backup_in_which_a_part_failed_counts_for_nothing_when_it_is_decided_which_stay(
    home: House, clock: FakeClock
) -> None:
    await home.client.post(f"{SCHEDULES}/nightly", json={"cron": "30 3 * * *", "keep": {".local": {"last": 1}}})
    await pass_nights(home, clock, 1)
    home.addons.errors["local_lamp"] = Failed("It would not be still")

    await pass_nights(home, clock, 3)  # before the third backup is made, it is decided which stay after the second

    assert "nightly 2026-12-01" in {entry["name"] for entry in (await home.listed()).values()}


async def test_who_changes_a_schedule_and_knows_no_password_leaves_its_backups_protected(home: House) -> None:
    body = {"cron": "30 3 * * *", "password": "secret"}
    await home.client.post(f"{SCHEDULES}/nightly", json=body)

    await home.client.post(f"{SCHEDULES}/nightly", json={"cron": "0 4 * * *"})
    changed = (await schedules(home))["nightly"]
    await home.client.post(f"{SCHEDULES}/nightly", json={"cron": "0 4 * * *", "password": None})
    opened = (await schedules(home))["nightly"]

    assert (changed["cron"], changed["protected"]) == ("0 4 * * *", True)
    assert opened["protected"] is False


@pytest.mark.parametrize("body", [{"locations": ["nowhere"]}, {"keep": {"../x": {"last": 1}}}])
async def test_schedule_for_a_place_that_there_is_not_is_refused_by_name(home: House, body: dict[str, Any]) -> None:
    answer = await home.client.post(f"{SCHEDULES}/nightly", json={"cron": "30 3 * * *", **body})

    assert answer.status == 400
    assert next(iter(body)) in answer.envelope["message"]
    assert await schedules(home) == {}


async def test_schedules_outlive_a_restart_and_can_be_switched_off_and_forgotten(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with house(tmp_path, clock=clock) as home:
        await home.client.post(f"{SCHEDULES}/nightly", json={"cron": "30 3 * * *", "homeassistant": True})
    async with house(tmp_path, clock=clock) as home:
        assert (await schedules(home))["nightly"]["next_run"] == "2026-12-01T03:30:00+00:00"
        await home.client.post(f"{SCHEDULES}/nightly", json={"cron": "0 4 * * 0", "enabled": False})
        assert (await schedules(home))["nightly"]["next_run"] is None
        await home.client.post(f"{SCHEDULES}/nightly", json={"cron": "0 4 * * 0"})
        assert (await schedules(home))["nightly"]["next_run"] == "2026-12-06T04:00:00+00:00"
        assert (await home.client.delete(f"{SCHEDULES}/nightly")).data == {}
        assert (await home.client.delete(f"{SCHEDULES}/nightly")).status == 404
        assert await schedules(home) == {}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"cron": "now"},
        {"cron": "30 3 * * *", "jitter_minutes": -1},
        {"cron": "30 3 * * *", "keep": {"*": {"last": -1}}},
        {"cron": "30 3 * * *", "locations": ["../x"]},
        {"cron": "30 3 * * *", "folders": ["etc"]},
    ],
)
async def test_schedule_that_cannot_be_is_refused(home: House, body: dict[str, Any]) -> None:
    answer = await home.client.post(f"{SCHEDULES}/nightly", json=body)

    assert answer.status == 400
    assert await schedules(home) == {}


async def test_times_that_cannot_be_are_refused_with_the_field_and_what_is_allowed_in_it(home: House) -> None:
    answer = await home.client.post(f"{SCHEDULES}/nightly", json={"cron": "61 3 * * *"})

    assert answer.message == (
        "cron: must be five fields as crontab(5) has them, such as '0 3 * * *', not '61 3 * * *': "
        "'61' is no minute (0-59)"
    )


async def test_what_core_has_left_behind_goes_after_two_days(home: House, clock: FakeClock) -> None:
    cloud = home.folder / "data" / "core" / "backup"
    write_archive(cloud / "old.tar", raw_backup("aaaaaaaa", date="2026-11-27T00:00:00+00:00"))
    write_archive(cloud / "new.tar", raw_backup("bbbbbbbb", date="2026-11-30T11:00:00+00:00"))
    write_archive(home.local / "old.tar", raw_backup("aaaaaaaa", date="2026-11-27T00:00:00+00:00"))
    await home.reload()

    await clock.advance(timedelta(seconds=95_000))
    await comes(lambda: not (cloud / "old.tar").exists())

    assert (cloud / "new.tar").exists()
    assert (home.local / "old.tar").exists()


async def test_house_without_a_young_backup_is_a_problem_that_a_backup_mends(home: House) -> None:
    ((check,),) = await home.system.hooks.call(health_checks)

    def problems() -> list[Any]:
        return [problem for problem in home.system.problems if problem.type == "no_current_backup"]

    await check.run()
    (problem,) = problems()
    assert problem.suggestions == ("create_full_backup",)
    (call,) = await home.system.hooks.call(remedy, problem=problem, suggestion="create_full_backup")
    await home.system.jobs.run(call)
    await check.run()

    assert problems() == []
    assert [entry["type"] for entry in (await home.listed()).values()] == ["full"]

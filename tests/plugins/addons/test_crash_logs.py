"""What an add-on wrote before it failed can be read after the watchdog has started it again."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest

from rooftree.interfaces.containers import ContainerNotFound, EngineRefused, Health
from rooftree.testing import FakeClock
from rooftree.testing.containers import FakeContainerEngine, FakeImage
from rooftree_addons import AddonState
from rooftree_containers import crash_log, watchdog
from tests.plugins.addons.house import HELLO, House, done, house

CONTAINER = f"app_{HELLO}"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog goes on at once."""

    async def pause(_: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(watchdog, "pause", pause)


async def watched(home: House, image: FakeImage | None = None) -> None:
    """An add-on that runs and is watched, and says each time that it begins."""
    await home.run(image=image or FakeImage(prints=("begins",)))
    await home.set_options(HELLO, watchdog=True)


async def fail(home: House, words: str) -> None:
    """It says something and crashes, and is brought back."""
    home.engine.write(CONTAINER, words)
    home.engine.crash(CONTAINER)
    await home.until_watchdog_rests()
    assert home.addons.state(HELLO) is AddonState.STARTED


async def lines(home: House, rest: str = "") -> list[str]:
    """Its log, as a client reads it."""
    return (await home.client.get(f"/addons/{HELLO}/logs{rest}")).text.splitlines()


def runs_kept(home: House) -> list[Path]:
    """The files that are kept of failures."""
    return sorted((home.data / "apps" / "kept" / HELLO).glob(f"{crash_log.RUN}*/log.txt"))


async def test_log_of_the_crash_is_shown_before_what_came_since(home: House) -> None:
    await watched(home)
    await fail(home, "no such device: é")

    assert await lines(home) == ["begins", "no such device: é", "begins"]
    assert await lines(home, "?lines=2") == ["no such device: é", "begins"]
    assert await lines(home, "?lines=1") == ["begins"]
    assert await lines(home, "/latest") == ["begins"]
    assert all("hello" in line for line in await lines(home, "?format=verbose"))


async def test_log_of_the_crash_is_paged_with_what_came_since_and_read_by_time(home: House) -> None:
    await watched(home)
    home.engine.write(CONTAINER, *(f"before {number}" for number in range(9)))
    await fail(home, "it breaks")
    home.engine.write(CONTAINER, *(f"since {number}" for number in range(9)))
    written = ["begins", *(f"before {number}" for number in range(9)), "it breaks", "begins"]
    written += [f"since {number}" for number in range(9)]

    async def page(range: str) -> tuple[list[str], str]:
        answer = await home.client.get(f"/addons/{HELLO}/logs", headers={"Range": range})
        return answer.text.splitlines(), answer.headers.get("X-First-Cursor", "")

    pages, cursor = await page("entries=:-3:")
    lines_before, begins = pages, [cursor]
    while lines_before:
        lines_before, cursor = await page(f"entries={cursor}:-4:4")
        pages, begins = lines_before + pages, [*begins, cursor]

    assert pages == written
    assert [(await page(f"entries={begin}:0:2"))[0] for begin in begins[:-1]] == [
        written[at : at + 2] for at in (17, 13, 9, 5, 1, 0)
    ]
    assert (await page("entries=:8:4"))[0] == written[8:12]
    assert (await page("realtime=0:"))[0] == written
    assert (await page("realtime=:4000000000:-1:"))[0] == written[-2:]
    async with home.client.streaming("GET", f"/addons/{HELLO}/logs/follow?lines=12") as answer:
        assert (await page(f"entries={answer.headers['X-First-Cursor']}:0:1"))[0] == written[-12:-11]


async def test_only_the_last_failure_is_kept_and_is_private(home: House) -> None:
    await watched(home)
    await fail(home, "the first")
    await fail(home, "the second")

    (file,) = runs_kept(home)
    assert await lines(home) == ["begins", "the second", "begins"]
    assert "the second" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


async def test_log_of_what_its_health_check_condemned_is_kept_too(home: House) -> None:
    await home.install(image=FakeImage(health_check=True))
    await home.set_options(HELLO, watchdog=True)
    starting = asyncio.create_task(home.post(HELLO, "start"))
    await home.until_state(HELLO, AddonState.STARTUP)
    home.engine.set_health(CONTAINER, Health.HEALTHY)
    await starting
    home.engine.write(CONTAINER, "I feel sick")

    home.engine.set_health(CONTAINER, Health.UNHEALTHY)
    await home.until_state(HELLO, AddonState.STARTUP)
    home.engine.set_health(CONTAINER, Health.HEALTHY)
    await home.until_watchdog_rests()

    assert await lines(home) == ["I feel sick"]


@pytest.mark.parametrize("verb", ["start", "restart"])
async def test_log_of_a_crash_outlives_the_start_that_somebody_asked_for(home: House, verb: str) -> None:
    await home.run(image=FakeImage(prints=("begins",)))
    home.engine.write(CONTAINER, "what is wrong")
    home.engine.crash(CONTAINER)
    await home.quiet()

    done(await home.post(HELLO, verb))

    assert await lines(home) == ["begins", "what is wrong", "begins"]


async def test_end_that_was_asked_for_is_no_crash(home: House) -> None:
    await home.run(image=FakeImage(prints=("begins",)))
    done(await home.post(HELLO, "stop"))
    done(await home.post(HELLO, "start"))
    done(await home.post(HELLO, "restart"))

    assert await lines(home) == ["begins"]
    assert runs_kept(home) == []


async def test_problem_says_where_the_log_is_when_the_watchdog_gives_up(home: House) -> None:
    await watched(home)
    home.engine.images[home.installed().image] = FakeImage(exit_code=1, prints=("begins", "what is wrong"))

    home.engine.crash(CONTAINER)
    problem = await home.until_problem("watchdog_gave_up")
    await home.until_watchdog_rests()

    (file,) = runs_kept(home)
    assert str(file) in problem.message
    assert "what is wrong" in file.read_text()
    assert await lines(home) == ["begins", "what is wrong"]  # once: it is the log of the container that there is


async def test_log_that_the_system_journal_has_is_not_kept_twice(home: House) -> None:
    home.engine.log_driver = "journald"
    await watched(home)
    await fail(home, "it is in the journal")

    assert runs_kept(home) == []


@pytest.mark.parametrize("error", [ContainerNotFound("gone"), EngineRefused("no")])
async def test_log_that_cannot_be_had_keeps_nothing_from_being_brought_back(home: House, error: Exception) -> None:
    await watched(home)
    home.engine.fail("logs", error)

    await fail(home, "what nobody reads")

    assert runs_kept(home) == []


async def test_long_log_is_kept_by_its_end(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash_log, "MAX_BYTES", 1000)
    await watched(home)
    home.engine.write(CONTAINER, *(f"line {number}" for number in range(200)))
    await fail(home, "the last")

    (file,) = runs_kept(home)
    kept = await lines(home, "?lines=1000")
    assert file.stat().st_size <= 1000
    assert kept[-3:] == ["line 199", "the last", "begins"]
    assert 3 < len(kept) < 200


async def test_kept_log_goes_in_its_time_and_with_its_add_on(tmp_path: Path, engine: FakeContainerEngine) -> None:
    clock = FakeClock()
    async with house(tmp_path, engine, clock=clock) as home:
        await watched(home)
        await fail(home, "long ago")
        (file,) = runs_kept(home)
        eight_days_ago = clock.now().timestamp() - 8 * 24 * 3600
        os.utime(file.parent, (eight_days_ago, eight_days_ago))
        await home.let_pass(clock, timedelta(days=1))

        assert runs_kept(home) == []

        await fail(home, "now")
        done(await home.post(HELLO, "uninstall"))

        assert not (home.data / "apps" / "kept" / HELLO).exists()

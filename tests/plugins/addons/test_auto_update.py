"""Updates by themselves: when the rules allow them, and what the log says when they do not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from structlog.testing import capture_logs

from rooftree import JobChanged, JobInfo, Kernel, Plugin
from rooftree.interfaces.containers import PullFailed
from rooftree.interfaces.core import CORE, CoreRefused, CoreUnavailable
from rooftree.testing import FakeClock
from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons.auto_update import first_breaking
from rooftree_addons.plugin import AddonsPlugin
from rooftree_store import AddonSlug
from tests.plugins.addons.house import HELLO, House, done, house

DAY = timedelta(hours=24)


@pytest.fixture
def clock() -> FakeClock:
    """The time."""
    return FakeClock()


@pytest.fixture
async def home(tmp_path: Path, engine: FakeContainerEngine, clock: FakeClock) -> AsyncIterator[House]:
    """A house whose time is the test's."""
    async with house(tmp_path, engine, clock=clock) as here:
        yield here


async def offered(home: House, name: str = "hello", *, wanted: bool = True, **config: Any) -> AddonSlug:
    """An add-on that runs in version 1.0 and is offered in 2.0 with that configuration."""
    slug = await home.run(name)
    await home.set_options(slug, auto_update=wanted)
    await home.offer(name, "2.0", config=config)
    await home.quiet()
    return slug


async def updated(home: House) -> list[dict[str, Any]]:
    """Let the updates run; what the log says of those held back or failed."""
    plugin = home.system.plugins._lives["addons"].plugin
    assert isinstance(plugin, AddonsPlugin)
    with capture_logs() as lines:
        await plugin.auto_update.run()
    return [dict(line) for line in lines if line["event"] in {"auto_update_held_back", "auto_update_failed"}]


async def test_update_on_offer_for_a_day_is_made_by_a_job(home: House, clock: FakeClock) -> None:
    await offered(home)
    clock.put(clock.now() + DAY)
    jobs: list[JobInfo] = []
    home.system.bus.subscribe(JobChanged, lambda event: jobs.append(event.job), "test")

    assert await updated(home) == []

    assert home.installed().version == "2.0"
    await home.quiet()
    assert {(job.name, job.reference) for job in jobs} == {("addon_manager_update", HELLO)}
    assert await updated(home) == []


async def test_update_is_left_to_others_for_a_day_also_over_a_restart(
    tmp_path: Path, engine: FakeContainerEngine, clock: FakeClock
) -> None:
    async with house(tmp_path, engine, clock=clock) as home:
        await offered(home)
    clock.put(clock.now() + DAY - timedelta(seconds=1))
    async with house(tmp_path, engine, clock=clock) as home:
        held_back = await updated(home)
        before = home.installed().version
        clock.put(clock.now() + timedelta(seconds=1))
        await updated(home)

        assert [(line["addon"], line["version"]) for line in held_back] == [(HELLO, "2.0")]
        assert "2026-01-02T12:00:00" in held_back[0]["reason"]
        assert (before, home.installed().version) == ("1.0", "2.0")


async def test_day_begins_anew_with_each_version(home: House, clock: FakeClock) -> None:
    await offered(home)
    clock.put(clock.now() + DAY)
    await home.offer("hello", "3.0")
    await home.quiet()

    held_back = await updated(home)

    assert [line["version"] for line in held_back] == ["3.0"]
    assert home.installed().version == "1.0"


async def test_nobody_is_updated_who_does_not_want_it(home: House, clock: FakeClock) -> None:
    await offered(home, wanted=False)
    clock.put(clock.now() + DAY)

    assert await updated(home) == []
    assert home.installed().version == "1.0"


@pytest.mark.parametrize("version", ["dev", "7b99100", "2026.1.0", "1.0-ls1"])
async def test_update_that_is_not_certainly_newer_is_held_back(home: House, clock: FakeClock, version: str) -> None:
    await offered(home)
    await home.offer("hello", version)
    await updated(home)
    clock.put(clock.now() + DAY)

    held_back = await updated(home)

    assert [line["version"] for line in held_back] == [version]
    assert "not certain that it is newer than 1.0" in held_back[0]["reason"]
    assert home.installed().version == "1.0"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"breaking_versions": ["1.5"]}, "version 1.5 breaks with what was before"),
        ({"schema": {"port": "int"}}, "port"),
        ({"arch": ["armhf"]}, "cannot be installed here"),
        ({"privileged": ["SYS_ADMIN"]}, "it asks for more than version 1.0 (privileged: SYS_ADMIN)"),
    ],
)
async def test_update_that_could_hurt_is_held_back_with_the_reason(
    home: House, clock: FakeClock, config: dict[str, Any], reason: str
) -> None:
    await offered(home, **config)
    await offered(home, "other")
    clock.put(clock.now() + DAY)

    held_back = await updated(home)

    assert [line["addon"] for line in held_back] == [HELLO]
    assert reason in held_back[0]["reason"]
    assert home.installed().version == "1.0"
    assert home.installed(AddonSlug("local_other")).version == "2.0"


async def test_version_that_was_rolled_back_is_not_tried_again_by_itself(home: House, clock: FakeClock) -> None:
    await offered(home)
    clock.put(clock.now() + DAY)
    await updated(home)
    done(await home.client.post(f"/kernel/v1/addons/{HELLO}/roll-back"))

    held_back = await updated(home)

    assert [(line["version"], line["reason"]) for line in held_back] == [("2.0", "it was tried, and did not work here")]
    assert home.installed().version == "1.0"


async def test_update_that_fails_is_logged_and_keeps_nobody_else_from_theirs(home: House, clock: FakeClock) -> None:
    await offered(home)
    await offered(home, "other")
    clock.put(clock.now() + DAY)
    home.engine.fail("pull", PullFailed("The registry does not answer"))

    failed = await updated(home)

    assert [(line["event"], line["addon"]) for line in failed] == [("auto_update_failed", HELLO)]
    assert "The registry does not answer" in failed[0]["reason"]
    assert home.installed().version == "1.0"
    assert home.installed(AddonSlug("local_other")).version == "2.0"


async def test_updates_are_looked_for_every_sixteen_hours(home: House, clock: FakeClock) -> None:
    await offered(home)

    await clock.advance(timedelta(hours=31, minutes=59))
    early = home.installed().version
    await clock.advance(timedelta(minutes=2))

    assert (early, home.installed().version) == ("1.0", "2.0")


@pytest.mark.parametrize(
    ("breaking", "installed", "new", "expected"),
    [
        ([], "1.0", "2.0", None),
        (["1.0"], "1.0", "2.0", None),
        (["0.5", "1.5"], "1.0", "2.0", "1.5"),
        (["2.0"], "1.0", "2.0", "2.0"),
        (["3.0"], "1.0", "2.0", "3.0"),
        (["2.0"], "some", "1.9", None),
        (["2.0"], "some", "2.0", "2.0"),
        (["2.0"], "some", "other", "2.0"),
    ],
)
def test_breaking_version_ahead_stands_in_the_way(
    breaking: list[str], installed: str, new: str, expected: str | None
) -> None:
    assert first_breaking(breaking, installed, new) == expected


# --- through Core -----------------------------------------------------------------------------------------------------


class CoreThatUpdates:
    """A Core that has add-ons updated as its user would, or refuses.

    :param refusal: what it says instead of having made a backup
    """

    def __init__(self, refusal: CoreRefused | CoreUnavailable | None = None, *, answers: bool = True) -> None:
        self.answers = answers
        self.refusal = refusal
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.update: Callable[[AddonSlug], Awaitable[object]]

    async def command(self, kind: str, /, *, within_s: float = 30.0, **fields: Any) -> None:
        self.told.append((kind, fields))
        if self.refusal is not None:
            raise self.refusal
        await self.update(AddonSlug.parse(fields["addon"]))


@asynccontextmanager
async def house_of(
    folder: Path, engine: FakeContainerEngine, clock: FakeClock, core: CoreThatUpdates
) -> AsyncIterator[House]:
    """A house with that Core, and an update that may be made."""

    class CorePlugin(Plugin):
        name = "core"
        provides = (CORE,)

        async def setup(self, kernel: Kernel) -> None:
            kernel.provide(CORE, core)  # type: ignore[arg-type]

    async with house(folder, engine, plugins=[CorePlugin], clock=clock) as home:
        core.update = lambda slug: home.client.post(f"/store/addons/{slug}/update", json={"backup": False})
        await offered(home)
        clock.put(clock.now() + DAY)
        yield home


async def test_core_that_is_there_makes_the_update_after_a_backup(
    tmp_path: Path, engine: FakeContainerEngine, clock: FakeClock
) -> None:
    core = CoreThatUpdates()
    async with house_of(tmp_path, engine, clock, core) as home:
        assert await updated(home) == []

        assert core.told == [("hassio/update/addon", {"addon": HELLO, "backup": True})]
        assert home.installed().version == "2.0"
        assert [job.name for job in home.system.jobs.listing()].count("addon_manager_update") <= 1


async def test_update_is_made_without_a_core_that_is_not_there(
    tmp_path: Path, engine: FakeContainerEngine, clock: FakeClock
) -> None:
    away = CoreThatUpdates(answers=False)
    async with house_of(tmp_path, engine, clock, away) as home:
        assert await updated(home) == []
        assert (away.told, home.installed().version) == ([], "2.0")


async def test_update_is_made_without_a_core_that_can_make_no_backup(
    tmp_path: Path, engine: FakeContainerEngine, clock: FakeClock
) -> None:
    refusing = CoreThatUpdates(CoreRefused("no room for a backup", code="home_assistant_error"))
    async with house_of(tmp_path, engine, clock, refusing) as home:
        assert await updated(home) == []
        assert (len(refusing.told), home.installed().version) == (1, "2.0")


async def test_update_of_which_core_says_nothing_any_more_is_not_made_twice(
    tmp_path: Path, engine: FakeContainerEngine, clock: FakeClock
) -> None:
    core = CoreThatUpdates(CoreUnavailable("Core's WebSocket was closed before it answered"))
    async with house_of(tmp_path, engine, clock, core) as home:
        (line,) = await updated(home)

        assert "closed" in line["reason"]
        assert home.installed().version == "1.0"


async def test_update_that_core_tried_and_that_was_taken_back_is_not_tried_again(
    tmp_path: Path, engine: FakeContainerEngine, clock: FakeClock
) -> None:
    core = CoreThatUpdates()
    async with house_of(tmp_path, engine, clock, core) as home:

        async def fail(slug: AddonSlug) -> None:
            failed = evolve(home.installed(), failed_version="2.0")
            await home.system.state.commit(home.addons.installed.put(slug, failed))
            raise CoreRefused("Error updating hello", code="home_assistant_error")

        core.update = fail
        (line,) = await updated(home)

        assert (line["event"], line["reason"]) == ("auto_update_failed", "Error updating hello")
        assert home.installed().version == "1.0"

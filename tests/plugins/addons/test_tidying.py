"""What a step that tidies could not take away is known to be due, and taken away later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from rooftree import Problem
from rooftree.interfaces.containers import EngineRefused
from rooftree.testing import FakeClock
from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons import AddonState, tidying
from rooftree_store import AddonSlug
from tests.plugins.addons.house import HELLO, REGISTRY, House, done, house
from tests.rig.waiting import until

GONE = AddonSlug("local_gone")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits before tidying."""
    monkeypatch.setattr(tidying, "AFTER_S", 0.0)


def names(engine: FakeContainerEngine) -> list[str]:
    """The images that the engine has; those that an update keeps without their numbers."""
    return sorted(name.removeprefix(f"{REGISTRY}/").partition(":")[0] + ":" + short(name) for name in engine.images)


def short(name: str) -> str:
    """The tag, unless it is a number of ours."""
    tag = name.rpartition(":")[2]
    return "…" if len(tag) == 32 else tag


async def comes_true(what: str, condition: Callable[[], bool]) -> None:
    """Wait until it is so."""

    async def check() -> bool:
        return condition()

    await until(check, within_s=10, what=what)


async def update(home: House, version: str) -> None:
    """Offer a version, and update to it."""
    await home.offer(version=version)
    done(await home.client.post(f"/store/addons/{HELLO}/update"))


async def test_two_updates_of_a_stopped_add_on_leave_no_image_for_ever(home: House) -> None:
    await home.run()
    done(await home.post(HELLO, "stop"))
    await update(home, "2.0")
    await update(home, "3.0")
    assert "hello:1.0" in names(home.engine)  # its container, which has ended, is still of that

    done(await home.post(HELLO, "start"))

    await comes_true("the end of the oldest image", lambda: "hello:1.0" not in names(home.engine))
    assert names(home.engine) == ["hello:2.0", "hello:3.0", "rooftree-kept:…"]


async def test_image_that_could_not_be_removed_goes_at_the_next_start(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.install()
        engine.fail("remove_image", EngineRefused("It would not"))
        done(await home.post(HELLO, "uninstall"))
        assert names(engine) == ["hello:1.0"]

    async with house(tmp_path, engine):
        await comes_true("the end of the image", lambda: not engine.images)


async def test_image_that_could_not_be_removed_is_tried_again_each_day(tmp_path: Path) -> None:
    engine, clock = FakeContainerEngine(), FakeClock()
    async with house(tmp_path, engine, clock=clock) as home:
        await home.install()
        engine.fail("remove_image", EngineRefused("It would not"))
        done(await home.post(HELLO, "uninstall"))

        await home.let_pass(clock, timedelta(days=1, minutes=1))

        assert not engine.images


async def test_image_of_an_add_on_that_was_installed_before_images_were_noted_goes_too(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.install()
        await home.system.state.commit(*(home.addons.images.delete(image) for image in home.addons.images))

    async with house(tmp_path, engine) as home:
        engine.fail("remove_image", EngineRefused("It would not"))
        done(await home.post(HELLO, "uninstall"))
    async with house(tmp_path, engine):
        await comes_true("the end of the image", lambda: not engine.images)


async def test_image_that_another_add_on_needs_stays(home: House) -> None:
    shared = {"image": f"{REGISTRY}/hello"}
    await home.install()
    await home.install("second", config=shared)
    done(await home.post(HELLO, "uninstall"))

    await tidy(home)

    assert "hello:1.0" in names(home.engine)
    done(await home.post("local_second", "uninstall"))
    await tidy(home)
    assert not home.engine.images
    assert not home.addons.images


async def tidy(home: House) -> None:
    """What the task does each day."""
    await tidying.Tidying(home.addons.kernel, home.addons).tidy()


def leave_everything(home: House, slug: str) -> list[Path]:
    """Put all that can be left of an add-on where it would be left."""
    left = [
        home.data / "apps" / "kept" / slug / "0123" / "data" / "value",
        home.data / "apparmor" / slug,
        home.data / "cid_files" / f"app_{slug}.cid",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("profile x {}")
    return left


async def test_what_is_left_of_an_add_on_that_is_gone_is_found_and_goes(home: House) -> None:
    left = leave_everything(home, GONE)
    token = home.system.tokens.new("addon", GONE)
    await home.system.state.commit(token.change)

    await tidy(home)

    assert [path for path in left if path.exists()] == []
    assert home.tokens(GONE) == set()


async def test_what_an_add_on_needs_is_left_alone(home: House) -> None:
    await home.run()
    await update(home, "2.0")
    await home.until_state(HELLO, AddonState.STARTED)
    cid = home.data / "cid_files" / f"app_{HELLO}.cid"
    (home.data / "apparmor").mkdir(exist_ok=True)
    (home.data / "apparmor" / HELLO).write_text("profile x {}")
    kept = list((home.data / "apps" / "kept" / HELLO).iterdir())

    await tidy(home)

    assert cid.exists()
    assert (home.data / "apparmor" / HELLO).exists()
    assert list((home.data / "apps" / "kept" / HELLO).iterdir()) == kept
    assert names(home.engine) == ["hello:1.0", "hello:2.0", "rooftree-kept:…"]
    assert home.tokens()


async def test_copy_that_no_probation_knows_goes_and_that_of_a_failed_version_stays_its_time(home: House) -> None:
    await home.install()
    for name in ("0123", "failed-0123"):
        (home.data / "apps" / "kept" / HELLO / name / "data").mkdir(parents=True)

    await tidy(home)

    assert [path.name for path in (home.data / "apps" / "kept" / HELLO).iterdir()] == ["failed-0123"]


async def test_nothing_is_tidied_while_the_state_is_damaged(home: House) -> None:
    left = leave_everything(home, GONE)
    home.system.problems.report(Problem("state_damaged", "system", "x", "It was lost"))

    await tidy(home)

    assert all(path.exists() for path in left)


async def test_what_a_container_needs_whose_add_on_is_unknown_is_left_to_it(home: House) -> None:
    await home.run()
    await home.system.state.commit(home.addons.installed.delete(HELLO))
    cid = home.data / "cid_files" / f"app_{HELLO}.cid"

    await tidy(home)

    assert cid.exists()
    assert home.tokens()


async def test_engine_that_is_away_is_waited_for(home: House) -> None:
    left = leave_everything(home, GONE)
    home.engine.go_away()
    await tidy(home)
    assert all(path.exists() for path in left)

    home.engine.come_back()

    await comes_true("the end of what is left", lambda: not any(path.exists() for path in left))

"""Updates of add-ons that break: at the start, later, and by halves; on the real engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
from attrs import frozen

from tests.rig.addon import Addon
from tests.rig.addon_files import DOCKERFILE, REPOSITORY, WAITS, addon_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.footprint import Footprint
from tests.rig.git_server import GitRepository, GitServer
from tests.rig.registry import Registry
from tests.rig.waiting import until

pytestmark = pytest.mark.xdist_group("updates")

SPOILS = "printf X | dd of=/data/book bs=1 seek=2 conv=notrunc 2>/dev/null"
"""Writes into a file in place, which goes through hard links."""
ROLLED_BACK_S = 60.0
"""More than it takes to see that a version fails, and to put the one before it back."""

NEW: Mapping[str, tuple[str, str]] = {
    "atonce": (f"#!/bin/sh\n{SPOILS}\necho what is wrong at once\nexit 7\n", ""),
    "later": (f"#!/bin/sh\n{SPOILS}\nsleep 3\necho what is wrong later >&2\nexit 8\n", ""),
    "killed": (WAITS.replace("while :", f"{SPOILS}\nwhile :"), ""),
    "sick": (WAITS.replace("while :", f"{SPOILS}; (sleep 3; touch /sick) &\nwhile :"),
             "HEALTHCHECK --interval=1s --timeout=1s --retries=1 CMD test ! -e /sick\n"),
    "good": (WAITS, ""),
}  # fmt: skip
"""What version 2.0 of each add-on runs, and what else its Dockerfile says."""


@frozen
class Street:
    """A daemon with an add-on of each kind, and what releases their second version."""

    daemon: Daemon
    engine: Engine
    registry: Registry
    repository: GitRepository

    async def running(self, name: str) -> Addon:
        """An add-on that runs, with a book of its own, and a second version on offer."""
        listed = (await self.daemon.ok("GET", "/store"))["addons"]
        addon = Addon(self.daemon, self.engine, next(one["slug"] for one in listed if one["slug"].endswith(name)))
        await addon.install()
        await addon.start()
        (addon.data / "book").write_text("abcdef")
        image = f"{self.registry.address}/updates/{name}"
        script, more = NEW[name]
        self.registry.publish(f"updates/{name}", "2.0", DOCKERFILE.format(version="2.0") + more, {"run.sh": script})
        self.repository.write(addon_files(name, "2.0", image=image))
        self.repository.push()
        await self.daemon.ok("POST", "/store/reload")
        return addon


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def street(engine: Engine, registry: Registry, git_server: GitServer) -> AsyncIterator[Street]:
    """One for all tests."""
    files = dict(REPOSITORY)
    for name in NEW:
        image = registry.publish(f"updates/{name}", "1.0", DOCKERFILE.format(version="1.0"), {"run.sh": WAITS})
        files |= addon_files(name, image=image.rpartition(":")[0])
    repository = git_server.repository("updates", files)
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        await daemon.ok("POST", "/store/repositories", {"repository": repository.url})
        yield Street(daemon, engine, registry, repository)


async def version(addon: Addon) -> str:
    """What runs in its container."""

    async def told() -> str:
        return addon.variable("VERSION") if addon.runs() else ""

    return await until(told, within_s=10, what=f"a container of {addon.slug} that runs")


async def is_back(addon: Addon) -> None:
    """Wait until the first version runs again."""

    async def runs_again() -> bool:
        info = await addon.info()
        return (info["version"], info["state"]) == ("1.0", "started")

    await until(runs_again, within_s=ROLLED_BACK_S, what=f"version 1.0 of {addon.slug}")


def set_aside(addon: Addon) -> list[str]:
    """What failed versions made of the book."""
    kept = addon.daemon.data_dir / "apps" / "kept" / addon.slug
    return [path.read_text() for path in sorted(kept.glob("failed-*/data/book"))]


def last_words(addon: Addon) -> list[str]:
    """What failed versions wrote to their logs."""
    kept = addon.daemon.data_dir / "apps" / "kept" / addon.slug
    return [path.read_text() for path in sorted(kept.glob("failed-*/log.txt"))]


async def problems(addon: Addon) -> list[Any]:
    """The problems that an add-on has."""
    listed = (await addon.daemon.ok("GET", "/kernel/v1/problems"))["problems"]
    return [problem for problem in listed if problem["reference"] == addon.slug]


async def test_version_that_ends_at_once_is_taken_back_within_the_update(street: Street) -> None:
    addon = await street.running("atonce")

    status, refusal = await street.daemon.call("POST", f"/store/addons/{addon.slug}/update", {})

    info = await addon.info()
    assert (status, refusal["error_key"]) == (400, "app_update_rolled_back_error")
    assert "exit code 7" in refusal["message"]
    assert (info["version"], info["state"], await version(addon)) == ("1.0", "started", "1.0")
    assert (addon.data / "book").read_text() == "abcdef"
    assert set_aside(addon) == ["abXdef"]
    assert last_words(addon) == ["what is wrong at once\n"]
    assert [problem["type"] for problem in await problems(addon)] == ["update_rolled_back"]


@pytest.mark.parametrize(
    "reasons",
    [
        pytest.param({"later": "exit code 8", "killed": "exit code 137"}, id="ended"),
        pytest.param({"sick": "not healthy"}, id="not healthy", marks=pytest.mark.torture),  # for half a minute
    ],
)
async def test_versions_that_break_later_are_rolled_back_with_their_data(
    street: Street, reasons: Mapping[str, str]
) -> None:
    addons = {name: await street.running(name) for name in reasons}

    for addon in addons.values():
        await addon.update()
        assert (await addon.info())["version"] == "2.0"
    if "killed" in addons:
        street.engine.run("kill", addons["killed"].container)  # as the system does that has no memory left

    await asyncio.gather(*map(is_back, addons.values()))
    for name, addon in addons.items():
        (problem,) = await problems(addon)
        assert reasons[name] in problem["message"]
        assert (addon.data / "book").read_text() == "abcdef"
        assert set_aside(addon) == ["abXdef"]
        assert await version(addon) == "1.0"
        assert addon.ask("/addons/self/info")[0] == 200
    if "later" in addons:
        assert last_words(addons["later"]) == ["what is wrong later\n"]
    footprint = await Footprint.of(street.daemon, street.engine, registry=street.registry.address)
    own = [image for image in footprint.images if "/updates/" in image]
    assert [image for image in own if "kept" in image or image.endswith(":2.0")] == []


async def test_version_that_runs_well_stays_and_can_be_left_by_hand(street: Street) -> None:
    addon = await street.running("good")

    await addon.update()
    (addon.data / "book").write_text("of version two")
    state = await street.daemon.ok("GET", f"/kernel/v1/addons/{addon.slug}/probation")
    await addon.roll_back()

    assert (state["version"], state["back_to"]) == ("2.0", "1.0")
    assert (await version(addon), (addon.data / "book").read_text()) == ("1.0", "abcdef")
    await addon.uninstall()
    assert not (street.daemon.data_dir / "apps" / "kept" / addon.slug).exists()

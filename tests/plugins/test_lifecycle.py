"""What holds for every plugin of the house: it can be started, stopped, and started again, as often as one likes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from rooftree import Kernel, Plugin
from rooftree.plugins.life import Health
from rooftree.plugins.loading import GROUP
from rooftree.process.system import System
from rooftree.testing import Client, Failing, InstalledPlugin, running_system
from tests.workspace import plugins

HOUSE = sorted((point for point in entry_points(group=GROUP) if point.value.startswith("rooftree_")), key=str)
NAMES = [point.name for point in HOUSE]
RUNNING = {Health.OK, Health.DEGRADED}
each_plugin = pytest.mark.parametrize("name", NAMES)


@asynccontextmanager
async def house(
    tmp_path: Path, points: Iterable[EntryPoint] = HOUSE, allow: Collection[Failing] = ()
) -> AsyncIterator[System]:
    """All of them, with no Docker, and nothing to be fetched."""
    settings = {
        "plugins.store.repositories": [],
        "plugins.docker.socket": f"unix://{tmp_path / 'absent.sock'}",
        "plugins.homeassistant.install": False,
    }
    async with (
        asyncio.timeout(60),
        running_system(tmp_path, plugins=points, settings=settings, allow=allow) as system,
    ):
        yield system


def class_of(name: str) -> type[Plugin]:
    found = next(point for point in HOUSE if point.name == name).load()
    assert issubclass(found, Plugin)
    return found


def not_running(system: System) -> dict[str, str | None]:
    return {info.name: info.reason for info in system.plugins if info.state not in RUNNING}


def test_house_is_whole() -> None:
    assert set(NAMES) == {name for plugin in plugins() for name in plugin.entry_points.get(GROUP, ())}


async def test_all_run_without_docker(tmp_path: Path) -> None:
    async with house(tmp_path) as system:
        assert not_running(system) == {}


@each_plugin
async def test_plugin_is_disabled_enabled_and_restarted_and_the_others_run(tmp_path: Path, name: str) -> None:
    async with house(tmp_path, allow={"plugin_failed"}) as system, Client.over_unix(system) as client:
        routes = {(entry.route.method, entry.route.path) for entry in system.server.table.entries}
        services, listeners = set(system.services), set(system.server.listeners)

        for _ in range(2):
            await system.plugins.disable(name)
            stopped = not_running(system)
            assert stopped[name] == "by Rooftree itself"
            assert set(stopped) == {name, *dependents(name)}
            for method, path in sorted(routes):
                if method == "GET" and "{" not in path and owner(system, path) in stopped:
                    assert (await client.get(path)).status == 503, path
            await system.plugins.enable(name)
            assert not_running(system) == {}
        await system.plugins.restart(name)

        assert not_running(system) == {}
        assert {(entry.route.method, entry.route.path) for entry in system.server.table.entries} == routes
        assert (set(system.services), set(system.server.listeners)) == (services, listeners)


def owner(system: System, path: str) -> str:
    return next(entry.owner for entry in system.server.table.entries if path in entry.route.paths)


def dependents(name: str) -> set[str]:
    """Whoever requires what it provides, and so on."""
    affected = {name}
    while True:
        offered = {key.name for each in affected for key in class_of(each).provides}
        more = {each for each in NAMES if offered & {key.name for key in class_of(each).requires}} | affected
        if more == affected:
            return affected - {name}
        affected = more


async def tasks_at_rest() -> int:
    """How many there are once what plugins do at their start is over: five looks that see no other number."""
    counts: list[int] = []
    while len(counts) < 5 or len({*counts[-5:]}) > 1:
        counts.append(len(asyncio.all_tasks()))
        await asyncio.sleep(0.05)
    return counts[-1]


@each_plugin
async def test_plugin_leaves_no_task_of_its_own(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with house(tmp_path, allow={"plugin_failed"}) as system:
        await system.plugins.disable(name)
        before = await tasks_at_rest()
        for _ in range(5):
            await system.plugins.enable(name)
            await system.plugins.disable(name)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while len(asyncio.all_tasks()) > before:
                    await asyncio.sleep(0.01)

        assert len(asyncio.all_tasks()) == before
    for complaint in ("plugin_left_tasks", "plugin_stop_failed", "plugin_stop_timed_out", "task_does_not_end"):
        assert complaint not in caplog.text


@each_plugin
def test_what_plugin_takes_is_given_back_where_it_was_taken(name: str) -> None:
    assert class_of(name).stop is Plugin.stop  # a verb that would have to cope with half a plugin: defer does not


@each_plugin
async def test_all_is_given_back_after_a_setup_that_failed_at_its_end(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = class_of(name)

    class Failing(whole):  # type: ignore[valid-type, misc]  # the class is known when the test runs
        fails = True

        async def setup(self, kernel: Kernel) -> None:
            await super().setup(kernel)
            if Failing.fails:
                raise RuntimeError("at the very end")

    failing = InstalledPlugin(name, lambda: Failing)
    async with house(
        tmp_path, [failing, *(point for point in HOUSE if point.name != name)], allow={"plugin_failed"}
    ) as system:
        assert (not_running(system)[name] or "").startswith("RuntimeError: at the very end (")
        assert set(not_running(system)) == {name, *dependents(name)}
        Failing.fails = False

        await system.plugins.enable(name)

        assert not_running(system) == {}
    assert "plugin_stop_failed" not in caplog.text

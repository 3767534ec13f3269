"""What goes wrong in a system fails the test that did not say so, whatever it was, and nothing else does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from rooftree import PUBLIC, Event, JobCall, Kernel, Plugin, Routes, Run, Step, Steps, Task, hookimpl, job, step
from rooftree.interfaces import hooks
from rooftree.process.system import System
from rooftree.testing import Client, Failing, FakeClock, InstalledPlugin, running_system
from rooftree.testing.failures import FAILING

GROUP = "test.drivers"


def hold_the_loop() -> None:
    """For longer than it takes to be noticed; not with ``time.sleep``, which our own tests refuse where it stands."""
    end = time.monotonic() + 1.6
    while time.monotonic() < end:
        pass


class Called(Event):
    """What a listener hears of."""


@step("strict.half/1")
class Half(Step):
    """Cannot be taken back, though it says so."""

    async def do(self, run: Run) -> None:
        raise RuntimeError("half done")

    async def undo(self, before: object) -> None:
        raise RuntimeError("stuck")


@job("half")
async def half() -> Steps:
    return [Half()]


class Driver:
    name = "driver"


class Whole(Plugin):
    """Goes wrong in one place, where the test says so."""

    name = "whole"
    wrong: Failing | None = None

    def _reach(self, place: Failing) -> None:
        if self.wrong == place:
            raise RuntimeError("a bug")

    async def setup(self, kernel: Kernel) -> None:
        self._reach("plugin_failed")
        kernel.on(Called, lambda event: self._reach("listener_failed"))
        await kernel.drivers(GROUP, Driver)

    def routes(self) -> Routes:
        routes = Routes()

        @routes.get("/whole", access=PUBLIC)
        async def show() -> None:
            self._reach("route_failed")
            if self.wrong == "loop_blocked":
                hold_the_loop()
            if self.wrong == "never_awaited":
                self.forgotten()  # type: ignore[unused-coroutine]  # that is the point

        @routes.post("/half", access=PUBLIC)
        def start() -> JobCall[None]:
            return half()

        return routes

    async def forgotten(self) -> None: ...

    def tasks(self) -> Iterable[Task]:
        async def tick() -> None:
            self._reach("task_failed")

        yield Task("tick", tick, every=timedelta(minutes=1))

    @hookimpl
    def info(self) -> dict[str, str]:
        self._reach("hook_failed")
        return {}


async def use(system: System, client: Client, clock: FakeClock) -> None:
    """Come by every place."""
    await client.get("/whole")
    system.bus.publish(Called())
    await system.bus.drained()
    await clock.advance(timedelta(minutes=1))
    await system.hooks.call(hooks.info)


async def nothing(system: System, client: Client) -> None: ...


async def undo(system: System, client: Client) -> None:
    await client.post("/half")


def broken_driver() -> object:
    raise ImportError("no such library")


async def run(
    folder: Path,
    wrong: Failing | None,
    allow: Collection[Failing] = (),
    then: Callable[[System, Client], Awaitable[None]] = nothing,
) -> None:
    """A test that uses a system, in which one thing goes wrong."""
    plugin = type("Whole", (Whole,), {"wrong": wrong})
    driver = InstalledPlugin("driver", broken_driver if wrong == "driver_failed" else lambda: Driver, group=GROUP)
    clock = FakeClock()
    async with (
        running_system(folder, plugins=[plugin, driver], allow=allow, clock=clock) as system,
        Client.over_unix(system) as client,
    ):
        await use(system, client, clock)
        if wrong == "undo_failed":
            await undo(system, client)
        await then(system, client)


async def test_system_in_which_nothing_goes_wrong_fails_no_test(tmp_path: Path) -> None:
    await run(tmp_path, None)


@pytest.mark.parametrize("wrong", FAILING)
async def test_whatever_goes_wrong_fails_the_test_and_is_named(tmp_path: Path, wrong: Failing) -> None:
    with pytest.raises(AssertionError) as failed:
        await run(tmp_path, wrong)

    lines = str(failed.value).splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == [wrong]
    assert lines[-1].endswith(f'allow={{"{wrong}"}}')


@pytest.mark.parametrize("wrong", FAILING)
async def test_what_is_allowed_fails_no_test(tmp_path: Path, wrong: Failing) -> None:
    await run(tmp_path, wrong, allow={wrong})


@pytest.mark.parametrize("wrong", FAILING)
async def test_what_is_allowed_allows_nothing_else(tmp_path: Path, wrong: Failing) -> None:
    others = set(FAILING) - {wrong}

    with pytest.raises(AssertionError, match=wrong):
        await run(tmp_path, wrong, allow=others)


async def test_driver_that_failed_in_the_last_run_too_fails_this_test(tmp_path: Path) -> None:
    await run(tmp_path, "driver_failed", allow={"driver_failed"})

    with pytest.raises(AssertionError, match="driver_failed"):
        await run(tmp_path, "driver_failed")


async def test_error_of_a_task_is_the_cause_that_pytest_shows(tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as failed:
        await run(tmp_path, "task_failed")

    assert repr(failed.value.__cause__) == "RuntimeError('a bug')"


async def test_tests_own_failure_is_told_first_and_the_rest_with_it(tmp_path: Path) -> None:
    async def check(system: System, client: Client) -> None:
        assert (await client.get("/whole")).status == 200

    with pytest.raises(AssertionError) as failed:
        await run(tmp_path, "route_failed", then=check)

    assert "500 == 200" in str(failed.value)
    assert any("route_failed: the route GET /whole of whole raised" in note for note in failed.value.__notes__)


async def test_block_that_the_test_ends_with_is_told(tmp_path: Path) -> None:
    async def block(system: System, client: Client) -> None:
        hold_the_loop()

    with pytest.raises(AssertionError, match="loop_blocked: the event loop was blocked for"):
        await run(tmp_path, None, then=block)


async def test_tests_own_code_may_hold_the_loop_but_not_what_rooftree_calls(tmp_path: Path) -> None:
    async with running_system(tmp_path):
        time.sleep(1.6)  # that is the point

    with pytest.raises(AssertionError, match=r"loop_blocked: .*/rooftree/events/bus\.py"):
        async with running_system(tmp_path) as system:
            system.bus.subscribe(Called, lambda _: hold_the_loop(), "test")
            system.bus.publish(Called())
            await system.bus.drained()


async def test_loop_that_nobody_runs_is_no_block(tmp_path: Path) -> None:
    """As between two tests that share a system."""

    def run_in_pieces() -> None:
        loop = asyncio.new_event_loop()
        try:
            running = running_system(tmp_path)
            loop.run_until_complete(running.__aenter__())
            time.sleep(1.6)
            loop.run_until_complete(running.__aexit__(None, None, None))
        finally:
            loop.close()

    await asyncio.to_thread(run_in_pieces)


@pytest.mark.parametrize("allow", ["task_failed", {"tasks_fail"}])
async def test_word_that_nothing_is_called_by_is_refused_with_those_that_are(tmp_path: Path, allow: object) -> None:
    with pytest.raises(ValueError, match="allow: must be a collection of plugin_failed, driver_failed"):
        async with running_system(tmp_path, allow=allow):  # type: ignore[arg-type]  # that is the point
            pass


SUITE = """
import pytest
from datetime import timedelta
from rooftree import Plugin, Task

class Failing(Plugin):
    name = "failing"

    def tasks(self):
        yield Task("tick", self.tick, every=timedelta(minutes=1))

    async def tick(self):
        raise RuntimeError("a bug")

@pytest.fixture
def plugins():
    return [Failing]

async def test_strict(system, clock):
    await clock.advance(timedelta(minutes=1))

@pytest.mark.allow("task_failed")
async def test_allowed(system, clock):
    await clock.advance(timedelta(minutes=1))

@pytest.mark.allow("hook_failed")
async def test_something_else_is_allowed(system, clock):
    await clock.advance(timedelta(minutes=1))
"""


def test_fixtures_are_as_strict_and_a_mark_says_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["rooftree.testing.fixtures"]')
    (tmp_path / "test_suite.py").write_text(SUITE)
    options = ("-q", "--strict-markers", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", "--rootdir", tmp_path)
    only = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    done = subprocess.run(
        (sys.executable, "-m", "pytest", "-p", "pytest_asyncio.plugin", *options),
        cwd=tmp_path, env=os.environ | only, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout.splitlines()[-1].startswith("3 passed, 2 errors"), done.stdout
    assert done.stdout.count("task_failed: the task tick of failing raised RuntimeError('a bug')") >= 2
    assert done.returncode == 1

"""A plugin stops while the system goes on: what is under way may end, what does not end is ended, nothing stays."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

import aiohttp
import pytest

from rooftree import (
    PUBLIC,
    CallerKind,
    Event,
    Kernel,
    NotReady,
    Plugin,
    Principal,
    Role,
    Routes,
    Stream,
    Task,
    hookimpl,
)
from rooftree.http import server
from rooftree.plugins import plugins, scope
from rooftree.plugins.life import Health
from rooftree.process.system import System
from rooftree.testing import Client, Failing, running_system
from tests.kernel import hooks_under_test
from tests.kernel.plugins_under_test import Fine, info_of, until, with_route

DEADLINE_S = 10


@asynccontextmanager
async def house(
    tmp_path: Path, *plugins: type[Plugin], allow: Collection[Failing] = ()
) -> AsyncIterator[tuple[System, Client]]:
    async with (
        asyncio.timeout(DEADLINE_S),
        running_system(tmp_path, plugins=[Fine, *plugins], allow=allow) as system,
        Client.over_unix(system) as client,
    ):
        yield system, client


def busy(call: Callable[[], Any]) -> type[Plugin]:
    """A plugin with one route."""

    class Busy(Plugin):
        name = "busy"

        def routes(self) -> Routes:
            found = Routes()

            async def answer() -> dict[str, str]:
                return {"said": str(await call())}

            found.get("/busy", access=PUBLIC)(answer)
            return found

    return Busy


# --- calls and streams ------------------------------------------------------------------------------------------------


async def test_call_under_way_is_answered_before_its_plugin_stops_and_new_ones_are_refused(tmp_path: Path) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()
    happened = list[str]()

    async def call() -> str:
        began.set()
        await go_on.wait()
        happened.append("answered")
        return "done"

    class Busy(busy(call)):  # type: ignore[misc]  # a class made by a function
        async def stop(self) -> None:
            happened.append("stopped")

    async with house(tmp_path, Busy) as (system, client):
        under_way = asyncio.create_task(client.get("/busy"))
        await began.wait()
        disabling = asyncio.create_task(system.plugins.disable("busy"))
        await until(lambda: info_of(system, "busy").state is Health.STOPPED)

        late = await client.get("/busy")
        assert (late.status, late.message) == (503, "Plugin busy has stopped")
        assert (await client.get("/fine")).status == 200
        assert not disabling.done()
        go_on.set()
        await disabling

        assert (await under_way).data == {"said": "done"}
        assert happened == ["answered", "stopped"]


async def test_call_that_does_not_end_is_cut_off_and_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "DRAIN_S", 0.05)
    began, unwound = asyncio.Event(), asyncio.Event()

    async def call() -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            unwound.set()
        return "never"

    async with house(tmp_path, busy(call)) as (system, client):
        under_way = asyncio.create_task(client.get("/busy"))
        await began.wait()

        await system.plugins.disable("busy")

        assert unwound.is_set()
        answer = await under_way
        assert (answer.status, answer.envelope["error_key"]) == (503, "system_not_ready_error")
        assert answer.message == "Plugin busy was stopped before this call had ended"
        assert (await client.get("/fine")).status == 200


async def test_call_that_heeds_nothing_does_not_hold_up_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "DRAIN_S", 0.02)
    monkeypatch.setattr(server, "CUT_OFF_S", 0.02)
    began, go_on = asyncio.Event(), asyncio.Event()
    calls = WeakSet[asyncio.Task[Any]]()

    async def call() -> str:
        calls.update(filter(None, [asyncio.current_task()]))
        began.set()
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        return "at last"

    async with house(tmp_path, busy(call)) as (system, client):
        under_way = asyncio.create_task(client.get("/busy"))
        await began.wait()

        await system.plugins.disable("busy")

        assert info_of(system, "busy").state is Health.DISABLED
        assert len(calls) == 1
        go_on.set()
        await under_way
        await until(lambda: gc.collect() >= 0 and not calls)  # nothing is kept of it


async def test_call_that_ends_late_is_told_so_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "DRAIN_S", 0.02)
    monkeypatch.setattr(server, "CUT_OFF_S", 0.02)
    began, go_on = asyncio.Event(), asyncio.Event()

    async def call() -> str:
        began.set()
        try:
            return await asyncio.Future()
        finally:
            await go_on.wait()

    async with house(tmp_path, busy(call)) as (system, client):
        under_way = asyncio.create_task(client.get("/busy"))
        await began.wait()

        await system.plugins.disable("busy")
        go_on.set()

        assert (await under_way).message == "Plugin busy was stopped before this call had ended"


async def test_streams_of_a_plugin_end_when_it_stops_and_those_of_others_do_not(tmp_path: Path) -> None:
    def following(plugin_name: str) -> type[Plugin]:
        class Following(Plugin):
            name = plugin_name

            def routes(self) -> Routes:
                async def forever() -> AsyncIterator[bytes]:
                    while True:
                        yield b"tick"
                        await asyncio.sleep(0.005)

                found = Routes()

                async def follow() -> Stream:
                    return Stream(forever())

                found.get(f"/{plugin_name}", access=PUBLIC)(follow)
                return found

        return Following

    async with (
        house(tmp_path, following("one"), following("two")) as (system, client),
        client.streaming("GET", "/one") as one,
        client.streaming("GET", "/two") as two,
    ):
        await one.content.readany()
        await system.plugins.disable("one")

        with pytest.raises(aiohttp.ClientPayloadError):
            await one.read()
        await two.content.readany()
        assert b"tick" in await two.content.readany()


# --- who asks ---------------------------------------------------------------------------------------------------------


async def test_change_goes_to_its_end_when_who_asked_for_it_has_gone(tmp_path: Path) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Plugin):
        name = "slow"

        async def stop(self) -> None:
            began.set()
            await go_on.wait()

    async with house(tmp_path, Slow) as (system, _):
        asking = asyncio.create_task(system.plugins.disable("slow"))
        await began.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        go_on.set()
        await until(lambda: info_of(system, "slow").state is Health.DISABLED)

        await system.plugins.enable("slow")
        assert info_of(system, "slow").state is Health.OK


async def test_plugin_may_stop_itself(tmp_path: Path) -> None:
    systems = list[System]()

    async def call() -> str:
        await systems[0].plugins.disable("busy")
        return "I am off"

    async with house(tmp_path, busy(call)) as (system, client):
        systems.append(system)

        assert (await client.get("/busy")).data == {"said": "I am off"}
        assert (await client.get("/busy")).status == 503


async def test_stop_of_the_system_breaks_a_change_off_and_stops_everything_once_more(tmp_path: Path) -> None:
    happened, began = list[str](), asyncio.Event()

    class Slow(Plugin):
        name = "slow"
        again = False

        async def setup(self, kernel: Kernel) -> None:
            if Slow.again:
                happened.append("setup")
                began.set()
                await asyncio.Event().wait()
            Slow.again = True

        async def stop(self) -> None:
            happened.append("stop")

    async with house(tmp_path, Slow) as (system, _):
        restarting = asyncio.create_task(system.plugins.restart("slow"))
        await began.wait()
        await system.stop()

        with pytest.raises(NotReady, match="Rooftree is stopping"):
            await restarting
        assert happened == ["stop", "setup", "stop"]
        with pytest.raises(NotReady, match="Rooftree is stopping"):
            await system.plugins.enable("slow")


# --- plugins that do not behave ---------------------------------------------------------------------------------------


async def hang() -> None:
    await asyncio.Event().wait()


async def raise_error() -> None:
    raise RuntimeError("a bug")


async def await_a_cancelled_task() -> None:
    """What a plugin does that cancels its own task and waits for it."""
    task = asyncio.create_task(asyncio.Event().wait())
    task.cancel()
    await task


async def leave() -> None:
    sys.exit(3)


MISBEHAVIOUR = pytest.mark.parametrize("misbehave", [hang, raise_error, await_a_cancelled_task, leave])


@MISBEHAVIOUR
async def test_plugin_that_misbehaves_when_it_stops_is_disabled_enabled_and_stopped_all_the_same(
    tmp_path: Path, misbehave: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scope, "STOP_S", 0.05)

    class Bad(Plugin):
        name = "bad"

        async def stop(self) -> None:
            await misbehave()

    async with house(tmp_path, Bad) as (system, client):
        await system.plugins.disable("bad")
        assert info_of(system, "bad").state is Health.DISABLED
        await system.plugins.enable("bad")
        assert info_of(system, "bad").state is Health.OK
        assert (await client.get("/fine")).status == 200

    assert "plugin_stop_" in caplog.text


@MISBEHAVIOUR
async def test_plugin_that_misbehaves_in_a_task_a_listener_a_hook_or_a_route_harms_nobody(
    tmp_path: Path, misbehave: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooftree.plugins.hooks.DEADLINE_S", 0.05)
    heard, tasks_began = list[Event](), list[str]()

    class Bad(busy(misbehave)):  # type: ignore[misc]  # a class made by a function
        async def setup(self, kernel: Kernel) -> None:
            kernel.on(Event, self.listen)

        async def listen(self, event: Event) -> None:
            heard.append(event)
            await misbehave()

        def tasks(self) -> Iterable[Task]:
            yield Task("bad", self.work)

        async def work(self) -> None:
            tasks_began.append("work")
            await misbehave()

        @hookimpl
        async def greeting(self, name: str) -> str:
            await misbehave()
            return name

    async with house(tmp_path, Bad, allow={"hook_failed", "listener_failed", "route_failed", "task_failed"}) as (
        system,
        client,
    ):
        calling = asyncio.create_task(client.get("/busy"))
        system.bus.publish(Event())
        system.bus.publish(Event())
        await until(lambda: bool(heard and tasks_began))
        assert await system.hooks.call(hooks_under_test.greeting, "Ada") == []

        assert (await client.get("/fine")).status == 200
        if misbehave is not hang:
            assert (await calling).status == 500
            await until(lambda: len(heard) >= 2)
        assert info_of(system, "busy").state is Health.OK
        monkeypatch.setattr(plugins, "DRAIN_S", 0.02)
        await system.plugins.disable("busy")
        await calling
        assert info_of(system, "busy").state is Health.DISABLED


async def test_tasks_that_a_plugin_made_by_itself_and_left_are_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ended = list[str]()

    async def forever(what: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(what)

    class Careless(Plugin):
        name = "careless"

        async def setup(self, kernel: Kernel) -> None:
            self.left = [asyncio.create_task(forever("setup"), name="left by setup")]
            kernel.on(Event, self.listen)

        async def listen(self, _: Event) -> None:
            self.left.append(asyncio.create_task(forever("listener")))

        def routes(self) -> Routes:
            found = Routes()

            async def begin() -> None:
                self.left.append(asyncio.create_task(forever("route")))

            found.get("/begin", access=PUBLIC)(begin)
            return found

    class Orderly(Plugin):
        name = "orderly"

        async def setup(self, kernel: Kernel) -> None:
            self.own = asyncio.create_task(forever("another's"))

    async with house(tmp_path, Careless, Orderly) as (system, client):
        await client.get("/begin")
        system.bus.publish(Event())
        await system.bus.drained()

        await system.plugins.disable("careless")

        assert set(ended) >= {"setup", "listener", "route"}
        assert "another's" not in ended
        assert "left by setup" in caplog.text
        assert (await client.get("/fine")).status == 200


# --- again and again --------------------------------------------------------------------------------------------------

ROUNDS = 100
GROWTH_BYTES = 5_000_000
"""Half of what would stay of the plugins, if they stayed; the threads of a busy machine take some too."""


class Whole(with_route("whole", "/whole")):  # type: ignore[misc]  # a class made by a function
    """Uses much of what the kernel offers, and leaves a task besides."""

    async def setup(self, kernel: Kernel) -> None:
        kernel.on(Event, lambda event: None)
        kernel.register_kind(CallerKind("whole"), lambda subject: Principal("whole", subject, Role.ADMIN))
        kernel.condition("whole", self.check)
        await kernel.listen("whole", socket.create_server(("127.0.0.1", 0)))
        self.data = bytearray(100_000)  # to be noticed if it stays
        self.left = asyncio.create_task(self.forever())

    async def check(self, fetch_bytes: int) -> str | None:
        return None

    async def forever(self) -> None:
        await asyncio.Event().wait()

    def tasks(self) -> Iterable[Task]:
        yield Task("forever", self.forever)

    @hookimpl
    def greeting(self, name: str) -> str:
        return name


async def test_a_hundred_rounds_leave_nothing_behind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR")  # the records that pytest keeps would be taken for a leak

    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def made() -> int:
        gc.collect()
        return sum(isinstance(one, Whole) for one in gc.get_objects())

    async with (
        asyncio.timeout(60),
        running_system(tmp_path, plugins=[Fine, Whole]) as system,
    ):

        async def round_trip() -> None:
            await system.plugins.disable("whole")
            await system.plugins.enable("whole")
            assert info_of(system, "whole").state is Health.OK

        for _ in range(10):
            await round_trip()
        await system.bus.drained()
        before = len(asyncio.all_tasks()), open_files(), set(system.server.listeners), len(system.server.table.entries)
        assert made() == 1
        memory = resident_bytes()

        for number in range(ROUNDS):
            await round_trip()
            if number % 10 == 0:
                gc.collect()  # what waits for the collector has not stayed, but its room would be taken for that
        await system.bus.drained()

        after = len(asyncio.all_tasks()), open_files(), set(system.server.listeners), len(system.server.table.entries)
        assert after == before
        assert made() == 1
        assert resident_bytes() - memory < GROWTH_BYTES
        subscribed = [
            (subscription.owner, kind.__name__)
            for kind, subscriptions in system.bus._subscriptions.items()
            for subscription in subscriptions
            if subscription.owner != "rooftree.testing"
        ]
        assert sorted(subscribed) == [("kernel", "LoopBlocked"), ("whole", "Event")]
        assert len(system.hooks._manager.get_plugins()) == 2


async def test_what_was_deferred_is_called_in_reverse_order_when_a_plugin_stops_or_its_setup_fails(
    tmp_path: Path,
) -> None:
    happened: list[str] = []

    class Careful(Plugin):
        name = "careful"
        fails = False

        async def setup(self, kernel: Kernel) -> None:
            kernel.defer(happened.append, "first")
            kernel.defer(self.later, "second")
            kernel.defer(self.broken)
            if self.fails:
                raise RuntimeError("no")

        async def later(self, what: str) -> None:
            await asyncio.sleep(0)
            happened.append(what)

        def broken(self) -> None:
            raise ValueError("broken")

        async def stop(self) -> None:
            happened.append("stop")

    async with running_system(tmp_path / "a", plugins=[Careful]):
        assert happened == []
    assert happened == ["stop", "second", "first"]
    happened.clear()
    Careful.fails = True
    async with running_system(tmp_path / "b", plugins=[Careful], allow={"plugin_failed"}) as system:
        assert system.plugins.info("careful").state == "failed"
        assert happened == ["stop", "second", "first"]

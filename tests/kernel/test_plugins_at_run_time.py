"""Plugins are enabled, disabled and restarted while the system runs: all that is theirs comes and goes with them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from rooftree import (
    CallerKind,
    Conflict,
    Event,
    Kernel,
    NotFound,
    NotReady,
    Plugin,
    Principal,
    Role,
    Routes,
    Task,
    hookimpl,
)
from rooftree.events import Problem, ProblemCleared, ProblemReported
from rooftree.plugins.life import Health
from rooftree.process import RecentLogs
from rooftree.process.system import System
from rooftree.settings import load
from rooftree.testing import Client, Failing, InstalledPlugin, running_system
from tests.kernel.hooks_under_test import greeting
from tests.kernel.plugins_under_test import (
    ALL_OK,
    FAMILY,
    THING,
    Fine,
    Noted,
    Thing,
    info_of,
    routes_of,
    states,
    until,
    with_route,
)


class Whole(Plugin):
    """Uses everything that the kernel offers."""

    name = "whole"
    provides = (THING,)
    made: ClassVar[list[Whole]] = []
    heard: ClassVar[list[Event]] = []

    def __init__(self) -> None:
        self.ticking = asyncio.Event()
        self.stopped = 0
        self.port = 0
        self.made.append(self)

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(THING, Thing())
        kernel.on(Event, self.heard.append)
        kernel.register_kind(CallerKind("whole"), lambda subject: Principal("whole", subject, Role.ADMIN))
        kernel.condition("whole", self.check)
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        await kernel.listen("whole", listening)

    async def check(self, fetch_bytes: int) -> str | None:
        return "never"

    def routes(self) -> Routes:
        return routes_of("/whole")

    def tasks(self) -> Iterable[Task]:
        yield Task("tick", self.tick)

    async def tick(self) -> None:
        self.ticking.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ticking.clear()

    @hookimpl
    def greeting(self, name: str) -> str:
        return f"Hello {name}"

    async def stop(self) -> None:
        self.stopped += 1


@pytest.fixture(autouse=True)
def fresh() -> None:
    Whole.made.clear()
    Whole.heard.clear()
    Noted.happened.clear()


@asynccontextmanager
async def house(
    tmp_path: Path, *plugins: type[Plugin] | InstalledPlugin, allow: Collection[Failing] = ()
) -> AsyncIterator[tuple[System, Client]]:
    async with (
        running_system(tmp_path, plugins=[Fine, *plugins], allow=allow) as system,
        Client.over_unix(system) as client,
    ):
        yield system, client


async def can_connect(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def test_everything_that_is_a_plugins_goes_with_it_and_comes_back_with_it(tmp_path: Path) -> None:
    async with house(tmp_path, Whole) as (system, client):
        fresh_token = system.tokens.new("whole", "somebody")
        await system.state.commit(fresh_token.change)
        token = fresh_token.text
        first = Whole.made[-1]
        await first.ticking.wait()
        assert system.tokens.principal(token) is not None

        await system.plugins.disable("whole")

        system.bus.publish(Event())
        await system.bus.drained()
        assert not any(type(event) is Event for event in Whole.heard)
        assert system.services.find(THING) is None
        assert await system.hooks.call(greeting, "Ada") == []
        assert not first.ticking.is_set()
        assert not await can_connect(first.port)
        assert "whole" not in system.server.listeners
        assert system.tokens.principal(token) is None
        await system.conditions.require("a job", ["whole"])
        assert first.stopped == 1
        answer = await client.get("/whole")
        assert (answer.status, answer.message) == (503, "Plugin whole is disabled: by Rooftree itself")
        assert (await client.get("/nowhere")).status == 404
        assert (await client.get("/fine")).status == 200

        await system.plugins.enable("whole")

        second = Whole.made[-1]
        assert second is not first
        await second.ticking.wait()
        system.bus.publish(Event())
        await system.bus.drained()
        assert [type(event) for event in Whole.heard].count(Event) == 1
        assert system.services.find(THING) is not None
        assert await system.hooks.call(greeting, "Ada") == ["Hello Ada"]
        assert await can_connect(second.port)
        assert system.tokens.principal(token) is not None
        with pytest.raises(Exception, match="condition whole"):
            await system.conditions.require("a job", ["whole"])
        assert (await client.get("/whole")).status == 200
        assert info_of(system, "whole").state is Health.OK


async def test_restart_makes_a_new_object_and_stops_the_old_one(tmp_path: Path) -> None:
    async with house(tmp_path, Whole) as (system, client):
        for _ in range(2):
            await system.plugins.restart("whole")

        assert [one.stopped for one in Whole.made] == [1, 1, 0]
        assert [one.ticking.is_set() for one in Whole.made[:2]] == [False, False]
        assert (await client.get("/whole")).status == 200
        assert info_of(system, "whole").state is Health.OK


async def test_enabling_what_runs_and_disabling_what_does_not_changes_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, Whole) as (system, _):
        await system.plugins.enable("whole")
        assert len(Whole.made) == 1

        await system.plugins.disable("whole")
        await system.plugins.disable("whole")
        assert [one.stopped for one in Whole.made] == [1]
        assert info_of(system, "whole").state is Health.DISABLED


# --- dependents -------------------------------------------------------------------------------------------------------


async def test_dependents_stop_before_and_start_after_what_they_require(tmp_path: Path) -> None:
    async with house(tmp_path, *FAMILY, allow={"plugin_failed"}) as (system, client):
        Noted.happened.clear()

        await system.plugins.disable("base")

        assert Noted.happened == ["-top", "-middle", "-base"]
        assert states(system) == {
            **ALL_OK, "base": Health.DISABLED, "middle": Health.FAILED, "top": Health.FAILED
        }  # fmt: skip
        assert info_of(system, "top").reason == "it requires plugin base, which is disabled"
        assert (await client.get("/top")).message == (
            "Plugin top does not run: it requires plugin base, which is disabled"
        )
        Noted.happened.clear()

        await system.plugins.enable("base")

        assert Noted.happened == ["+base", "+middle", "+top"]
        assert states(system) == ALL_OK
        assert list(system.problems) == []
        Noted.happened.clear()

        await system.plugins.restart("middle")

        assert Noted.happened == ["-top", "-middle", "+middle", "+top"]
        assert states(system) == ALL_OK


async def test_dependents_start_when_what_they_require_is_enabled_for_the_first_time(tmp_path: Path) -> None:
    async with house(tmp_path, *FAMILY, allow={"plugin_failed"}) as (system, _):
        await system.plugins.disable("base")
    async with house(tmp_path, *FAMILY, allow={"plugin_failed"}) as (system, _):
        assert states(system)["top"] is Health.FAILED
        assert list(states(system)) == ["base", "beside", "fine", "middle", "top"]

        await system.plugins.enable("base")

        assert states(system) == ALL_OK
        assert list(system.problems) == []


async def test_plugin_that_is_disabled_itself_does_not_start_with_what_it_requires(tmp_path: Path) -> None:
    async with house(tmp_path, *FAMILY, allow={"plugin_failed"}) as (system, _):
        await system.plugins.disable("top")
        await system.plugins.disable("base")
        await system.plugins.enable("base")

        assert states(system) == {**ALL_OK, "top": Health.DISABLED}
        assert info_of(system, "top").reason == "by Rooftree itself"


# --- the choice -------------------------------------------------------------------------------------------------------


async def test_choice_survives_a_restart_of_the_system(tmp_path: Path) -> None:
    async with house(tmp_path, Whole) as (system, _):
        await system.plugins.disable("whole")

    async with house(tmp_path, Whole) as (system, client):
        assert (states(system)["whole"], len(Whole.made)) == (Health.DISABLED, 1)
        assert (await client.get("/whole")).status == 503
        await system.plugins.enable("whole")
        assert (await client.get("/whole")).status == 200

    async with house(tmp_path, Whole) as (system, client):
        assert states(system)["whole"] is Health.OK


@asynccontextmanager
async def with_file(tmp_path: Path, text: str) -> AsyncIterator[System]:
    """A system whose operator has written ``text`` about plugins."""
    file = tmp_path / "rooftree.toml"
    file.write_text(
        f'[kernel]\ndata_dir = "{tmp_path / "data"}"\nsocket = "{tmp_path / "s"}"\nport = 0\n[plugins]\n{text}\n'
    )
    settings = await asyncio.to_thread(load, config=file, environ={}, flags={})
    system = System(settings, RecentLogs())
    await system.open()
    try:
        both = (Fine, with_route("notes", "/notes"))
        await system.start_plugins([InstalledPlugin(one.name, lambda one=one: one) for one in both])
        yield system
    finally:
        await system.stop()


class Worried(Plugin):
    """Finds something wrong once, and never looks again."""

    name = "worried"
    has_looked: ClassVar[bool]

    async def setup(self, kernel: Kernel) -> None:
        if not self.has_looked:
            kernel.problems.report(Problem("worry", message="The moon is missing", severity="unhealthy"))
        Worried.has_looked = True


async def test_what_a_plugin_reported_is_shown_only_while_it_is_not_disabled(tmp_path: Path) -> None:
    def worries(system: System) -> list[str]:
        return [problem.message for problem in system.problems if problem.type == "worry"]

    Worried.has_looked = False
    heard: list[Event] = []
    async with running_system(tmp_path, plugins=[Worried]) as system:
        assert (worries(system), system.problems.healthy) == (["The moon is missing"], False)
        for kind in (ProblemReported, ProblemCleared):
            system.bus.subscribe(kind, heard.append, "test")
        await system.plugins.disable("worried")
        assert (worries(system), system.problems.healthy) == ([], True)
        await system.bus.drained()
    async with running_system(tmp_path, plugins=[Worried]) as system:
        assert (worries(system), system.problems.healthy) == ([], True)
        for kind in (ProblemReported, ProblemCleared):
            system.bus.subscribe(kind, heard.append, "test")
        await system.plugins.enable("worried")
        assert (worries(system), system.problems.healthy) == (["The moon is missing"], False)
        await system.bus.drained()

    assert [type(event) for event in heard] == [ProblemCleared, ProblemReported]


async def test_operators_file_wins_and_the_refusal_names_the_line(tmp_path: Path) -> None:
    async with with_file(tmp_path, 'disabled = ["notes"]') as system:
        with pytest.raises(Conflict, match=r"Plugin notes is disabled by rooftree.toml line 6; change that"):
            await system.plugins.enable("notes")
        await system.plugins.disable("notes")  # it is so already, and the reason stays the operator's
        assert info_of(system, "notes").reason == "by rooftree.toml line 6"
        with pytest.raises(Conflict, match=r"Plugin notes is disabled: by rooftree.toml line 6"):
            await system.plugins.restart("notes")

    async with with_file(tmp_path, 'enabled = ["fine"]') as system:
        with pytest.raises(Conflict, match=r"Plugin fine is enabled by rooftree.toml line 6; change that"):
            await system.plugins.disable("fine")
        with pytest.raises(Conflict, match=r"Plugin notes is disabled by rooftree.toml line 6; change that"):
            await system.plugins.enable("notes")
        assert {info.name: info.state for info in system.plugins} == {"fine": Health.OK, "notes": Health.DISABLED}


async def test_plugin_that_nobody_has_installed_is_not_found(tmp_path: Path) -> None:
    async with house(tmp_path) as (system, _):
        for change in (system.plugins.enable, system.plugins.disable, system.plugins.restart):
            with pytest.raises(NotFound, match="There is no plugin acme; installed are fine"):
                await change("acme")


# --- at once ----------------------------------------------------------------------------------------------------------


async def test_changes_that_come_at_once_are_done_one_after_another(tmp_path: Path) -> None:
    async with house(tmp_path, *FAMILY, allow={"plugin_failed"}) as (system, _):
        Noted.happened.clear()
        plugins = system.plugins

        outcomes = await asyncio.gather(
            plugins.restart("base"), plugins.disable("middle"), plugins.restart("middle"), plugins.enable("middle"),
            plugins.restart("middle"), return_exceptions=True,
        )  # fmt: skip

        assert [type(outcome) for outcome in outcomes] == [type(None), type(None), Conflict, type(None), type(None)]
        assert Noted.happened == [
            "-top", "-middle", "-base", "+base", "+middle", "+top", "-top", "-middle", "+middle", "+top", "-top",
            "-middle", "+middle", "+top",
        ]  # fmt: skip
        assert states(system) == ALL_OK


async def test_change_while_the_plugins_start_waits_for_them(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    class Slow(Noted):
        name = "slow"

        async def setup(self, kernel: Kernel) -> None:
            await go_on.wait()
            await super().setup(kernel)

    async with running_system(tmp_path) as system:
        starting = asyncio.create_task(system.start_plugins([InstalledPlugin("slow", lambda: Slow)]))
        await until(lambda: "slow" in states(system))
        disabling = asyncio.create_task(system.plugins.disable("slow"))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(starting, disabling)

        assert Noted.happened == ["+slow", "-slow"]
        assert states(system)["slow"] is Health.DISABLED


@pytest.mark.parametrize("turns", range(3))
async def test_changes_that_have_not_begun_when_rooftree_stops_are_refused_and_nothing_is_left_of_them(
    tmp_path: Path, turns: int
) -> None:
    """Strict: what was called, and is never awaited, fails this test."""
    async with running_system(tmp_path, plugins=[Fine]) as system:
        changes = [asyncio.create_task(system.plugins.restart("fine")) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await system.plugins.stop()

        outcomes = await asyncio.gather(*changes, return_exceptions=True)

    assert all(isinstance(outcome, NotReady) for outcome in outcomes)

"""Plugins come, fail and go without harm to each other."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rooftree import (
    PUBLIC,
    Event,
    Kernel,
    Plugin,
    PluginHealthChanged,
    PluginInfo,
    Problem,
    Routes,
    Service,
    Task,
    Unavailable,
    failpoints,
    plugins,
)
from rooftree.logs import RecentLogs
from rooftree.plugin_record import Health
from rooftree.system import System
from rooftree.testing import Client, InstalledPlugin, running_system


class Thing:
    """A service."""


class OtherThing:
    """Another service."""


THING = Service[Thing]("thing/1")
OTHER = Service[OtherThing]("other/1")


def routes_of(*paths: str) -> Routes:
    found = Routes()

    def answer() -> dict[str, list[str]]:
        return {"paths": list(paths)}

    for path in paths:
        found.get(path, access=PUBLIC)(answer)
    return found


def with_route(plugin_name: str, *paths: str) -> type[Plugin]:
    class WithRoute(Plugin):
        name = plugin_name

        def routes(self) -> Routes:
            return routes_of(*paths)

    return WithRoute


class Fine(Plugin):
    """Is there in every test, and must not notice the others."""

    name = "fine"

    def routes(self) -> Routes:
        return routes_of("/fine")


def info_of(system: System, name: str) -> PluginInfo:
    return next(info for info in system.plugins if info.name == name)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


# --- what can be wrong with a plugin ------------------------------------------------------------------------------


def import_error() -> type[Plugin]:
    raise ModuleNotFoundError("No module named 'acme'", name="acme")


def sys_exit() -> type[Plugin]:
    raise SystemExit(3)


class OtherName(Plugin):
    name = "somebody"


class NearMiss(Plugin):
    name = "broken"

    async def set_up(self, kernel: Kernel) -> None: ...


class NearMissRoutes(Plugin):
    name = "broken"

    def route(self) -> Routes:
        return Routes()


class RaisingConstructor(Plugin):
    name = "broken"

    def __init__(self) -> None:
        raise OSError("no such device")


class RaisingRoutes(Plugin):
    name = "broken"

    def routes(self) -> Routes:
        raise LookupError("no routes today")


class UnboundRoute(Plugin):
    name = "broken"

    def routes(self) -> Routes:
        return routes_with_handler(lambda wrong: None)


def routes_with_handler(handler: Callable[..., Any]) -> Routes:
    found = Routes()
    found.get("/broken", access=PUBLIC)(handler)
    return found


class RaisingSetup(Plugin):
    name = "broken"

    async def setup(self, kernel: Kernel) -> None:
        raise RuntimeError("the cable is loose")


class WordlessSetup(Plugin):
    name = "broken"

    async def setup(self, kernel: Kernel) -> None:
        raise ValueError


class HangingSetup(Plugin):
    name = "broken"

    async def setup(self, kernel: Kernel) -> None:
        await asyncio.Event().wait()


class NotProviding(Plugin):
    name = "broken"
    provides = (THING,)


class ProvidingMore(Plugin):
    name = "broken"

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(THING, Thing())


class Lacking(Plugin):
    name = "broken"
    requires = (THING,)


class TwoTasks(Plugin):
    name = "broken"

    def tasks(self) -> Iterable[Task]:
        return [Task("same", asyncio.Event().wait), Task("same", asyncio.Event().wait)]  # type: ignore[arg-type]


class DuplicateRoute(Plugin):
    name = "broken"

    def routes(self) -> Routes:
        return routes_of("/own", "/fine")


class RouteTwice(Plugin):
    name = "broken"

    def routes(self) -> Routes:
        return routes_of("/own", "/own")


BROKEN: dict[str, tuple[type[Plugin] | InstalledPlugin, str]] = {
    "import error": (InstalledPlugin("broken", import_error), "ModuleNotFoundError: No module named 'acme'"),
    "exit at import": (InstalledPlugin("broken", sys_exit), "SystemExit"),
    "no plugin class": (InstalledPlugin("broken", lambda: int), "no subclass of rooftree.Plugin"),
    "an instance": (InstalledPlugin("broken", Fine), "no subclass of rooftree.Plugin"),
    "other name": (InstalledPlugin("broken", lambda: OtherName), "'somebody'"),
    "near miss": (NearMiss, "NearMiss.set_up: did you mean setup?"),
    "near miss of routes": (NearMissRoutes, "NearMissRoutes.route: did you mean routes?"),
    "constructor": (RaisingConstructor, "no such device"),
    "routes": (RaisingRoutes, "no routes today"),
    "handler": (UnboundRoute, "parameter wrong needs a type"),
    "setup": (RaisingSetup, "the cable is loose"),
    "setup without a word": (WordlessSetup, "ValueError"),
    "hanging setup": (HangingSetup, "setup took more than 0.2 s"),
    "does not provide": (NotProviding, "setup did not provide thing/1"),
    "provides more": (ProvidingMore, "provides thing/1 without declaring it"),
    "missing requirement": (Lacking, "it requires thing/1, which no plugin that can start provides"),
    "two tasks": (TwoTasks, "two tasks called same"),
    "route of another": (DuplicateRoute, "GET /fine of plugin broken is already declared by plugin fine"),
    "route twice": (RouteTwice, "already declared by plugin broken"),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_broken_plugin_is_failed_with_the_reason_and_the_others_are_served(tmp_path: Path, what: str) -> None:
    plugin, reason = BROKEN[what]

    async with (
        running_system(tmp_path, plugins=[Fine, plugin], settings={"kernel.start_timeout_s": 0.2}) as system,
        Client.over_tcp(system) as client,
    ):
        broken = info_of(system, "broken")
        assert broken.state is Health.FAILED
        assert reason in (broken.reason or "")
        assert [problem.reference for problem in system.problems if problem.type == "plugin_failed"] == ["broken"]
        assert info_of(system, "fine").state is Health.OK
        assert (await client.get("/fine")).status == 200
        assert system.services.find(THING) is None


async def test_hanging_import_is_given_up_and_holds_up_neither_the_others_nor_the_stop(tmp_path: Path) -> None:
    go_on = threading.Event()

    def hanging() -> type[Plugin]:
        go_on.wait(30)
        return Fine

    try:
        async with (
            asyncio.timeout(5),
            running_system(
                tmp_path,
                plugins=[InstalledPlugin("hanging", hanging), Fine],
                settings={"kernel.start_timeout_s": 0.1},
            ) as system,
        ):
            assert "not imported within 0.1 s" in (info_of(system, "hanging").reason or "")
            assert info_of(system, "fine").state is Health.OK
    finally:
        go_on.set()


async def test_failed_plugin_gets_everything_taken_back(tmp_path: Path) -> None:
    happened = list[str]()

    class Greedy(Plugin):
        name = "greedy"
        provides = (THING,)

        async def setup(self, kernel: Kernel) -> None:
            kernel.provide(THING, Thing())
            kernel.on(Event, lambda event: happened.append("heard"))
            listening = socket.create_server(("127.0.0.1", 0))
            await kernel.listen("greedy", listening)
            raise RuntimeError("but no")

        async def stop(self) -> None:
            happened.append("stop")

    async with running_system(tmp_path, plugins=[Greedy, Fine]) as system:
        system.bus.publish(Event())
        await system.bus.drained()

        assert happened == ["stop"]
        assert system.services.find(THING) is None
        assert "greedy" not in system.server.listeners


async def test_plugin_that_raises_in_stop_and_one_that_hangs_there_do_not_keep_the_system_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(plugins, "STOP_S", 0.05)
    stopped = list[str]()

    class Raising(Plugin):
        name = "raising"

        async def stop(self) -> None:
            raise RuntimeError("a bug")

    class Hanging(Plugin):
        name = "hanging"

        async def stop(self) -> None:
            await asyncio.Event().wait()

    class Orderly(Plugin):
        name = "orderly"

        async def stop(self) -> None:
            stopped.append("orderly")

    async with running_system(tmp_path, plugins=[Orderly, Raising, Hanging]):
        pass

    assert stopped == ["orderly"]
    assert "plugin_stop_failed" in caplog.text
    assert "plugin_stop_timed_out" in caplog.text


# --- requirements -------------------------------------------------------------------------------------------------


async def test_dependents_start_after_and_stop_before_those_they_require(tmp_path: Path) -> None:
    happened = list[str]()

    class Noted(Plugin):
        name = "noted"

        async def setup(self, kernel: Kernel) -> None:
            await asyncio.sleep(0.001)
            for key in self.requires:
                kernel.service(key)
            happened.append(f"+{self.name}")
            for key in self.provides:
                kernel.provide(key, key.kind())

        async def stop(self) -> None:
            happened.append(f"-{self.name}")

    class Base(Noted):
        name = "base"
        provides = (THING,)

    class Middle(Noted):
        name = "middle"
        requires = (THING,)
        provides = (OTHER,)

    class Top(Noted):
        name = "top"
        requires = (OTHER, THING)

    async with running_system(tmp_path, plugins=[Top, Middle, Base]):
        assert happened == ["+base", "+middle", "+top"]

    assert happened == ["+base", "+middle", "+top", "-top", "-middle", "-base"]


@pytest.mark.parametrize("later", [False, True])
async def test_dependents_of_a_plugin_that_fails_in_setup_fail_naming_it(tmp_path: Path, later: bool) -> None:
    class Base(Plugin):
        name = "base"
        provides = (THING,)

        async def setup(self, kernel: Kernel) -> None:
            if later:
                await asyncio.sleep(0.001)
            raise RuntimeError("the cable is loose")

    class Top(Plugin):
        name = "top"
        requires = (THING,)

    async with running_system(tmp_path, plugins=[Base, Top, Fine]) as system:
        assert info_of(system, "top").state is Health.FAILED
        assert "plugin base" in (info_of(system, "top").reason or "")
        assert "the cable is loose" in (info_of(system, "top").reason or "")
        assert info_of(system, "fine").state is Health.OK


async def test_requirement_of_a_plugin_that_cannot_be_imported_is_missing_all_the_way_up(tmp_path: Path) -> None:
    class Middle(Plugin):
        name = "middle"
        requires = (THING,)
        provides = (OTHER,)

    class Top(Plugin):
        name = "top"
        requires = (OTHER,)

    broken = InstalledPlugin("base", import_error)
    async with running_system(tmp_path, plugins=[broken, Top, Middle, Fine]) as system:
        assert "requires thing/1" in (info_of(system, "middle").reason or "")
        assert "requires other/1" in (info_of(system, "top").reason or "")
        assert info_of(system, "fine").state is Health.OK


async def test_ring_of_requirements_is_refused_naming_its_members(tmp_path: Path) -> None:
    class One(Plugin):
        name = "one"
        requires = (THING,)
        provides = (OTHER,)

    class Two(Plugin):
        name = "two"
        requires = (OTHER,)
        provides = (THING,)

    async with running_system(tmp_path, plugins=[One, Two, Fine]) as system:
        assert info_of(system, "one").reason == "it and two require each other in a ring"
        assert info_of(system, "two").reason == "it and one require each other in a ring"
        assert info_of(system, "fine").state is Health.OK


async def test_optional_service_may_be_missing(tmp_path: Path) -> None:
    found = list[object]()

    class Easygoing(Plugin):
        name = "easygoing"
        optional = (THING,)

        async def setup(self, kernel: Kernel) -> None:
            found.append(kernel.find(THING))
            with pytest.raises(Unavailable):
                kernel.service(THING)

    async with running_system(tmp_path, plugins=[Easygoing]) as system:
        assert info_of(system, "easygoing").state is Health.OK
        assert found == [None]


async def test_second_provider_of_a_service_fails_and_the_first_keeps_it(tmp_path: Path) -> None:
    class First(Plugin):
        name = "first"
        provides = (THING,)

        async def setup(self, kernel: Kernel) -> None:
            kernel.provide(THING, Thing())

    class Second(First):
        name = "second"

    class User(Plugin):
        name = "user"
        requires = (THING,)

    # However long the import of the first takes.
    slow = InstalledPlugin("first", lambda: threading.Event().wait(0.02) or First)
    async with running_system(tmp_path, plugins=[slow, Second, User]) as system:
        assert "thing/1 is already provided by plugin first" in (info_of(system, "second").reason or "")
        assert info_of(system, "first").state is Health.OK
        assert info_of(system, "user").state is Health.OK
        assert system.services.find(THING) is not None


# --- versions -----------------------------------------------------------------------------------------------------


def distribution(folder: Path, requirement: str) -> Distribution:
    info = folder / "acme-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: acme\nVersion: 1.2\nRequires-Dist: attrs\nRequires-Dist: {requirement}\n"
    )
    return PathDistribution(info)


async def test_plugin_for_another_version_of_the_kernel_is_not_even_imported(tmp_path: Path) -> None:
    imported = list[str]()

    def load() -> type[Plugin]:
        imported.append("acme")
        return Fine

    entry = InstalledPlugin("acme", load, distribution(tmp_path, "rooftree>=99"))
    async with running_system(tmp_path, plugins=[entry]) as system:
        info = info_of(system, "acme")

    assert imported == []
    assert (info.distribution, info.version, info.state) == ("acme", "1.2", Health.FAILED)
    assert "it was written for rooftree >=99" in (info.reason or "")


async def test_plugin_for_this_version_is_loaded_and_shows_its_distribution(tmp_path: Path) -> None:
    entry = InstalledPlugin("fine", lambda: Fine, distribution(tmp_path, "rooftree<99"))
    async with running_system(tmp_path, plugins=[entry]) as system:
        info = info_of(system, "fine")

    assert (info.distribution, info.version, info.state) == ("acme", "1.2", Health.OK)


# --- routes of plugins that do not run ----------------------------------------------------------------------------


async def test_routes_of_a_disabled_plugin_answer_503_with_the_reason(tmp_path: Path) -> None:
    both = [with_route("notes", "/notes"), Fine]
    async with running_system(tmp_path, plugins=both):
        pass

    async with (
        running_system(tmp_path, plugins=both, settings={"plugins.disabled": ["notes"]}) as system,
        Client.over_unix(system) as admin,
        Client.over_tcp(system) as stranger,
    ):
        answer = await admin.get("/notes")
        assert answer.status == 503
        assert answer.message == "Plugin notes is disabled: by flag --disabled"
        assert info_of(system, "notes").state is Health.DISABLED
        assert (await admin.get("/never-there")).status == 404
        assert (await stranger.get("/notes")).status == 401
        assert (await admin.get("/fine")).status == 200


async def test_only_enabled_plugins_run_when_some_are_named(tmp_path: Path) -> None:
    both = [with_route("notes", "/notes"), Fine]
    async with running_system(tmp_path, plugins=both, settings={"plugins.enabled": ["fine"]}) as system:
        assert {info.name: info.state for info in system.plugins} == {"fine": Health.OK, "notes": Health.DISABLED}


async def test_routes_of_a_plugin_that_fails_later_answer_503_with_the_reason(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[with_route("broken", "/broken")]):
        pass

    for plugin, reason in ((InstalledPlugin("broken", import_error), "acme"), (RaisingSetup, "the cable is loose")):
        async with running_system(tmp_path, plugins=[plugin]) as system, Client.over_unix(system) as admin:
            answer = await admin.get("/broken")

            assert answer.status == 503
            assert reason in answer.message


async def test_routes_of_a_plugin_that_was_uninstalled_answer_503_until_another_has_them(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[with_route("old", "/things")]):
        pass

    async with running_system(tmp_path, plugins=[Fine]) as system, Client.over_unix(system) as admin:
        answer = await admin.get("/things")
        assert answer.status == 503
        assert "no longer installed" in answer.message

    async with running_system(tmp_path, plugins=[with_route("new", "/things")]) as system, Client.over_tcp(system) as c:
        assert (await c.get("/things")).status == 200


def with_part(plugin_name: str, part: str) -> type[Plugin]:
    class WithPart(Plugin):
        name = plugin_name

        def routes(self) -> Routes:
            found = Routes()

            def one(x: str) -> None: ...
            def two(y: str) -> None: ...

            found.get(f"/parts/{{{part}}}", access=PUBLIC)(one if part == "x" else two)
            return found

    return WithPart


async def test_remembered_routes_of_several_plugins_may_overlap(tmp_path: Path) -> None:
    for plugin in (with_part("one", "x"), with_part("two", "y")):
        async with running_system(tmp_path, plugins=[plugin]):
            pass

    async with running_system(tmp_path, plugins=[Fine]) as system, Client.over_unix(system) as admin:
        assert (await admin.get("/parts/5")).status == 503

    async with running_system(tmp_path, plugins=[with_part("three", "y")]) as system, Client.over_tcp(system) as c:
        assert (await c.get("/parts/5")).status == 200


async def test_routes_answer_503_while_their_plugin_starts_and_the_others_are_served(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    class Slow(Plugin):
        name = "slow"

        def routes(self) -> Routes:
            return routes_of("/slow")

        async def setup(self, kernel: Kernel) -> None:
            await go_on.wait()

    async with running_system(tmp_path) as system, Client.over_tcp(system) as client:
        starting = asyncio.create_task(
            system.start_plugins([InstalledPlugin("slow", lambda: Slow), InstalledPlugin("fine", lambda: Fine)])
        )
        await until(lambda: any(info.name == "fine" and info.state is Health.OK for info in system.plugins))
        early = await client.get("/slow")
        fine = await client.get("/fine")
        go_on.set()
        await starting

        assert (early.status, early.envelope["error_key"]) == (503, "system_not_ready_error")
        assert "slow is starting" in early.message
        assert fine.status == 200
        assert (await client.get("/slow")).status == 200


async def test_full_disk_does_not_keep_a_plugin_from_running(tmp_path: Path) -> None:
    async with running_system(tmp_path) as system, Client.over_tcp(system) as client:
        failpoints.arm("database.before_commit=nospace")
        try:
            await system.start_plugins([InstalledPlugin("fine", lambda: Fine)])
        finally:
            failpoints.arm("")

        assert info_of(system, "fine").state is Health.OK
        assert (await client.get("/fine")).status == 200


# --- health -------------------------------------------------------------------------------------------------------


async def test_health_is_told_as_events_and_shown(tmp_path: Path) -> None:
    seen = list[tuple[str, str | None]]()

    class Moody(Plugin):
        name = "moody"
        kernel: ClassVar[Kernel]

        async def setup(self, kernel: Kernel) -> None:
            type(self).kernel = kernel
            kernel.degraded("the engine is away")

        def routes(self) -> Routes:
            return routes_of("/moody")

    class Watching(Plugin):
        name = "watching"

        async def setup(self, kernel: Kernel) -> None:
            kernel.on(PluginHealthChanged, self.note)

        def note(self, event: PluginHealthChanged) -> None:
            if event.name == "moody":
                seen.append((event.health, event.reason))

    async with running_system(tmp_path, plugins=[Watching, Moody]) as system, Client.over_tcp(system) as client:
        info = info_of(system, "moody")
        assert (info.state, info.reason) == (Health.DEGRADED, "the engine is away")
        assert (await client.get("/moody")).status == 200
        Moody.kernel.recovered()
        Moody.kernel.recovered()
        Moody.kernel.degraded("again")
        await system.bus.drained()
        assert info_of(system, "moody").state is Health.DEGRADED

    assert seen[:3] == [(Health.DEGRADED, "the engine is away"), (Health.OK, None), (Health.DEGRADED, "again")]


async def test_plugins_are_listed_by_name_with_what_they_offer_and_use(tmp_path: Path) -> None:
    class Offering(Plugin):
        name = "offering"
        provides = (THING,)
        optional = (OTHER,)

        async def setup(self, kernel: Kernel) -> None:
            kernel.provide(THING, Thing())

    class Using(Plugin):
        name = "a-user"
        requires = (THING,)

    async with running_system(tmp_path, plugins=[Offering, Using]) as system:
        first, second = system.plugins

    assert (first.name, first.requires) == ("a-user", ["thing/1"])
    assert (second.provides, second.optional) == (["thing/1"], ["other/1"])


async def test_failure_is_forgotten_when_the_plugin_runs_again(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[RaisingSetup]) as system:
        assert [problem.reference for problem in system.problems] == ["broken"]

    async with running_system(tmp_path, plugins=[with_route("broken", "/broken")]) as system:
        assert list(system.problems) == []


@pytest.mark.parametrize("settings", [{}, {"plugins.disabled": ["broken"]}])
async def test_failure_is_forgotten_when_the_plugin_is_gone_or_disabled(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    async with running_system(tmp_path, plugins=[RaisingSetup]) as system:
        system.problems.report(Problem("kept"))

    left = [RaisingSetup] if settings else []
    async with running_system(tmp_path, plugins=left, settings=settings) as system:
        assert [problem.type for problem in system.problems] == ["kept"]


async def test_stop_while_plugins_start_gives_back_what_they_took(tmp_path: Path) -> None:
    happened = list[str]()
    began = asyncio.Event()

    class Slow(Plugin):
        name = "slow"

        async def setup(self, kernel: Kernel) -> None:
            happened.append("setup")
            began.set()
            await asyncio.Event().wait()

        async def stop(self) -> None:
            happened.append("stop")

    async with running_system(tmp_path) as system:
        starting = asyncio.create_task(system.start_plugins([InstalledPlugin("slow", lambda: Slow)]))
        await began.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

        assert happened == ["setup", "stop"]


async def test_no_installed_plugin_is_loaded_by_accident(tmp_path: Path) -> None:
    async with running_system(tmp_path, logs=RecentLogs()) as system:
        assert list(system.plugins) == []
        assert len(system.server.table.entries) == 0


async def test_plugin_may_listen_on_a_socket_of_its_own_while_it_runs(tmp_path: Path) -> None:
    ports = list[int]()

    class Listening(Plugin):
        name = "listening"

        def routes(self) -> Routes:
            return routes_of("/listening")

        async def setup(self, kernel: Kernel) -> None:
            for _ in range(2):  # the second takes the place of the first
                listening = socket.create_server(("127.0.0.1", 0))
                ports.append(listening.getsockname()[1])
                await kernel.listen("extra", listening)

    async with running_system(tmp_path, plugins=[Listening]) as system:
        assert set(system.server.listeners) == {"tcp", "unix", "extra"}
        _, writer = await asyncio.open_connection("127.0.0.1", ports[1])
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", ports[0])

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", ports[1])


async def test_of_two_plugins_with_one_name_the_first_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    twins = [with_route("twin", "/first"), with_route("twin", "/second")]
    async with running_system(tmp_path, plugins=twins) as system, Client.over_unix(system) as admin:
        assert (await admin.get("/first")).status == 200
        assert (await admin.get("/second")).status == 404

    assert "plugin_name_taken" in caplog.text

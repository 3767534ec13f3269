"""Routes of plugins that do not run, or not yet, answer 503 with the reason."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from rooftree import PUBLIC, From, Kernel, Plugin, Routes
from rooftree.plugins.life import Health
from rooftree.process import RecentLogs
from rooftree.process.system import System
from rooftree.settings import load
from rooftree.state import failpoints
from rooftree.testing import Client, InstalledPlugin, running_system
from tests.kernel.plugins_under_test import Fine, RaisingSetup, import_error, info_of, routes_of, until, with_route


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
        async with (
            running_system(tmp_path, plugins=[plugin], allow={"plugin_failed"}) as system,
            Client.over_unix(system) as admin,
        ):
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


async def test_plugin_itself_is_a_parameter_of_its_routes_and_of_no_others(tmp_path: Path) -> None:
    routes, others = Routes(), Routes()

    class Speed(Plugin):
        name = "speed"

        async def setup(self, kernel: Kernel) -> None:
            self.limit = 42

        def routes(self) -> Routes:
            return routes

    class Faster(Speed):
        """A test's own."""

    class Stranger(Plugin):
        name = "stranger"

        def routes(self) -> Routes:
            return others

    def limit(speed: Speed, over: int = 0) -> int:
        return speed.limit + over

    def sum_of(speed: Speed, twice: int = 2) -> int:
        return speed.limit * twice

    limit.__annotations__ |= {"speed": Speed, "over": int, "return": int}
    sum_of.__annotations__ |= {"speed": Speed, "twice": int, "return": int}

    def together(sum: int) -> int:
        return sum

    together.__annotations__ |= {"sum": Annotated[int, From(sum_of)], "return": int}
    routes.get("/limit", access=PUBLIC)(limit)
    routes.get("/sum", access=PUBLIC)(together)
    others.get("/stolen", access=PUBLIC)(limit)
    async with running_system(tmp_path, plugins=[Faster, Stranger]) as system, Client.over_unix(system) as client:
        first = (await client.get("/limit?over=1")).data
        assert (await client.get("/sum")).data == 84
        stolen = await client.get("/stolen")
        system.plugins._lives["speed"].plugin.limit = 1  # type: ignore[union-attr]  # a Speed
        changed = (await client.get("/limit")).data
        await system.plugins.restart("speed")
        anew = (await client.get("/limit")).data

    assert (first, changed, anew) == (43, 1, 42)
    assert (stolen.status, stolen.message) == (503, "No enabled plugin provides Speed")


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[System]:
    """A system that answers, and whose plugins nobody has begun to start."""
    places = {"kernel.data_dir": folder / "data", "kernel.socket": folder / "s", "kernel.port": 0}
    settings = await asyncio.to_thread(load, config=None, environ={"ROOFTREE_CONFIG": ""}, flags=places)
    system = System(settings, RecentLogs())
    await system.open()
    try:
        yield system
    finally:
        await system.stop()


async def test_what_nobody_has_yet_is_answered_503_until_all_plugins_are_loaded(tmp_path: Path) -> None:
    go_on = threading.Event()

    def imported() -> type[Plugin]:
        go_on.wait(10)
        return with_route("notes", "/notes")

    async with (
        opened(tmp_path) as system,
        Client.over_unix(system) as admin,
        Client.over_tcp(system) as stranger,
    ):
        early = [
            await admin.get("/notes"),
            await stranger.get("/notes"),  # it may turn out to be public
            await admin.post("/kernel/v1/plugins/notes/restart"),
            await admin.post("/kernel/v1/plugins/boards.acme/enable"),
            await admin.delete("/kernel/v1/plugins/notes"),
        ]
        starting = asyncio.create_task(system.start_plugins([InstalledPlugin("notes", imported)]))
        await until(lambda: any(info.name == "notes" for info in system.plugins))
        early += [await admin.get("/notes"), await admin.post("/notes/1")]
        own = await admin.get("/kernel/v1/ping")
        go_on.set()
        await starting

        assert {(answer.status, answer.envelope["error_key"]) for answer in early} == {(503, "system_not_ready_error")}
        assert early[0].message.startswith("Rooftree is starting, and does not know yet what is at /notes")
        assert own.status == 200
        assert (await admin.get("/notes")).status == 200
        assert (await admin.get("/notes/1")).status == 404
        assert (await stranger.get("/notes/1")).status == 401
        assert (await admin.post("/kernel/v1/plugins/nodes/restart")).status == 404


async def test_what_a_plugin_has_is_not_taken_for_left_behind_before_it_is_loaded(tmp_path: Path) -> None:
    async with opened(tmp_path) as system:
        await system.start_plugins([InstalledPlugin("notes", lambda: with_route("notes", "/notes"))])

    async with opened(tmp_path) as system, Client.over_unix(system) as admin:
        assert (await admin.get("/kernel/v1/plugins")).data["left_behind"] == []
        purged = await admin.delete("/kernel/v1/plugins/notes")

        assert (purged.status, purged.envelope["error_key"]) == (503, "system_not_ready_error")
        assert (await admin.get("/notes")).status == 503


async def test_what_nobody_has_is_404_once_a_plugin_could_not_be_loaded(tmp_path: Path) -> None:
    async with opened(tmp_path) as system, Client.over_unix(system) as admin:
        await system.start_plugins([InstalledPlugin("broken", import_error)])

        assert (await admin.get("/broken")).status == 404

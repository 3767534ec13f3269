"""How plugins are is told, shown, and forgotten when it is not so any more."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import ClassVar

import pytest

from rooftree import Kernel, Plugin, PluginHealthChanged, Problem, Routes
from rooftree.plugins.life import Health
from rooftree.process import RecentLogs
from rooftree.testing import Client, InstalledPlugin, running_system
from tests.kernel.plugins_under_test import OTHER, THING, RaisingSetup, Thing, info_of, routes_of, with_route


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
    async with running_system(tmp_path, plugins=[RaisingSetup], allow={"plugin_failed"}) as system:
        assert [problem.reference for problem in system.problems] == ["broken"]

    async with running_system(tmp_path, plugins=[with_route("broken", "/broken")]) as system:
        assert list(system.problems) == []


@pytest.mark.parametrize("settings", [{}, {"plugins.disabled": ["broken"]}])
async def test_failure_is_forgotten_when_the_plugin_is_gone_or_disabled(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    async with running_system(tmp_path, plugins=[RaisingSetup], allow={"plugin_failed"}) as system:
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
        assert {entry.owner for entry in system.server.table.entries} == {"kernel"}


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

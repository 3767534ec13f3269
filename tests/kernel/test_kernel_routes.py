"""What the kernel answers itself: also while nothing else runs, and for the command line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from rooftree import PUBLIC, Kernel, Plugin, Principal, Problem, Role, Routes
from rooftree.cli import rooftree
from rooftree.process.system import System
from rooftree.testing import Client, InstalledPlugin, running_system, token_for
from rooftree_supervisor.plugin import SupervisorPlugin


class BrokenSupervisor(SupervisorPlugin):
    """Fails at its start."""

    async def setup(self, kernel: Kernel) -> None:
        """Fail."""
        raise RuntimeError("no journal")


def unimportable() -> object:
    raise ImportError("cannot import name 'kernel'")


HOUSES: dict[str, tuple[list[Any], dict[str, object]]] = {
    "disabled": ([SupervisorPlugin], {"plugins.disabled": ["supervisor"]}),
    "failed": ([BrokenSupervisor], {}),
    "not importable": ([InstalledPlugin("supervisor", unimportable)], {}),
    "not installed": ([], {}),
}


@pytest.fixture(params=HOUSES)
async def system(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
    """A system that has run with the supervisor plugin, and now does not."""
    async with running_system(tmp_path, plugins=[SupervisorPlugin]):
        pass
    plugins, settings = HOUSES[request.param]
    async with running_system(tmp_path, plugins=plugins, settings=settings, allow={"plugin_failed"}) as running:
        yield running


async def cli(system: System, *words: str) -> Result:
    there = ["--socket", str(system.settings.kernel.socket)]
    return await asyncio.to_thread(CliRunner().invoke, rooftree, [*there, *words])


async def test_liveness_plugins_and_problems_are_answered_without_the_supervisor(system: System) -> None:
    system.problems.report(Problem("smoke", message="There is smoke"))
    async with Client.over_unix(system) as client:
        assert (await client.get("/supervisor/ping")).status == 503
        ping = await client.get("/kernel/v1/ping")
        plugins = (await client.get("/kernel/v1/plugins")).data
        problems = (await client.get("/kernel/v1/problems")).data["problems"]

    assert (ping.status, ping.data) == (200, {})
    assert [row["name"] for row in (*plugins["plugins"], *plugins["left_behind"])] == ["supervisor"]
    assert "There is smoke" in [problem["message"] for problem in problems]


async def test_command_line_lists_plugins_and_problems_without_the_supervisor(system: System) -> None:
    system.problems.report(Problem("smoke", message="There is smoke"))

    plugins, problems = await cli(system, "plugins", "--json"), await cli(system, "problems")

    shown = orjson.loads(plugins.stdout)
    assert [row["name"] for row in (*shown["plugins"], *shown["left_behind"])] == ["supervisor"]
    assert "There is smoke" in problems.stdout


async def test_access_is_the_same_without_the_supervisor(system: System) -> None:
    statuses = {
        role: [
            (await program.request(method, path)).status
            for method, path in (
                ("GET", "/kernel/v1/ping"),
                ("GET", "/kernel/v1/plugins"),
                ("GET", "/kernel/v1/problems"),
                ("POST", "/kernel/v1/plugins/acme/enable"),
            )
        ]
        for role in (Role.DEFAULT, Role.MANAGER, Role.ADMIN)
        async for program in with_role(system, role)
    }
    async with Client.over_tcp(system) as stranger:
        assert (await stranger.get("/kernel/v1/ping")).status == 200
        assert (await stranger.get("/kernel/v1/plugins")).status == 401

    assert statuses == {
        Role.DEFAULT: [200, 403, 403, 403],
        Role.MANAGER: [200, 200, 200, 403],
        Role.ADMIN: [200, 200, 200, 404],
    }


async def with_role(system: System, role: Role) -> AsyncIterator[Client]:
    token = await token_for(system, Principal("token", "program", role))
    async with Client.over_tcp(system, token) as program:
        yield program


async def test_a_plugin_that_was_disabled_is_enabled_by_the_command_line_though_it_is_the_supervisor(
    tmp_path: Path,
) -> None:
    async with (
        running_system(tmp_path, plugins=[SupervisorPlugin]) as system,
        Client.over_unix(system) as client,
    ):
        assert (await cli(system, "plugins", "disable", "supervisor")).stdout.startswith("supervisor is disabled: by ")
        assert (await client.get("/supervisor/ping")).status == 503
        assert (await cli(system, "plugins", "enable", "supervisor")).stdout == "supervisor is ok\n"
        assert (await client.get("/supervisor/ping")).status == 200


async def test_no_plugin_takes_a_route_of_the_kernel_or_its_name(tmp_path: Path) -> None:
    routes = Routes()

    @routes.get("/kernel/v1/plugins", access=PUBLIC)
    def theirs() -> None: ...

    class Thief(Plugin):
        name = "thief"

        def routes(self) -> Routes:
            return routes

    class Impostor(Plugin):
        name = "kernel"

    class Escaping(Plugin):
        name = "../escaping"

    async with (
        running_system(tmp_path, plugins=[Thief, Impostor, Escaping], allow={"plugin_failed"}) as system,
        Client.over_unix(system) as client,
    ):
        problems = {problem.reference for problem in system.problems if problem.type == "plugin_name_refused"}
        reasons = {row["name"]: row["reason"] for row in (await client.get("/kernel/v1/plugins")).data["plugins"]}

    assert reasons["thief"] == "GET /kernel/v1/plugins of plugin thief is already declared by plugin kernel"
    sentence = "its name must be lower-case letters, digits, dashes and underscores, and not kernel"
    assert (reasons["kernel"], reasons["../escaping"]) == (sentence, sentence)
    assert problems == {"rooftree.plugins:kernel", "rooftree.plugins:../escaping"}

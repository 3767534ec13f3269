"""Plugins that do not start again, or clash with others, when they are switched while the system runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from rooftree import Kernel, Plugin, Routes, Service, hookimpl
from rooftree.plugins.life import Health
from rooftree.process.system import System
from rooftree.testing import Client, Failing, InstalledPlugin, running_system
from tests.kernel.hooks_under_test import greeting
from tests.kernel.plugins_under_test import (
    ALL_OK,
    OTHER,
    THING,
    Base,
    Beside,
    Fine,
    Middle,
    Noted,
    Top,
    info_of,
    routes_of,
    states,
    with_route,
)


@asynccontextmanager
async def house(
    tmp_path: Path, *plugins: type[Plugin] | InstalledPlugin, allow: Collection[Failing] = ()
) -> AsyncIterator[tuple[System, Client]]:
    async with (
        running_system(tmp_path, plugins=[Fine, *plugins], allow=allow) as system,
        Client.over_unix(system) as client,
    ):
        yield system, client


class Moody(Base):
    """Starts when it is in the mood."""

    mood: ClassVar[str] = ""

    async def setup(self, kernel: Kernel) -> None:
        if self.mood:
            raise RuntimeError(self.mood)
        await super().setup(kernel)


async def test_plugin_whose_restart_fails_says_why_and_can_be_enabled_later_with_its_dependents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, Top, Middle, Moody, Beside, allow={"plugin_failed"}) as (system, client):
        monkeypatch.setattr(Moody, "mood", "the cable is loose")

        await system.plugins.restart("base")

        reason = info_of(system, "base").reason
        assert info_of(system, "base").state is Health.FAILED
        assert reason is not None
        assert reason.startswith(
            "RuntimeError: the cable is loose (tests/kernel/test_plugins_that_fail_at_run_time.py:"
        )
        assert states(system)["middle"] is Health.FAILED
        assert info_of(system, "middle").reason == f"it requires plugin base, which does not run: {reason}"
        assert {problem.reference for problem in system.problems} == {"base", "middle", "top"}
        assert (await client.get("/base")).message == f"Plugin base does not run: {reason}"
        assert (await client.get("/fine")).status == (await client.get("/beside")).status == 200

        await system.plugins.restart("base")
        assert states(system)["base"] is Health.FAILED
        monkeypatch.setattr(Moody, "mood", "")
        await system.plugins.enable("base")

        assert states(system) == ALL_OK
        assert list(system.problems) == []


async def test_failed_plugin_that_is_disabled_is_no_problem_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Moody, "mood", "the cable is loose")
    async with house(tmp_path, Moody, allow={"plugin_failed"}) as (system, _):
        assert [problem.reference for problem in system.problems] == ["base"]

        await system.plugins.disable("base")

        assert list(system.problems) == []
        assert info_of(system, "base").state is Health.DISABLED


async def test_disabled_plugin_leaves_its_service_to_another(tmp_path: Path) -> None:
    class Lacking(Noted):
        name = "lacking"
        requires = (OTHER,)
        provides = (THING,)

    async with house(tmp_path, Lacking, Base, allow={"plugin_failed"}) as (system, _):
        assert "thing/1 is already provided by plugin lacking" in (info_of(system, "base").reason or "")

        await system.plugins.disable("lacking")
        await system.plugins.enable("base")

        assert states(system)["base"] is Health.OK


@pytest.mark.parametrize(
    ("paths", "keys", "reason"),
    [
        (["/new", "/fine"], (), "GET /fine of plugin late is already declared by plugin fine"),
        (["/new"], (THING,), "the service thing/1 is already provided by plugin base"),
    ],
)
async def test_plugin_that_declares_what_another_has_fails_when_it_is_enabled(
    tmp_path: Path, paths: list[str], keys: tuple[Service[object], ...], reason: str
) -> None:
    class Late(Plugin):
        name = "late"
        provides = keys

        def routes(self) -> Routes:
            return routes_of(*paths)

    empty = InstalledPlugin("late", lambda: with_route("late"))
    async with house(tmp_path, Base, empty) as (system, _):
        await system.plugins.disable("late")

    async with house(tmp_path, Base, Late, allow={"plugin_failed"}) as (system, client):
        await system.plugins.enable("late")

        assert states(system)["late"] is Health.FAILED
        assert reason in (info_of(system, "late").reason or "")
        assert (await client.get("/fine")).data == {"paths": ["/fine"]}
        assert (await client.get("/new")).status == 404
        assert system.services.find(THING) is not None


async def test_problem_of_a_hook_ends_with_its_plugin(tmp_path: Path) -> None:
    class Failing(Plugin):
        name = "failing"

        @hookimpl
        def greeting(self, name: str) -> str:
            raise RuntimeError("a bug")

    async with house(tmp_path, Failing, allow={"hook_failed"}) as (system, _):
        await system.hooks.call(greeting, "Ada")
        assert [problem.reference for problem in system.problems] == ["failing.greeting"]

        await system.plugins.disable("failing")

        assert list(system.problems) == []


async def test_problem_of_a_hook_in_a_run_that_was_killed_is_forgotten(tmp_path: Path) -> None:
    async with house(tmp_path, allow={"hook_failed"}) as (system, _):
        system._hook_failed("fine", "greeting", RuntimeError("a bug"))

    async with house(tmp_path) as (system, _):
        assert list(system.problems) == []

"""Plugins start after those they require, and are refused where that, or the version of the kernel, does not fit."""

from __future__ import annotations

import asyncio
import threading
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

from rooftree import Kernel, Plugin, Unavailable
from rooftree.plugins.life import Health
from rooftree.testing import InstalledPlugin, running_system
from tests.kernel.plugins_under_test import OTHER, THING, Fine, Thing, import_error, info_of


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

    async with running_system(tmp_path, plugins=[Base, Top, Fine], allow={"plugin_failed"}) as system:
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
    async with running_system(tmp_path, plugins=[broken, Top, Middle, Fine], allow={"plugin_failed"}) as system:
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

    async with running_system(tmp_path, plugins=[One, Two, Fine], allow={"plugin_failed"}) as system:
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
    async with running_system(tmp_path, plugins=[slow, Second, User], allow={"plugin_failed"}) as system:
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
    async with running_system(tmp_path, plugins=[entry], allow={"plugin_failed"}) as system:
        info = info_of(system, "acme")

    assert imported == []
    assert (info.distribution, info.version, info.state) == ("acme", "1.2", Health.FAILED)
    assert "it was written for rooftree >=99" in (info.reason or "")


async def test_plugin_for_this_version_is_loaded_and_shows_its_distribution(tmp_path: Path) -> None:
    entry = InstalledPlugin("fine", lambda: Fine, distribution(tmp_path, "rooftree<99"))
    async with running_system(tmp_path, plugins=[entry]) as system:
        info = info_of(system, "fine")

    assert (info.distribution, info.version, info.state) == ("acme", "1.2", Health.OK)

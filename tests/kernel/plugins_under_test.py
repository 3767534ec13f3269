"""What the tests of plugins share: plugins, services, and looks at a running system."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

from rooftree import PUBLIC, Kernel, Plugin, PluginInfo, Routes, Service
from rooftree.plugins.life import Health
from rooftree.process.system import System
from tests.kernel.hooks_under_test import greeting, number


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
    hooks = (greeting, number)

    def routes(self) -> Routes:
        return routes_of("/fine")


def info_of(system: System, name: str) -> PluginInfo:
    return next(info for info in system.plugins if info.name == name)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def import_error() -> type[Plugin]:
    raise ModuleNotFoundError("No module named 'acme'", name="acme")


def sys_exit() -> type[Plugin]:
    raise SystemExit(3)


class RaisingSetup(Plugin):
    name = "broken"

    async def setup(self, kernel: Kernel) -> None:
        raise RuntimeError("the cable is loose")


class Noted(Plugin):
    """Says when it starts and stops."""

    name = "noted"
    happened: ClassVar[list[str]] = []

    async def setup(self, kernel: Kernel) -> None:
        for key in self.requires:
            kernel.service(key)
        await asyncio.sleep(0.001)
        self.happened.append(f"+{self.name}")
        for key in self.provides:
            kernel.provide(key, key.kind())

    def routes(self) -> Routes:
        return routes_of(f"/{self.name}")

    async def stop(self) -> None:
        await asyncio.sleep(0.001)
        self.happened.append(f"-{self.name}")


class Base(Noted):
    name = "base"
    provides = (THING,)


class Middle(Noted):
    name = "middle"
    requires = (THING,)
    provides = (OTHER,)


class Top(Noted):
    name = "top"
    requires = (OTHER,)


class Beside(Noted):
    name = "beside"
    optional = (THING,)


FAMILY = (Top, Middle, Base, Beside)


def states(system: System) -> dict[str, Health]:
    return {info.name: info.state for info in system.plugins}


ALL_OK = dict.fromkeys(("base", "beside", "fine", "middle", "top"), Health.OK)

"""What the tests of plugins share: plugins, services, and looks at a running system."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rooftree import PUBLIC, Kernel, Plugin, PluginInfo, Routes, Service
from rooftree.system import System


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


def import_error() -> type[Plugin]:
    raise ModuleNotFoundError("No module named 'acme'", name="acme")


def sys_exit() -> type[Plugin]:
    raise SystemExit(3)


class RaisingSetup(Plugin):
    name = "broken"

    async def setup(self, kernel: Kernel) -> None:
        raise RuntimeError("the cable is loose")

"""A house that installs Core by itself, with its landing page on ports of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from attrs import frozen

from rooftree import JobInfo
from rooftree.testing.containers import FakeContainerEngine
from rooftree_homeassistant import install, landing_page
from rooftree_homeassistant.core_health import CoreHealth
from rooftree_homeassistant.install import JOB
from rooftree_homeassistant.port_lead import LeadImpossible, PortLead
from tests.plugins.homeassistant.house import CoreHouse, WrittenFeed, core_house
from tests.plugins.homeassistant.running_core import CoreEngine
from tests.rig.service_process import free_port
from tests.rig.waiting import until

WITHIN_S = 10


@frozen
class Ports:
    """Core's port, and the usual one."""

    core: int
    usual: int


@frozen
class PageAnswer:
    """What a landing page answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        """The facts, of the page's JSON."""
        facts: dict[str, Any] = orjson.loads(self.body)
        return facts


class FirstHome(CoreHouse):
    """The house, and its page as a browser has it."""

    ports: Ports

    async def ask(
        self, path: str = "/landing/status", *, port: int | None = None, method: str = "GET", head: str = ""
    ) -> PageAnswer:
        """What the page answers; raises ``OSError`` where nobody listens."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.ports.core)
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: 192.0.2.1\r\n{head}\r\n".encode())
            answer = await reader.read()
        finally:
            writer.close()
        top, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = top.decode().split("\r\n")
        return PageAnswer(int(first.split(" ")[1]), dict(line.split(": ", 1) for line in lines), body)

    async def listens(self, port: int) -> bool:
        """Whether somebody does."""
        try:
            await self.ask(port=port)
        except OSError:
            return False
        return True

    async def until_shown(self, **facts: object) -> dict[str, Any]:
        """The facts of the page, once these are among them."""

        async def shown() -> dict[str, Any] | None:
            try:
                told = (await self.ask()).told
            except OSError:
                return None
            return told if facts.items() <= told.items() else None

        return await until(shown, within_s=WITHIN_S, what=f"a page with {facts}")

    def job(self) -> JobInfo:
        """The job that installs Core."""
        return next(job for job in self.system.jobs.listing() if job.name == JOB)

    async def comes_to(self, stage: str) -> None:
        """Wait until the install is at that stage, in the words of the jobs."""

        async def is_there() -> bool:
            return any(job.name == JOB and job.stage == stage for job in self.system.jobs.listing())

        await until(is_there, within_s=WITHIN_S, what=f"the stage {stage}")

    async def until_installed(self) -> None:
        """Wait until Core runs, and its job is over."""
        await self.comes_true("Core is installed", lambda: self.core.installed is not None)


async def _is_up(*_: object) -> None:
    """Core is well, in containers that do nothing."""


async def _no_lead(*_: object) -> None:
    raise LeadImpossible("the test wants none")


@asynccontextmanager
async def first_home(
    folder: Path,
    engine: FakeContainerEngine,
    patch: pytest.MonkeyPatch,
    feed: WrittenFeed | None = None,
    *,
    ports: Ports | None = None,
    leads: bool = False,
    privileged: bool = True,
    **more: Any,
) -> AsyncIterator[FirstHome]:
    """A house on that folder and engine in which Core is wanted.

    :param leads: whether who comes to Core's port while it starts is led to the page; that takes root and ``nft``
    """
    ports = ports or Ports(free_port(), free_port())
    patch.setattr(landing_page, "USUAL_PORT", ports.usual)
    patch.setattr(landing_page, "LOOK_S", 0.05)
    if not isinstance(engine, CoreEngine):
        patch.setattr(CoreHealth, "until_up", _is_up)
    if not leads:
        patch.setattr(PortLead, "begin", _no_lead)
    patch.setattr(install, "AGAIN_S", 0.05)
    if not await asyncio.to_thread((folder / "data").exists):
        async with core_house(folder, engine, feed) as house:
            assert (await house.client.post("/core/options", json={"port": ports.core})).status == 200
    wanted = {
        "plugins.homeassistant.install": True,
        "plugins.homeassistant.privileged": privileged,
        "kernel.stop_timeout_s": 0.2,  # an install would go on
    }
    async with core_house(folder, engine, feed, settings=wanted, **more) as house:
        home = FirstHome(house.system, house.client, house.engine, house.feed)
        home.ports = ports
        yield home

"""Thousands of random requests to every route of a system that runs: none makes it fail, and none leaves anything."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from attrs import define, field, frozen

from rooftree import Principal, Role
from rooftree.interfaces.containers import CONTAINER_ENGINE
from rooftree.process.system import System
from rooftree.testing import Client, Failing, running_system, token_for
from rooftree.testing.containers import FakeContainerEngine
from tests.contract.door import SETTINGS, our_plugins
from tests.contract.random_requests import RandomRequest, RandomRequests
from tests.plugins.addons.house import REGISTRY, write_offer

AT_A_TIME = 8
ANSWER_S = 20.0
SETTLES_S = 20.0
PEEK_S = 0.1
"""How long an answer is waited for that need not come."""
BODILESS = {101, 204, 304}
HOUSEKEEPING_EVERY = 200
MIB = 1024 * 1024
MAY_GROW_BYTES = 24 * MIB
SEED_VARIABLE = "ROOFTREE_SEED"
KEYS_OF_AN_ERROR = {"result", "message", "job_id", "error_key", "extra_fields"}


@frozen
class Answer:
    """What came back; ``status`` is 0 for nothing."""

    status: int = 0
    headers: dict[str, str] = field(factory=dict)
    body: bytes = b""


@frozen
class Weight:
    """What a process carries that could leak."""

    tasks: int
    files: int
    threads: int

    @classmethod
    def now(cls) -> Weight:
        return cls(len(asyncio.all_tasks()), sum(1 for _ in Path("/proc/self/fd").iterdir()), threading.active_count())

    def exceeds(self, other: Weight) -> bool:
        """Whether there is more of anything."""
        return self.tasks > other.tasks or self.files > other.files or self.threads > other.threads


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@define
class House:
    """The system that is knocked at, and what keeps it worth knocking at."""

    system: System
    admin: Client
    engine: FakeContainerEngine

    async def put_in_order(self) -> None:
        """What random requests have disabled, stopped or uninstalled is there again."""
        for plugin in (await self.admin.get("/kernel/v1/plugins")).data["plugins"]:
            if plugin["state"] != "ok":
                await self.admin.post(f"/kernel/v1/plugins/{plugin['name']}/enable")
        await asyncio.to_thread(write_offer, self.system.data.path, "hello")
        self.engine.publish_image(f"{REGISTRY}/hello:1.0")
        for path in ("/jobs/reset", "/store/reload", "/store/addons/local_hello/install", "/addons/local_hello/start"):
            await self.admin.post(path, json={})
        await self.admin.post("/jobs/options", json={"ignore_conditions": ["free_space"]})

    async def without_readers(self) -> None:
        """The store begins anew: its readers' threads, made when somebody asks, depend on whether it was restarted."""
        await self.system.plugins.enable("store")
        await self.system.plugins.restart("store")

    async def tokens(self) -> list[str]:
        """An administrator's, mostly, and those of lesser callers."""
        tokens = self.system.tokens
        for digest in tokens.known("token", "random"):
            await self.system.state.commit(tokens.revocation(digest))
        fresh = tokens.new("token", "random", Role.ADMIN)
        await self.system.state.commit(fresh.change)
        own = await token_for(self.system, Principal("addon", "local_hello", Role.MANAGER))
        core = await token_for(self.system, Principal("core", "homeassistant", Role.ADMIN))
        return [fresh.text] * 6 + [own, core]

    def names(self) -> dict[str, list[str]]:
        """By the name of a path's part, what there is of that name."""
        jobs = [info.uuid for info in self.system.jobs.listing()]
        return {
            "addon": ["local_hello", "self", "local_nothing"],
            "slug": ["local_hello", "local_nothing"],
            "repository": ["local", "core"],
            "plugin": ["nothing"] * 6 + ["store", "addons", "docker", "supervisor"],
            "job_id": [*jobs[:5], "0" * 32],
            "token_id": ["0" * 32],
            "version": ["1.0", "latest"],
        }

    async def settled(self, expected: Weight, within_s: float = SETTLES_S) -> Weight:
        """The weight once nothing is under way any more, or after a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while Weight.now().exceeds(expected):
                    gc.collect()
                    await asyncio.sleep(0.05)
        return Weight.now()


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    plugins = await asyncio.to_thread(lambda: [*our_plugins(FakeContainerEngine())])
    settings = {**SETTINGS, "plugins.store.machine": "generic-x86-64", "kernel.min_free_mib": 0}
    allow: set[Failing] = {"plugin_failed"}  # requests switch plugins off, so those that require them can't run
    async with (
        running_system(folder, plugins=plugins, settings=settings, allow=allow) as system,
        Client.over_unix(system) as admin,
    ):
        engine = system.services.get(CONTAINER_ENGINE)
        assert isinstance(engine, FakeContainerEngine)
        yield House(system, admin, engine)


async def ask(port: int, request: RandomRequest) -> Answer:
    """Send, and read the answer; of one without end, its beginning."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=MIB)
    try:
        writer.write(request.raw)
        async with asyncio.timeout(ANSWER_S if request.is_whole else PEEK_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            while head.startswith("HTTP/1.1 100"):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            status, body = int(first.split()[1]), b""
            if not request.asks_for_body or status in BODILESS:
                pass
            elif "content-length" in headers:
                body = await reader.readexactly(int(headers["content-length"]))
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PEEK_S / 5):
                        await reader.read(1000)
        return Answer(status, headers, body)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        if request.is_whole:
            raise AssertionError(f"the connection ended without an answer: {error!r}") from error
        return Answer()
    except TimeoutError:
        if request.is_whole:
            raise AssertionError(f"no answer within {ANSWER_S} s") from None
        return Answer()
    finally:
        writer.transport.abort()


NOT_NOW = {502, 503}
"""What is not there, or can't be reached by a proxy: nothing of this house that failed."""


def objection(answer: Answer) -> str | None:
    """What is wrong with the answer, if anything is."""
    if answer.status >= 500 and answer.status not in NOT_NOW:
        return f"status {answer.status}: {answer.body[:500]!r}"
    if answer.headers.get("content-type") != "application/json" or not answer.body:
        return None
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        return f"no JSON: {error}"
    if isinstance(body, dict) and answer.status == 200 and body.keys() >= {"openapi", "paths"}:
        return None  # the API's own document, whose form is OpenAPI's
    if not isinstance(body, dict):
        return f"no envelope: {answer.body[:200]!r}"
    if answer.status < 400 and body.keys() == {"result", "data"} and body["result"] == "ok":
        return None
    if answer.status >= 400 and body.keys() <= KEYS_OF_AN_ERROR and body["result"] == "error" and body["message"]:
        return None
    return f"status {answer.status} with this envelope: {answer.body[:300]!r}"


async def bombard(house: House, seed: int, number: int) -> Counter[int]:
    """Send so many requests, some at a time; how often each status came. Raises where an answer is wrong."""
    requests = RandomRequests(house.system.server.table.entries, seed, house.names(), await house.tokens())
    seen = Counter[int]()

    async def one() -> None:
        request = next(requests)
        try:
            answer = await ask(house.system.port, request)
            wrong = objection(answer)
        except AssertionError as error:
            wrong = str(error)
        assert wrong is None, f"seed {seed}: {request}: {wrong}"
        seen[answer.status] += 1

    for sent in range(0, number, AT_A_TIME):
        if sent % HOUSEKEEPING_EVERY == 0:
            await house.put_in_order()
            requests.names, requests.tokens = house.names(), await house.tokens()
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(one())
    await house.put_in_order()
    return seen


class Faults(logging.Handler):
    """Log lines that tell of something that went wrong inside."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "plugin_failed" not in str(record.msg):  # one that needs a plugin which a request has switched off
            self.lines.append(f"{record.name}: {record.msg} {record.exc_info}")


@pytest.fixture
def faults() -> Iterator[Faults]:
    """What is logged as an error, and nothing else: thousands of lines that pytest keeps would look like a leak."""
    handler = Faults()
    logging.getLogger().addHandler(handler)
    logging.disable(logging.WARNING)
    yield handler
    logging.disable(logging.NOTSET)
    logging.getLogger().removeHandler(handler)


async def bombarded(folder: Path, faults: Faults, seed: int, number: int) -> str:
    """Send the requests to a new house, and check what it carries afterwards; the figures."""
    async with house(folder) as here:
        await bombard(here, seed + 1, 200)  # what is filled once: caches, connections, the store's texts
        await here.without_readers()
        await here.settled(Weight(0, 0, 0), within_s=1.0)
        before, memory = Weight.now(), resident_bytes()
        began = time.monotonic()

        seen = await bombard(here, seed, number)

        took = time.monotonic() - began
        await here.without_readers()
        after = await here.settled(before)
        grown = resident_bytes() - memory
        statuses = dict(sorted(seen.items()))
        figures = f"seed {seed}: {number} in {took:.1f} s: {statuses}; {grown / MIB:+.1f} MiB; {after}"
        assert not after.exceeds(before), f"{figures}, before {before}: {asyncio.all_tasks()}"
        assert grown < MAY_GROW_BYTES, figures
        assert faults.lines == [], figures
        assert seen[200] > number / 20, figures
        open_jobs = [info.name for info in here.system.jobs.listing() if not info.done]
        assert open_jobs == [], figures
        assert (await here.admin.get("/info")).status == 200
    return figures


async def test_random_requests_to_every_route_fail_nothing_and_leave_nothing(tmp_path: Path, faults: Faults) -> None:
    print(await bombarded(tmp_path, faults, seed=20261125, number=1_200))


@pytest.mark.torture
async def test_ten_thousand_random_requests_fail_nothing_and_leave_nothing(
    tmp_path: Path, faults: Faults, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbelow(2**32))
    figures = await bombarded(tmp_path, faults, seed, number=10_000)
    print(figures)
    record_property("figures", figures)

"""No room on the disk, or no files to be opened: what was asked for is refused in words, nothing of it is left behind,
and all is well again as soon as there is some. On a real engine; the kernel's own part is in ``tests/kernel``.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from attrs import frozen

from tests.rig.addon import Addon
from tests.rig.addon_files import DOCKERFILE, REPOSITORY, WAITS, addon_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.footprint import Footprint
from tests.rig.git_server import GitServer
from tests.rig.registry import Registry
from tests.rig.waiting import until
from tests.torture.requirements import small_disk

pytestmark = pytest.mark.xdist_group("exhausted")

KIB = 1024
DISK_KIB = 16 * KIB
FAILURES = 1_000
AT_A_TIME = 20
MAY_GROW = 20
"""Connections to the engine and threads that are kept for the next time; what leaks with one of the ten kinds of
failure leaves a hundred."""
OPTIONS: dict[str, Any] = {"options": {"word": "old"}, "schema": {"word": "str"}}


@frozen
class House:
    """A daemon on a small disk, with a repository of two add-ons of which ``lamp`` is installed and runs."""

    daemon: Daemon
    engine: Engine
    registry: Registry
    slug: str
    """Of the repository."""

    @property
    def lamp(self) -> Addon:
        """The add-on that runs."""
        return self.addon("lamp")

    def addon(self, name: str) -> Addon:
        """One of the add-ons."""
        return Addon(self.daemon, self.engine, f"{self.slug}_{name}")

    async def footprint(self) -> Footprint:
        """What there is now."""
        return await Footprint.of(self.daemon, self.engine, registry=self.registry.address)

    async def stays(self, before: Footprint) -> None:
        """Wait until no job is under way; there is what there was."""
        await self.daemon.recovered()
        assert await self.footprint() == before

    @contextmanager
    def full_disk(self, leave_kib: int = 0) -> Iterator[None]:
        """The room of the disk is taken but for so much."""
        ballast = self.daemon.data_dir / "ballast"
        free = shutil.disk_usage(self.daemon.data_dir).free
        ballast.write_bytes(b"x" * max(0, free - leave_kib * KIB))
        try:
            yield
        finally:
            ballast.unlink()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(engine: Engine, registry: Registry, git_server: GitServer) -> AsyncIterator[House]:
    """One house for all tests."""
    for name in ("lamp", "other"):
        for version in ("1.0", "2.0"):
            registry.publish(f"exhausted/{name}", version, DOCKERFILE.format(version=version), {"run.sh": WAITS})
    offers = {
        key: text
        for name in ("lamp", "other")
        for key, text in addon_files(name, image=f"{registry.address}/exhausted/{name}", **OPTIONS).items()
    }
    absent = addon_files("absent", image=f"{registry.address}/exhausted/absent")
    repository = git_server.repository("exhausted", {**REPOSITORY, **offers, **absent})
    async with disposable_daemon(engine) as daemon:
        with small_disk(daemon.data_dir, DISK_KIB):
            daemon.environment = {"ROOFTREE_MIN_FREE_MIB": "0", "ROOFTREE_DISK_RESERVE_MIB": "1"}
            await daemon.start()
            try:
                await daemon.ok("POST", "/store/repositories", {"repository": repository.url})
                # Else an installation is refused before it begins, and the disk is never written to.
                await daemon.ok("POST", "/jobs/options", {"ignore_conditions": ["free_space"]})
                house = House(daemon, engine, registry, (await daemon.ok("GET", "/store/repositories"))[-1]["slug"])
                await house.lamp.install()
                await house.lamp.start()
                yield house
            finally:
                await daemon.kill()
                if instance := daemon.instance:  # the disk goes before the daemon's own end would look at it
                    engine.remove_instance(instance)


@pytest.fixture
async def house(shared: House) -> AsyncIterator[House]:
    """The house, with the add-on running before and after."""
    yield shared
    await shared.daemon.recovered()
    assert (await shared.lamp.info())["state"] == "started"


# --- the data disk ----------------------------------------------------------------------------------------------------


def said(answer: tuple[int, Any]) -> str:
    """The sentence of an answer that says that there is no room; any other fails the test."""
    status, body = answer
    assert status in {400, 503}, answer
    assert body["error_key"] is not None and "space" in body["message"], body
    return str(body["message"])


@pytest.mark.parametrize("leave_kib", [0, 4, 8, 16])
async def test_installation_on_a_full_disk_is_refused_in_words_or_done_and_leaves_nothing_half(
    house: House, leave_kib: int
) -> None:
    other, before = house.addon("other"), await house.footprint()

    with house.full_disk(leave_kib):
        answer = await house.daemon.call("POST", f"/store/addons/{other.slug}/install", {})
        await house.daemon.recovered()

    if answer[0] != 200:
        assert said(answer)
        await house.stays(before)
        await other.install()
    assert (await other.info())["version"] == "1.0"
    await other.uninstall()
    await house.stays(before)


@pytest.mark.parametrize("leave_kib", [0, 4, 8, 16])
async def test_start_on_a_full_disk_is_refused_in_words_or_done_and_leaves_nothing_half(
    house: House, leave_kib: int
) -> None:
    other = house.addon("other")
    await other.install()
    before = await house.footprint()

    with house.full_disk(leave_kib):
        answer = await house.daemon.call("POST", f"/addons/{other.slug}/start")
        await house.daemon.recovered()

    if answer[0] != 200:
        assert said(answer)
        await house.stays(before)
        await other.start()
    assert other.ask("/addons/self/options/config") == (200, {"word": "old"})
    await other.uninstall()


async def test_options_on_a_full_disk_stay_what_they_were(house: House) -> None:
    lamp = house.lamp
    path = f"/addons/{lamp.slug}/options"

    with house.full_disk():
        # Pages of the database that are free take some changes before the disk is needed.
        answers = [
            await house.daemon.call("POST", path, {"options": {"word": f"{n} " + "x" * 8000}}) for n in range(300)
        ]
        kept = (await lamp.info())["options"]["word"]
        await house.daemon.kill()
    await house.daemon.start()
    await house.daemon.recovered()

    assert said(answers[-1])
    taken = [number for number, (status, _) in enumerate(answers) if status == 200]
    assert kept.split()[0] == (str(taken[-1]) if taken else "old")
    assert (await lamp.info())["options"]["word"] == kept
    await house.daemon.ok("POST", path, {"options": None})


async def test_running_add_on_is_stopped_and_uninstalled_on_a_full_disk(house: House) -> None:
    other, before = house.addon("other"), await house.footprint()
    await other.install()
    await other.start()

    with house.full_disk():
        await other.stop()
        await other.uninstall()

    await house.stays(before)


async def test_repository_that_there_is_no_room_for_is_refused_and_leaves_no_half_clone(
    house: House, git_server: GitServer
) -> None:
    files = addon_files("book", image="a/b") | {"book/DOCS.md": "word " * 100_000}
    repository = git_server.repository("library", {**REPOSITORY, **files})
    before = await house.footprint()

    with house.full_disk(128):
        status, body = await house.daemon.call("POST", "/store/repositories", {"repository": repository.url})

    assert status in {500, 503} and body["error_key"] is not None, body
    await house.stays(before)
    await house.daemon.ok("POST", "/store/repositories", {"repository": repository.url})
    added = (await house.daemon.ok("GET", "/store/repositories"))[-1]
    assert added["source"] == repository.url
    await house.daemon.ok("DELETE", f"/store/repositories/{added['slug']}")


# --- files ------------------------------------------------------------------------------------------------------------


def pid_of(daemon: Daemon) -> int:
    """The daemon's process id."""
    assert daemon._process is not None
    return daemon._process.pid


def file_numbers(daemon: Daemon) -> set[int]:
    """The numbers of the files that the daemon has open."""
    return {int(path.name) for path in Path(f"/proc/{pid_of(daemon)}/fd").iterdir()}


def open_files(daemon: Daemon) -> int:
    """How many files the daemon has open."""
    return len(file_numbers(daemon))


def threads(daemon: Daemon) -> int:
    """How many threads the daemon has."""
    return sum(1 for _ in Path(f"/proc/{pid_of(daemon)}/task").iterdir())


@contextmanager
def no_file_to_spare(daemon: Daemon) -> Iterator[None]:
    """The daemon may have as many files open as it has now."""
    soft, hard = resource.prlimit(pid_of(daemon), resource.RLIMIT_NOFILE)
    # It is a limit of numbers, not of how many: the first that is free must not be given any more.
    free = next(number for number in itertools.count() if number not in file_numbers(daemon))
    resource.prlimit(pid_of(daemon), resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.prlimit(pid_of(daemon), resource.RLIMIT_NOFILE, (soft, hard))


async def test_start_without_a_file_to_spare_is_refused_in_words_and_done_when_there_is_one(house: House) -> None:
    other, daemon = house.addon("other"), house.daemon
    await other.install()
    before = await house.footprint()
    headers = {"Authorization": f"Bearer {daemon.admin_token}"}
    async with aiohttp.ClientSession(daemon.url, headers=headers) as session:
        async with session.get("/supervisor/ping") as ping:
            await ping.read()  # or the connection would not be kept

        with no_file_to_spare(daemon):
            async with session.post(f"/addons/{other.slug}/start") as refused:
                body = await refused.json()
            async with session.get("/addons") as listed:
                status = listed.status

    assert (refused.status, body["result"], status) == (503, "error", 200), body
    assert "open files" in body["message"], body
    await house.stays(before)
    await other.start()
    await other.uninstall()


async def test_a_thousand_failures_leave_no_file_and_no_thread(house: House) -> None:
    daemon, lamp = house.daemon, house.lamp
    absent, other = house.addon("absent").slug, house.addon("other").slug
    calls: list[tuple[str, str, object]] = [
        ("POST", f"/store/addons/{absent}/install", {}),
        ("POST", f"/addons/{other}/start", None),
        ("POST", f"/addons/{lamp.slug}/options", {"options": {"word": ["no", "word"]}}),
        ("GET", f"/addons/{other}/logs", None),
        ("GET", f"/addons/{other}/stats", None),
        ("POST", f"/addons/{lamp.slug}/stdin", None),
        ("POST", f"/store/addons/{lamp.slug}/update", {}),
        ("POST", f"/addons/{lamp.slug}/rebuild", {}),
        ("POST", "/store/repositories", {"repository": "local"}),
        ("GET", "/store/addons/local_nothing", None),
    ]
    before = await house.footprint()
    headers = {"Authorization": f"Bearer {daemon.admin_token}"}
    async with aiohttp.ClientSession(
        daemon.url, headers=headers, connector=aiohttp.TCPConnector(limit=AT_A_TIME)
    ) as session:

        async def fail(number: int) -> tuple[str, int]:
            method, path, body = calls[number % len(calls)]
            async with session.request(method, path, json=body) as response:
                await response.read()
                return path, response.status

        await asyncio.gather(*map(fail, range(10 * AT_A_TIME)))  # what is kept for the next time is kept from here on
        files, workers = open_files(daemon), threads(daemon)
        outcomes = await asyncio.gather(*map(fail, range(FAILURES)))

        async def is_about_as_before() -> bool:
            return open_files(daemon) <= files + MAY_GROW and threads(daemon) <= workers + MAY_GROW

        await until(is_about_as_before, within_s=20, what=f"about {files} files and {workers} threads")

    good = Counter(outcome for outcome in outcomes if outcome[1] < 400)
    assert not good
    await house.stays(before)

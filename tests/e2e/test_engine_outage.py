"""The Docker Engine stops, crashes, hangs and comes back, under a daemon that goes on answering.

The tests have an engine of their own for that; the machine's is left alone. Each of them leaves it running, with one
add-on that runs too.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from attrs import frozen

from tests.rig.addon import Addon
from tests.rig.addon_files import DOCKERFILE, LARGE_DOCKERFILE, REPOSITORY, WAITS, addon_files, large_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import INSTANCE_LABEL, Engine
from tests.rig.git_server import GitRepository, GitServer
from tests.rig.line import line_to
from tests.rig.own_engine import OwnEngine, open_firewall, own_engine
from tests.rig.pace import on_this_machine
from tests.rig.registry import Registry
from tests.rig.waiting import until

pytestmark = [pytest.mark.timed, pytest.mark.xdist_group("outage")]

ANSWER_S, CHANGE_S = 1.5, 5.0
DEADLINES = f"answer = {ANSWER_S}, change = {CHANGE_S}, stall = 5, heartbeat = 0.5, first_retry = 0.1, last_retry = 0.5"
NOTICES_S = 10.0
RECOVERS_S = 30.0
PROMPT_S = 0.1
OUTAGE = "container_engine_unavailable_error"


@frozen
class House:
    """An engine that may be stopped, a daemon on it, and an add-on that is to run."""

    engine: OwnEngine
    daemon: Daemon
    addon: Addon
    repository: GitRepository
    registry: Registry

    async def docker_is(self, state: str) -> Any:
        """Wait until the plugin docker is ``ok`` or ``degraded``; what is said of it."""

        async def shown() -> Any:
            plugins = (await self.daemon.ok("GET", "/kernel/v1/plugins"))["plugins"]
            return next((p for p in plugins if p["name"] == "docker" and p["state"] == state), None)

        return await until(shown, within_s=RECOVERS_S, what=f"{state} docker")

    async def addon_runs(self, *, containers: int = 1) -> None:
        """Wait until the add-on is shown and seen to run, with no other container, and reaches us with its token."""

        async def runs() -> bool:
            return (await self.addon.info())["state"] == "started" and self.addon.runs()

        await until(runs, within_s=RECOVERS_S, what="the running add-on")
        await until(self._is_answered, within_s=RECOVERS_S, what="an answer to the add-on")
        ours = self.engine.run("ps", "--all", "--quiet", "--filter", f"label={INSTANCE_LABEL}={self.daemon.instance}")
        assert len(ours.split()) == containers

    async def _is_answered(self) -> bool:
        return (await asyncio.to_thread(self.addon.ask, "/addons/self/info"))[0] == 200

    async def answers_promptly(self, *paths: str) -> None:
        """Call each path a few times; the usual answer is good, and comes at once."""
        for path in paths:
            took = []
            for _ in range(5):
                begun = time.monotonic()
                await self.daemon.ok("GET", path)
                took.append(time.monotonic() - begun)
            assert statistics.median(took) < on_this_machine(PROMPT_S), (path, took)

    async def offers(self, name: str, files: dict[str, str]) -> Addon:
        """Release one more add-on."""
        self.repository.write(files)
        self.repository.push()
        await self.daemon.ok("POST", "/store/reload")
        return Addon(self.daemon, self.engine, f"{self.addon.slug.partition('_')[0]}_{name}")


@pytest.fixture(scope="module")
def mortal_engine(engine: Engine, base_image: str) -> Iterator[OwnEngine]:
    """An engine that may be stopped."""
    with own_engine(engine.free_subnet()) as mortal:
        mortal.take(base_image, engine)
        yield mortal


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(
    mortal_engine: OwnEngine, registry: Registry, git_server: GitServer, engine: Engine
) -> AsyncIterator[House]:
    """One house for all tests."""
    registry.publish("outage/lamp", "1.0", DOCKERFILE.format(version="1.0"), {"run.sh": WAITS})
    repository = git_server.repository(
        "outage", {**REPOSITORY, **addon_files("lamp", image=f"{registry.address}/outage/lamp")}
    )
    settings = [f'socket = "{mortal_engine.url}"', f"deadlines = {{ {DEADLINES} }}"]
    async with disposable_daemon(mortal_engine, settings) as daemon:
        with open_firewall(daemon.subnet):
            yield await furnished(mortal_engine, daemon, repository, registry)


async def furnished(engine: OwnEngine, daemon: Daemon, repository: GitRepository, registry: Registry) -> House:
    """The house with its add-on."""
    await daemon.start()
    await daemon.ok("POST", "/store/repositories", {"repository": repository.url})
    slug = (await daemon.ok("GET", "/store/addons"))["addons"][0]["slug"]
    lamp = Addon(daemon, engine, slug)
    await lamp.install()
    await lamp.start()
    return House(engine, daemon, lamp, repository, registry)


@pytest.fixture
async def house(shared: House) -> AsyncIterator[House]:
    """The house, with its add-on running, before and after."""
    await shared.addon_runs()
    yield shared
    if not shared.engine.running:
        shared.engine.start()
    shared.engine.resume()
    if not shared.daemon.running:
        await shared.daemon.start()
    await shared.docker_is("ok")
    await shared.daemon.recovered()
    for slug in (addon["slug"] for addon in (await shared.daemon.ok("GET", "/addons"))["addons"]):
        if slug != shared.addon.slug:
            await Addon(shared.daemon, shared.engine, slug).uninstall()


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_calls_say_clearly_that_the_engine_is_gone_and_all_recovers_when_it_is_back(
    house: House, how: str
) -> None:
    daemon, addon = house.daemon, house.addon
    await asyncio.to_thread(getattr(house.engine, how))
    docker = await house.docker_is("degraded")

    started = await daemon.call("POST", f"/addons/{addon.slug}/start")
    measured = await daemon.call("GET", f"/addons/{addon.slug}/stats")
    log = await daemon.call("GET", f"/addons/{addon.slug}/logs")
    await house.answers_promptly("/supervisor/ping", "/info", "/addons", f"/addons/{addon.slug}/info", "/store")
    state = (await addon.info())["state"]
    await asyncio.to_thread(house.engine.start)

    for status, body in (started, measured):
        assert (status, body["result"], body["error_key"]) == (503, "error", OUTAGE)
        assert house.engine.url in body["message"] and "Start it" in body["message"]
    assert log[0] == 503 and house.engine.url in log[1]
    assert house.engine.url in docker["reason"]
    assert state == "unknown"
    await house.docker_is("ok")
    await house.addon_runs()


async def test_followed_log_is_cut_where_the_engine_dies_rather_than_ended(house: House) -> None:
    async with (
        asyncio.timeout(RECOVERS_S),
        house.daemon.request("GET", f"/addons/{house.addon.slug}/logs/follow?lines=1") as answer,
    ):
        line = await answer.content.readline()
        await asyncio.to_thread(house.engine.kill)

        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()

    assert line.endswith(b"\n")
    await asyncio.to_thread(house.engine.start)
    await house.addon_runs()


async def test_daemon_that_starts_before_the_engine_brings_the_add_ons_up_when_it_comes(house: House) -> None:
    daemon = house.daemon
    await daemon.stop()
    await asyncio.to_thread(house.engine.stop)

    await daemon.start()
    await house.docker_is("degraded")
    await house.answers_promptly("/supervisor/ping", "/addons", "/store")
    await asyncio.to_thread(house.engine.start)

    await house.addon_runs()


async def test_stopped_add_on_stays_stopped_when_the_engine_comes_back(house: House) -> None:
    await house.addon.stop()

    await asyncio.to_thread(house.engine.stop)
    await house.docker_is("degraded")
    await asyncio.to_thread(house.engine.start)
    await house.docker_is("ok")
    await house.daemon.recovered()

    assert (await house.addon.info())["state"] == "stopped" and not house.addon.runs()
    await house.addon.start()


async def test_hanging_engine_fails_jobs_by_name_and_leaves_the_api_prompt(house: House) -> None:
    daemon, addon = house.daemon, house.addon
    container = addon.container_id()
    house.engine.hang()

    begun = time.monotonic()
    status, body = await daemon.call("POST", f"/addons/{addon.slug}/restart")
    took_s = time.monotonic() - begun
    docker = await house.docker_is("degraded")
    await house.answers_promptly("/supervisor/ping", "/addons", f"/addons/{addon.slug}/info", "/store", "/jobs/info")
    begun = time.monotonic()
    info = await daemon.call("GET", "/info")
    info_took_s = time.monotonic() - begun
    house.engine.resume()

    assert (status, body["error_key"]) == (503, OUTAGE)
    assert "did not answer in time" in body["message"] and house.engine.url in body["message"]
    assert took_s < CHANGE_S
    assert "did not answer in time" in docker["reason"]
    assert info[0] == 200 and info_took_s < ANSWER_S + 1
    await house.docker_is("ok")
    await house.addon_runs()
    assert addon.container_id() == container


async def test_engine_that_hangs_in_the_middle_of_a_pull_fails_the_job_and_leaves_nothing(house: House) -> None:
    house.registry.publish("outage/hung", "1.0", LARGE_DOCKERFILE, large_files())
    async with line_to(int(house.registry.address.rpartition(":")[2])) as line:
        image = f"127.0.0.1:{line.port}/outage/hung"
        hung = await house.offers("hung", dict(addon_files("hung", image=image)))
        line.hold_after(2_000_000)

        started = await house.daemon.ok("POST", f"/store/addons/{hung.slug}/install", {"background": True})
        await line.held()
        house.engine.hang()
        failed = await until(lambda: errors_of(house, started["job_id"]), within_s=RECOVERS_S, what="the failure")
        house.engine.resume()
        line.release()
        await house.docker_is("ok")
        await house.daemon.job(started["job_id"])

        assert failed[0]["type"] == "EngineUnavailable" and failed[0]["error_key"] == OUTAGE
        await hung.install()
        assert (await hung.info())["version"] == "1.0"
        await hung.uninstall()
        assert house.engine.run("images", "--quiet", image) == ""


async def errors_of(house: House, job_id: str) -> Any:
    """What went wrong in a job so far."""
    return (await house.daemon.ok("GET", f"/jobs/{job_id}"))["errors"]


async def test_restart_of_the_engine_in_the_middle_of_a_pull_leaves_nothing_half(house: House) -> None:
    house.registry.publish("outage/large", "1.0", LARGE_DOCKERFILE, large_files())
    async with line_to(int(house.registry.address.rpartition(":")[2])) as line:
        image = f"127.0.0.1:{line.port}/outage/large"
        large = await house.offers("large", dict(addon_files("large", image=image)))
        line.hold_after(2_000_000)

        started = await house.daemon.ok("POST", f"/store/addons/{large.slug}/install", {"background": True})
        await line.held()
        begun = time.monotonic()
        await asyncio.to_thread(house.engine.stop)
        line.release()
        await asyncio.to_thread(house.engine.start)
        ended = await house.daemon.job(started["job_id"])
        took_s = time.monotonic() - begun

        assert took_s < RECOVERS_S
        assert [error["error_key"] for error in ended["errors"]] == [OUTAGE]
        assert not (house.daemon.data_dir / "apps" / "data" / large.slug).exists()
        assert (await house.daemon.call("GET", f"/addons/{large.slug}/stats"))[0] == 400  # not installed
        await house.addon_runs()
        await large.install()
        assert (await large.info())["version"] == "1.0"
        await large.uninstall()
        assert house.engine.run("images", "--quiet", image) == ""


async def test_restart_of_the_engine_in_the_middle_of_a_start_ends_the_call_and_resumes_the_start(
    house: House, base_image: str
) -> None:
    files = dict(addon_files("late", base=base_image))
    files["late/Dockerfile"] += "HEALTHCHECK --interval=1s --start-period=600s CMD test -e /data/ready\n"
    late = await house.offers("late", files)
    await late.install()

    starting = asyncio.create_task(house.daemon.call("POST", f"/addons/{late.slug}/start"))
    await until(lambda: is_starting(late), within_s=NOTICES_S, what="the beginning of the start")
    first = late.container_id()
    begun = time.monotonic()
    await asyncio.to_thread(house.engine.stop)
    await asyncio.to_thread(house.engine.start)
    await starting
    took_s = time.monotonic() - begun
    await until(lambda: is_starting(late), within_s=RECOVERS_S, what="the start, resumed")
    (late.data / "ready").touch()
    await house.daemon.recovered()

    assert took_s < RECOVERS_S
    assert (await late.info())["state"] == "started" and late.runs()
    assert late.container_id() != first
    await house.addon_runs(containers=2)


async def is_starting(addon: Addon) -> bool:
    """Whether the add-on's container runs and its health check has not passed."""
    return bool((await addon.info())["state"] == "startup")


async def test_interrupted_job_waits_visibly_for_an_engine_that_is_away(house: House) -> None:
    daemon = house.daemon
    house.registry.publish("outage/waiting", "1.0", DOCKERFILE.format(version="1.0"), {"run.sh": WAITS})
    image = f"{house.registry.address}/outage/waiting"
    waiting = await house.offers("waiting", dict(addon_files("waiting", image=image)))
    await daemon.kill()
    await daemon.start(failpoints="step:addons.register/1:do=kill")
    with pytest.raises(aiohttp.ClientError):
        await waiting.install()
    await daemon.ended()
    await asyncio.to_thread(house.engine.stop)

    await daemon.start()
    await house.docker_is("degraded")

    async def waits() -> Any:
        job = (await daemon.ok("GET", "/jobs/info"))["jobs"][0]
        return job if job["stage"] == "waiting" else None

    shown = await until(waits, within_s=10, what="the job that has to wait")
    await house.answers_promptly("/supervisor/ping")
    await asyncio.to_thread(house.engine.start)
    ended = await daemon.job(shown["uuid"])

    assert (shown["reference"], shown["done"]) == (waiting.slug, False)
    assert ended["errors"][0]["type"] == "JobInterrupted"
    assert house.engine.run("images", "--quiet", image) == ""
    await waiting.install()
    assert (await waiting.info())["version"] == "1.0"

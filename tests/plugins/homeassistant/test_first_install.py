"""The first install of Core: by itself, until it is there, whatever fails meanwhile; and by hand."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from rooftree import Run
from rooftree.interfaces.containers import EngineDiskFull, EngineRefused, PullFailed, RegistryRateLimited
from rooftree.interfaces.versions import VersionsUnknown
from rooftree.testing import check_step
from rooftree.testing.containers import FakeContainerEngine, FakeImage
from rooftree_containers import ContainerState, watchdog
from rooftree_containers import steps as fetching
from rooftree_homeassistant.core_health import CoreHealth
from rooftree_homeassistant.home_assistant import CONTAINER, NAME
from rooftree_homeassistant.install import FetchCore, install_core
from rooftree_homeassistant.landing_page import LANDING_PAGE
from tests.plugins.homeassistant.first_home import Ports, first_home
from tests.plugins.homeassistant.house import NEW, OLD, WITHIN_S, CoreHouse, WrittenFeed, core_house
from tests.plugins.homeassistant.running_core import CoreEngine
from tests.rig.service_process import free_port
from tests.rig.waiting import until

MACHINE = "generic-x86-64"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are of one name on every machine that runs the tests."""
    monkeypatch.setattr("rooftree_homeassistant.home_assistant.generic_machine", lambda _: MACHINE)


def image(version: str = NEW) -> str:
    return f"ghcr.io/home-assistant/{MACHINE}-homeassistant:{version}"


async def test_core_is_installed_by_itself_and_runs(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.publish_image(image())
    async with first_home(tmp_path, engine, monkeypatch) as home:
        await home.until_installed()

        shown = await home.shown()
        assert shown is not None
        assert (shown.image, shown.exit_code) == (image(), None)
        assert (await home.info())["version"] == NEW
        assert home.core.containers.observation.state(NAME) is ContainerState.STARTED
        assert list(home.system.problems) == []


async def test_progress_is_seen_among_the_jobs_while_the_image_comes(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.publish_image(image(), FakeImage(size=2_000_000))
    hold = engine.hold("pull")
    async with first_home(tmp_path, engine, monkeypatch) as home:
        await hold.reached.wait()

        job = home.job()
        assert (job.stage, job.done, 10 < job.progress < 60) == ("pull_image", False, True)
        told = await home.until_shown(stage="fetching", percent=50.0)
        assert told["heading"] == f"Fetching version {NEW}"

        hold.release()
        await home.until_installed()


async def test_image_that_the_engine_has_is_not_fetched(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.load_image(image())  # and the registry has none
    async with first_home(tmp_path, engine, monkeypatch) as home:
        await home.until_installed()

        assert [call for call in engine.calls if call[0] == "pull"] == []


async def test_image_on_the_engine_that_is_for_other_machines_is_no_core(
    home: CoreHouse, engine: FakeContainerEngine
) -> None:
    engine.load_image(home.image(OLD), FakeImage(architecture="s390x"))
    engine.publish_image(home.image(OLD), FakeImage(architecture="s390x"))

    planned = (await home.client.post("/core/update?plan=1", json={"version": OLD})).data
    answer = await home.call("update", version=OLD)

    assert planned["fetch_bytes"] > 0
    assert (answer.status, answer.envelope["error_key"]) == (400, "homeassistant_update_image_error")
    assert "s390x" in answer.message
    assert home.core.installed is None


async def test_registry_that_fails_is_asked_again_until_it_does_not(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.publish_image(image())
    for error in (PullFailed("no route to host"), EngineDiskFull("no space left"), PullFailed("reset by peer")):
        engine.fail("pull", error)
    async with first_home(tmp_path, engine, monkeypatch) as home:
        await home.until_installed()

        assert sum(call[0] == "pull" for call in engine.calls) == 4
        assert list(home.system.problems) == []


async def test_registry_that_may_be_asked_again_soon_is_waited_for_by_who_calls_too(
    home: CoreHouse, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_up(*_: object) -> None:
        """Core is well."""

    monkeypatch.setattr(CoreHealth, "until_up", is_up)
    monkeypatch.setattr(fetching, "SHORTEST_WAIT_S", 0.01)
    engine.publish_image(home.image(OLD))
    engine.fail("pull", RegistryRateLimited("slow down", registry="registry.example", wait_s=718e-6), times=2)

    answer = await home.call("update", version=OLD)

    assert answer.status == 200, answer.text
    assert sum(call[0] == "pull" for call in engine.calls) == 3


@pytest.mark.parametrize(("told_s", "paused_s"), [(61.0, 61.0), (600.0, 600.0), (86_400.0, 3600.0)])
async def test_registry_that_wants_a_long_pause_has_it(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch, told_s: float, paused_s: float
) -> None:
    paused: list[float] = []

    async def wait(_: Run, seconds: float) -> None:
        paused.append(seconds)

    monkeypatch.setattr(Run, "wait", wait)
    engine.publish_image(image())
    engine.fail("pull", RegistryRateLimited("slow down", registry="registry.example", wait_s=told_s))
    async with first_home(tmp_path, engine, monkeypatch) as home:
        await home.until_installed()

    assert paused == [paused_s]


async def test_what_the_install_waits_for_is_a_problem_until_it_goes_on(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with first_home(tmp_path, engine, monkeypatch) as home:  # the registry has nothing
        await home.until_shown(stage="fetching", trouble="The registry does not have this version.")
        problem = home.problem("core_install_waits")
        assert problem is not None
        assert image() in problem.message
        assert home.job().stage in {"pull_image", "waiting"}

        engine.publish_image(image())
        await home.until_installed()
        assert home.problem("core_install_waits") is None


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "rebuild"])
async def test_verbs_do_not_wait_for_an_install_that_goes_on(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    async with first_home(tmp_path, engine, monkeypatch) as home:  # the registry has nothing
        await home.until_shown(stage="fetching", trouble="The registry does not have this version.")

        async with asyncio.timeout(WITHIN_S):
            answer = await home.call(verb)

        assert answer.status == 404
        assert "not installed yet" in answer.message


class Unread(WrittenFeed):
    """A feed that could not be read yet; ``readings`` counts the tries."""

    def __init__(self) -> None:
        super().__init__(core=None)
        self.readings = 0
        self.says: str | None = None

    async def read(self) -> None:
        """Fails until it says something."""
        self.readings += 1
        if self.says is None:
            raise VersionsUnknown("no network")
        self.core = self.says


async def test_feed_that_can_not_be_read_is_waited_for(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.publish_image(image())
    feed = Unread()
    async with first_home(tmp_path, engine, monkeypatch, feed) as home:
        trouble = "The list of versions can't be read. Is this machine connected to the internet?"
        told = await home.until_shown(stage="looking", trouble=trouble)
        assert "rooftree call POST /core/update" in told["advice"]
        assert home.job().done is None  # it waits, and is shown

        feed.says = NEW
        await home.until_installed()


async def test_machine_that_the_feed_does_not_know_is_said(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with first_home(tmp_path, engine, monkeypatch, WrittenFeed(core=None)) as home:
        await home.until_shown(trouble="The list of versions has no Home Assistant Core for this machine.")

        problem = home.problem("core_install_waits")
        assert problem is not None
        assert MACHINE in problem.message


async def test_engine_that_is_away_is_waited_for(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.publish_image(image())
    engine.go_away()
    async with first_home(tmp_path, engine, monkeypatch) as home:
        await home.until_shown(stage="waiting", trouble="The container engine does not answer.")

        engine.come_back()
        await home.until_installed()


async def test_install_that_is_cancelled_is_taken_back_and_does_not_begin_again_by_itself(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.publish_image(image())
    hold = engine.hold("pull")
    async with first_home(tmp_path, engine, monkeypatch) as home:
        await hold.reached.wait()
        await home.system.jobs.cancel(home.job().uuid)

        told = await home.until_shown(stage="stopped")
        assert "rooftree call POST /core/update" in told["detail"]
        assert (engine.images, await home.shown(), home.core.installed) == ({}, None, None)
        assert all(job.done for job in home.system.jobs.listing())

        hold.release()
        await home.system.jobs.run(install_core(version=NEW))
        await home.until_installed()
        assert not await home.listens(home.ports.core)


async def test_install_that_is_cancelled_while_it_looks_for_a_version_ends(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with first_home(tmp_path, engine, monkeypatch, Unread()) as home:
        await home.until_shown(stage="looking")
        await home.system.jobs.cancel(home.job().uuid)

        await home.until_shown(stage="stopped")


async def test_core_that_can_not_be_started_stays_installed_and_is_tried_again(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooftree_containers.watchdog.PAUSES_S", (0.0, 0.0))
    engine.publish_image(image())
    engine.add_stranger(CONTAINER)
    async with first_home(tmp_path, engine, monkeypatch) as home:
        await home.until_shown(stage="failed")
        assert home.core.installed is not None
        assert image() in engine.images

        engine._strangers.clear()
        await home.client.post("/core/start")
        await home.until_state(ContainerState.STARTED)
        assert not await home.listens(home.ports.core)


async def test_whoever_was_taken_as_the_page_is_closed_is_answered(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = engine.hold("pull")
    engine.publish_image(image())
    async with first_home(tmp_path, engine, monkeypatch) as home:
        await hold.reached.wait()
        await home.until_shown()
        with socket.create_connection(("127.0.0.1", home.ports.core), timeout=10) as asking:
            asking.sendall(b"GET / HTTP/1.1\r\n\r\n")
            for _ in range(2):  # it is taken in the first turn of the loop, and known in the third
                await asyncio.sleep(0)

            await home.core.containers.kernel.service(LANDING_PAGE).hand_over()

            assert (await asyncio.to_thread(asking.recv, 100)).startswith(b"HTTP/1.1 503 ")
        hold.release()


@pytest.fixture
def next_try(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Before this is set the watchdog does not get to its next try."""
    event = asyncio.Event()

    async def pause(_: float) -> None:
        await event.wait()

    monkeypatch.setattr(watchdog, "pause", pause)
    return event


@pytest.mark.parametrize("privileged", [True, False])
async def test_page_says_of_a_core_that_the_engine_refuses_what_may_help_until_it_is_tried_again(
    tmp_path: Path,
    engine: FakeContainerEngine,
    monkeypatch: pytest.MonkeyPatch,
    next_try: asyncio.Event,
    privileged: bool,
) -> None:
    engine.publish_image(image())
    engine.fail("start", EngineRefused("operation not permitted"))
    async with first_home(tmp_path, engine, monkeypatch, privileged=privileged) as home:
        told = await home.until_shown(stage="failed")

        problem = home.problem("boot_fail")
        assert problem is not None
        assert "operation not permitted" in problem.message
        assert "operation not permitted" not in told["trouble"]  # the page is open to everybody
        assert ("privileged = false" in told["trouble"]) is privileged

        next_try.set()
        await home.until_state(ContainerState.STARTED)
        await home.comes_true("a Core that is well", lambda: home.problem("boot_fail") is None)


async def test_page_is_there_after_an_install_by_hand_that_could_not_start_core(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch, next_try: asyncio.Event
) -> None:
    engine.publish_image(image())
    hold = engine.hold("pull")
    async with first_home(tmp_path, engine, monkeypatch) as home:
        await hold.reached.wait()
        await home.system.jobs.cancel(home.job().uuid)
        await home.until_shown(stage="stopped")
        hold.release()
        engine.fail("start", EngineRefused("operation not permitted"))

        answer = await home.call("update", version=NEW)

        assert answer.status == 500
        told = await home.until_shown(stage="failed")
        assert "privileged = false" in told["trouble"]
        assert home.problem("boot_fail") is not None

        assert (await home.call("start")).status == 200
        next_try.set()
        await home.comes_true("a Core that runs", lambda: home.problem("boot_fail") is None)
        assert not await home.listens(home.ports.core)


async def test_core_that_is_installed_is_left_alone(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = Ports(free_port(), free_port())
    async with core_house(tmp_path, engine) as house:
        await house.client.post("/core/options", json={"port": ports.core})
        await house.install(OLD)
    async with first_home(tmp_path, engine, monkeypatch, ports=ports) as home:
        await home.until_state(ContainerState.STARTED)

        assert not await home.listens(ports.core)
        assert not await home.listens(ports.usual)
        assert (await home.info())["version"] == OLD
        assert [job.name for job in home.system.jobs.listing()].count("home_assistant_core_install") == 0


async def test_core_that_is_not_wanted_is_not_installed_and_nothing_is_asked(
    tmp_path: Path, engine: FakeContainerEngine
) -> None:
    feed = Unread()
    async with core_house(tmp_path, engine, feed) as house:
        await asyncio.sleep(0)
        await house.system.bus.drained()

        assert (house.core.installed, feed.readings, house.system.jobs.listing()) == (None, 0, [])


async def test_core_that_does_not_come_up_stays_and_is_said(
    place: Path, behind: CoreEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind.release(image().rpartition(":")[0], NEW, crashes=3)
    async with first_home(place, behind, monkeypatch) as home:
        told = await home.until_shown(stage="failed")

        assert told["heading"] == f"Version {NEW} is installed, and could not be started"
        assert home.core.installed is not None
        assert "ended with exit code 3" in home.job().errors[0].message

        async def has_ended() -> bool:  # the watchdog tries, too
            shown = await home.shown()
            return shown is not None and shown.exit_code == 3

        await until(has_ended, within_s=WITHIN_S, what="a container whose log can be read")


async def test_install_is_over_when_core_has_come_up(
    place: Path, behind: CoreEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind.release(image().rpartition(":")[0], NEW, state="NOT_RUNNING")
    async with first_home(place, behind, monkeypatch) as home:
        await behind.core_listens()
        await home.comes_to("await_core")
        assert not home.job().done

        await behind.core.become(state="RUNNING")
        await home.until_installed()
        assert home.core.installed is not None
        assert home.core.installed.start_took_s is not None


async def test_update_of_core_that_is_not_installed_installs_it_and_says_what_is_wrong_at_once(
    home: CoreHouse, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_up(*_: object) -> None:
        """Core is well."""

    monkeypatch.setattr(CoreHealth, "until_up", is_up)
    refused = await home.call("update", version="2020.1.0")
    assert (refused.status, refused.envelope["error_key"]) == (400, "homeassistant_update_image_error")
    assert home.core.installed is None

    engine.publish_image(home.image(OLD))
    planned = (await home.client.post("/core/update?plan=1", json={"version": OLD})).data
    assert planned["job"] == "home_assistant_core_install"
    assert (await home.call("update", version=OLD)).status == 200
    assert (await home.info())["version"] == OLD


class Untold(WrittenFeed):
    """A feed that names Core's image once it was read."""

    async def read(self) -> None:
        """It was not until now."""
        self.images = {"core": "registry.example/core"}


async def test_version_that_is_named_comes_from_where_the_feed_says(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_up(*_: object) -> None:
        """Core is well."""

    monkeypatch.setattr(CoreHealth, "until_up", is_up)
    engine.publish_image(f"registry.example/core:{OLD}")
    async with core_house(tmp_path, engine, Untold(images={})) as house:
        answer = await house.call("update", version=OLD)

        assert answer.status == 200, answer.text
        assert (await house.info())["image"] == "registry.example/core"


async def test_install_by_hand_does_not_wait_behind_the_one_that_began_by_itself(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with first_home(tmp_path, engine, monkeypatch, Unread()) as home:
        await home.until_shown(stage="looking")

        answer = await home.call("update", version=OLD)

        assert (answer.status, answer.envelope["error_key"]) == (400, "job_concurrency_error")
        assert answer.envelope["extra_fields"]["job_id"] == home.job().uuid  # which can be cancelled


async def test_plan_of_the_install_says_what_is_fetched(home: CoreHouse, engine: FakeContainerEngine) -> None:
    engine.publish_image(home.image(NEW), FakeImage(size=3_000_000))

    plan = await home.system.jobs.preview(install_core())

    assert plan.fetch_bytes == 3_000_000
    assert [step.kind for step in plan.steps] == [
        "homeassistant.fetch_core/1", "homeassistant.put_core/1", "containers.create_container/1",
        "homeassistant.hand_over_port/1", "containers.start_container/1", "homeassistant.let_start/1",
        "homeassistant.await_core/1",
    ]  # fmt: skip


async def test_fetching_is_taken_back_and_repeated_at_any_point(home: CoreHouse, engine: FakeContainerEngine) -> None:
    engine.publish_image(home.image(NEW))

    await check_step(home.system, FetchCore(home.image(NEW), NEW, False), lambda: dict(engine.images))

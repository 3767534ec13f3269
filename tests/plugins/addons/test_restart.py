"""Nothing is stopped that could not be started again, as far as that is known; what was, in vain, runs as it ran."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

import pytest
from attrs import evolve, frozen

from rooftree.interfaces.containers import ContainerStatus, EngineRefused, PortConflict
from rooftree.testing.containers import FakeImage, Verb
from rooftree_addons import AddonState
from rooftree_addons.installed import OptionsRefused
from rooftree_addons.port_conflicts import AddonPortConflict
from rooftree_addons.updates import JOBS
from rooftree_containers import container_steps, watchdog
from tests.plugins.addons.host_ports import listening
from tests.plugins.addons.house import HELLO, House, done, refusal

CONTAINER = f"app_{HELLO}"
CONFIG = {"ports": {"80/tcp": None}, "options": {"greeting": "hi"}, "schema": {"greeting": "str"}}


@frozen
class Running:
    """What a user, and the add-on, have of it while it runs."""

    container: str | None
    """Its id."""
    status: ContainerStatus | None
    tokens: frozenset[str]
    options: str
    own_id: str
    version: str


async def running(home: House) -> Running:
    """What runs now."""
    container = await home.container()
    return Running(
        container.id if container else None,
        container.status if container else None,
        frozenset(home.tokens()),
        (home.data / "apps" / "data" / HELLO / "options.json").read_text(),
        (home.data / "cid_files" / f"{CONTAINER}.cid").read_text(),
        home.installed().version,
    )


def stopped(home: House) -> bool:
    """Whether anything was stopped or made."""
    return bool({"stop", "create", "set_aside", "remove"} & {verb for verb, _ in home.engine.calls})


async def wants_port(home: House, port: int, **options: Any) -> Running:
    """An add-on that runs, and is to have that port from its next start on."""
    await home.run(config=CONFIG)
    await home.set_options(HELLO, network={"80/tcp": port}, **options)
    home.engine.calls.clear()
    return await running(home)


@pytest.mark.usefixtures("on_the_host")
@pytest.mark.parametrize("plan", ["", "?plan=1"])
async def test_restart_with_a_port_that_is_taken_is_refused_while_the_add_on_runs_on(home: House, plan: str) -> None:
    with listening() as port:
        before = await wants_port(home, port)

        answer = await home.client.post(f"/addons/{HELLO}/restart{plan}")

    assert f"Port {port} of the host" in refusal(answer, 400, "app_port_conflict")
    assert await running(home) == before
    assert not stopped(home)


@pytest.mark.usefixtures("on_the_host")
@pytest.mark.parametrize("plan", ["", "?plan=1"])
@pytest.mark.parametrize("verb", ["update", "rebuild"])
async def test_new_version_whose_port_is_taken_stops_nothing(home: House, verb: str, plan: str) -> None:
    built = {} if verb == "update" else {"image": None}
    files = {"Dockerfile": "FROM scratch\n", "build.yaml": "{}"}
    await home.run(config=CONFIG | built, files=files)
    home.engine.calls.clear()
    before = await running(home)
    with listening() as port:
        version = "2.0" if verb == "update" else "1.0"
        await home.offer(version=version, config=CONFIG | built | {"ports": {"80/tcp": port}}, files=files)

        path = f"/store/addons/{HELLO}/update" if verb == "update" else f"/addons/{HELLO}/rebuild"
        answer = await home.client.post(f"{path}{plan}")

    refusal(answer, 400, "app_port_conflict")
    assert await running(home) == before
    assert not stopped(home)
    assert not {"pull", "build"} & {verb for verb, _ in home.engine.calls}


@pytest.mark.usefixtures("on_the_host")
async def test_port_that_is_taken_while_the_image_is_fetched_stops_nothing(home: House) -> None:
    await home.run(config=CONFIG)
    before = await running(home)
    home.engine.calls.clear()
    with listening() as port:
        pass
    await home.offer(version="2.0", config=CONFIG | {"ports": {"80/tcp": port}})
    fetching = home.engine.hold("pull")

    updating = asyncio.create_task(home.client.post(f"/store/addons/{HELLO}/update"))
    await fetching.reached.wait()
    with listening(port=port):
        fetching.release()
        answer = await updating

    refusal(answer, 400, "app_port_conflict")
    assert await running(home) == before
    assert not stopped(home)


@pytest.mark.usefixtures("on_the_host")
async def test_watchdog_does_not_stop_what_could_not_be_started_again(
    home: House,
) -> None:
    with listening() as port:
        before = await wants_port(home, port, watchdog=True)

        with pytest.raises(AddonPortConflict):
            await home.system.jobs.run(JOBS.restart(HELLO))

    assert await running(home) == before
    assert not stopped(home)


@pytest.mark.usefixtures("on_the_host")
async def test_ports_that_it_has_are_its_own(home: House) -> None:
    with listening() as port:
        pass
    await home.run(config=CONFIG | {"ports": {"80/tcp": port}})
    await home.offer(version="2.0", config=CONFIG | {"ports": {"80/tcp": port}})

    with listening(port=port):
        restarted = await home.client.post(f"/addons/{HELLO}/restart?plan=1")
        updated = await home.client.post(f"/store/addons/{HELLO}/update?plan=1")

    assert [answer.status for answer in (restarted, updated)] == [200, 200]


async def test_port_of_another_add_on_is_known_wherever_the_engine_is(home: House) -> None:
    other = await home.run("other", config={"ports": {"80/tcp": 8099}})
    await home.set_options(other, network={"80/tcp": 8098})  # not before its next start
    before = await wants_port(home, 8099)

    answer = await home.post(HELLO, "restart")

    assert f"in use by add-on {other}" in refusal(answer, 400, "app_port_conflict")
    assert await running(home) == before
    assert not stopped(home)


async def test_update_whose_options_no_longer_fit_stops_nothing(home: House) -> None:
    await home.run(config=CONFIG)
    await home.offer(version="2.0", config=CONFIG | {"schema": {"greeting": "int"}})
    home.engine.calls.clear()
    before = await running(home)

    answer = await home.client.post(f"/store/addons/{HELLO}/update")

    assert "greeting" in refusal(answer, 400, "app_configuration_invalid_error")
    assert await running(home) == before
    assert not stopped(home)


async def test_roll_back_by_hand_to_what_could_not_be_started_stops_nothing(home: House) -> None:
    await home.run(config=CONFIG | {"schema": {"greeting": "list(hi|hello)"}})
    await home.offer(version="2.0", config=CONFIG)
    done(await home.client.post(f"/store/addons/{HELLO}/update"))
    await home.set_options(HELLO, options={"greeting": "good day"})
    home.engine.calls.clear()
    before = await running(home)

    answer = await home.client.post(f"/kernel/v1/addons/{HELLO}/roll-back")

    refusal(answer, 400, "app_configuration_invalid_error")
    assert await running(home) == before
    assert not stopped(home)


async def test_version_that_does_not_work_is_left_even_for_one_that_could_not_be_started(home: House) -> None:
    await home.run(config=CONFIG | {"schema": {"greeting": "list(hi|hello)"}})
    await home.offer(version="2.0", config=CONFIG)
    done(await home.client.post(f"/store/addons/{HELLO}/update"))
    await home.set_options(HELLO, options={"greeting": "good day"})
    update = home.addons.probations[HELLO].kept.folder

    with pytest.raises(OptionsRefused):
        await home.system.jobs.run(JOBS.roll_back(HELLO, update, "it ended with exit code 1"))

    assert home.installed().version == "1.0"
    assert home.problem("update_rolled_back") is not None


async def test_update_with_a_profile_that_is_none_stops_nothing(home: House) -> None:
    await home.run(config=CONFIG)
    await home.offer(version="2.0", config=CONFIG, files={"apparmor.txt": "no profile"})
    home.engine.calls.clear()
    before = await running(home)

    answer = await home.client.post(f"/store/addons/{HELLO}/update")

    refusal(answer, 400, "host_apparmor_load_profile_error")
    assert await running(home) == before
    assert not {"pull", "stop", "create"} & {verb for verb, _ in home.engine.calls}


async def test_image_that_says_that_it_is_older_stops_nothing(home: House) -> None:
    await home.run(config=CONFIG)
    before = await running(home)
    await home.offer(version="2.0", config=CONFIG)
    home.engine.registry["registry.example/hello:2.0"] = FakeImage(labels={"io.hass.version": "0.9"})
    home.engine.calls.clear()

    answer = await home.client.post(f"/store/addons/{HELLO}/update")

    refusal(answer, 400, "app_image_downgraded_error")
    assert await running(home) == before
    assert not stopped(home)


async def test_image_that_somebody_took_away_since_the_plan_was_made_stops_nothing(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.run(config=CONFIG)
    before = await running(home)
    home.engine.calls.clear()

    async def take_away(*_: object) -> None:
        home.engine.images.clear()

    monkeypatch.setattr(container_steps, "refuse_unstartable", take_away)
    answer = await home.post(HELLO, "restart")

    assert "is gone again; somebody took it away" in refusal(answer, 404, "image_not_found_error")
    assert await running(home) == before
    assert not stopped(home)


async def test_shared_folder_that_somebody_took_away_is_made_again(home: House) -> None:
    await home.run(config=CONFIG | {"map": ["share:rw"]})
    shutil.rmtree(home.data / "share")

    done(await home.post(HELLO, "restart"))

    assert home.addons.state(HELLO) is AddonState.STARTED


# --- what only the engine knows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "error", "status", "key"),
    [
        ("start", PortConflict("Port 8080 is in use", port=8080), 400, "app_port_conflict"),
        ("start", EngineRefused("exec format error"), 500, "container_engine_refused_error"),
        ("create", EngineRefused("invalid mount"), 500, "container_engine_refused_error"),
    ],
)
async def test_add_on_that_was_stopped_in_vain_runs_again_as_it_ran(
    home: House, verb: Verb, error: Exception, status: int, key: str
) -> None:
    before = await wants_port(home, 8080, options={"greeting": "good day"})
    home.engine.fail(verb, error)

    answer = await home.post(HELLO, "restart")
    await home.quiet()

    refusal(answer, status, key)
    assert await running(home) == before
    assert before.status is ContainerStatus.RUNNING
    assert '"hi"' in before.options
    assert home.engine.spec(CONTAINER).ports == ()
    assert home.addons.state(HELLO) is AddonState.STARTED
    assert home.problem("undo_failed", f"app_restart/{HELLO}") is None
    assert home.installed().effective_options == {"greeting": "good day"}  # from its next start on

    done(await home.post(HELLO, "restart"))

    assert home.options_file() == {"greeting": "good day"}
    assert not (home.data / "cid_files" / f"{CONTAINER}.options.json").exists()
    assert await home.engine.put_back(CONTAINER) is False


async def test_update_that_the_engine_refuses_leaves_the_very_container(home: House) -> None:
    await home.run(config=CONFIG)
    before = await running(home)
    await home.offer(version="2.0", config=CONFIG)
    home.engine.fail("create", EngineRefused("invalid mount"))

    answer = await home.client.post(f"/store/addons/{HELLO}/update")

    refusal(answer, 500, "container_engine_refused_error")
    assert await running(home) == before


async def test_what_runs_again_as_it_ran_is_watched_again(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "pause", no_pause)
    await wants_port(home, 8080, watchdog=True)
    home.engine.fail("start", PortConflict("Port 8080 is in use", port=8080))
    await home.post(HELLO, "restart")

    home.engine.crash(CONTAINER)
    await home.until_watchdog_rests()

    assert home.addons.state(HELLO) is AddonState.STARTED


@pytest.mark.allow("undo_failed")  # that is what could not be put back
async def test_watchdog_brings_back_what_could_not_be_put_back(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "pause", no_pause)
    await wants_port(home, 8080, watchdog=True)
    home.engine.fail("start", PortConflict("Port 8080 is in use", port=8080), times=3)

    refusal(await home.post(HELLO, "restart"), 400, "app_port_conflict")
    await home.until_watchdog_rests()

    assert home.addons.state(HELLO) is AddonState.STARTED


async def test_container_that_somebody_started_meanwhile_is_ended_before_it_makes_room(home: House) -> None:
    await home.run(config=CONFIG)
    before, lifetimes = await running(home), home.addons.containers.lifetimes

    await lifetimes.create(HELLO, before.container)
    fresh = await running(home)
    await lifetimes.put_back(HELLO, before.container)

    assert (fresh.container == before.container, fresh.status) == (False, ContainerStatus.CREATED)
    assert await running(home) == evolve(before, status=ContainerStatus.EXITED, tokens=frozenset())
    assert home.addons.state(HELLO) is AddonState.STOPPED


async def no_pause(_: float) -> None:
    """Go on at once."""
    await asyncio.sleep(0)


async def test_start_that_fails_leaves_the_container_whose_log_tells_of_the_end_before(home: House) -> None:
    await home.run(config=CONFIG)
    home.engine.write(CONTAINER, "what was the last of it")
    done(await home.post(HELLO, "stop"))
    home.engine.fail("start", EngineRefused("exec format error"))

    refusal(await home.post(HELLO, "start"), 500, "container_engine_refused_error")

    assert "what was the last of it" in (await home.client.get(f"/addons/{HELLO}/logs")).text

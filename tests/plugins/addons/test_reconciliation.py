"""What is desired and what the engine shows, compared: at the start, when the engine comes back, and by its events."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from attrs import evolve

from rooftree.interfaces.containers import (
    ContainerSpec,
    ContainerStatus,
    EngineRefused,
    Health,
    PortConflict,
)
from rooftree.process.system import SystemState
from rooftree.testing.containers import FakeContainerEngine, FakeImage
from rooftree_addons import AddonState, AddonStateChanged
from rooftree_addons.addon_containers import LastBoot
from rooftree_addons.container import LABEL_SLUG
from rooftree_containers import Desired, watchdog
from rooftree_containers.lifetime import LABEL_TOKEN
from rooftree_store import AddonSlug
from tests.plugins.addons.house import HELLO, House, house
from tests.rig.waiting import until

CONTAINER = f"app_{HELLO}"


async def made_so(home: House, state: str) -> None:
    """Let an add-on's container be in that state."""
    if state == "absent":
        await home.engine.remove(CONTAINER)
    elif state == "created":
        await home.engine.create(home.engine.spec(CONTAINER))
    elif state.startswith("exited"):
        home.engine.crash(CONTAINER, int(state.removeprefix("exited ")))


@pytest.mark.parametrize("desired", ["started", "stopped"])
@pytest.mark.parametrize("state", ["absent", "created", "running", "exited 0", "exited 1"])
async def test_restarted_daemon_brings_about_what_is_desired(tmp_path: Path, desired: str, state: str) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run()
        before = await home.container()
        change = home.addons.installed.update(HELLO, lambda addon: addon.wanting(Desired(desired)))
        await home.system.state.commit(change)
    await made_so(home, state)

    async with house(tmp_path, engine) as home:
        await home.until_state(HELLO, AddonState(desired))

        after = await home.container()
        assert (after is not None and after.status is ContainerStatus.RUNNING) is (desired == "started")
        if (desired, state) == ("started", "running"):
            assert before is not None
            assert after is not None
            assert after.id == before.id
        assert home.problem("boot_fail") is None


async def test_adopted_container_keeps_its_token_and_no_other_is_valid(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run()
        token = home.token()
        stray = home.system.tokens.new("addon", HELLO)
        await home.system.state.commit(stray.change)

    async with house(tmp_path, engine) as home:
        await home.until_state(HELLO, AddonState.STARTED)
        await home.quiet()

        answers = [await home.client.get("/addons/self/info", token=text) for text in (token, stray.text)]
        assert [answer.status for answer in answers] == [200, 403]


async def test_adoption_restores_a_lost_token_from_the_containers_label(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run()
        token = home.token()
        await home.addons.containers.lifetimes.revoke_tokens(HELLO)

    async with house(tmp_path, engine) as home:
        await home.until_state(HELLO, AddonState.STARTED)

        assert (await home.client.get("/addons/self/info", token=token)).status == 200


async def test_adoption_of_a_container_that_was_replaced_meanwhile_touches_no_token(home: House) -> None:
    await home.run()
    old, known = await home.container(), home.system.tokens.known("addon")
    await home.post(HELLO, "restart")
    assert old is not None

    await home.addons.containers.lifetimes.adopt(HELLO, old, known)

    new = await home.container()
    assert new is not None
    assert home.tokens() == {new.labels[LABEL_TOKEN]}


async def test_container_without_a_token_label_leaves_no_token_valid(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run()
        spec = engine.spec(CONTAINER)
        await engine.create(evolve(spec, labels={LABEL_SLUG: HELLO}))
        await engine.start(CONTAINER)

    async with house(tmp_path, engine) as home:
        await home.until_state(HELLO, AddonState.STARTED)
        await home.quiet()

        assert home.tokens() == set()


async def test_orphan_is_removed_with_its_token_and_what_is_no_add_on_stays(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        token = home.system.tokens.new("addon", "local_gone")
        await home.system.state.commit(token.change)
    engine.load_image("image")
    await engine.create(ContainerSpec(name="app_local_gone", image="image", labels={LABEL_SLUG: "local_gone"}))
    await engine.create(ContainerSpec(name="hassio_dns", image="image"))

    async with house(tmp_path, engine) as home:
        await until_gone(home, "local_gone")

        assert [container.name for container in await engine.containers()] == ["hassio_dns"]
        assert home.tokens("local_gone") == set()


async def until_gone(home: House, slug: str) -> None:
    """Wait until neither container nor token is left of an add-on."""

    async def gone() -> bool:
        return await home.engine.container(f"app_{slug}") is None and not home.tokens(slug)

    await until(gone, within_s=10, what=f"the end of {slug}")


async def test_orphan_that_cannot_be_removed_holds_up_nobody(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run()
        engine.crash(CONTAINER)
    engine.load_image("image")
    await engine.create(ContainerSpec(name="app_local_gone", image="image", labels={LABEL_SLUG: "local_gone"}))
    engine.fail("remove", EngineRefused("It would not"), times=100)

    async with house(tmp_path, engine) as home:
        await home.until_state(HELLO, AddonState.STARTED)


async def test_add_ons_start_in_the_order_of_their_phases(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    phases = {"d": "application", "b": "system", "c": "services", "a": "initialize"}
    async with house(tmp_path, engine) as home:
        for name, startup in phases.items():
            await home.run(name, config={"startup": startup})
    for name in phases:
        engine.crash(f"app_local_{name}")
    engine.calls.clear()

    async with house(tmp_path, engine) as home:
        for name in phases:
            await home.until_state(f"local_{name}", AddonState.STARTED)

    assert [name for verb, name in engine.calls if verb == "start"] == [f"app_local_{name}" for name in "abcd"]


async def test_one_that_cannot_be_started_is_a_problem_and_holds_up_nobody(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run("first", config={"startup": "system"})
        await home.run("second")
    engine.crash("app_local_first")
    engine.crash("app_local_second")
    engine.fail("start", PortConflict("Port 80 is in use", port=80))

    async with house(tmp_path, engine) as home:
        problem = await home.until_problem("boot_fail", "local_first")
        await home.until_state("local_second", AddonState.STARTED)
        await home.post("local_first", "start")
        await home.quiet()

        assert "Port 80 of the host" in problem.message
        assert problem.context == "addon"
        assert "execute_start" in problem.suggestions
        assert home.problem("boot_fail", "local_first") is None


async def test_start_that_is_interrupted_because_rooftree_stops_is_no_problem(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run()
    engine.crash(CONTAINER)
    starting = engine.hold("start")
    async with house(tmp_path, engine, settings={"kernel.stop_timeout_s": 0.1}) as home:
        await starting.reached.wait()

    assert home.problem("boot_fail") is None


async def test_problem_of_an_add_on_ends_with_it(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run()
    engine.crash(CONTAINER)
    engine.fail("start", EngineRefused("It would not"))
    async with house(tmp_path, engine) as home:
        await home.until_problem("boot_fail")

        await home.post(HELLO, "uninstall")

        assert home.problem("boot_fail") is None


async def test_add_on_that_cannot_be_stopped_is_told_as_that(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run()
        await home.post(HELLO, "stop")
    await engine.start(CONTAINER)
    engine.fail("stop", EngineRefused("It would not"))
    async with house(tmp_path, engine) as home:
        problem = await home.until_problem("boot_fail")

    assert "could not be stopped: It would not" in problem.message


# --- the host's boot --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("startup", "boot", "wanted", "expected"),
    [
        ("application", "auto", "stop", Desired.STARTED),
        ("application", "auto", "start", Desired.STARTED),
        ("application", "manual", "start", Desired.STOPPED),
        ("application", "manual_only", "start", Desired.STOPPED),
        ("once", "auto", "start", Desired.STOPPED),
    ],
)
async def test_boot_of_the_host_starts_what_is_to_start_with_it(
    tmp_path: Path, startup: str, boot: str, wanted: str, expected: Desired
) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run(config={"startup": startup, "boot": boot})
        await home.post(HELLO, wanted)
        await reboot(home)

    async with house(tmp_path, engine) as home:
        state = AddonState.STARTED if expected is Desired.STARTED else AddonState.STOPPED
        await home.until_state(HELLO, state)

        assert home.installed().desired is expected


async def reboot(home: House) -> None:
    """Let the host seem to have been booted since; what ran has ended."""
    boots = await home.system.state.collection(LastBoot)
    await home.system.state.commit(boots.put("host", LastBoot("another")))
    container = await home.container()
    if container is not None and container.status is ContainerStatus.RUNNING:
        home.engine.crash(CONTAINER, 137)


async def test_restart_of_the_daemon_alone_is_no_boot(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run()
        await home.post(HELLO, "stop")

    async with house(tmp_path, engine) as home:
        await home.until_state(HELLO, AddonState.STOPPED)

        assert home.installed().desired is Desired.STOPPED


# --- the engine goes and comes ----------------------------------------------------------------------------------------


async def test_calls_are_refused_clearly_while_the_engine_is_away_and_everything_else_answers(home: House) -> None:
    await home.run()

    home.engine.go_away("dockerd was stopped")
    await home.quiet()

    refused = await home.post(HELLO, "restart")
    info = await home.info(HELLO)
    assert (refused.status, refused.envelope["error_key"]) == (503, "container_engine_unavailable_error")
    assert "dockerd was stopped" in refused.message
    assert info["state"] == "unknown"
    assert home.system.state_now is SystemState.RUNNING


async def test_engine_that_comes_back_finds_everything_as_it_should_be(home: House) -> None:
    await home.run("kept")
    await home.run("ended")
    kept = await home.engine.container("app_local_kept")

    home.engine.go_away()
    home.engine.crash("app_local_ended", 137)
    home.engine.come_back()
    await home.until_state("local_kept", AddonState.STARTED)
    await home.until_state("local_ended", AddonState.STARTED)

    assert await home.engine.container("app_local_kept") == kept
    assert len(await home.engine.containers()) == 2


async def test_engine_that_is_restarted_with_everything_ended_runs_it_again(home: House) -> None:
    await home.run()
    stopped = await home.run("stopped")
    await home.post(stopped, "stop")

    home.engine.go_away()
    home.engine.come_back(containers_ended=True)
    await home.until_state(HELLO, AddonState.STARTED)
    await home.until_state(stopped, AddonState.STOPPED)
    await home.quiet()

    assert home.addons.state(stopped) is AddonState.STOPPED


async def test_engine_that_goes_away_again_while_it_is_looked_at_is_looked_at_later(home: House) -> None:
    await home.run()
    home.engine.go_away()
    await home.quiet()
    looking = home.engine.hold("containers")

    home.engine.come_back()
    await looking.reached.wait()
    home.engine.go_away()
    looking.release()
    await home.quiet()
    gone = home.addons.state(HELLO)
    await home.addons.containers.reconciliation.connected()  # what comes too late is no error
    home.engine.come_back()
    await home.until_state(HELLO, AddonState.STARTED)

    assert gone is AddonState.UNKNOWN


# --- events -----------------------------------------------------------------------------------------------------------


async def test_states_follow_the_engines_events(home: House) -> None:
    seen: list[str] = []
    home.system.bus.subscribe(AddonStateChanged, lambda event: seen.append(event.state), "test")
    await home.install(image=FakeImage(health_check=True))
    await home.addons.containers.lifetimes.create(HELLO)

    await home.engine.start(CONTAINER)
    await home.until_state(HELLO, AddonState.STARTUP)
    home.engine.set_health(CONTAINER, Health.HEALTHY)
    await home.until_state(HELLO, AddonState.STARTED)
    home.engine.crash(CONTAINER, 0)
    await home.until_state(HELLO, AddonState.STOPPED)
    await home.quiet()

    assert seen[-3:] == [AddonState.STARTUP, AddonState.STARTED, AddonState.STOPPED]


async def test_end_that_nobody_asked_for_is_an_error(home: House) -> None:
    await home.run()

    home.engine.crash(CONTAINER, 2)

    await home.until_state(HELLO, AddonState.ERROR)


async def test_events_of_other_containers_are_of_no_interest(home: House) -> None:
    await home.run()
    home.engine.load_image("image")
    await home.engine.create(ContainerSpec(name="homeassistant", image="image"))
    await home.engine.start("homeassistant")

    home.engine.crash("homeassistant", 1)
    await home.quiet()

    assert home.addons.state(HELLO) is AddonState.STARTED
    assert home.addons.state(AddonSlug("local_other")) is AddonState.UNKNOWN


# --- the watchdog -----------------------------------------------------------------------------------------------------


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The watchdog's pauses, as it makes them; they take no time."""
    made: list[float] = []

    async def pause(seconds: float) -> None:
        made.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(watchdog, "pause", pause)
    return made


async def watched(home: House, **image: object) -> None:
    """An add-on that runs and is watched."""
    await home.run(image=FakeImage(**image))  # type: ignore[arg-type]  # the test's keywords
    await home.set_options(HELLO, watchdog=True)


async def test_watchdog_brings_back_what_crashed(home: House, pauses: list[float]) -> None:
    await watched(home)
    first = await home.container()

    home.engine.crash(CONTAINER)
    await home.until_watchdog_rests()

    second = await home.container()
    assert first is not None
    assert second is not None
    assert first.id != second.id
    assert home.addons.state(HELLO) is AddonState.STARTED
    assert pauses == [10, 10]


async def test_watchdog_brings_back_what_crashes_again(home: House, pauses: list[float]) -> None:
    await watched(home)
    for _ in range(3):
        home.engine.crash(CONTAINER)
        await home.until_watchdog_rests()

        assert home.addons.state(HELLO) is AddonState.STARTED


async def test_watchdog_restarts_what_its_health_check_condemns(home: House, pauses: list[float]) -> None:
    await home.install(image=FakeImage(health_check=True))
    await home.set_options(HELLO, watchdog=True)
    starting = asyncio.create_task(home.post(HELLO, "start"))
    await home.until_state(HELLO, AddonState.STARTUP)
    home.engine.set_health(CONTAINER, Health.HEALTHY)
    await starting

    home.engine.set_health(CONTAINER, Health.UNHEALTHY)
    await home.until_state(HELLO, AddonState.STARTUP)
    home.engine.set_health(CONTAINER, Health.HEALTHY)
    await home.until_watchdog_rests()

    assert pauses == [10, 10]
    assert home.addons.state(HELLO) is AddonState.STARTED


async def test_watchdog_gives_up_with_growing_pauses_and_says_so(home: House, pauses: list[float]) -> None:
    await watched(home)
    home.engine.images[home.installed().image] = FakeImage(exit_code=1)
    home.engine.calls.clear()

    home.engine.crash(CONTAINER)
    problem = await home.until_problem("watchdog_gave_up")
    await home.quiet()

    assert pauses == [10, 10, 20, 40, 80, 80]
    assert [verb for verb, _ in home.engine.calls].count("start") == 5
    assert "Add-on local_hello keeps failing" in problem.message
    assert home.addons.state(HELLO) is AddonState.ERROR


async def test_watchdog_does_not_give_up_on_what_its_last_try_brought_back(home: House, pauses: list[float]) -> None:
    await watched(home)
    home.engine.fail("start", PortConflict("in use", port=80), times=4)

    home.engine.crash(CONTAINER)
    await home.until_watchdog_rests()

    assert pauses == [10, 10, 20, 40, 80, 80]
    assert home.problem("watchdog_gave_up") is None


async def test_problem_ends_when_the_user_gets_it_to_run(home: House, pauses: list[float]) -> None:
    await watched(home)
    good = home.engine.images[home.installed().image]
    home.engine.images[home.installed().image] = FakeImage(exit_code=1)
    home.engine.crash(CONTAINER)
    await home.until_problem("watchdog_gave_up")
    await home.until_watchdog_rests()

    home.engine.images[home.installed().image] = good
    await home.post(HELLO, "start")
    await home.quiet()

    assert home.problem("watchdog_gave_up") is None


async def test_watchdog_that_is_switched_off_meanwhile_restarts_nothing(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watched(home)

    async def pause(seconds: float) -> None:
        await home.set_options(HELLO, watchdog=False)

    monkeypatch.setattr(watchdog, "pause", pause)
    home.engine.calls.clear()

    home.engine.crash(CONTAINER)
    await home.until_watchdog_rests()

    assert home.addons.state(HELLO) is AddonState.ERROR
    assert ("start", CONTAINER) not in home.engine.calls


@pytest.mark.parametrize("verb", ["stop", "uninstall"])
async def test_watchdog_leaves_alone_what_the_user_ended_meanwhile(
    home: House, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    await watched(home)

    async def pause(seconds: float) -> None:
        await home.post(HELLO, verb)

    monkeypatch.setattr(watchdog, "pause", pause)
    home.engine.calls.clear()

    home.engine.crash(CONTAINER)
    await home.until_watchdog_rests()

    assert home.addons.state(HELLO) is (AddonState.STOPPED if verb == "stop" else AddonState.UNKNOWN)
    assert ("start", CONTAINER) not in home.engine.calls


@pytest.mark.parametrize("exit_code", [143, 137, 0, 1])
async def test_watchdog_does_not_mind_what_was_stopped(home: House, pauses: list[float], exit_code: int) -> None:
    await watched(home, stop_exit_code=exit_code)

    await home.post(HELLO, "stop")
    await home.post(HELLO, "start")
    await home.post(HELLO, "restart")
    await home.quiet()

    assert pauses == []


async def test_watchdog_minds_a_crash_after_a_restart_of_what_was_stopped(home: House, pauses: list[float]) -> None:
    await watched(home)
    await home.post(HELLO, "stop")
    await home.post(HELLO, "restart")

    home.engine.crash(CONTAINER)
    await home.until_watchdog_rests()

    assert home.addons.state(HELLO) is AddonState.STARTED
    assert pauses == [10, 10]


async def test_watchdog_minds_a_crash_of_what_could_not_be_stopped(home: House, pauses: list[float]) -> None:
    await watched(home)
    home.engine.fail("stop", EngineRefused("It would not"))
    with pytest.raises(EngineRefused):
        await home.addons.containers.lifetimes.end(HELLO, 1)

    home.engine.crash(CONTAINER)
    await home.until_watchdog_rests()

    assert home.addons.state(HELLO) is AddonState.STARTED
    assert pauses == [10, 10]


async def test_watchdog_does_not_mind_a_good_end_or_an_add_on_that_is_not_watched(
    home: House, pauses: list[float]
) -> None:
    await watched(home)
    await home.run("other")

    home.engine.crash(CONTAINER, 0)
    home.engine.crash("app_local_other", 1)
    await home.until_state(HELLO, AddonState.STOPPED)
    await home.until_state("local_other", AddonState.ERROR)
    await home.quiet()

    assert pauses == []


async def test_watchdog_ends_with_the_daemon(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await watched(home)
        engine.crash(CONTAINER)
        await home.until_state(HELLO, AddonState.ERROR)
        await home.quiet()
        watching = home.addons.containers.watchdog.watching
        watchdog = home.addons.containers.watchdog

    assert watching == {HELLO}
    assert watchdog.watching == set()


async def test_watchdog_gives_up_on_what_crashes_ten_times_in_half_an_hour(home: House, pauses: list[float]) -> None:
    await watched(home)
    home.engine.calls.clear()

    for _ in range(11):
        home.engine.crash(CONTAINER)
        await home.until_watchdog_rests()
    problem = await home.until_problem("watchdog_gave_up")

    assert [verb for verb, _ in home.engine.calls].count("start") == 10
    assert problem.reference == HELLO
    assert home.addons.state(HELLO) is AddonState.ERROR

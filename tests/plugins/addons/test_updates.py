"""Updating add-ons: what is replaced is kept until what replaces it has proved itself, and comes back when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import frozen

from rooftree.interfaces.containers import ContainerStatus, EngineRefused, Health, PortConflict
from rooftree.state import failpoints
from rooftree.testing import FakeClock
from rooftree.testing.containers import FakeContainerEngine, FakeImage
from rooftree_addons import AddonRolledBack, AddonState
from rooftree_containers import Desired, snapshot
from rooftree_containers.probation_watch import SUSPECT_S, UNHEALTHY_S
from tests.plugins.addons.house import HELLO, REGISTRY, WITHIN_S, House, done, house, refusal
from tests.plugins.addons.removing import hold_fast
from tests.rig.waiting import until

type BreakStep = Callable[[str], None]

IMAGE = f"{REGISTRY}/hello:1.0"
NEWER = f"{REGISTRY}/hello:2.0"
PROBATION = timedelta(minutes=10)
BUILT = {"files": {"Dockerfile": "FROM base\n"}, "config": {"image": None}}


@pytest.fixture
def break_step() -> Iterator[BreakStep]:
    """Let the steps of a kind do what they do, and then fail."""
    yield lambda kind: failpoints.arm(f"step:{kind}:done=raise")
    failpoints.arm("")


@pytest.fixture
def clock() -> FakeClock:
    """The time, which passes when a test says so."""
    return FakeClock()


@pytest.fixture
async def home(tmp_path: Path, engine: FakeContainerEngine, clock: FakeClock) -> AsyncIterator[House]:
    """A house with nothing installed, where time stands still."""
    async with house(tmp_path, engine, clock=clock) as here:
        yield here


def changing(home: House) -> list[str]:
    """What changed the engine, in order."""
    verbs = {"pull", "build", "create", "start", "stop", "remove", "remove_image"}
    return [verb for verb, _ in home.engine.calls if verb in verbs]


def own_images(home: House) -> set[str]:
    """The images but those that are kept for the way back."""
    return {name for name in home.engine.images if not name.startswith("rooftree-kept:")}


def kept(home: House) -> tuple[set[str], list[str]]:
    """What is kept for the way back: names of images, and folders."""
    folder = home.data / "apps" / "kept" / HELLO
    folders = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return set(home.engine.images) - own_images(home), folders


def value(home: House) -> Path:
    """A file in the add-on's data."""
    return home.data / "apps" / "data" / HELLO / "value"


async def on_probation(home: House, image: FakeImage | None = None, **config: object) -> None:
    """An add-on that was updated while it ran, and whose new version has written data."""
    await ready_for_update(home, image, **config)
    done(await home.client.post(f"/store/addons/{HELLO}/update"))
    value(home).write_text("broken")


# --- the job ----------------------------------------------------------------------------------------------------------

GREETING = {"options": {"greeting": "hi"}, "schema": {"greeting": "str"}}
UPDATE_STEPS = [
    "docker.keep_image/1",
    "docker.pull_image/1",
    "addons.check_start/1",
    "addons.stop_container/1",
    "addons.keep_data/1",
    "addons.install_profile/1",
    "addons.change_version/1",
    "addons.create_container/1",
    "addons.begin_probation/1",
    "addons.start_container/1",
]


@frozen
class Running:
    """What must be as before when an update was taken back."""

    version: str
    image: str
    options: dict[str, str]
    images: frozenset[str]
    data: str
    status: ContainerStatus | None


async def running(home: House) -> Running:
    """The world as the user sees it."""
    addon, container = home.installed(), await home.container()
    return Running(
        addon.version,
        addon.image,
        addon.effective_options,
        frozenset(home.engine.images),
        (home.data / "apps" / "data" / HELLO / "value").read_text(),
        container.status if container else None,
    )


async def ready_for_update(
    home: House, newer: FakeImage | None = None, *, started: bool = True, **config: object
) -> Running:
    """An add-on with data and options of its own, and a newer version on offer."""
    await home.install(config=GREETING | config)
    await home.set_options(HELLO, options={"greeting": "hello"}, watchdog=True, boot="manual")
    if started:
        await home.post(HELLO, "start")
    (home.data / "apps" / "data" / HELLO / "value").write_text("41")
    await home.offer(version="2.0", image=newer, config=GREETING | config)
    return await running(home)


async def test_update_keeps_data_options_and_choices_and_runs_the_new_version(home: House) -> None:
    await ready_for_update(home)
    offered = await home.info(HELLO)

    answer = await home.client.post(f"/store/addons/{HELLO}/update")

    addon, container = home.installed(), await home.container()
    assert (offered["update_available"], offered["version"], offered["version_latest"]) == (True, "1.0", "2.0")
    assert answer.data == {}
    assert (addon.version, addon.image, addon.effective_options) == ("2.0", NEWER, {"greeting": "hello"})
    assert (addon.watchdog, addon.boot, addon.desired) == (True, "manual", Desired.STARTED)
    assert container is not None
    assert (container.image, container.status) == (NEWER, ContainerStatus.RUNNING)
    assert (home.data / "apps" / "data" / HELLO / "value").read_text() == "41"
    assert own_images(home) == {IMAGE, NEWER}
    assert (await home.info(HELLO))["update_available"] is False
    assert home.addons.store.installed[HELLO].version == "2.0"


async def test_update_of_what_is_stopped_leaves_it_stopped(home: House) -> None:
    await ready_for_update(home, started=False)

    await home.client.post(f"/store/addons/{HELLO}/update")

    assert home.installed().version == "2.0"
    assert home.addons.state(HELLO) is AddonState.STOPPED
    assert "create" not in changing(home)


async def test_update_brings_back_version_and_options_when_the_new_one_ends_at_once(home: House) -> None:
    before = await ready_for_update(home, FakeImage(exit_code=1))

    answer = await home.client.post(f"/store/addons/{HELLO}/update")

    container = await home.container()
    assert "exit code 1" in refusal(answer, 400, "app_update_rolled_back_error")
    assert await running(home) == before
    assert container is not None
    assert container.image == IMAGE
    assert home.tokens() == {container.labels["io.rooftree.token"]}
    assert home.options_file() == {"greeting": "hello"}


async def test_update_brings_back_the_old_version_when_the_new_one_cannot_be_started(home: House) -> None:
    before = await ready_for_update(home)
    home.engine.fail("start", PortConflict("Port 80 is in use", port=80))

    answer = await home.client.post(f"/store/addons/{HELLO}/update")

    refusal(answer, 400, "app_port_conflict")
    assert await running(home) == before


async def test_new_version_that_the_engine_cannot_start_is_to_blame(home: House) -> None:
    before = await ready_for_update(home)
    home.engine.fail("start", EngineRefused("The container engine refused to start it: /run.sh: no such file"))

    answer = await home.client.post(f"/store/addons/{HELLO}/update")

    assert "does not work here: The container engine refused" in refusal(answer, 400, "app_update_rolled_back_error")
    assert await running(home) == before
    assert home.installed().failed_version == "2.0"
    assert home.problem("update_rolled_back") is not None


async def test_update_brings_back_the_old_version_when_the_new_one_fails_its_health_check_by_ending(
    home: House,
) -> None:
    before = await ready_for_update(home, FakeImage(health_check=True))

    updating = asyncio.create_task(home.client.post(f"/store/addons/{HELLO}/update"))
    await home.until_state(HELLO, AddonState.STARTUP)
    home.engine.crash(f"app_{HELLO}", 9)
    answer = await updating

    assert "exit code 9" in refusal(answer, 400, "app_update_rolled_back_error")
    assert await running(home) == before


async def test_update_brings_back_the_old_version_when_the_options_no_longer_fit(home: House) -> None:
    await ready_for_update(home)
    await home.offer(version="2.1", config={"schema": {"greeting": "int"}})
    before = await running(home)

    answer = await home.client.post(f"/store/addons/{HELLO}/update")

    assert "greeting" in refusal(answer, 400, "app_configuration_invalid_error")
    assert await running(home) == before


@pytest.mark.parametrize("step", UPDATE_STEPS)
async def test_update_that_fails_at_any_step_is_taken_back(home: House, step: str, break_step: BreakStep) -> None:
    before = await ready_for_update(home)
    break_step(step)

    answer = await home.client.post(f"/store/addons/{HELLO}/update")

    container = await home.container()
    refusal(answer, 503, "disk_failing_error")
    assert await running(home) == before
    assert container is not None
    assert container.image == IMAGE
    assert home.tokens() == {container.labels["io.rooftree.token"]}


async def test_update_that_needs_an_option_which_the_installed_version_does_not_know_says_the_way_which_works(
    home: House,
) -> None:
    await home.run()
    await home.offer(version="2.0", config={"options": {}, "schema": {"needed": "str"}})

    refused = await home.client.post(f"/store/addons/{HELLO}/update")
    done(await home.post(HELLO, "stop"))
    done(await home.client.post(f"/store/addons/{HELLO}/update"))
    await home.set_options(HELLO, options={"needed": "x"})
    done(await home.post(HELLO, "start"))

    said = refusal(refused, 400, "app_configuration_invalid_error")
    assert "not valid for version 2.0: needed: is required. Stop the add-on, update it, set its options" in said
    assert home.options_file() == {"needed": "x"}


async def test_options_that_are_set_while_an_update_is_taken_back_hold_from_the_next_start(home: House) -> None:
    await ready_for_update(home, FakeImage(health_check=True))

    updating = asyncio.create_task(home.client.post(f"/store/addons/{HELLO}/update"))
    await home.until_state(HELLO, AddonState.STARTUP)
    await home.set_options(HELLO, options={"greeting": "good day"})
    home.engine.crash(f"app_{HELLO}", 9)
    await updating

    assert home.installed().version == "1.0"
    assert home.installed().effective_options == {"greeting": "good day"}
    assert home.options_file() == {"greeting": "hello"}  # as it ran


async def test_update_leaves_an_image_that_another_add_on_uses(home: House) -> None:
    await home.install()
    await home.install("twin", config={"image": f"{REGISTRY}/hello"})
    await home.offer(version="2.0")

    await home.client.post(f"/store/addons/{HELLO}/update")

    assert own_images(home) == {IMAGE, NEWER}


async def test_update_is_refused_where_there_is_none(home: House) -> None:
    await home.install()
    detached = await home.install("gone")
    (home.data / "apps" / "local" / "gone" / "config.json").unlink()
    await home.client.post("/store/reload")

    same = await home.client.post(f"/store/addons/{HELLO}/update")
    nowhere = await home.client.post(f"/store/addons/{detached}/update")
    await home.offer(version="2.0")
    backup = await home.client.post(f"/store/addons/{HELLO}/update", json={"backup": True})
    await home.offer(version="2.0", config={"machine": ["green"]})
    elsewhere = await home.client.post(f"/store/addons/{HELLO}/update")

    refusal(same, 400, "app_no_update_available_error")
    refusal(nowhere, 400, "app_not_in_store_error")
    refusal(backup, 503, None)
    refusal(elsewhere, 400, "addon_not_supported_machine_type_error")
    assert (await home.info(detached))["detached"] is True


async def test_older_version_in_the_store_is_shown_and_no_update_and_is_installed_by_hand(home: House) -> None:
    await ready_for_update(home, started=False)
    await home.offer(version="0.9")
    shown, (listed,) = await home.info(HELLO), (await home.client.get("/store/addons")).data["addons"]

    answer = await home.client.post(f"/store/addons/{HELLO}/update")

    for told in (shown, listed):
        assert (told["version"], told["version_latest"], told["update_available"]) == ("1.0", "0.9", False)
    assert answer.data == {}
    assert home.installed().version == "0.9"
    assert (home.data / "apps" / "data" / HELLO / "value").read_text() == "41"


@pytest.mark.parametrize(("version", "other"), [("453c962", "7b99100"), ("2024.1.0", "1.0.0"), ("1.17.1", "1.17.1-1")])
async def test_version_that_is_not_certainly_older_is_an_update(home: House, version: str, other: str) -> None:
    await home.install(version=version)
    await home.offer(version=other)

    shown = await home.info(HELLO)
    answer = await home.client.post(f"/store/addons/{HELLO}/update")

    assert (shown["version_latest"], shown["update_available"]) == (other, True)
    assert answer.data == {}
    assert home.installed().version == other


# --- rebuild ----------------------------------------------------------------------------------------------------------


async def test_rebuild_builds_again_and_runs_it_again(home: House) -> None:
    await home.run(**BUILT)
    image, container = home.installed().image, await home.container()
    first = home.engine.images[image].id

    answer = await home.post(HELLO, "rebuild")

    again = await home.container()
    assert answer.data == {}
    assert home.engine.images[image].id != first
    assert container is not None
    assert again is not None
    assert again.id != container.id
    assert again.status is ContainerStatus.RUNNING


async def test_rebuild_is_refused_for_images_and_for_other_versions(home: House) -> None:
    await home.install()
    built = await home.install("built", files={"Dockerfile": "FROM base\n"}, config={"image": None})

    image_based = await home.post(HELLO, "rebuild")
    forced = await home.post(HELLO, "rebuild", {"force": True})
    await home.offer("built", "2.0", files={"Dockerfile": "FROM base\n"}, config={"image": None})
    other_version = await home.post(built, "rebuild")

    refusal(image_based, 400, "app_rebuild_image_based_error")
    assert forced.status == 200
    refusal(other_version, 400, "app_rebuild_version_changed_error")


async def test_rebuild_that_breaks_leaves_the_add_on_running(home: House) -> None:
    await home.run(**BUILT)
    container, image = await home.container(), home.installed().image
    await home.offer(files={"Dockerfile": "FROM base\nRUN false\n"}, config={"image": None})

    answer = await home.post(HELLO, "rebuild")

    refusal(answer, 500, "app_build_failed_unknown_error")
    assert await home.container() == container
    assert image in home.engine.images


# --- probation --------------------------------------------------------------------------------------------------------


async def test_what_was_replaced_is_given_up_when_the_new_version_has_run_for_a_while(
    home: House, clock: FakeClock
) -> None:
    await on_probation(home)
    meanwhile, state = kept(home), (await home.client.get(f"/kernel/v1/addons/{HELLO}/probation")).data

    await home.let_pass(clock, PROBATION - timedelta(seconds=1))
    almost = kept(home)
    await home.let_pass(clock, timedelta(seconds=1))

    assert [len(part) for part in meanwhile] == [1, 1]
    assert (state["version"], state["back_to"]) == ("2.0", "1.0")
    assert almost == meanwhile
    assert kept(home) == (set(), [])
    assert own_images(home) == {NEWER}
    assert value(home).read_text() == "broken"
    refusal(await home.client.post(f"/kernel/v1/addons/{HELLO}/roll-back"), 400, "app_no_roll_back_available_error")


@pytest.mark.parametrize(("exit_code", "watchdog"), [(1, True), (137, True), (1, False)])
async def test_version_that_crashes_on_probation_is_rolled_back_with_its_data(
    home: House, clock: FakeClock, exit_code: int, watchdog: bool
) -> None:
    told: list[AddonRolledBack] = []
    home.system.bus.subscribe(AddonRolledBack, told.append, "test")
    await on_probation(home)
    await home.set_options(HELLO, watchdog=watchdog, options={"greeting": "good day"})
    await home.let_pass(clock, PROBATION / 2)

    home.engine.write(f"app_{HELLO}", "no such table: notes")
    home.engine.crash(f"app_{HELLO}", exit_code)
    await home.let_pass(clock, timedelta(seconds=SUSPECT_S))

    addon, container, problem = home.installed(), await home.container(), home.problem("update_rolled_back")
    assert (addon.version, addon.image, addon.failed_version) == ("1.0", IMAGE, "2.0")
    assert (value(home).read_text(), home.options_file()) == ("41", {"greeting": "good day"})
    assert container is not None
    assert (container.image, container.status) == (IMAGE, ContainerStatus.RUNNING)
    assert home.tokens() == {container.labels["io.rooftree.token"]}
    assert own_images(home) == {IMAGE}
    assert [(one.version, one.back_to) for one in told] == [("2.0", "1.0")]
    assert (home.data / told[0].set_aside / "data" / "value").read_text() == "broken"
    assert (home.data / told[0].set_aside / "log.txt").read_text() == "no such table: notes\n"
    assert problem is not None
    assert problem.message.startswith(
        f"Version 2.0 of add-on {HELLO} does not work here: it ended with exit code {exit_code}."
    )
    assert (await home.info(HELLO))["update_available"] is True
    assert kept(home)[0] == set()


async def test_version_that_becomes_unhealthy_is_rolled_back_unless_it_recovers(home: House, clock: FakeClock) -> None:
    await ready_for_update(home, FakeImage(health_check=True))
    updating = asyncio.create_task(home.client.post(f"/store/addons/{HELLO}/update"))
    await home.until_state(HELLO, AddonState.STARTUP)
    home.engine.set_health(f"app_{HELLO}", Health.HEALTHY)
    done(await updating)

    home.engine.set_health(f"app_{HELLO}", Health.UNHEALTHY)
    await home.quiet()
    home.engine.set_health(f"app_{HELLO}", Health.HEALTHY)
    await home.let_pass(clock, timedelta(seconds=UNHEALTHY_S))
    recovered = home.installed().version
    home.engine.set_health(f"app_{HELLO}", Health.UNHEALTHY)
    await home.let_pass(clock, timedelta(seconds=UNHEALTHY_S))

    assert (recovered, home.installed().version) == ("2.0", "1.0")


async def test_update_whose_new_version_is_unhealthy_from_the_start_fails(home: House) -> None:
    before = await ready_for_update(home, FakeImage(health_check=True))

    updating = asyncio.create_task(home.client.post(f"/store/addons/{HELLO}/update"))
    await home.until_state(HELLO, AddonState.STARTUP)
    home.engine.set_health(f"app_{HELLO}", Health.UNHEALTHY)
    answer = await updating

    assert "was not healthy" in refusal(answer, 400, "app_update_rolled_back_error")
    assert await running(home) == before


async def test_failed_update_says_so_sets_its_data_aside_and_is_noted(home: House) -> None:
    told: list[AddonRolledBack] = []
    home.system.bus.subscribe(AddonRolledBack, told.append, "test")
    await ready_for_update(home, FakeImage(exit_code=1))

    await home.client.post(f"/store/addons/{HELLO}/update")
    await home.quiet()

    job = next(job for job in home.system.jobs.listing() if job.name == "addon_manager_update")
    assert job.errors[0].type == "AddonUpdateRolledBack"
    assert home.installed().failed_version == "2.0"
    assert home.problem("update_rolled_back") is not None
    assert (home.data / told[0].set_aside / "data" / "value").read_text() == "41"
    assert HELLO not in home.addons.probations


async def test_update_that_is_interrupted_blames_nobody(home: House, break_step: BreakStep) -> None:
    await ready_for_update(home)
    break_step("addons.start_container/1")

    await home.client.post(f"/store/addons/{HELLO}/update")

    assert home.problem("update_rolled_back") is None
    assert home.installed().failed_version is None
    assert kept(home) == (set(), [])


async def test_time_in_which_it_does_not_run_does_not_count(home: House, clock: FakeClock) -> None:
    await on_probation(home)

    await home.let_pass(clock, PROBATION / 2)
    await home.post(HELLO, "stop")
    await home.let_pass(clock, PROBATION)
    stopped = kept(home)
    await home.post(HELLO, "start")
    await home.let_pass(clock, PROBATION / 2)
    half = kept(home)
    await home.let_pass(clock, PROBATION / 2)

    assert stopped == half != (set(), [])
    assert kept(home) == (set(), [])
    assert home.installed().version == "2.0"


async def test_add_on_that_was_updated_while_stopped_is_on_probation_from_its_first_start(
    home: House, clock: FakeClock
) -> None:
    await ready_for_update(home, FakeImage(exit_code=3), started=False)
    await home.client.post(f"/store/addons/{HELLO}/update")
    await home.let_pass(clock, PROBATION)

    await home.post(HELLO, "start")
    await home.let_pass(clock, timedelta(seconds=SUSPECT_S))

    assert home.installed().version == "1.0"
    assert home.addons.state(HELLO) is AddonState.STARTED


async def test_add_on_that_runs_once_has_proved_itself_when_it_ended_well(home: House, clock: FakeClock) -> None:
    await ready_for_update(home, FakeImage(exit_code=0), started=False, startup="once")
    await home.client.post(f"/store/addons/{HELLO}/update")

    await home.post(HELLO, "start")
    await home.quiet()
    await until_given_up(home)

    assert home.installed().version == "2.0"


async def until_given_up(home: House) -> None:
    """Wait until nothing is kept for the way back."""
    async with asyncio.timeout(10):
        while kept(home) != (set(), []):
            await home.quiet()
            await asyncio.sleep(0)


async def test_engine_that_is_stopped_makes_no_version_fail(home: House, clock: FakeClock) -> None:
    await on_probation(home)

    home.engine.crash(f"app_{HELLO}", 143)  # as an engine does before it ends
    await home.quiet()
    home.engine.go_away()
    await home.let_pass(clock, timedelta(seconds=SUSPECT_S))
    home.engine.come_back()
    await home.until_state(HELLO, AddonState.STARTED)

    assert home.installed().version == "2.0"
    assert HELLO in home.addons.probations


async def test_probation_goes_on_after_a_restart_of_the_daemon(
    tmp_path: Path, engine: FakeContainerEngine, clock: FakeClock
) -> None:
    async with house(tmp_path, engine, clock=clock) as home:
        await on_probation(home)
    async with house(tmp_path, engine, clock=clock) as home:
        await home.until_state(HELLO, AddonState.STARTED)
        home.engine.crash(f"app_{HELLO}")
        await home.let_pass(clock, timedelta(seconds=SUSPECT_S))
        assert (home.installed().version, value(home).read_text()) == ("1.0", "41")


async def test_roll_back_can_be_asked_for(home: House) -> None:
    await on_probation(home)

    plan = (await home.client.post(f"/kernel/v1/addons/{HELLO}/roll-back?plan=1")).data
    done(await home.client.post(f"/kernel/v1/addons/{HELLO}/roll-back"))

    problem = home.problem("update_rolled_back")
    assert "addons.put_back_data/1" in [step["kind"] for step in plan["steps"]]
    assert problem is not None
    assert problem.message.startswith(f"Version 2.0 of add-on {HELLO} was taken back, as it was asked for. Version 1.0")
    assert (home.installed().version, value(home).read_text()) == ("1.0", "41")
    assert home.addons.state(HELLO) is AddonState.STARTED


async def test_roll_back_leaves_what_is_stopped_stopped_and_an_image_that_another_add_on_uses(home: House) -> None:
    await on_probation(home)
    await home.install("twin", "2.0", config={"image": f"{REGISTRY}/hello"})
    done(await home.post(HELLO, "stop"))

    done(await home.client.post(f"/kernel/v1/addons/{HELLO}/roll-back"))

    assert own_images(home) >= {IMAGE, NEWER}
    assert (home.installed().version, await home.container()) == ("1.0", None)


async def test_proof_of_a_version_leaves_an_image_that_another_add_on_uses(home: House, clock: FakeClock) -> None:
    await ready_for_update(home)
    await home.install("twin", config={"image": f"{REGISTRY}/hello"})
    await home.client.post(f"/store/addons/{HELLO}/update")

    await home.let_pass(clock, PROBATION)

    assert kept(home) == (set(), [])
    assert own_images(home) >= {IMAGE, NEWER}


async def test_later_update_takes_the_place_of_what_was_on_probation(home: House, clock: FakeClock) -> None:
    await on_probation(home)
    await home.offer(version="3.0", image=FakeImage(exit_code=1), config=GREETING)

    failed = await home.client.post(f"/store/addons/{HELLO}/update")
    between = home.installed().version, home.addons.probations[HELLO].was.version
    await home.offer(version="4.0", config=GREETING)
    done(await home.client.post(f"/store/addons/{HELLO}/update"))
    home.engine.crash(f"app_{HELLO}")
    await home.let_pass(clock, timedelta(seconds=SUSPECT_S))

    refusal(failed, 400, "app_update_rolled_back_error")
    assert between == ("2.0", "1.0")
    assert (home.installed().version, value(home).read_text()) == ("2.0", "broken")
    assert own_images(home) == {NEWER}
    assert kept(home)[0] == set()


async def test_uninstall_gives_up_all_that_was_kept(home: House) -> None:
    await on_probation(home)

    done(await home.post(HELLO, "uninstall"))

    assert home.engine.images == {}
    assert kept(home) == (set(), [])
    assert HELLO not in home.addons.probations
    assert home.problem("update_rolled_back") is None


async def test_data_of_a_failed_version_is_deleted_after_some_days(home: House, clock: FakeClock) -> None:
    await ready_for_update(home, FakeImage(exit_code=1))
    await home.client.post(f"/store/addons/{HELLO}/update")
    (folder,) = kept(home)[1]
    clock.put(clock.now() + timedelta(days=3650))  # folders go by the machine's clock, which runs

    await home.let_pass(clock, timedelta(days=1))

    assert folder.startswith("failed-")
    assert kept(home) == (set(), [])


async def test_data_of_a_failed_version_stays_for_its_days(home: House, clock: FakeClock) -> None:
    await ready_for_update(home, FakeImage(exit_code=1))
    await home.client.post(f"/store/addons/{HELLO}/update")
    clock.put(datetime.now(UTC))

    await home.let_pass(clock, timedelta(days=1))

    assert len(kept(home)[1]) == 1


async def test_version_that_proves_itself_ends_the_memory_of_one_that_failed(home: House, clock: FakeClock) -> None:
    await ready_for_update(home, FakeImage(exit_code=1))
    await home.client.post(f"/store/addons/{HELLO}/update")
    failed = home.installed().failed_version
    await home.offer(version="2.1", config=GREETING)
    done(await home.client.post(f"/store/addons/{HELLO}/update"))

    await home.let_pass(clock, PROBATION)

    assert (failed, home.installed().failed_version) == ("2.0", None)
    assert home.problem("update_rolled_back") is None


async def test_version_that_proves_itself_does_not_excuse_a_later_one_that_failed_meanwhile(
    home: House, clock: FakeClock
) -> None:
    await on_probation(home)
    await home.offer(version="3.0", image=FakeImage(exit_code=1), config=GREETING)
    refusal(await home.client.post(f"/store/addons/{HELLO}/update"), 400, "app_update_rolled_back_error")

    await home.let_pass(clock, PROBATION)

    assert HELLO not in home.addons.probations
    assert (home.installed().version, home.installed().failed_version) == ("2.0", "3.0")
    assert home.problem("update_rolled_back") is not None


async def test_data_of_a_failed_version_that_cannot_be_deleted_keeps_no_other(
    home: House, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ready_for_update(home, FakeImage(exit_code=1))
    await home.client.post(f"/store/addons/{HELLO}/update")
    for name in ("failed-", "failed-zz"):
        (home.data / "apps" / "kept" / HELLO / name).mkdir()
    hold_fast(monkeypatch, "failed-")  # the first of them
    clock.put(clock.now() + timedelta(days=3650))

    await home.let_pass(clock, timedelta(days=1))

    assert kept(home) == (set(), [])
    path = f"apps/kept/{HELLO}/failed-"
    assert "is immutable" in (await home.until_problem("removal_incomplete", path)).message


async def test_update_without_room_for_a_copy_is_refused_before_anything_is_touched(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await ready_for_update(home)
    monkeypatch.setattr(snapshot, "MARGIN_BYTES", 1 << 62)
    monkeypatch.setattr(snapshot, "shares_blocks", lambda *_: False)
    so_far = changing(home)

    answer = await home.client.post(f"/store/addons/{HELLO}/update")

    assert "MB are free" in refusal(answer, 400, "app_update_no_room_error")
    assert answer.envelope["extra_fields"]["needed"] > 0
    assert changing(home) == so_far
    assert await running(home) == before


async def test_rebuilt_image_that_does_not_run_gives_way_to_the_old_one_of_that_name(home: House) -> None:
    await home.run(**BUILT)
    image = home.installed().image
    first = home.engine.images[image].id
    value(home).write_text("41")
    home.engine.builds_what = FakeImage(exit_code=1)

    answer = await home.post(HELLO, "rebuild")

    container = await home.container()
    refusal(answer, 400, "app_update_rolled_back_error")
    assert home.engine.images[image].id == first
    assert container is not None
    assert (container.image_id, container.status) == (first, ContainerStatus.RUNNING)
    assert value(home).read_text() == "41"
    assert kept(home)[0] == set()


async def test_version_that_proves_itself_while_the_next_is_fetched_does_not_end_the_next_ones_probation(
    home: House, clock: FakeClock
) -> None:
    await on_probation(home)
    await home.offer(version="3.0", config=GREETING)
    fetching = home.engine.hold("pull")
    updating = asyncio.create_task(home.client.post(f"/store/addons/{HELLO}/update"))
    await fetching.reached.wait()

    passing = asyncio.create_task(clock.advance(PROBATION))
    await until_waiting(home, "addon_manager_keep_update")
    fetching.release()
    done(await updating)
    await passing
    await ended(home)

    assert home.addons.probations[HELLO].version == "3.0"
    assert [len(part) for part in kept(home)] == [1, 1]


async def test_version_that_fails_while_the_next_is_fetched_does_not_take_the_next_one_back(
    home: House, clock: FakeClock
) -> None:
    await on_probation(home)
    await home.offer(version="3.0", config=GREETING)
    fetching = home.engine.hold("pull")
    updating = asyncio.create_task(home.client.post(f"/store/addons/{HELLO}/update"))
    await fetching.reached.wait()

    home.engine.crash(f"app_{HELLO}")
    await home.quiet()
    passing = asyncio.create_task(clock.advance(timedelta(seconds=SUSPECT_S)))
    await until_waiting(home, "addon_manager_roll_back")
    fetching.release()
    done(await updating)
    await passing
    await ended(home)

    assert home.installed().version == "3.0"
    assert home.addons.probations[HELLO].was.version == "2.0"


async def until_waiting(home: House, name: str) -> None:
    """Wait until a job of that name stands behind another."""

    async def waiting() -> bool:
        await home.quiet()
        return any(job.name == name and not job.done for job in home.system.jobs.listing())

    await until(waiting, within_s=WITHIN_S, what=f"{name} in the queue")


async def ended(home: House) -> None:
    """Wait until every job has ended."""

    async def over() -> bool:
        await home.quiet()
        return all(job.done for job in home.system.jobs.listing())

    await until(over, within_s=WITHIN_S, what="the end of every job")


async def test_check_that_comes_to_nothing_does_not_keep_a_version_on_probation_for_ever(
    home: House, clock: FakeClock
) -> None:
    await ready_for_update(home, FakeImage(health_check=True))
    updating = asyncio.create_task(home.client.post(f"/store/addons/{HELLO}/update"))
    await home.until_state(HELLO, AddonState.STARTUP)
    home.engine.set_health(f"app_{HELLO}", Health.HEALTHY)
    done(await updating)
    await home.let_pass(clock, PROBATION - timedelta(seconds=UNHEALTHY_S / 2))

    home.engine.set_health(f"app_{HELLO}", Health.UNHEALTHY)
    await home.quiet()
    await home.let_pass(clock, timedelta(seconds=UNHEALTHY_S / 2))
    checked = HELLO in home.addons.probations
    home.engine.set_health(f"app_{HELLO}", Health.HEALTHY)
    await home.let_pass(clock, timedelta(seconds=UNHEALTHY_S) + PROBATION)

    assert checked
    assert kept(home) == (set(), [])
    assert home.installed().version == "2.0"

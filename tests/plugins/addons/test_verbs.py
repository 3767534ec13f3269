"""Installing, starting, updating and removing add-ons: what each leaves, also when it fails on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rooftree.interfaces.containers import (
    ContainerStatus,
    EngineDiskFull,
    EngineRefused,
    Health,
    ImageNotFound,
    PortConflict,
    PullFailed,
)
from rooftree.state import failpoints
from rooftree.testing.containers import FakeContainerEngine, FakeImage, Verb
from rooftree_addons import AddonState, AddonStateChanged
from rooftree_containers import Desired
from rooftree_store import AddonSlug
from tests.plugins.addons.house import HELLO, REGISTRY, House, done, house, refusal

type BreakStep = Callable[[str], None]

IMAGE = f"{REGISTRY}/hello:1.0"
NEWER = f"{REGISTRY}/hello:2.0"


@pytest.fixture
def break_step() -> Iterator[BreakStep]:
    """Let the steps of a kind do what they do, and then fail."""
    yield lambda kind: failpoints.arm(f"step:{kind}:done=raise")
    failpoints.arm("")


def calls(home: House) -> list[str]:
    """What changed the engine, in order."""
    changing = {"pull", "build", "create", "start", "stop", "remove", "remove_image"}
    return [verb for verb, _ in home.engine.calls if verb in changing]


def nothing_of(home: House, slug: AddonSlug = HELLO) -> bool:
    """Whether nothing is left of an add-on."""
    return (
        str(slug) not in {*home.addons.installed, *home.addons.store.installed}
        and not (home.data / "apps" / "data" / slug).exists()
        and not (home.data / "cid_files" / f"app_{slug}.cid").exists()
        and not home.tokens(slug)
    )


# --- install ----------------------------------------------------------------------------------------------------------


async def test_install_brings_image_folder_and_entry_and_starts_nothing(home: House) -> None:
    await home.offer()

    answer = await home.client.post(f"/store/addons/{HELLO}/install")

    assert answer.data == {}
    assert IMAGE in home.engine.images
    assert (home.data / "apps" / "data" / HELLO).is_dir()
    assert (home.installed().version, home.installed().image, home.installed().desired) == ("1.0", IMAGE, "stopped")
    assert home.addons.state(HELLO) is AddonState.STOPPED
    assert await home.container() is None
    assert calls(home) == ["pull"]


async def test_install_in_the_background_shows_its_progress_and_its_end(home: House) -> None:
    await home.offer()
    pulling = home.engine.hold("pull")

    started = await home.client.post(f"/store/addons/{HELLO}/install", json={"background": True})
    await pulling.reached.wait()
    job_id = started.data["job_id"]
    meanwhile = await home.system.jobs.get(job_id)
    pulling.release()
    await home.until_state(HELLO, AddonState.STOPPED)

    assert (meanwhile.name, meanwhile.reference, meanwhile.stage, meanwhile.done) == (
        "app_manager_install", "local_hello", "pull_image", False
    )  # fmt: skip
    assert 0 < meanwhile.progress < 100


@pytest.mark.parametrize(
    ("verb", "error", "status", "error_key"),
    [
        ("pull", PullFailed("The registry does not answer"), 500, "image_pull_failed_error"),
        ("pull", EngineDiskFull("No space left"), 400, "docker_no_space_on_device"),
        ("pull", ValueError("what nobody thought of"), 500, None),
    ],
)
async def test_install_that_fails_leaves_nothing(
    home: House, verb: Verb, error: Exception, status: int, error_key: str | None
) -> None:
    await home.offer()
    home.engine.fail(verb, error)

    answer = await home.client.post(f"/store/addons/{HELLO}/install")

    refusal(answer, status, error_key)
    assert answer.envelope["job_id"]
    assert nothing_of(home)
    assert IMAGE not in home.engine.images
    done(await home.client.post(f"/store/addons/{HELLO}/install"))  # and can be tried again


@pytest.mark.parametrize("step", ["docker.pull_image/1", "addons.create_data_folder/1", "addons.register/1"])
async def test_install_that_fails_at_any_step_leaves_nothing(home: House, step: str, break_step: BreakStep) -> None:
    await home.offer()
    break_step(step)

    answer = await home.client.post(f"/store/addons/{HELLO}/install")

    refusal(answer, 503, "disk_failing_error")
    assert nothing_of(home)
    assert home.engine.images == {}


async def test_failed_install_leaves_an_image_that_was_there_and_a_folder_of_an_earlier_installation(
    home: House, break_step: BreakStep
) -> None:
    await home.offer()
    home.engine.load_image(IMAGE)
    folder = home.data / "apps" / "data" / HELLO
    folder.mkdir(parents=True)
    break_step("addons.register/1")

    await home.client.post(f"/store/addons/{HELLO}/install")

    assert IMAGE in home.engine.images
    assert folder.is_dir()


async def test_add_on_without_image_is_built_from_its_folder(home: House) -> None:
    files = {
        "Dockerfile": "FROM base\n",
        "build.json": '{"build_from": "registry.example/owner/base:1", "args": {"COLOUR": "red"}}',
    }

    await home.install(files=files, config={"image": None})

    built = home.installed().image
    arguments, labels = home.engine.built[built], home.engine.images[built].labels
    assert built.startswith("local/")
    assert built.endswith("-addon-hello:1.0")
    assert (arguments["BUILD_FROM"], arguments["BUILD_VERSION"]) == ("registry.example/owner/base:1", "1.0")
    assert arguments["COLOUR"] == "red"
    assert (labels["io.hass.name"], labels["io.hass.version"], labels["io.hass.type"]) == ("Hello", "1.0", "addon")


async def test_add_on_without_build_file_is_built_on_what_its_dockerfile_says(home: House) -> None:
    await home.install(files={"Dockerfile": "FROM base\n"}, config={"image": None})

    assert "BUILD_FROM" not in home.engine.built[home.installed().image]


async def test_dockerfile_of_the_architecture_is_preferred(home: House) -> None:
    arch = home.addons.store.machine.arch
    files = {"Dockerfile": "FROM base\nRUN false\n", f"Dockerfile.{arch}": "FROM base\n"}

    await home.install(files=files, config={"image": None})

    assert HELLO in home.addons.installed


async def test_build_that_breaks_leaves_nothing(home: House) -> None:
    await home.offer(files={"Dockerfile": "FROM base\nRUN false\n"}, config={"image": None})

    answer = await home.client.post(f"/store/addons/{HELLO}/install")

    assert "RUN false" in refusal(answer, 500, "app_build_failed_unknown_error")
    assert nothing_of(home)


@pytest.mark.parametrize(
    ("files", "error_key"),
    [
        ({}, "app_build_dockerfile_missing_error"),
        ({"Dockerfile": "FROM base\n", "build.json": "{"}, None),
        ({"Dockerfile": "ARG BUILD_FROM\nFROM $BUILD_FROM\n"}, None),
        ({"Dockerfile": "FROM $BUILD_FROM\n", "build.json": "{}"}, None),
    ],
)
async def test_add_on_that_cannot_be_built_is_refused_before_anything_is_done(
    home: House, files: dict[str, str], error_key: str | None
) -> None:
    await home.offer(files=files, config={"image": None})

    answer = await home.client.post(f"/store/addons/{HELLO}/install")

    assert HELLO in refusal(answer, 400, error_key)
    assert calls(home) == []


async def test_image_that_nothing_sets_is_refused_with_what_to_write(home: House) -> None:
    await home.offer(files={"Dockerfile": "ARG BUILD_FROM\nFROM $BUILD_FROM\n"}, config={"image": None})

    answer = await home.client.post(f"/store/addons/{HELLO}/install")

    said = refusal(answer, 400, None)
    assert f"Add-on {HELLO} cannot be built. Line 2 of its Dockerfile: FROM $BUILD_FROM names no image" in said
    assert "write ARG BUILD_FROM=<image> above the first FROM" in said


async def test_dockerfile_that_leads_out_of_the_add_on_is_refused_as_that(home: House) -> None:
    await home.offer(files={"x": ""}, config={"image": None})
    (home.data / "apps" / "local" / "hello" / "Dockerfile").symlink_to("../../elsewhere")

    answer = await home.client.post(f"/store/addons/{HELLO}/install")

    assert "its Dockerfile leads out of its folder" in refusal(answer, 400, None)


async def test_install_is_refused_for_what_is_installed_unknown_or_not_for_this_machine(home: House) -> None:
    await home.install()
    other = await home.offer("other", config={"machine": ["!generic-x86-64", "green"]})
    wrong = await home.offer("wrong", config={"arch": ["armhf"]})

    twice = await home.client.post(f"/store/addons/{HELLO}/install")
    unknown = await home.client.post("/store/addons/local_nothing/install")
    machine = await home.client.post(f"/store/addons/{other}/install")
    arch = await home.client.post(f"/store/addons/{wrong}/install")

    refusal(twice, 400, "app_already_installed_error")
    refusal(unknown, 404, "store_app_not_found_error")
    refusal(machine, 400, "addon_not_supported_machine_type_error")
    refusal(arch, 400, "addon_not_supported_architecture_error")


async def test_two_installs_at_once_are_one_install_and_one_refusal(home: House) -> None:
    await home.offer()

    answers = await asyncio.gather(*(home.client.post(f"/store/addons/{HELLO}/install") for _ in range(2)))

    assert sorted(answer.status for answer in answers) == [200, 400]
    assert calls(home) == ["pull"]


async def test_install_and_update_take_only_the_version_on_offer(home: House) -> None:
    await home.offer()

    other = await home.client.post(f"/store/addons/{HELLO}/install/0.9")
    right = await home.client.post(f"/store/addons/{HELLO}/install/1.0")
    await home.offer(version="2.0+b/3")
    gone = await home.client.post(f"/store/addons/{HELLO}/update/1.0")
    shown = await home.client.get(f"/store/addons/{HELLO}/2.0%2Bb%2F3")
    newer = await home.client.post(f"/store/addons/{HELLO}/update/2.0%2Bb%2F3")

    assert "1.0" in refusal(other, 400, None)
    assert "2.0" in refusal(gone, 400, None)
    assert (right.status, shown.status, newer.status) == (200, 200, 200)
    assert home.installed().version == "2.0+b/3"


# --- start, stop, restart ---------------------------------------------------------------------------------------------


async def test_start_makes_a_container_with_options_token_and_its_own_id(home: House) -> None:
    await home.install(config={"options": {"greeting": "hi"}, "schema": {"greeting": "str"}})

    answer = await home.post(HELLO, "start")

    container = await home.container()
    assert answer.data == {}
    assert container is not None
    assert container.status is ContainerStatus.RUNNING
    assert home.options_file() == {"greeting": "hi"}
    assert (home.data / "apps" / "data" / HELLO / "options.json").stat().st_mode & 0o777 == 0o600
    assert (home.data / "cid_files" / f"app_{HELLO}.cid").read_text() == container.id
    assert home.tokens() == {container.labels["io.rooftree.token"]}
    assert (home.installed().desired, home.addons.state(HELLO)) == (Desired.STARTED, AddonState.STARTED)
    assert home.addons.address(HELLO) == container.ip_address


async def test_start_of_what_runs_changes_nothing(home: House) -> None:
    await home.run()
    container, token = await home.container(), home.token()

    await home.post(HELLO, "start")

    again = await home.container()
    assert (again, home.token()) == (container, token)


async def test_start_with_options_that_do_not_fit_is_refused_and_names_them(home: House) -> None:
    await home.install(config={"schema": {"colour": "str"}})

    answer = await home.post(HELLO, "start")

    assert "colour" in refusal(answer, 400, "app_configuration_invalid_error")
    assert answer.envelope["extra_fields"]["app"] == HELLO
    assert home.installed().desired is Desired.STOPPED
    assert await home.container() is None


START_STEPS = ["addons.set_desired/1", "addons.create_container/1", "addons.start_container/1"]


@pytest.mark.parametrize("step", START_STEPS)
async def test_start_that_fails_at_any_step_leaves_it_stopped(home: House, step: str, break_step: BreakStep) -> None:
    await home.install()
    before = home.installed()
    break_step(step)

    answer = await home.post(HELLO, "start")

    refusal(answer, 503, "disk_failing_error")
    assert home.installed() == before
    assert await home.container() is None
    assert home.tokens() == set()
    assert home.addons.state(HELLO) is AddonState.STOPPED


@pytest.mark.parametrize(
    ("verb", "error", "status", "error_key"),
    [
        ("start", PortConflict("Port 80 is in use", port=80), 400, "app_port_conflict"),
        ("create", ImageNotFound("There is no image"), 404, "image_not_found_error"),
        ("create", EngineRefused("The engine would not"), 500, "container_engine_refused_error"),
    ],
)
async def test_engines_reason_reaches_the_client(
    home: House, verb: Verb, error: Exception, status: int, error_key: str
) -> None:
    await home.install()
    home.engine.fail(verb, error)

    answer = await home.post(HELLO, "start")

    refusal(answer, status, error_key)
    assert await home.container() is None
    assert home.tokens() == set()


async def test_start_waits_until_the_health_check_is_content(home: House) -> None:
    await home.install(image=FakeImage(health_check=True))

    starting = asyncio.create_task(home.post(HELLO, "start"))
    await home.until_state(HELLO, AddonState.STARTUP)
    answered_early = starting.done()
    home.engine.set_health(f"app_{HELLO}", Health.HEALTHY)
    answer = await starting

    assert not answered_early
    assert answer.status == 200
    assert home.addons.state(HELLO) is AddonState.STARTED


async def test_start_stops_waiting_when_the_add_on_ends_instead(home: House) -> None:
    await home.install(image=FakeImage(health_check=True))

    starting = asyncio.create_task(home.post(HELLO, "start"))
    await home.until_state(HELLO, AddonState.STARTUP)
    home.engine.crash(f"app_{HELLO}", 3)
    answer = await starting

    assert answer.status == 200
    assert home.addons.state(HELLO) is AddonState.ERROR


async def test_add_on_that_fails_after_its_start_is_in_error_and_keeps_its_log(home: House) -> None:
    await home.install(image=FakeImage(exit_code=3, prints=("I cannot",)))

    answer = await home.post(HELLO, "start")

    log = await home.client.get(f"/addons/{HELLO}/logs")
    assert answer.status == 200
    assert home.addons.state(HELLO) is AddonState.ERROR
    assert log.text == "I cannot\n"


async def test_stop_ends_it_with_its_token_and_keeps_its_log(home: House) -> None:
    await home.run(image=FakeImage(prints=("hello",)))

    answer = await home.post(HELLO, "stop")
    await home.quiet()

    log = await home.client.get(f"/addons/{HELLO}/logs")
    assert answer.data == {}
    assert (home.installed().desired, home.addons.state(HELLO)) == (Desired.STOPPED, AddonState.STOPPED)
    assert home.tokens() == set()
    assert home.addons.address(HELLO) is None
    assert log.text == "hello\n"


async def test_add_on_that_was_stopped_is_stopped_whatever_it_ended_with(home: House) -> None:
    await home.run(image=FakeImage(stop_exit_code=137))
    states: list[str] = []
    home.system.bus.subscribe(AddonStateChanged, lambda event: states.append(event.state), "test")

    await home.post(HELLO, "restart")
    await home.post(HELLO, "stop")
    await home.quiet()

    assert AddonState.ERROR not in states
    assert states[-1] is AddonState.STOPPED


async def test_stop_of_what_does_not_run_is_nothing_to_do(home: House) -> None:
    await home.install()

    assert (await home.post(HELLO, "stop")).status == 200
    assert home.addons.state(HELLO) is AddonState.STOPPED


async def test_stop_that_fails_leaves_it_running_with_a_valid_token(home: House) -> None:
    await home.run()
    home.engine.fail("stop", EngineRefused("It would not"))

    answer = await home.post(HELLO, "stop")

    container = await home.container()
    refusal(answer, 500, "container_engine_refused_error")
    assert container is not None
    assert container.status is ContainerStatus.RUNNING
    assert home.installed().desired is Desired.STARTED
    assert home.tokens() == {container.labels["io.rooftree.token"]}


async def test_restart_makes_a_fresh_container_with_the_options_as_they_are_now(home: House) -> None:
    await home.run(config={"options": {"greeting": "hi"}, "schema": {"greeting": "str"}})
    before, old_token = await home.container(), home.token()
    await home.set_options(HELLO, options={"greeting": "hello"})

    answer = await home.post(HELLO, "restart")

    after = await home.container()
    assert answer.status == 200
    assert before is not None
    assert after is not None
    assert before.id != after.id
    assert after.status is ContainerStatus.RUNNING
    assert home.options_file() == {"greeting": "hello"}
    assert home.token() != old_token
    assert home.tokens() == {after.labels["io.rooftree.token"]}


async def test_restart_of_what_is_stopped_starts_it(home: House) -> None:
    await home.install()

    await home.post(HELLO, "restart")

    assert home.addons.state(HELLO) is AddonState.STARTED


@pytest.mark.parametrize("step", ["addons.check_start/1", "addons.stop_container/1", *START_STEPS])
async def test_restart_that_fails_at_any_step_leaves_it_running(home: House, step: str, break_step: BreakStep) -> None:
    await home.run()
    before = home.installed()
    break_step(step)

    answer = await home.post(HELLO, "restart")

    container = await home.container()
    refusal(answer, 503, "disk_failing_error")
    assert home.installed() == before
    assert container is not None
    assert container.status is ContainerStatus.RUNNING
    assert home.tokens() == {container.labels["io.rooftree.token"]}


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "uninstall", "rebuild", "update"])
async def test_verb_on_what_is_not_installed_says_so(home: House, verb: str) -> None:
    answer = await home.post("local_nothing", verb)

    refusal(answer, 400, "app_not_installed_error")


# --- an image that is gone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "restart"])
async def test_image_that_somebody_took_away_is_fetched_again(home: House, verb: str) -> None:
    await home.install()
    await home.post(HELLO, "start")
    if verb == "start":
        await home.post(HELLO, "stop")
    home.engine.images.clear()

    await home.post(HELLO, verb)

    assert home.addons.state(HELLO) is AddonState.STARTED


async def test_image_that_is_fetched_again_is_the_one_that_was_installed_whatever_its_name_means_now(
    home: House,
) -> None:
    await home.install()
    installed = home.engine.images[IMAGE].id
    home.engine.images.clear()
    home.engine.publish_image(IMAGE)  # somebody has pushed another one under the same tag

    started = await home.post(HELLO, "start")

    assert started.data == {}
    assert home.engine.images[IMAGE].id == installed == home.installed().digest


async def test_image_that_its_registry_has_replaced_is_not_taken_for_the_one_that_was_installed(home: House) -> None:
    await home.install()
    home.engine.images.clear()
    home.engine.empty_registry()
    home.engine.publish_image(IMAGE)

    refused = await home.post(HELLO, "start")

    assert "is another one, and is not taken for it" in refusal(refused, 404, "image_not_found_error")
    assert home.engine.images == {}


@pytest.mark.parametrize(
    ("label", "taken"), [("1.0", True), ("1.1", True), ("0.9", False), ("dev", True), ("", True), ("2024.1", True)]
)
async def test_image_that_says_itself_that_it_is_older_is_refused(home: House, label: str, taken: bool) -> None:
    await home.offer(image=FakeImage(labels={"io.hass.version": label}))

    answer = await home.client.post(f"/store/addons/{HELLO}/install")

    if taken:
        done(answer)
    else:
        assert "says that it is version 0.9" in refusal(answer, 400, "app_image_downgraded_error")
        assert nothing_of(home)
        assert home.engine.images == {}


async def test_image_for_another_platform_is_refused_at_install_and_update(home: House) -> None:
    foreign = FakeImage(architecture="arm64")
    await home.offer(image=foreign)

    refused = await home.client.post(f"/store/addons/{HELLO}/install")

    assert f"{IMAGE} is made for arm64" in refusal(refused, 400, "image_platform_error")
    assert nothing_of(home)
    assert home.engine.images == {}

    await home.run()
    await home.offer(version="1.1", image=foreign)
    refused = await home.client.post(f"/store/addons/{HELLO}/update")

    assert "is made for arm64" in refusal(refused, 400, "image_platform_error")
    assert home.installed().version == "1.0" and list(home.engine.images) == [IMAGE]
    assert (await home.info(HELLO))["state"] == "started"


BASE = {"io.hass.type": "base", "io.hass.name": "Alpine base"}


@pytest.mark.parametrize(
    "labels",
    [
        BASE | {"io.hass.version": "0.9"},
        {"io.hass.type": "addon", "io.hass.name": "What it was built on", "io.hass.version": "0.9"},
    ],
)
async def test_labels_of_what_an_image_was_built_on_say_nothing_of_the_add_on(
    home: House, labels: dict[str, str]
) -> None:
    await home.offer(image=FakeImage(labels=labels))

    done(await home.client.post(f"/store/addons/{HELLO}/install"))

    await home.offer(version="1.1", image=FakeImage(labels=labels))
    done(await home.client.post(f"/store/addons/{HELLO}/update"))


@pytest.mark.parametrize("kind", ["addon", "app"])
async def test_labels_of_its_own_say_that_an_image_is_older(home: House, kind: str) -> None:
    labels = {"io.hass.type": kind, "io.hass.name": "Hello", "io.hass.version": "0.9"}
    await home.offer(image=FakeImage(labels=labels))

    answer = await home.client.post(f"/store/addons/{HELLO}/install")

    assert "says that it is version 0.9" in refusal(answer, 400, "app_image_downgraded_error")


async def test_image_of_the_release_is_not_older_than_its_packaging(home: House) -> None:
    await home.offer(version="1.17.1-1", image=FakeImage(labels={"io.hass.version": "1.17.1"}))

    done(await home.client.post(f"/store/addons/{HELLO}/install"))


async def test_restart_leaves_the_add_on_running_when_its_image_is_gone_for_good(home: House) -> None:
    await home.install()
    await home.post(HELLO, "start")
    before = await home.engine.container("app_local_hello")
    home.engine.images.clear()
    home.engine.empty_registry()

    answer = await home.client.post(f"/addons/{HELLO}/restart")

    assert answer.status == 404
    assert await home.engine.container("app_local_hello") == before


# --- uninstall --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("remove_config", "kept"), [(False, True), (True, False)])
async def test_uninstall_leaves_nothing_but_what_the_user_may_want(
    home: House, remove_config: bool, kept: bool
) -> None:
    await home.run(config={"map": [{"type": "addon_config"}]})

    answer = await home.post(HELLO, "uninstall", {"remove_config": remove_config})
    await home.quiet()

    assert answer.data == {}
    assert nothing_of(home)
    assert await home.container() is None
    assert home.engine.images == {}
    assert (home.data / "app_configs" / HELLO).exists() is kept


async def test_uninstall_leaves_an_image_that_another_add_on_uses(home: House) -> None:
    await home.install()
    await home.install("twin", config={"image": f"{REGISTRY}/hello"})

    await home.post(HELLO, "uninstall")

    assert set(home.engine.images) == {IMAGE}


@pytest.mark.parametrize(
    "step",
    ["addons.set_desired/1", "addons.remove_container/1", "docker.remove_image/1", "addons.remove_data/1",
     "addons.unregister/1"],
)  # fmt: skip
async def test_uninstall_that_failed_at_any_step_can_be_done_again(
    home: House, step: str, break_step: BreakStep
) -> None:
    await home.run()
    break_step(step)
    failed = await home.post(HELLO, "uninstall")
    failpoints.arm("")

    await home.post(HELLO, "uninstall")
    await home.quiet()

    refusal(failed, 503, "disk_failing_error")
    assert nothing_of(home)
    assert await home.container() is None
    assert home.engine.images == {}


async def test_what_was_installed_survives_a_restart_of_the_daemon(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run()
        await home.set_options(HELLO, watchdog=True, boot="manual")
        before, token = home.installed(), home.token()

    async with house(tmp_path, engine) as home:
        await home.until_state(HELLO, AddonState.STARTED)
        answer = await home.client.get("/addons/self/info", token=token)

        assert home.installed() == before
        assert answer.status == 200


async def test_build_file_that_leads_out_of_its_repository_is_refused(home: House, tmp_path: Path) -> None:
    slug = await home.offer(config={"image": None}, files={"Dockerfile": "FROM scratch\n"})
    outside = tmp_path / "elsewhere.yaml"
    outside.write_text("build_from: example.com/stranger:1\n")
    (home.data / "apps" / "local" / "hello" / "build.yaml").symlink_to(outside)

    answer = await home.client.post(f"/store/addons/{slug}/install")

    assert "leads out of its folder" in answer.message
    assert slug not in home.addons.installed
    assert calls(home) == []


@pytest.mark.parametrize(
    ("text", "built"),
    [
        ("# nothing\n", {"BUILD_FROM": "ghcr.io/home-assistant/base:latest"}),
        ("args: {V: 1.10, W: yes}\n", {"V": "1.10", "W": "yes"}),
        ("build_from: {amd64: 'debian:12', aarch64: 'debian:12', i386: 5}\n", {"BUILD_FROM": "debian:12"}),
        ("labels: {a: [1]}\nsquash: perhaps\n", {}),
    ],
)
async def test_what_a_build_does_not_use_of_its_file_keeps_nobody_from_it(
    home: House, text: str, built: dict[str, str]
) -> None:
    await home.install(files={"Dockerfile": "FROM base\n", "build.yaml": text}, config={"image": None})

    assert home.engine.built[home.installed().image].items() >= built.items()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("build_from: [a]\n", "build_from: must be a string"),
        ("args: {V: [1]}\n", "args.V: must be a string"),
        ("args: [V=1]\n", "args: must be a mapping"),
        ("args: [", "build.yaml, line"),
    ],
)
async def test_build_that_needs_what_its_file_does_not_say_is_refused_by_name(
    home: House, text: str, named: str
) -> None:
    await home.offer(files={"Dockerfile": "FROM base\n", "build.yaml": text}, config={"image": None})

    answer = await home.client.post(f"/store/addons/{HELLO}/install")

    assert named in refusal(answer, 400, None)

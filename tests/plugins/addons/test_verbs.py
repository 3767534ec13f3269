"""Installing, starting, updating and removing add-ons: what each leaves, also when it fails on the way."""

from __future__ import annotations

import pytest

from rooftree.errors import RooftreeError
from rooftree.interfaces.containers import (
    BuildFailed,
    ContainerStatus,
    EngineDiskFull,
    EngineRefused,
    PortConflict,
    PullFailed,
)
from rooftree.testing import Answer
from rooftree.testing.containers import FakeImage, Verb
from rooftree_addons import AddonState
from rooftree_addons.installed import Desired
from tests.plugins.addons.house import HELLO, REGISTRY, House, house

IMAGE = f"{REGISTRY}/hello:1.0"
NEWER = f"{REGISTRY}/hello:2.0"


def calls(home: House) -> list[str]:
    """What changed the engine, in order."""
    changing = {"pull", "build", "create", "start", "stop", "remove", "remove_image"}
    return [verb for verb, _ in home.engine.calls if verb in changing]


def refusal(answer: Answer, status: int, error_key: str | None) -> str:
    """The message of an error with that status and key."""
    assert (answer.status, answer.envelope.get("error_key")) == (status, error_key), answer.text
    return answer.message


def nothing_of(home: House, slug: str = HELLO) -> bool:
    """Whether nothing is left of an add-on."""
    return (
        slug not in home.addons.installed
        and not (home.data / "apps" / "data" / slug).exists()
        and not (home.data / "cid_files" / f"app_{slug}.cid").exists()
        and not home.tokens(slug)
        and slug not in home.addons.store.installed
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
    (await home.client.post(f"/store/addons/{HELLO}/install")).data  # and can be tried again


@pytest.mark.parametrize("step", ["addons.create_data_folder/1", "addons.register/1"])
async def test_install_that_fails_after_the_pull_takes_the_image_away_again(
    home: House, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.offer()
    break_step(step, monkeypatch)

    answer = await home.client.post(f"/store/addons/{HELLO}/install")

    assert "broken on purpose" in refusal(answer, 400, None)
    assert nothing_of(home)
    assert home.engine.images == {}


async def test_failed_install_leaves_an_image_that_was_there_and_a_folder_of_an_earlier_installation(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.offer()
    home.engine.load_image(IMAGE)
    folder = home.data / "apps" / "data" / HELLO
    folder.mkdir(parents=True)
    break_step("addons.register/1", monkeypatch)

    await home.client.post(f"/store/addons/{HELLO}/install")

    assert IMAGE in home.engine.images
    assert folder.is_dir()


async def test_add_on_without_image_is_built_from_its_folder(home: House) -> None:
    files = {
        "Dockerfile": "FROM base\n",
        "build.json": '{"build_from": "registry.example/owner/base:1", "args": {"COLOUR": "red"}}',
    }

    await home.install(image_name=None, files=files, **{"image": None})  # type: ignore[arg-type]  # the config's image

    built = home.installed().image
    assert built.startswith("local/")
    assert built.endswith("-addon-hello:1.0")
    assert home.engine.built[built]["BUILD_FROM"] == "registry.example/owner/base:1"
    assert home.engine.built[built]["BUILD_VERSION"] == "1.0"
    assert home.engine.built[built]["COLOUR"] == "red"
    assert home.engine.images[built].labels["io.hass.name"] == "Hello"


def break_step(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let steps of that kind do what they do, and then fail."""
    from rooftree.steps import KINDS  # noqa: PLC0415

    done = KINDS[kind].do  # type: ignore[attr-defined]

    async def do_and_fail(self, *arguments, **services):  # type: ignore[no-untyped-def]
        await done(self, *arguments, **services)
        raise Broken("This was broken on purpose")

    do_and_fail.__signature__ = __import__("inspect").signature(done)  # type: ignore[attr-defined]
    do_and_fail.__annotations__ = done.__annotations__
    monkeypatch.setattr(KINDS[kind], "do", do_and_fail)


class Broken(RooftreeError):
    """What a test broke."""

    status = 400

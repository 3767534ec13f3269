"""Restoring an add-on: all of it comes back, and where that fails, or is killed, all is as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from attrs import evolve

from rooftree import RooftreeError
from rooftree.interfaces.backups import PartId, PartKind, StagedPart
from rooftree.interfaces.containers import ContainerStatus, DataPath, EngineRefused
from rooftree.jobs import execution
from rooftree.testing.containers import FakeContainerEngine, FakeImage
from rooftree_containers import Desired
from tests.plugins.addons.house import HELLO, REGISTRY, House, done, house
from tests.plugins.addons.restoring import FOLDER, back_up, restore, source_of, unpack
from tests.rig.scythe import PLACES, Scythe
from tests.rig.waiting import until

CONFIG = {"options": {"level": "info"}, "schema": {"level": "str"}, "map": ["addon_config"]}
PROFILE = "profile hello {\n}\n"
MOST_PLACES = 80
EMPTY_PART = StagedPart(id=PartId(kind=PartKind.ADDON, slug=HELLO), version=None, size_bytes=0, folder=DataPath(FOLDER))


def folders(home: House) -> tuple[Path, Path]:
    return home.data / "apps" / "data" / HELLO, home.data / "app_configs" / HELLO


def write(home: House, value: str) -> None:
    """Let the add-on's folders hold that."""
    for folder in folders(home):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / value).write_text(value)
        (folder / "value").write_text(value)


def values(home: House) -> list[list[str]]:
    """What the add-on's folders hold, but for its options."""
    return [sorted(file.name for file in folder.iterdir() if file.name != "options.json") for folder in folders(home)]


async def backed_up(home: House, kept: Path) -> None:
    """An add-on that ran in version 1.0 with something in its folders was backed up."""
    await home.run(config=CONFIG, files={"apparmor.txt": PROFILE})
    await home.set_options(HELLO, options={"level": "debug"}, watchdog=True)
    write(home, "old")
    await back_up(home, kept)


async def changed(home: House) -> None:
    """Since then it was updated, and set otherwise; it brings no profile any more."""
    await home.offer(version="2.0", config=CONFIG)
    (home.data / "apps/local/hello/apparmor.txt").unlink()
    done(await home.client.post("/store/reload"))
    done(await home.client.post(f"/store/addons/{HELLO}/update"))
    await home.set_options(HELLO, options={"level": "error"}, watchdog=False)
    write(home, "new")


async def status(home: House) -> ContainerStatus | None:
    container = await home.container()
    return container.status if container is not None else None


async def test_running_addon_is_what_it_was_then(home: House, tmp_path: Path) -> None:
    await backed_up(home, tmp_path / "kept")
    ingress_token = home.installed().ingress_token
    await changed(home)

    await restore(home, tmp_path / "kept")

    addon = home.installed()
    assert (addon.version, addon.options, addon.watchdog) == ("1.0", {"level": "debug"}, True)
    assert addon.ingress_token == ingress_token
    assert values(home) == [["old", "value"]] * 2
    assert home.options_file() == {"level": "debug"}
    assert await asyncio.to_thread(home.addons.profiles.kept, HELLO) == "profile local_hello {\n}\n"
    container = await home.container()
    assert container is not None
    assert (container.status, container.image) == (ContainerStatus.RUNNING, f"{REGISTRY}/hello:1.0")
    assert home.addons.probations.get(HELLO) is None, "what it was updated from is not gone back to any more"
    assert len(home.tokens()) == 1


async def test_addon_that_is_not_installed_any_more_is_installed_again(home: House, tmp_path: Path) -> None:
    await backed_up(home, tmp_path / "kept")
    done(await home.post(HELLO, "uninstall", {"remove_config": True}))

    await restore(home, tmp_path / "kept")

    assert (home.installed().version, home.installed().desired) == ("1.0", Desired.STARTED)
    assert values(home) == [["old", "value"]] * 2
    assert await status(home) is ContainerStatus.RUNNING


async def test_addon_that_was_stopped_then_is_stopped_again(home: House, tmp_path: Path) -> None:
    await home.install(config=CONFIG)
    await back_up(home, tmp_path / "kept")
    done(await home.post(HELLO, "start"))

    await restore(home, tmp_path / "kept")

    assert home.installed().desired is Desired.STOPPED
    assert await status(home) is ContainerStatus.EXITED


async def test_configuration_that_is_not_in_the_backup_stays(home: House, tmp_path: Path) -> None:
    await home.install()
    await back_up(home, tmp_path / "kept")
    await asyncio.to_thread(write, home, "new")

    await restore(home, tmp_path / "kept")

    assert values(home) == [[], ["new", "value"]]


async def test_image_that_was_built_comes_out_of_the_backup(home: House, tmp_path: Path) -> None:
    await home.run(files={"Dockerfile": "FROM base\n"}, config={"image": None})
    image = home.installed().image
    original = home.engine.images[image]
    await back_up(home, tmp_path / "kept")
    done(await home.post(HELLO, "uninstall"))
    assert image not in home.engine.images
    home.engine.calls.clear()

    await restore(home, tmp_path / "kept")

    assert home.engine.images[image] == original
    assert not {"build", "pull"} & {verb for verb, _ in home.engine.calls}
    assert await status(home) is ContainerStatus.RUNNING


async def test_image_that_is_nowhere_is_told_before_anything_is_done(home: House, tmp_path: Path) -> None:
    await home.install(files={"Dockerfile": "FROM base\n"}, config={"image": None})
    await back_up(home, tmp_path / "kept")
    done(await home.post(HELLO, "uninstall"))
    await home.offer(version="2.0", config={"image": None})
    (tmp_path / "kept" / "image.tar").unlink()

    with pytest.raises(RooftreeError, match="neither here nor in the backup"):
        await restore(home, tmp_path / "kept")

    assert HELLO not in home.addons.installed


async def test_running_addon_that_does_not_run_restored_is_what_it_was(home: House, tmp_path: Path) -> None:
    await backed_up(home, tmp_path / "kept")
    await changed(home)
    before = home.installed()
    home.engine.images[f"{REGISTRY}/hello:1.0"] = FakeImage(exit_code=7, prints=("alas",))

    with pytest.raises(RooftreeError, match="exit code 7") as refused:
        await restore(home, tmp_path / "kept")

    assert refused.value.error_key == "app_restore_failed_error"
    assert home.installed() == before
    assert values(home) == [["new", "old", "value"]] * 2
    assert home.options_file() == {"level": "debug"}, "those that its container was made with"
    assert await status(home) is ContainerStatus.RUNNING
    assert home.addons.probations.get(HELLO) is not None
    assert await asyncio.to_thread(home.addons.profiles.kept, HELLO) is None
    assert "alas" in (await home.client.get(f"/addons/{HELLO}/logs")).text


async def test_restored_addon_that_can_not_be_started_is_a_problem_where_it_did_not_run(
    home: House, tmp_path: Path
) -> None:
    await backed_up(home, tmp_path / "kept")
    done(await home.post(HELLO, "uninstall", {"remove_config": True}))
    home.engine.fail("start", EngineRefused("no"))

    await restore(home, tmp_path / "kept")

    assert values(home) == [["old", "value"]] * 2
    assert home.problem("boot_fail") is not None


@pytest.mark.parametrize(
    ("documents", "sentence"),
    [
        ({}, "there is no addon.json"),
        ({"addon.json": b"{"}, "addon.json is not JSON"),
        ({"addon.json": b"[]"}, "must be an object"),
        ({"addon.json": b'{"user": {}, "system": {}}'}, "is required"),
        ({"addon.json": b'{"user": [], "system": {}}'}, "user: must be an object"),
    ],
)
async def test_what_a_backup_says_of_an_addon_is_looked_at(
    home: House, documents: Mapping[str, bytes], sentence: str
) -> None:
    slug = await home.install()
    part = evolve(EMPTY_PART, documents=documents)

    with pytest.raises(RooftreeError, match=sentence) as refused:
        await home.system.jobs.run((await source_of(home)).restore(part))

    assert refused.value.error_key == "app_backup_metadata_invalid_error"
    assert refused.value.extra_fields["app"] == slug


async def test_plan_tells_what_is_stopped_and_changes_nothing(home: House, tmp_path: Path) -> None:
    await backed_up(home, tmp_path / "kept")
    await changed(home)
    before = home.installed(), await asyncio.to_thread(values, home)
    part = await unpack(home, tmp_path / "kept")

    plan = await home.system.jobs.preview((await source_of(home)).restore(part))

    assert plan.downtime and plan.reversible
    assert before == (home.installed(), await asyncio.to_thread(values, home))


# --- kills ------------------------------------------------------------------------------------------------------------


async def uninstalled(home: House) -> None:
    done(await home.post(HELLO, "uninstall", {"remove_config": True}))


@pytest.mark.parametrize(
    ("meanwhile", "fails", "places"),
    [(changed, False, PLACES), (uninstalled, False, PLACES), (changed, True, (":undo",))],
)
async def test_restore_is_taken_back_or_done_wherever_it_was_killed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[House], Awaitable[None]],
    fails: bool,
    places: tuple[str, ...],
) -> None:
    scythe, outcomes = Scythe(places), set[str]()
    monkeypatch.setattr(execution, "reach", scythe.reach)
    for number in range(1, MOST_PLACES):
        engine, data, kept = FakeContainerEngine(), tmp_path / str(number), tmp_path / f"kept-{number}"
        async with house(data, engine) as home:
            await backed_up(home, kept)
            await meanwhile(home)
            part = await unpack(home, kept)
            if fails:
                engine.images[f"{REGISTRY}/hello:1.0"] = FakeImage(exit_code=7)
            before = await seen(home)
            scythe.arm(number)
            task = asyncio.create_task(home.system.jobs.run((await source_of(home)).restore(part)))
            await asyncio.wait({task})
            task.exception()
        if scythe.place is None:
            break
        async with house(data, engine) as home:

            async def ended() -> bool:
                await home.quiet()
                return all(job.done for job in home.system.jobs.listing())

            await until(ended, within_s=10, what=f"the recovery after {scythe.place}")
            after = await seen(home)
            outcomes.add("before" if after == before else "after")
            assert after == before or (not fails and after[:3] == ("1.0", Desired.STARTED, [["old", "value"]] * 2)), (
                scythe.place
            )
            assert not await asyncio.to_thread((data / FOLDER / "replaced" / "data").exists) or after != before
    else:
        raise AssertionError("it has no end")
    assert outcomes == ({"before"} if fails else {"before", "after"})
    assert number >= 8


async def seen(home: House) -> tuple[object, ...]:
    """What must be as it was, or as it was backed up."""
    addon = home.addons.installed.get(HELLO)
    values_now = await asyncio.to_thread(lambda: values(home) if folders(home)[0].exists() else None)
    container = await home.container()
    return (
        addon.version if addon else None,
        addon.desired if addon else None,
        values_now,
        addon,
        container.image if container is not None and container.status is ContainerStatus.RUNNING else None,
        len(home.tokens()),
        home.addons.probations.get(HELLO),
    )

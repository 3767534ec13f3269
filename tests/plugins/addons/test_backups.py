"""What an add-on's part of a backup holds, and how the add-on keeps still while it is read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from rooftree.interfaces.backups import BackupPart, PartId, PartKind, PartLeftOut, PartWishes
from rooftree.interfaces.containers import ContainerNotFound, ContainerStatus, DataPath, EngineRefused, ExecResult
from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons import backup_source
from rooftree_containers import Desired
from tests.plugins.addons.house import HELLO, REGISTRY, House, done, house
from tests.plugins.addons.restoring import source_of
from tests.rig.waiting import until

USUAL = PartWishes()
COLD = {"backup": "cold"}
TOLD = {"backup_pre": "/pre.sh 'with a word'", "backup_post": "/post.sh"}
BEFORE, AFTER = ("/pre.sh", "with a word"), ("/post.sh",)
BUILT = {"files": {"Dockerfile": "FROM base\n"}, "config": {"image": None}}


def commands(home: House) -> list[str]:
    """What was asked of the engine that an add-on notices."""
    return [verb for verb, _ in home.engine.calls if verb in {"execute", "start", "stop", "create", "remove"}]


async def test_part_says_all_that_is_known_of_an_addon(home: House) -> None:
    slug = await home.run(
        config={"options": {"level": "info"}, "schema": {"level": "str"}, "map": ["addon_config"],
                "backup_exclude": ["*.log"]},
        files={"apparmor.txt": "profile hello {\n}\n"},
    )  # fmt: skip
    await home.set_options(slug, options={"level": "debug"}, watchdog=True, boot="manual")
    source = await source_of(home)

    async with source.hold(slug, USUAL) as contents:
        record = orjson.loads(contents.documents["addon.json"])

    assert source.parts() == [BackupPart(id=PartId(kind=PartKind.ADDON, slug=slug), name="Hello", version="1.0")]
    assert (record["version"], record["state"]) == ("1.0", "started")
    assert record["system"]["slug"] == "hello"
    user = record["user"]
    assert (user["options"], user["watchdog"], user["boot"]) == ({"level": "debug"}, True, "manual")
    assert (user["version"], user["image"]) == ("1.0", f"{REGISTRY}/hello")
    assert contents.documents["apparmor.txt"] == b"profile local_hello {\n}\n"
    assert {(tree.name, tree.source) for tree in contents.trees} == {
        ("data", DataPath(f"apps/data/{slug}")),
        ("config", DataPath(f"app_configs/{slug}")),
    }
    assert {(tree.excluded, tree.matching) for tree in contents.trees} == {(("*.log",), "tail")}
    assert contents.image is None


async def test_hot_addon_runs_on_and_is_told_before_and_after(home: House) -> None:
    slug = await home.run(config=TOLD)
    home.engine.calls.clear()

    async with (await source_of(home)).hold(slug, USUAL):
        told = commands(home)
        container = await home.container(slug)

    assert container is not None and container.status is ContainerStatus.RUNNING
    assert (told, commands(home)) == (["execute"], ["execute"] * 2)


async def test_addon_that_does_not_run_is_told_nothing(home: House) -> None:
    slug = await home.install(config=TOLD)

    async with (await source_of(home)).hold(slug, USUAL) as contents:
        pass

    assert orjson.loads(contents.documents["addon.json"])["state"] == "stopped"
    assert commands(home) == []


@pytest.mark.parametrize("failing", [BEFORE, AFTER])
async def test_command_that_fails_leaves_the_addon_out_with_the_reason(home: House, failing: tuple[str, ...]) -> None:
    slug = await home.run(config=TOLD)
    home.engine.answers[failing] = ExecResult(exit_code=3, output=b"no")
    home.engine.calls.clear()

    with pytest.raises(PartLeftOut) as refused:
        async with (await source_of(home)).hold(slug, USUAL):
            pass

    assert refused.value.error_key == "app_pre_post_backup_command_returned_error"
    assert {name: refused.value.extra_fields[name] for name in ("app", "exit_code")} == {"app": slug, "exit_code": 3}
    assert commands(home) == ["execute"] * 2, "the command after it is run in any case"


async def test_command_that_does_not_end_leaves_the_addon_out(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    slug = await home.run(config=TOLD)
    monkeypatch.setattr(backup_source, "COMMAND_WITHIN_S", 0.05)
    home.engine.hold("execute")

    with pytest.raises(PartLeftOut, match="did not end"):
        async with (await source_of(home)).hold(slug, USUAL):
            pass


async def test_hot_addon_is_told_that_it_is_over_where_its_backup_fails(home: House) -> None:
    slug = await home.run(config=TOLD)
    home.engine.calls.clear()

    with pytest.raises(OSError, match="disk"):
        async with (await source_of(home)).hold(slug, USUAL):
            raise OSError("the disk is full")

    assert commands(home) == ["execute"] * 2


async def test_cold_addon_is_stopped_for_as_long_as_it_is_read_and_wanted_running_all_the_time(home: House) -> None:
    slug = await home.run(config=COLD)
    token = home.token(slug)
    home.engine.calls.clear()

    async with (await source_of(home)).hold(slug, USUAL) as contents:
        await home.quiet()
        meanwhile = await home.container(slug)
        desired = home.installed(slug).desired

    again = await home.container(slug)
    await home.quiet()
    assert meanwhile is not None and meanwhile.status is ContainerStatus.EXITED
    assert desired is Desired.STARTED
    assert again is not None and again.status is ContainerStatus.RUNNING
    assert orjson.loads(contents.documents["addon.json"])["state"] == "started"
    assert commands(home) == ["stop", "start"]
    answer = await home.client.get(f"/addons/{slug}/options/config", headers={"Authorization": f"Bearer {token}"})
    assert answer.status == 200, "the token that its container has works again"


async def test_cold_addon_runs_again_where_its_backup_fails(home: House) -> None:
    slug = await home.run(config=COLD)

    with pytest.raises(OSError, match="disk"):
        async with (await source_of(home)).hold(slug, USUAL):
            raise OSError("the disk is full")

    container = await home.container(slug)
    assert container is not None and container.status is ContainerStatus.RUNNING


async def test_cold_addon_that_its_user_stops_meanwhile_stays_stopped(home: House) -> None:
    slug = await home.run(config=COLD)

    async with (await source_of(home)).hold(slug, USUAL):
        done(await home.post(slug, "stop"))

    container = await home.container(slug)
    assert container is not None and container.status is ContainerStatus.EXITED


async def test_cold_addon_that_can_not_be_started_again_is_the_watchdogs(home: House) -> None:
    slug = await home.run(config=COLD)
    home.engine.fail("start", EngineRefused("no"))

    async with (await source_of(home)).hold(slug, USUAL):
        pass

    assert home.addons.containers.watchdog.watching == {slug}


async def test_part_of_a_cold_addon_that_was_started_meanwhile_is_worthless(home: House) -> None:
    slug = await home.run(config=COLD)

    with pytest.raises(PartLeftOut, match="started while"):
        async with (await source_of(home)).hold(slug, USUAL):
            done(await home.post(slug, "start"))


async def test_part_of_an_addon_that_was_updated_meanwhile_is_worthless(home: House) -> None:
    slug = await home.run()
    await home.offer(version="2.0")

    with pytest.raises(PartLeftOut, match="updated while"):
        async with (await source_of(home)).hold(slug, USUAL):
            done(await home.client.post(f"/store/addons/{slug}/update"))


async def test_addon_that_is_uninstalled_meanwhile_is_not_brought_back(home: House) -> None:
    slug = await home.run(config=COLD)

    with pytest.raises(PartLeftOut, match="uninstalled while"):
        async with (await source_of(home)).hold(slug, USUAL):
            done(await home.post(slug, "uninstall"))

    assert await home.container(slug) is None


async def test_addon_that_is_not_installed_has_no_part(home: House) -> None:
    with pytest.raises(PartLeftOut, match="not installed"):
        async with (await source_of(home)).hold(HELLO, USUAL):
            pass


async def test_image_that_was_built_here_goes_along_and_its_file_with_the_hold(home: House) -> None:
    slug = await home.install(**BUILT)

    async with (await source_of(home)).hold(slug, USUAL) as contents:
        assert contents.image is not None
        was_there = await asyncio.to_thread(contents.image.is_file)

    assert was_there
    assert not await asyncio.to_thread(contents.image.exists)


async def test_what_a_kill_leaves_of_a_hold_is_ended_by_its_release(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        slug = await home.run(config=BUILT["config"] | TOLD, files=BUILT["files"])
        holding = (await source_of(home)).hold(slug, USUAL)  # its other end is not run, as with a kill
        image = (await holding.__aenter__()).image
    async with house(tmp_path, engine) as home:
        engine.calls.clear()
        for _ in range(2):
            await (await source_of(home)).release(slug)
        assert image is not None
        assert not await asyncio.to_thread(image.exists)
        assert commands(home) == ["execute"] * 2


async def test_cold_addon_runs_again_after_a_kill_while_it_was_held(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        slug = await home.run(config=COLD)
        holding = (await source_of(home)).hold(slug, USUAL)  # its other end is not run, as with a kill
        await holding.__aenter__()
    async with house(tmp_path, engine) as home:

        async def runs() -> bool:
            container = await home.container(slug)
            return container is not None and container.status is ContainerStatus.RUNNING

        await until(runs, within_s=10, what="the add-on's start")


async def test_nothing_is_made_of_a_container_that_is_gone(home: House) -> None:
    slug = await home.run(config=COLD)

    async with (await source_of(home)).hold(slug, USUAL):
        await home.engine.remove(f"app_{slug}")

    with pytest.raises(ContainerNotFound):
        await home.engine.start(f"app_{slug}")

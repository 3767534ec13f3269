"""Uninstalling ends, whatever the add-on has left; what can't be deleted is told, tried again, and in nobody's way."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rooftree.interfaces.addons import AddonUninstalled
from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons import removals
from rooftree_addons.removals import PROBLEM
from rooftree_files import RemovalStopped
from tests.plugins.addons.house import HELLO, House, done, house
from tests.plugins.addons.removing import hold_fast, pin
from tests.rig.waiting import until

DATA = f"apps/data/{HELLO}"
CONFIG = f"app_configs/{HELLO}"


def removed(data: Path) -> list[str]:
    """Where that was which is still to be deleted."""
    folder = data / "apps" / "removed"
    return sorted(path.name.partition(".")[2] for path in folder.iterdir()) if folder.exists() else []


async def uninstall(home: House, *, remove_config: bool = True) -> None:
    """Uninstall the add-on; fails the test when that is refused, or leaves it installed."""
    done(await home.post(HELLO, "uninstall", {"remove_config": remove_config}))
    assert HELLO not in home.addons.installed
    assert not os.path.lexists(home.data / DATA)


async def until_cleared(home: House, path: str) -> None:
    """Wait until nothing is left to be said of what was at a path."""

    async def cleared() -> bool:
        return home.problem(PROBLEM, path) is None

    await until(cleared, within_s=10, what=f"the end of the problem about {path}")


async def test_nothing_remains_of_an_add_on(home: House) -> None:
    await home.run(config={"map": ["addon_config:rw"]})
    (home.data / CONFIG / "mine").touch()

    await uninstall(home)

    assert not (home.data / CONFIG).exists()
    assert removed(home.data) == []
    assert not (home.data / "cid_files" / f"app_{HELLO}.cid").exists()


async def test_others_hear_that_it_is_gone(home: House) -> None:
    told = asyncio.Queue[str]()
    home.system.bus.subscribe(AddonUninstalled, lambda event: told.put_nowait(event.slug), "test")
    await home.run()

    await uninstall(home)

    async with asyncio.timeout(5):
        assert await told.get() == HELLO


async def test_configuration_stays_unless_its_end_is_asked_for(home: House) -> None:
    await home.run(config={"map": ["addon_config:rw"]})
    (home.data / CONFIG / "mine").touch()

    await uninstall(home, remove_config=False)

    assert (home.data / CONFIG / "mine").exists()


@pytest.mark.parametrize("folder", [DATA, CONFIG])
async def test_folder_that_is_a_link_goes_itself_and_what_it_leads_to_stays(home: House, folder: str) -> None:
    await home.install(config={"map": ["addon_config:rw"]})
    (home.data / "precious").mkdir()
    (home.data / "precious" / "value").write_text("41")
    if (home.data / folder).exists():
        (home.data / folder).rmdir()
    (home.data / folder).symlink_to(home.data / "precious")

    await uninstall(home)

    assert not os.path.lexists(home.data / folder)
    assert (home.data / "precious" / "value").read_text() == "41"


async def test_folders_three_thousand_deep_are_deleted(home: House) -> None:
    await home.install()
    await asyncio.to_thread(dig, home.data / DATA, 3000)

    await uninstall(home)

    assert removed(home.data) == []


def dig(folder: Path, depth: int) -> None:
    """Make folders in each other."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deeper", dir_fd=here)
        below = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


async def test_what_cannot_be_deleted_is_told_and_hinders_neither_the_end_nor_a_new_beginning(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.install()
    (home.data / DATA / "old").touch()
    hold_fast(monkeypatch, "local_hello")

    await uninstall(home)
    problem = home.problem(PROBLEM, DATA)
    await home.install()

    assert problem is not None
    assert f"What was removed from {DATA} could not all be deleted" in problem.message
    assert "a file is immutable" in problem.message
    assert removed(home.data) == [DATA.replace("/", "+")]
    assert not (home.data / DATA / "old").exists()
    assert (home.data / "apps" / "removed").stat().st_mode & 0o777 == 0o700


async def test_what_could_not_be_deleted_is_tried_again_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.install()
        with monkeypatch.context() as held:
            hold_fast(held, "local_hello")
            await uninstall(home)
        assert home.problem(PROBLEM, DATA) is not None

    async with house(tmp_path, engine) as home:
        await until_cleared(home, DATA)

        assert removed(home.data) == []


async def test_what_somebody_else_has_deleted_is_no_problem_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.install()
        hold_fast(monkeypatch, "local_hello")
        await uninstall(home)
        for path in (home.data / "apps" / "removed").iterdir():
            path.rmdir() if not any(path.iterdir()) else path.rename(home.data / "elsewhere")

    async with house(tmp_path, engine) as home:
        await until_cleared(home, DATA)


async def test_what_takes_longer_than_the_job_waits_is_deleted_after_it(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.install()
    tries: list[str] = []
    real = removals.remove_tree

    def slow(parent: int, name: str, stop: Callable[[], bool]) -> None:
        tries.append(name)
        if len(tries) == 1:
            raise RemovalStopped("there was no more time")
        real(parent, name, stop)

    monkeypatch.setattr(removals, "remove_tree", slow)

    await uninstall(home)

    async def deleted() -> bool:
        return removed(home.data) == []

    await until(deleted, within_s=10, what="the end of what was removed")
    assert home.problem(PROBLEM, DATA) is None
    assert len(tries) == 2


async def test_writer_without_end_is_waited_for_no_longer_than_the_deadline(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.install()
    monkeypatch.setattr(removals, "JOB_PATIENCE_S", 0.2)
    monkeypatch.setattr("rooftree_addons.steps.JOB_PATIENCE_S", 0.2)
    monkeypatch.setattr(removals, "TASK_PATIENCE_S", 0.4)
    ended = threading.Event()
    here = os.open(home.data / DATA, os.O_RDONLY)

    def write() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            try:
                os.mkdir(f"{number}", dir_fd=here)
                os.mkdir(f"{number}/x", dir_fd=here)
            except FileNotFoundError:
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        await uninstall(home)
    finally:
        ended.set()
        writer.join()
        os.close(here)


async def test_what_cannot_be_moved_is_deleted_where_it_is(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await home.install()
    (home.data / DATA / "value").touch()
    pin(monkeypatch, HELLO)

    await uninstall(home)

    assert home.problem(PROBLEM, DATA) is None


async def test_what_can_neither_be_moved_nor_deleted_is_told_and_left_to_who_installs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.install()
        (home.data / DATA / "value").touch()
        with monkeypatch.context() as held:
            pin(held, HELLO)
            hold_fast(held, HELLO)
            done(await home.post(HELLO, "uninstall", {"remove_config": False}))
            assert HELLO not in home.addons.installed
            assert home.problem(PROBLEM, DATA) is not None
            await home.install()

        assert home.problem(PROBLEM, DATA) is None
        (home.data / DATA / "new").touch()

    async with house(tmp_path, engine) as home:
        await home.quiet()
        assert (home.data / DATA / "new").exists()


async def test_what_could_not_be_moved_is_due_over_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.install()
        with monkeypatch.context() as held:
            pin(held, HELLO)
            hold_fast(held, HELLO)
            done(await home.post(HELLO, "uninstall", {"remove_config": False}))

    async with house(tmp_path, engine) as home:
        await until_cleared(home, DATA)

        assert not (home.data / DATA).exists()


async def test_deletion_under_way_ends_before_its_place_is_used_again(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.install()
    with monkeypatch.context() as held:
        pin(held, HELLO)
        hold_fast(held, HELLO)
        done(await home.post(HELLO, "uninstall", {"remove_config": False}))
    began, ended = threading.Event(), threading.Event()

    def endless(_: int, __: str, stop: Callable[[], bool]) -> None:
        began.set()
        while not stop():
            time.sleep(0.001)
        ended.set()
        raise RemovalStopped("there was no more time")

    pin(monkeypatch, HELLO)
    monkeypatch.setattr(removals, "remove_tree", endless)
    retrying = asyncio.create_task(home.addons.removals.retry())
    await asyncio.to_thread(began.wait, 5)
    monkeypatch.setattr(removals, "remove_tree", lambda *_: None)

    await home.install()

    assert ended.is_set()
    await asyncio.wait_for(retrying, 5)
    assert home.problem(PROBLEM, DATA) is None

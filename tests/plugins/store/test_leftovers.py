"""Clones that are to go: however deep they are, and whatever keeps one from being deleted."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rooftree_files import Folder, RemovalIncomplete
from rooftree_store import leftovers
from tests.plugins.files.test_trees import few_open_files, make_deep
from tests.plugins.store.shop import Shop, config, shop
from tests.rig.files import write_files
from tests.rig.git_server import GitRepository, GitServer

type Publish = Callable[[], GitRepository]


@pytest.fixture
def publish(git_server: GitServer) -> Publish:
    """Makes a repository with one add-on."""
    return lambda: git_server.repository(
        secrets.token_hex(4), {"repository.yaml": "name: Mine\n", "hello/config.json": config()}
    )


class StuckDisk:
    """A disk that deletes nothing, until it does."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.stuck = True
        real = Folder.remove

        def remove(folder: Folder, name: str) -> None:
            if self.stuck:
                raise RemovalIncomplete(f"Not all of {name} could be deleted: x (Input/output error)", remains=["x"])
            real(folder, name)

        patch.setattr(Folder, "remove", remove)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[StuckDisk]:
    """Stuck at first."""
    yield StuckDisk(monkeypatch)


async def test_clone_that_cannot_be_deleted_is_a_problem_and_gone_after_a_later_reload(
    here: Shop, publish: Publish, disk: StuckDisk
) -> None:
    repository = publish()
    disk.stuck = False
    await here.add(repository.url)
    disk.stuck = True

    assert (await here.remove(repository.url)).data == {}
    (left,) = here.folders()
    problem = here.problem("clone_not_deleted")
    assert problem is not None and "Input/output error" in problem.message
    await here.reload()
    assert here.folders() == [left]

    disk.stuck = False
    await here.reload()
    assert here.folders() == []
    assert here.problem("clone_not_deleted") is None


async def test_repository_that_is_added_again_meanwhile_keeps_its_clone(
    here: Shop, publish: Publish, disk: StuckDisk
) -> None:
    repository = publish()
    disk.stuck = False
    await here.add(repository.url)
    disk.stuck = True
    await here.remove(repository.url)

    assert (await here.add(repository.url)).data == {}
    disk.stuck = False
    await here.store.leftovers.try_again()

    assert len(here.folders()) == 1
    assert list(here.offered().values()) == ["1.0"]
    assert here.problem("clone_not_deleted") is None


async def test_what_could_not_be_deleted_is_gone_after_a_start(
    tmp_path: Path, publish: Publish, disk: StuckDisk
) -> None:
    async with shop(tmp_path) as here:
        repository = publish()
        disk.stuck = False
        await here.add(repository.url)
        disk.stuck = True
        await here.remove(repository.url)
    async with shop(tmp_path) as here:
        assert here.problem("clone_not_deleted") is not None
        disk.stuck = False
        await here.reload()
        assert here.problem("clone_not_deleted") is None
        assert here.folders() == []


async def test_deep_folders_are_swept_away_at_a_start(tmp_path: Path) -> None:
    clones = tmp_path / "data" / "apps" / "git"

    def lay_out() -> None:
        write_files(clones, {".0123abcd.ffff/x": "", "0123abcd/x": "", ".0123abcd.ffff.gone/x": ""})
        for name in (".89abcdef.0000", "89abcdef"):
            make_deep(clones / name, 3000)

    await asyncio.to_thread(lay_out)
    with few_open_files(100):
        async with shop(tmp_path) as here:
            assert here.folders() == []
            assert here.problem("clone_not_deleted") is None


def test_clone_is_taken_out_of_its_place_first(tmp_path: Path) -> None:
    write_files(tmp_path, {"git/0123abcd/x": "", "git/.0123abcd.1/x": ""})

    aside = leftovers.set_aside(tmp_path / "git" / "0123abcd")

    assert aside.name.startswith(".0123abcd.") and aside.name.endswith(".gone")
    assert (aside / "x").exists()
    assert leftovers.set_aside(tmp_path / "git" / ".0123abcd.1").name == ".0123abcd.1"
    assert not leftovers.set_aside(tmp_path / "git" / "none").exists()

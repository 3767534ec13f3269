"""Repositories that a restore has left to be fetched, and those that go because a full backup does not know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rooftree import Failed, Kernel, Plugin, Run, Step, Steps, Task, hookimpl, job, step
from rooftree.interfaces.hooks import RepositoriesChange
from rooftree.testing import running_system
from rooftree_backups.folder_parts import FolderParts
from rooftree_backups.parts import Parts
from rooftree_backups.repositories_due import DueRepositories, RepositoriesDue
from rooftree_backups.settings_parts import SettingsParts
from tests.rig.waiting import until


@step("tests.set_repositories/1")
class SetRepositories(Step):
    """Let them be these."""

    wanted: tuple[str, ...]

    async def do(self, run: Run) -> None:
        Store.there = list(self.wanted)


@job("tests_set_repositories")
async def set_them(wanted: tuple[str, ...]) -> Steps:
    if "https://gone" in wanted:
        raise Failed("https://gone does not answer")
    if missing := Store.in_use - set(wanted):
        raise Failed(f"{missing} is in use")
    return [SetRepositories(wanted)]


class Store(Plugin):
    """A store with one repository that does not answer, and which spells them without their end."""

    name = "store"
    there: ClassVar[list[str]] = []
    in_use: ClassVar[set[str]] = set()
    running: ClassVar[Store]

    async def setup(self, kernel: Kernel) -> None:
        parts = Parts(kernel, FolderParts(kernel), SettingsParts(kernel))
        due = await kernel.collection(DueRepositories)
        self.due, self.follower = due, RepositoriesDue(kernel, parts, due)
        Store.running = self

    def tasks(self) -> Iterable[Task]:
        yield Task("follow", self.follower.follow)

    @hookimpl
    def backup_facts(self) -> Mapping[str, Any]:
        return {"repositories": tuple(self.there)}

    @hookimpl
    def set_repositories(self, sources: list[str]) -> RepositoriesChange:
        return RepositoriesChange(set_them(wanted=tuple(dict.fromkeys(s.removesuffix(".git") for s in sources))))


@pytest.mark.parametrize(
    ("replace", "outcome"),
    [
        (True, ["https://a", "https://b", "https://used"]),
        (False, ["https://a", "https://b", "https://late", "https://used"]),
    ],
)
async def test_what_can_be_had_comes_and_what_is_not_used_goes_where_all_was_restored(
    tmp_path: Path, replace: bool, outcome: list[str]
) -> None:
    Store.there, Store.in_use = ["https://a", "https://late", "https://used"], {"https://used"}
    async with running_system(tmp_path, plugins=[Store]):
        sources = ("https://gone", "https://a.git", "https://b")
        await Store.running.follower.note(DueRepositories(sources, replace))

        async def is_seen_to() -> bool:
            return not Store.running.due

        await until(is_seen_to, within_s=10, what="the end of what was due")

    assert sorted(Store.there) == outcome

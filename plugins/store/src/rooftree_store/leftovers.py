"""Clones that are to go: deleted however deep they are, and not forgotten where that fails."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from attrs import define, field

from rooftree import Problem, Problems, RooftreeError
from rooftree_files import Folder, FolderMissing
from rooftree_workers import to_thread_whole

log = structlog.get_logger(__name__)

OLD: Final = ".old"
"""The end of the name that a clone has while another takes its place."""
GONE: Final = ".gone"
"""The end of the name that a clone has while it is deleted."""


def remove_folder(folder: Path) -> None:
    """Delete a folder of ours with all that is in it; nothing to do where it is not. Blocks.

    Raises :class:`~rooftree_files.RemovalIncomplete`, ``OSError``.
    """
    with suppress(FolderMissing), Folder.open(folder.parent) as parent:
        parent.remove(folder.name)


def set_aside(folder: Path) -> Path:
    """Take a clone out of its place, so that what of it can't be deleted is in nobody's way; where it is then."""
    if folder.name.startswith("."):
        return folder
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{GONE}")
    with suppress(FolderMissing, FileNotFoundError), Folder.open(folder.parent) as parent:
        parent.move(folder.name, parent, aside.name)
    return aside


@define
class Leftovers:
    """What could not be deleted: a problem until it could, which each reload tries, and each start."""

    _problems: Problems
    _reasons: dict[Path, str] = field(factory=dict)

    async def remove(self, folder: Path) -> None:
        """Take a clone away, and delete it or note that it could not be. Raises ``OSError`` where it stays in place."""
        self.note(await to_thread_whole(_removed, [folder]))

    async def try_again(self) -> None:
        """Delete what could not be before."""
        if self._reasons:
            self.note(await to_thread_whole(_removed, list(self._reasons)))

    def note(self, outcomes: dict[Path, str | None]) -> None:
        """Take note of what came of deleting folders: ``None``, or why one is still there."""
        for folder, reason in outcomes.items():
            if reason is None:
                self._reasons.pop(folder, None)
            else:
                self._reasons[folder] = reason
        if not self._reasons:
            self._problems.clear("clone_not_deleted", "store", "clones")
            return
        reasons = "; ".join(list(self._reasons.values())[:5])
        self._problems.report(
            Problem(
                "clone_not_deleted",
                "store",
                "clones",
                f"{len(self._reasons)} folders of repositories could not be deleted, and take room: {reasons}. Each "
                "reload tries again",
                suggestions=("execute_reload",),
            )
        )


def _removed(folders: Iterable[Path]) -> dict[Path, str | None]:
    outcomes: dict[Path, str | None] = {}
    for folder in folders:
        aside = set_aside(folder)
        try:
            remove_folder(aside)
        except (RooftreeError, OSError) as error:
            log.warning("folder_not_deleted", folder=aside.name, reason=str(error))
            outcomes[aside] = str(error)
        else:
            outcomes[aside] = None
    return outcomes


def sweep(folder: Path, kept: set[str]) -> dict[Path, str | None]:
    """Delete what a kill left of half-made clones in ``apps``, and clones that are not to be kept. Blocks.

    What came of each is returned: ``None``, or why it is still there.
    """
    clones = folder / "git"
    stale = [*folder.glob(".core.*"), *clones.glob(".*")]  # ours: add-ons have folders in apps, but not apps
    for entry in stale:
        name = entry.name.removeprefix(".").partition(".")[0]
        there = entry.with_name(name)
        if entry.name.endswith(OLD) and name in kept and not there.exists():  # ours: as above
            entry.rename(there)  # ours: as above. The kill came between the two renames: without a network, it is all
    stale += [entry for entry in clones.glob("*") if entry.name not in kept]  # ours: as above
    return _removed(stale)

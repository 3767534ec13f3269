"""What add-ons leave, and how it goes: out of the way at once, deleted in its time, and never forgotten.

To delete a tree may take long, or fail for good: something is mounted in it, a file is immutable, another add-on keeps
writing there. Nothing waits for that. What is to go is first renamed into ``apps/removed``, which is in no container:
whatever lies there is due, so that a kill forgets nothing, and the next installation finds its place free. What can't
even be renamed (a mount point; another disk) is noted, and deleted where it is. What remains after a try is a problem
that names it, until a later try, at each start and each day, has deleted it or somebody else has.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

import structlog
from attrs import frozen

from rooftree import Collection, Kernel, Problem, RooftreeError, Unavailable, document
from rooftree_containers.long_work import in_thread
from rooftree_files import Folder, RemovalStopped, remove_tree

log = structlog.get_logger(__name__)

REMOVED_FOLDER: Final = "apps/removed"
"""Below the data folder; in no container, and for root alone."""
PROBLEM: Final = "removal_incomplete"
"""The type of the problem that says what could not be deleted. Its reference is where it was, below the data folder."""
JOB_PATIENCE_S: Final = 60.0
"""Seconds that a job takes for deleting; the rest is done after it."""
TASK_PATIENCE_S: Final = 900.0
"""Seconds that one tree may take when nobody waits for it."""


@document("addons.due_removal", version=1)
@frozen(kw_only=True)
class DueRemoval:
    """A folder that is to go and can't be moved out of the way; its key is its path below the data folder."""

    path: str


class Removals:
    """Deletes folders of the data folder that are no longer needed."""

    def __init__(self, kernel: Kernel, due: Collection[DueRemoval]) -> None:
        self._kernel = kernel
        self._data = kernel.data.path
        self._due = due
        self._deleting: set[str] = set()
        self._in_place: dict[str, asyncio.Task[None]] = {}
        self._more = asyncio.Event()

    async def remove(self, *paths: str) -> None:
        """Take folders (or whatever lies there) out of the way, and delete them as far as that is quick.

        :param paths: relative to the data folder; nothing to do where nothing lies. Never fails for what lies there
        """
        await self.put_away(*paths)
        await self.delete(JOB_PATIENCE_S)

    async def put_away(self, *paths: str) -> None:
        """Take folders out of the way, for :meth:`delete`. A link goes itself, not what it leads to."""
        for path in paths:
            try:
                await asyncio.to_thread(_put_away, self._data, path)
                continue
            except (OSError, RooftreeError) as error:
                log.info("removed_where_it_is", path=path, reason=str(error))
            with suppress(Unavailable):  # on a full disk: then it is tried this once, and told
                await self._kernel.commit(self._due.put(path, DueRemoval(path=path)))
            await self._delete_in_place(path, JOB_PATIENCE_S)

    async def reclaim(self, path: str) -> None:
        """A folder is needed there again: what was due goes now as far as it can, and what remains then is kept."""
        if path in self._due:
            await _ended(self._in_place.get(path))
            await self.put_away(path)
            await self._kernel.commit(self._due.delete(path))
            self._kernel.problems.clear(PROBLEM, "addon", path)

    async def delete(self, within_s: float) -> None:
        """Delete what is out of the way; what takes longer, or can't be deleted, is left to :meth:`retry`."""
        for path in await asyncio.to_thread(_put_away_by_now, self._data):
            if path not in self._deleting:
                await self._delete(path, within_s)

    async def follow(self) -> None:
        """Delete what is due at the start, and whenever something more is."""
        while True:
            self._more.clear()
            await self.retry()
            await self._more.wait()

    async def retry(self) -> None:
        """Delete what is due. Done each day, too."""
        await self.delete(TASK_PATIENCE_S)
        for path in list(self._due):
            if path in self._due:  # it may have been reclaimed meanwhile
                await self._delete_in_place(path, TASK_PATIENCE_S)
        await self._forget_what_is_gone()

    async def _delete_in_place(self, path: str, within_s: float) -> None:
        """Delete what could not be moved, until somebody reclaims its place."""
        deleting = asyncio.create_task(self._delete(path, within_s), name=f"delete {path}")
        self._in_place[path] = deleting
        try:
            await asyncio.wait({deleting})
        finally:
            await _ended(deleting)
            if self._in_place.get(path) is deleting:
                del self._in_place[path]

    async def _delete(self, path: str, within_s: float) -> None:
        """Delete what lies at a path, and say what remains."""
        self._deleting.add(path)
        try:
            await in_thread(lambda stop: _delete(self._data, path, stop), within_s)
        except RemovalStopped as error:
            if within_s < TASK_PATIENCE_S:
                self._more.set()
            else:
                self._report(path, error)
        except (OSError, RooftreeError) as error:
            self._report(path, error)
        else:
            self._kernel.problems.clear(PROBLEM, "addon", _origin(path))
            if path in self._due:
                with suppress(Unavailable):
                    await self._kernel.commit(self._due.delete(path))
        finally:
            self._deleting.discard(path)

    def _report(self, path: str, error: Exception) -> None:
        self._kernel.problems.report(
            Problem(
                PROBLEM,
                "addon",
                _origin(path),
                f"What was removed from {_origin(path)} could not all be deleted: {error}. It lies in "
                f"{self._data / path} and is tried again each day; delete it by hand, or do away with what holds it",
                extra={"path": path},
            )
        )

    async def _forget_what_is_gone(self) -> None:
        """Clear the problems about what somebody else has deleted meanwhile."""
        known_paths = {_origin(path) for path in await asyncio.to_thread(_put_away_by_now, self._data)} | {*self._due}
        for problem in self._kernel.problems:
            if problem.type == PROBLEM and problem.reference not in known_paths:
                self._kernel.problems.clear(PROBLEM, problem.context, problem.reference)


async def _ended(task: asyncio.Task[None] | None) -> None:
    """End a deletion that may be under way, and wait until it has."""
    if task is not None:
        task.cancel()
        await asyncio.wait({task})


def _put_away(data: Path, path: str) -> None:
    place = PurePosixPath(path)
    with suppress(FileNotFoundError), Folder.open(data) as root, root.folder(str(place.parent)) as parent:
        if parent.status(place.name) is None:
            return
        with root.make(REMOVED_FOLDER, 0o700) as removed:
            parent.move(place.name, removed, f"{secrets.token_hex(8)}.{path.replace('/', '+')[:200]}")


def _put_away_by_now(data: Path) -> list[str]:
    """The paths of all that is out of the way."""
    with suppress(FileNotFoundError), Folder.open(data) as root, root.folder(REMOVED_FOLDER) as removed:
        return [f"{REMOVED_FOLDER}/{name}" for name in sorted(removed.names())]
    return []


def _origin(path: str) -> str:
    """Where that was which has been put away."""
    place = PurePosixPath(path)
    return place.name.partition(".")[2].replace("+", "/") if str(place.parent) == REMOVED_FOLDER else path


def _delete(data: Path, path: str, stop: Callable[[], bool]) -> None:
    place = PurePosixPath(path)
    with suppress(FileNotFoundError), Folder.open(data) as root, root.folder(str(place.parent)) as parent:
        remove_tree(parent.descriptor, place.name, stop)

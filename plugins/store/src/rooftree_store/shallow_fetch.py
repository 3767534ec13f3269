"""Fetching the newest commit alone, and all of the history where a server knows no other way.

A server that only hands out files ("dumb" HTTP) cannot make a pack of one commit. What it hands out is written into
many files, so that a limit for each of them holds nothing: they are measured while they come.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from rooftree_files import Folder, FolderMissing, TreeChanged, TreeLimits, TreeTooLarge, size_of
from rooftree_store.git_process import DepthRefused, Limits, git, too_large
from rooftree_store.logins import Login
from rooftree_store.sources import RepositorySource

NEWEST: Final = "--depth=1"
"""The option that is left out where the server does not know it."""
MEASURED_EVERY_S: Final = 0.25
"""Or less often, where it takes long: a tenth of the time is spent with it at most."""
MOST_OBJECTS: Final = 500_000
"""Files that one history may consist of."""


async def git_fetching(
    source: RepositorySource, *arguments: str, folder: Path, limits: Limits, login: Login | None
) -> None:
    """Run a command that fetches, with :data:`NEWEST` among its arguments, and again without it where that is refused.

    Raises :class:`~rooftree_store.git_process.RepositoryTooLarge` as soon as more is there than may be.

    :param folder: the clone that it fetches into
    """
    try:
        await git(source, *arguments, limits=limits, login=login)
    except DepthRefused:
        whole = [argument for argument in arguments if argument != NEWEST]
        fetching = asyncio.create_task(git(source, *whole, limits=limits, login=login), name=f"fetch all of {source}")
        pause_s = MEASURED_EVERY_S
        try:
            while not fetching.done():
                await asyncio.wait({fetching}, timeout=pause_s)
                begun = time.monotonic()
                if await asyncio.to_thread(_has_more_than, folder / ".git" / "objects", limits.max_bytes):
                    raise too_large(source, limits) from None
                pause_s = max(MEASURED_EVERY_S, 9 * (time.monotonic() - begun))
        finally:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)
        fetching.result()


def _has_more_than(objects: Path, most_bytes: int) -> bool:
    try:
        with Folder.open(objects) as folder:  # ours: git's own folder of a clone
            return size_of(folder, TreeLimits(entries=MOST_OBJECTS, depth=4)) > most_bytes
    except TreeTooLarge:
        return True
    except (FolderMissing, TreeChanged, OSError):  # it is not there yet, or was changed while it was gone through
        return False

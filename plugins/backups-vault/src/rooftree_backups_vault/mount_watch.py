"""Work on vaults that lie on mounts, ended when the mount does not answer any more.

Who asks a server that is gone is held by the kernel for as long as it is gone. The mounts' own domain asks each of them
every other minute, in processes that can be left behind, and says so when one does not answer: it is a problem then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from rooftree import Kernel, NotFound
from rooftree.interfaces.mounts import MOUNTS, MountsChanged
from rooftree.interfaces.vaults import VaultUnreachable

ENDS_S: Final = 15.0
"""Seconds that work may take to end once it was cancelled; then it is left behind."""


class MountWatch:
    """Knows when a mount has gone."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._changed = asyncio.Event()
        kernel.on(MountsChanged, self._mounts_changed)

    async def within[T](self, mount: str | None, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of work on a mount. Raises :class:`VaultUnreachable` when that goes, and does not wait for the
        work then.

        :param mount: ``None`` for a vault that lies elsewhere
        """
        if mount is None:
            return await work
        working, gone = asyncio.create_task(work), asyncio.create_task(self._gone(mount))
        try:
            await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise VaultUnreachable(
                    f"The mount {mount} has stopped answering while its vault was in use, and what was begun there is "
                    "given up. It can be done again once the mount is back"
                )
            return working.result()
        finally:
            gone.cancel()
            if working.cancel():
                working.add_done_callback(lambda work: work.cancelled() or work.exception())  # nobody asks it any more
                await asyncio.wait({working}, timeout=ENDS_S)

    async def _gone(self, mount: str) -> None:
        while self._is_there(mount):
            await self._changed.wait()

    def _is_there(self, mount: str) -> bool:
        mounts = self._kernel.find(MOUNTS)
        try:
            return mounts is not None and mounts.mount(mount).state == "active"
        except NotFound:
            return False

    def _mounts_changed(self, _: MountsChanged) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

"""A driver's verbs in turn, as :class:`~rooftree.interfaces.vaults.VaultDriver` promises it: who takes away from a
vault is alone in it. What another installation does at the same time is its program's affair.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from rooftree.interfaces.backups import Progress
from rooftree.interfaces.vaults import (
    Snapshot,
    SnapshotRequest,
    StoreDocument,
    StoredSnapshot,
    VaultAccess,
    VaultDriver,
    VaultEntry,
)
from rooftree_backups_vault.mount_watch import MountWatch


class Turns:
    """Any number may be in a vault side by side, or one alone. Who is alone waits for all others, however many come:
    a backup that is being made comes in again for each of its parts."""

    def __init__(self) -> None:
        self._inside = 0
        self._is_alone = False
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def beside_others(self) -> AsyncIterator[None]:
        """Be in it for a block, with others that are no trouble."""
        while self._is_alone:
            await self._changed.wait()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._tell()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be in it for a block with nobody else."""
        while self._is_alone or self._inside:
            await self._changed.wait()
        self._is_alone = True
        try:
            yield
        finally:
            self._is_alone = False
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class DriverInTurn(VaultDriver):
    """A driver for one vault.

    :param mount: that the vault lies on; ``None`` for one that lies elsewhere
    """

    def __init__(self, driver: VaultDriver, turns: Turns, watch: MountWatch, mount: str | None) -> None:
        self._driver = driver
        self._turns = turns
        self._watch = watch
        self._mount = mount

    async def _done[T](self, work: Coroutine[Any, Any, T]) -> T:
        return await self._watch.within(self._mount, work)

    def refuse_repository(self, repository: str) -> None:
        self._driver.refuse_repository(repository)

    async def create(self, vault: VaultAccess) -> None:
        await self._done(self._driver.create(vault))

    async def open(self, vault: VaultAccess) -> None:
        await self._done(self._driver.open(vault))

    async def snapshots(self, vault: VaultAccess, tag: str) -> Sequence[Snapshot]:
        return await self._done(self._driver.snapshots(vault, tag))

    async def store(self, vault: VaultAccess, request: SnapshotRequest, progress: Progress) -> StoredSnapshot:
        async with self._turns.beside_others():
            return await self._done(self._driver.store(vault, request, progress))

    @asynccontextmanager
    async def document(self, vault: VaultAccess, name: str, tags: Sequence[str]) -> AsyncIterator[StoreDocument]:
        async with self._turns.beside_others(), self._driver.document(vault, name, tags) as store:

            async def stored(content: bytes) -> StoredSnapshot:
                return await store(content)

            yield lambda content: self._done(stored(content))

    async def restore(self, vault: VaultAccess, snapshot: str, paths: Sequence[str], into: Path) -> None:
        async with self._turns.beside_others():
            await self._done(self._driver.restore(vault, snapshot, paths, into))

    async def entries(self, vault: VaultAccess, snapshot: str, path: str) -> Sequence[VaultEntry]:
        async with self._turns.beside_others():
            return await self._done(self._driver.entries(vault, snapshot, path))

    async def content(self, vault: VaultAccess, snapshot: str, path: str) -> AsyncGenerator[bytes]:
        async with self._turns.beside_others(), aclosing(self._driver.content(vault, snapshot, path)) as pieces:

            async def next_piece() -> bytes | None:
                return await anext(pieces, None)

            while (piece := await self._done(next_piece())) is not None:
                yield piece

    async def forget(self, vault: VaultAccess, snapshots: Sequence[str]) -> None:
        async with self._turns.alone():
            await self._done(self._driver.forget(vault, snapshots))

    async def prune(self, vault: VaultAccess) -> None:
        async with self._turns.alone():
            await self._done(self._driver.prune(vault))

    def by_hand(self, vault: VaultAccess) -> str:
        return self._driver.by_hand(vault)

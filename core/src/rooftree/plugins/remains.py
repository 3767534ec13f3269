"""What a plugin leaves in the state when its distribution is uninstalled, and how that is removed.

Uninstalling takes nothing away, so that a plugin that comes back finds what it had. Whose a collection or a kind of
token is can only be known while the plugin runs: it is noted then. Somebody has to ask for the removal.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import structlog
from attrs import field, frozen

from rooftree.access import Tokens
from rooftree.errors import Unavailable
from rooftree.plugins.own_folders import has_folder, own_folder, remove_folder
from rooftree.state import Change, Collection, State, document

log = structlog.get_logger(__name__)

KERNELS_OWN = "kernel."
"""How the names of the kernel's own collections begin; no plugin leaves them behind."""


@document("kernel.plugin_remains", version=1)
@frozen
class Remains:
    """What is a plugin's, as it was noted while it ran."""

    distribution: str
    package: str
    """The package that its jobs come from; of a driver its group."""
    collections: tuple[str, ...] = field(factory=tuple)
    token_kinds: tuple[str, ...] = field(factory=tuple)


@frozen(kw_only=True)
class LeftBehind:
    """What there is of a plugin that is no longer installed."""

    name: str
    distribution: str
    collections: list[str]
    """The collections that no other plugin uses."""
    documents: int
    """How many documents are in them."""
    tokens: int
    """How many tokens are of kinds that only it knew."""
    folder: str | None = None
    """Where its own folder is, if it has one."""


class PluginRemains:
    """What was noted of every plugin."""

    def __init__(self, kept: Collection[Remains], state: State, tokens: Tokens, data: Path) -> None:
        self._kept = kept
        self._data = data
        self._state = state
        self._tokens = tokens
        self._noting = asyncio.Lock()

    @classmethod
    async def load(cls, state: State, tokens: Tokens, data: Path) -> PluginRemains:
        """Read what earlier runs have noted."""
        return cls(await state.collection(Remains), state, tokens, data)

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def groups(self) -> set[str]:
        """The entry-point groups of the drivers."""
        return {known.package for name, known in self._kept.items() if "." in name}

    def own_package(self, name: str) -> str | None:
        """The package that the jobs of a plugin come from; ``None`` where another plugin's come from there too."""
        known = self._kept.get(name)
        others = {remains.package for other, remains in self._kept.items() if other != name}
        return known.package if known and known.package not in others else None

    async def note(
        self,
        name: str,
        distribution: str,
        package: str,
        token_kinds: Iterable[str] = (),
        collections: Iterable[str] = (),
    ) -> None:
        """Note what a running plugin has: where it comes from, its kinds of tokens, the collections it asks for."""
        async with self._noting:
            known = self._kept.get(name)
            before = known or Remains(distribution, package)
            own = (collection for collection in collections if not collection.startswith(KERNELS_OWN))
            noted = Remains(
                distribution,
                package,
                tuple(dict.fromkeys((*before.collections, *own))),
                tuple(sorted({*before.token_kinds, *token_kinds})),
            )
            if noted == known:
                return
            try:
                await self._state.database.commit(self._kept.put(name, noted))  # nobody asked: no audit row
            except Unavailable as error:  # no reason not to run: it is noted at a later start
                log.warning("plugin_remains_not_noted", plugin=name, error=error.message)

    async def left_behind(self, name: str) -> LeftBehind:
        """What would be removed of a plugin that is not installed."""
        known = self._kept.get(name, Remains(name, ""))
        collections = self._only_its_own(name)

        def count(connection: sqlite3.Connection) -> int:
            sql = "SELECT count(*) FROM document WHERE collection = ?"
            return sum(connection.execute(sql, (collection,)).fetchone()[0] for collection in collections)

        return LeftBehind(
            name=name,
            distribution=known.distribution,
            collections=collections,
            documents=await self._state.database.read(count),
            tokens=len(self._its_tokens(name)),
            folder=str(own_folder(self._data, name)) if await asyncio.to_thread(has_folder, self._data, name) else None,
        )

    async def remove_folder(self, name: str) -> None:
        """Remove its own folder with all that is in it; raises :class:`Unavailable` for what can't be removed."""
        await asyncio.to_thread(remove_folder, self._data, name)

    def removal(self, name: str) -> list[Change]:
        """The changes that remove all of it."""
        return [
            *map(self._state.removal, self._only_its_own(name)),
            *map(self._tokens.revocation, self._its_tokens(name)),
            self._kept.delete(name),
        ]

    def _only_its_own(self, name: str) -> list[str]:
        known = self._kept.get(name)
        others = {
            collection for other, remains in self._kept.items() if other != name for collection in remains.collections
        }
        return [collection for collection in known.collections if collection not in others] if known else []

    def _its_tokens(self, name: str) -> list[str]:
        known = self._kept.get(name)
        others = {kind for other, remains in self._kept.items() if other != name for kind in remains.token_kinds}
        kinds = set(known.token_kinds) - others if known else set()
        return [key for kind in sorted(kinds) for key in self._tokens.known(kind)]

"""The routes of all plugins in one table: the kernel's own, those of plugins that are loaded, and what is remembered of
the others, so that a path whose plugin is missing is answered 503 with the reason, and not 404."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self

import structlog
from attrs import field, frozen

from rooftree.access import KNOWN
from rooftree.errors import NotReady, Unavailable
from rooftree.http import Endpoint, Entry, HttpServer, Route, Routes, RouteTable, shape
from rooftree.plugins.life import PluginLife
from rooftree.plugins.loading import KERNEL
from rooftree.services import ServiceDirectory
from rooftree.state import Change, Collection, State, document

log = structlog.get_logger(__name__)


@document("kernel.known_routes", version=1)
@frozen
class KnownRoutes:
    """The routes that a plugin had at its last good start."""

    routes: tuple[tuple[str, str], ...] = field(factory=tuple)


@frozen(eq=False)
class PluginRoutes:
    """The table, made anew when plugins come and go."""

    _server: HttpServer
    _state: State
    _known: Collection[KnownRoutes]
    own: tuple[Entry, ...]
    """The kernel's."""
    _lives: Mapping[str, PluginLife]

    @classmethod
    async def load(
        cls,
        server: HttpServer,
        state: State,
        services: ServiceDirectory,
        own: Routes,
        lives: Mapping[str, PluginLife],
    ) -> Self:
        """Read what is remembered, and answer with the kernel's own and 503 for the rest."""
        entries = tuple(Entry(route, KERNEL, Endpoint(route, services)) for route in own)
        routes = cls(server, state, await state.collection(KnownRoutes), entries, lives)
        routes.rebuild(is_whole=False)
        return routes

    def __iter__(self) -> Iterator[str]:
        """The plugins of which routes are remembered."""
        return iter(self._known)

    @property
    def _loaded(self) -> list[Entry]:
        return [*self.own, *(entry for life in self._lives.values() for entry in life.entries)]

    def taken(self) -> RouteTable:
        """What is taken: the kernel's own, and what plugins that are loaded have declared."""
        return RouteTable(self._loaded)

    @property
    def are_known(self) -> bool:
        """Whether the plugins that are installed have been loaded, and so said which routes they have."""
        return self._server.table.is_whole

    def refuse_unknown(self) -> None:
        """Raise :class:`~rooftree.errors.NotReady` where it is not known yet what is installed."""
        if not self.are_known:
            raise NotReady("Rooftree is starting, and does not know yet what is installed; try again in a moment")

    def rebuild(self, *, is_whole: bool = True) -> None:
        """Swap in a table with the routes of every plugin that is loaded, and what is remembered of the others."""
        entries = self._loaded
        taken = {(entry.route.method, shape(path)) for entry in entries for path in entry.route.paths}
        for owner, known in self._known.items():
            if owner in self._lives and self._lives[owner].entries:
                continue
            for method, path in known.routes:
                if (method, shape(path)) not in taken:
                    taken.add((method, shape(path)))
                    entries.append(Entry(Route(method, path, _nobody, KNOWN), owner, None))
        self._server.table = RouteTable(entries, is_whole=is_whole)

    async def remember(self, life: PluginLife) -> None:
        """A plugin has started with its routes."""
        known = KnownRoutes(tuple((e.route.method, path) for e in life.entries for path in e.route.paths))
        if self._known.get(life.name) != known:
            try:
                await self._state.commit(self._known.put(life.name, known))
            except Unavailable as error:  # no reason not to run: without it, a later failure answers 404 for 503
                log.warning("routes_not_remembered", error=error.message)

    def removal(self, name: str) -> list[Change]:
        """The change that forgets the routes of a plugin, if any are remembered."""
        return [self._known.delete(name)] if name in self._known else []


async def _nobody() -> None:
    """Stands in a remembered route, which has no endpoint to call it."""

"""The kernel as one plugin sees it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from rooftree.access import Tokens, Whereabouts
from rooftree.clock import Clock
from rooftree.events import Event, Listener, Problems
from rooftree.jobs import Check, Jobs
from rooftree.plugins.drivers import Driver, Drivers
from rooftree.plugins.metrics import PluginMetrics
from rooftree.plugins.own_folders import made_folder
from rooftree.plugins.parts import KernelParts
from rooftree.plugins.plugin_tasks import PluginTasks
from rooftree.plugins.remains import PluginRemains
from rooftree.plugins.scope import GiveBack, Scope
from rooftree.principal import CallerKind, Principal
from rooftree.services import Service
from rooftree.state import Change, Collection


class PluginState(Protocol):
    """What a plugin's kernel tells of how the plugin is."""

    name: str
    distribution: str
    token_kinds: set[str]
    past_token_kinds: set[str]
    """The kinds of token that it has ever registered, those that it has given back too."""
    collections: dict[str, None]
    """The names of those that it has asked for, in order."""
    is_set_up: bool
    """Whether its ``setup`` is through, however it ended: what it asked for in it is noted then, in one go."""

    @property
    def package(self) -> str:
        """The package that its jobs come from."""

    @property
    def provides(self) -> tuple[Service[Any], ...]:
        """The services that it declares."""

    def degrade(self, reason: str) -> None:
        """It runs, but not with everything it needs."""

    def recover(self) -> None:
        """All is well again."""


@frozen
class InstallationFolder:
    """Where the installation keeps what others expect at a place of its own (``apps``, ``ssl``, ``backup`` …), and how
    its containers are told from another's. For a plugin's own files there is :meth:`Kernel.folder`."""

    path: Path
    """The data folder."""
    instance_id: str
    """32 hex digits, the same for the life of the installation."""


class Kernel:
    """The kernel as one plugin sees it. What is obtained here is given back when the plugin stops, in reverse order."""

    def __init__(
        self, parts: KernelParts, plugin: PluginState, scope: Scope, remains: PluginRemains, drivers: Drivers
    ) -> None:
        self._parts = parts
        self._plugin = plugin
        self._scope = scope
        self._remains = remains
        self._drivers = drivers
        self._problems = parts.problems.reported_by(plugin.name)
        self.name = plugin.name
        """The plugin's name."""

    @property
    def data(self) -> InstallationFolder:
        """The folder in which others expect what is shared with them, and the instance's id."""
        return InstallationFolder(self._parts.data.path, self._parts.data.instance_id)

    async def folder(self) -> Path:
        """A folder of the plugin's own, for files; made at the first use, open to nobody but the daemon's user (0700).

        It stays when the plugin is uninstalled, until ``rooftree plugins purge``. What is in it is the plugin's to keep
        whole: a kill or a power cut may come at any moment, and documents (:meth:`collection`) are safe from them.
        Raises :class:`~rooftree.errors.Unavailable` where the disk refuses.
        """
        folder = await asyncio.to_thread(made_folder, self._parts.data.path, self.name)
        await self._note_remains()
        return folder

    @property
    def metrics(self) -> PluginMetrics:
        """Numbers of the plugin's own, shown at ``/kernel/v1/metrics`` while it runs."""
        return PluginMetrics(self._parts.metrics, self.name, self._scope)

    @property
    def tasks(self) -> PluginTasks:
        """The plugin's tasks, to be begun, changed and ended while it runs."""
        return PluginTasks(self._parts.tasks, self.name, self._scope)

    @property
    def jobs(self) -> Jobs:
        """The job manager."""
        return self._parts.jobs

    @property
    def tokens(self) -> Tokens:
        """The tokens."""
        return self._parts.tokens

    @property
    def problems(self) -> Problems:
        """The problems; what is reported through here is cleared when the plugin is uninstalled."""
        return self._problems

    @property
    def clock(self) -> Clock:
        """What time it is; a test may be the master of it."""
        return self._parts.clock

    def settings[S](self, kind: type[S]) -> S:
        """The operator's settings for this plugin, as the class that it declared."""
        return self._parts.settings.section(self.name, kind)

    async def collection[D](self, kind: type[D]) -> Collection[D]:
        """The documents of a class marked ``@document``, in memory. Raises ``NewerState`` after a downgrade."""
        documents = await self._parts.state.collection(kind)
        self._plugin.collections[documents.kind.name] = None
        await self._note_remains()
        return documents

    async def commit(self, *changes: Change) -> None:
        """Write changes, all or none; returns when they are on disk. Raises ``StateUnwritable`` on a full disk."""
        await self._parts.state.commit(*changes)

    def defer(self, callback: Callable[..., Coroutine[Any, Any, None] | None], *arguments: Any) -> None:
        """Call ``callback`` (plain or async) when the plugin stops, before what was taken earlier is given back.

        Also when ``setup`` fails further on: so take something, and defer giving it back in the next line.
        """
        self._take(getattr(callback, "__qualname__", repr(callback)), partial(callback, *arguments))

    def register_kind(
        self, kind: CallerKind, principal: Callable[[str], Principal | None], whereabouts: Whereabouts | None = None
    ) -> None:
        """Let tokens of ``kind`` stand for ``principal(subject)`` while the plugin runs, and be used where
        ``whereabouts`` admits them, anywhere unless told; see :class:`Tokens` and :mod:`rooftree.access.whereabouts`.
        Routes name the kind in their access: ``of_kind(kind)``, ``itself("slug", kind)``.

        Raises ``ValueError`` when another plugin has registered a kind of that name.
        """
        kinds, tokens = self._plugin.token_kinds, self._parts.tokens
        if kind.name not in kinds and tokens.has_kind(kind.name):
            raise ValueError(f"tokens of kind {kind.name} are somebody else's already")
        if kind.name not in kinds:
            kinds.add(kind.name)
            self._plugin.past_token_kinds.add(kind.name)
            self._take(f"tokens of kind {kind.name}", partial(self._forget_kind, kind.name))
        tokens.register_kind(kind, principal, whereabouts)

    def _forget_kind(self, name: str) -> None:
        self._plugin.token_kinds.discard(name)
        self._parts.tokens.forget_kind(name)

    def register_sessions(self, kind: CallerKind, holder: Callable[[str], Principal | None]) -> None:
        """Let who has a session of ``kind`` call the routes whose access is ``session(cookie, kind)``, while the plugin
        runs. ``holder(text)`` says whose a session is, or ``None`` for one that is over or never was; it is also asked
        once a second for each answer that goes on, which ends with its session.

        Raises ``ValueError`` when there is such a kind already.
        """
        if self._parts.tokens.has_kind(kind.name) or self._parts.server.senders.has_sessions(kind.name):
            raise ValueError(f"callers of kind {kind.name} are somebody else's already")
        self._parts.server.senders.accept_sessions(kind.name, holder)
        self._take(
            f"sessions of kind {kind.name}", partial(self._parts.server.senders.accept_sessions, kind.name, None)
        )

    def accept_tokens_in(self, *headers: str) -> None:
        """Take tokens from these headers of requests too, while the plugin runs; ``Authorization`` is always read."""
        accept = self._parts.server.senders.accept_tokens_in
        self._take("headers of tokens", partial(accept, (), self.name))
        accept(headers, self.name)

    def condition(self, name: str, check: Check) -> None:
        """Say how a condition that jobs may depend on is checked; see :mod:`rooftree.jobs.conditions`."""
        self._parts.conditions.register(name, check, self.name)
        self._take(f"condition {name}", partial(self._parts.conditions.forget, name))

    async def drivers[D](
        self, group: str, base: type[D], *, kept: Collection[Any] | None = None
    ) -> dict[str, Driver[D]]:
        """The drivers of an entry-point group, by their names, each a subclass of ``base`` whose ``name`` is that of
        its entry point. One that can't be loaded is reported as a problem and left out, and so is one that somebody has
        disabled; when that changes, the plugin is restarted.

        A driver's class may declare its operator's settings, ``operator_settings``: a frozen attrs class for the table
        ``[<last word of the group>.<name>]`` in ``rooftree.toml``; :meth:`Driver.settings` reads it.

        :param kept: documents of the plugin, keyed by the drivers' names, that are purged with a driver

        Raises ``ValueError`` where another group has the same last word.
        """
        self._drivers.refuse_ambiguous(group)
        self._take(f"drivers of {group}", partial(self._drivers.let_go, group))
        drivers = await self._drivers.take(self.name, group, base, kept)
        for driver in drivers.values():
            await self._remains.note(driver.name, driver.distribution, group)
        return drivers

    def provide[T](self, key: Service[T], value: T) -> None:
        """Make a service available, under a key that the plugin declares in ``provides``."""
        if key not in self._plugin.provides:
            raise ValueError(f"plugin {self.name} provides {key.name} without declaring it")
        self._parts.services.provide(key, value, self.name)
        self._take(f"service {key.name}", partial(self._parts.services.take_back, key))

    def service[T](self, key: Service[T]) -> T:
        """A service; raises :class:`~rooftree.errors.Unavailable` when nobody provides it."""
        return self._parts.services.get(key)

    def find[T](self, key: Service[T]) -> T | None:
        """A service, or ``None``."""
        return self._parts.services.find(key)

    def on[E: Event](self, kind: type[E], listener: Listener[E]) -> None:
        """Call ``listener`` (plain or async) for each event of that type, in order, while the plugin runs."""
        subscription = self._parts.bus.subscribe(kind, listener, self.name)
        self._take(f"subscription to {kind.__name__}", subscription.cancel)

    def publish(self, event: Event) -> None:
        """Tell everybody; never blocks, never raises."""
        self._parts.bus.publish(event)

    async def call[**P, R](
        self, hook: Callable[P, R | Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> list[R]:
        """Ask all plugins that implement ``hook`` (a specification function); see :mod:`rooftree.plugins.hooks`."""
        return await self._parts.hooks.call(hook, *args, **kwargs)

    async def listen(self, name: str, listening: socket.socket) -> None:
        """Serve the API on a socket that listens already, until the plugin stops or calls this again.

        Raises ``ValueError`` when somebody else has a listener of that name.
        """
        taken = f"listener {name}"
        if not self._scope.has(taken):
            if name in self._parts.server.listeners:
                raise ValueError(f"the listener {name} is somebody else's already")
            self._take(taken, partial(self._parts.server.close_listener, name))
        await self._parts.server.listen_socket(name, listening)

    async def unlisten(self, name: str) -> None:
        """Serve no longer on the socket given to :meth:`listen`, and close it; connections that are open go on.

        Who closes such a socket by itself leaves the event loop with a file that is gone. Does nothing when there is
        no listener of ours of that name.
        """
        if self._scope.drop(f"listener {name}"):
            await self._parts.server.close_listener(name)

    def degraded(self, reason: str) -> None:
        """Say that the plugin runs, but not with everything it needs."""
        self._plugin.degrade(reason)

    def recovered(self) -> None:
        """Say that all is well again."""
        self._plugin.recover()

    def _take(self, what: str, give_back: GiveBack) -> None:
        self._scope.push(what, give_back)

    async def _note_remains(self) -> None:
        plugin = self._plugin
        if plugin.is_set_up:
            await self._remains.note(
                plugin.name, plugin.distribution, plugin.package, plugin.past_token_kinds, plugin.collections
            )

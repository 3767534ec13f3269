"""What a plugin is: the class that authors derive from, and the kernel as they see it.

A plugin lives through *construct → setup → run → stop*. Constructing has no side effects. ``setup`` gets what the
plugin needs from the kernel and provides its services; it may look and wait, within the start deadline. From then on
its routes answer, its tasks run and its hooks are called. ``stop`` gives back what the kernel cannot: everything
obtained through :class:`Kernel` (listeners, subscriptions, tasks, services) is given back by the kernel itself.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from rooftree.access import Principal, Tokens
from rooftree.clock import Clock
from rooftree.conditions import Check
from rooftree.database import Change
from rooftree.events import Event, Listener
from rooftree.http.routes import Routes
from rooftree.jobs import Jobs
from rooftree.problems import Problems
from rooftree.services import Service
from rooftree.state import Collection
from rooftree.tasks import Task
from rooftree.whereabouts import Whereabouts

if TYPE_CHECKING:
    from rooftree.data_folder import DataFolder
    from rooftree.plugin_record import Record
    from rooftree.system import System


class Plugin:
    """Base of every plugin. Override what you need; the defaults do nothing.

    The distribution names the class in the entry-point group ``rooftree.plugins`` under the plugin's name, and says in
    its requirement on ``rooftree`` which version of this interface it was written for.
    """

    name: ClassVar[str]
    """The domain, in lower case; the same as the entry point's name."""
    provides: ClassVar[tuple[Service[Any], ...]] = ()
    """Services that ``setup`` will provide."""
    requires: ClassVar[tuple[Service[Any], ...]] = ()
    """Services that must be there: this plugin starts after whoever provides them, and stops before."""
    optional: ClassVar[tuple[Service[Any], ...]] = ()
    """Services that are used when they are there; ask with ``kernel.find`` at each use."""
    settings: ClassVar[type | None] = None
    """A frozen attrs class with defaults for the plugin's table in ``rooftree.toml``, ``[plugins.<name>]``."""

    async def setup(self, kernel: Kernel) -> None:
        """Get ready. An exception here marks the plugin failed, with its message as the reason."""

    def routes(self) -> Routes:
        """The plugin's routes. Called once, before ``setup``; they answer 503 until ``setup`` is through."""
        return Routes()

    def tasks(self) -> Iterable[Task]:
        """Background and scheduled work, begun after ``setup``."""
        return ()

    async def stop(self) -> None:
        """Give back what ``setup`` took outside the kernel. Called after a failed ``setup`` too; must be safe twice."""


class Kernel:
    """The kernel as one plugin sees it. What is obtained here is freed when the plugin stops."""

    def __init__(self, system: System, record: Record) -> None:
        self._system = system
        self._record = record
        self._problems = system.problems.reported_by(record.name)
        self.name = record.name
        """The plugin's name."""

    @property
    def data(self) -> DataFolder:
        """The data folder and the instance's id."""
        return self._system.data

    @property
    def jobs(self) -> Jobs:
        """The job manager."""
        return self._system.jobs

    @property
    def tokens(self) -> Tokens:
        """The tokens."""
        return self._system.tokens

    @property
    def problems(self) -> Problems:
        """The problems; what is reported through here is cleared when the plugin is uninstalled."""
        return self._problems

    @property
    def clock(self) -> Clock:
        """What time it is; a test may be the master of it."""
        return self._system.clock

    def settings[S](self, kind: type[S]) -> S:
        """The operator's settings for this plugin, as the class that it declared."""
        return self._system.settings.section(self.name, kind)

    async def collection[D](self, kind: type[D]) -> Collection[D]:
        """The documents of a class marked ``@document``, in memory. Raises ``NewerState`` after a downgrade."""
        found = await self._system.state.collection(kind)
        await self._system.plugins.remains.note(self._record, found.kind.name)
        return found

    async def commit(self, *changes: Change) -> None:
        """Write changes, all or none; returns when they are on disk. Raises ``StateUnwritable`` on a full disk."""
        await self._system.state.commit(*changes)

    def register_kind(
        self, kind: str, principal: Callable[[str], Principal | None], whereabouts: Whereabouts | None = None
    ) -> None:
        """Let tokens of ``kind`` stand for ``principal(subject)`` while the plugin runs, and be used where
        ``whereabouts`` admits them, anywhere unless told; see :class:`Tokens` and :mod:`rooftree.whereabouts`.

        Raises ``ValueError`` when another plugin has registered that kind.
        """
        if kind not in self._record.token_kinds and self._system.tokens.has_kind(kind):
            raise ValueError(f"tokens of kind {kind} are somebody else's already")
        self._record.token_kinds.add(kind)
        self._system.tokens.register_kind(kind, principal, whereabouts)

    def condition(self, name: str, check: Check) -> None:
        """Say how a condition that jobs may depend on is checked; see :mod:`rooftree.conditions`."""
        self._system.conditions.register(name, check, self.name)

    async def drivers[D](self, group: str, base: type[D]) -> dict[str, type[D]]:
        """The driver classes of an entry-point group, each a subclass of ``base`` whose ``name`` is that of its entry
        point. One that can't be loaded is reported as a problem and left out."""
        return await self._system.drivers.load(group, base)

    def provide[T](self, key: Service[T], value: T) -> None:
        """Make a service available, under a key that the plugin declares in ``provides``."""
        if key not in self._record.plugin_class.provides:
            raise ValueError(f"plugin {self.name} provides {key.name} without declaring it")
        self._system.services.provide(key, value, self.name)

    def service[T](self, key: Service[T]) -> T:
        """A service; raises :class:`~rooftree.errors.Unavailable` when nobody provides it."""
        return self._system.services.get(key)

    def find[T](self, key: Service[T]) -> T | None:
        """A service, or ``None``."""
        return self._system.services.find(key)

    def on[E: Event](self, kind: type[E], listener: Listener[E]) -> None:
        """Call ``listener`` (plain or async) for each event of that type, in order, while the plugin runs."""
        self._system.bus.subscribe(kind, listener, self.name)

    def publish(self, event: Event) -> None:
        """Tell everybody; never blocks, never raises."""
        self._system.bus.publish(event)

    async def call[**P, R](
        self, hook: Callable[P, R | Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> list[R]:
        """Ask all plugins that implement ``hook`` (a specification function); see :mod:`rooftree.hooks`."""
        return await self._system.hooks.call(hook, *args, **kwargs)

    async def listen(self, name: str, listening: socket.socket) -> None:
        """Serve the API on a socket that listens already, until the plugin stops or calls this again.

        Raises ``ValueError`` when somebody else has a listener of that name.
        """
        if name not in self._record.listeners and name in self._system.server.listeners:
            raise ValueError(f"the listener {name} is somebody else's already")
        self._record.listeners.add(name)
        await self._system.server.listen_socket(name, listening)

    async def unlisten(self, name: str) -> None:
        """Serve no longer on the socket given to :meth:`listen`, and close it; connections that are open go on.

        Who closes such a socket by itself leaves the event loop with a file that is gone. Does nothing when there is
        no listener of ours of that name.
        """
        if name in self._record.listeners:
            self._record.listeners.remove(name)
            await self._system.server.close_listener(name)

    def degraded(self, reason: str) -> None:
        """Say that the plugin runs, but not with everything it needs."""
        self._record.degrade(reason)

    def recovered(self) -> None:
        """Say that all is well again."""
        self._record.recover()

"""Facts, published once, to whoever subscribed by type.

``publish`` never blocks and never raises because of a listener: each listener has a queue and a task of its own, so a
slow or broken one delays and breaks nobody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

import structlog
from attrs import frozen

from rooftree.context import is_cancelled, plugin_under_way
from rooftree.errors import is_interruption

log = structlog.get_logger(__name__)

BACKLOG = 10_000
"""Events a listener may be behind before the oldest are dropped and the loss is logged."""
CANCEL_S = 5.0
"""Seconds that a cancelled listener may take to end; then it is left behind, and named in the log."""


@frozen
class Event:
    """Base of every event: subclass it as a frozen attrs class whose fields say what happened."""


type Listener[E: Event] = Callable[[E], Awaitable[None] | None]


class Subscription:
    """One listener's place in the bus; ``cancel`` ends it."""

    def __init__(self, bus: EventBus, kind: type[Event], listener: Listener[Any], owner: str) -> None:
        self.kind = kind
        self.owner = owner
        self._bus = bus
        self._listener = listener
        self._waiting: deque[Event] = deque()
        self._task: asyncio.Task[None] | None = None
        self._lost = 0

    def offer(self, event: Event) -> None:
        """Queue ``event`` for the listener."""
        if len(self._waiting) >= BACKLOG:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(event)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(
                self._deliver(),
                name=f"{self.owner}: {self.kind.__name__} listener",
                context=Context(),  # its own: what a listener does is not the doing of whoever published
            )

    async def _deliver(self) -> None:
        plugin_under_way.set(self.owner)
        while self._waiting:
            if self._lost:
                log.warning("events_dropped", listener=self.owner, kind=self.kind.__name__, count=self._lost)
                self._lost = 0
            event = self._waiting.popleft()
            try:
                pending = self._listener(event)
                if pending is not None:
                    await pending
            except (Exception, asyncio.CancelledError, SystemExit) as error:
                if is_interruption(error):
                    log.info("listener_interrupted", kind=type(event).__name__, reason=str(error))
                    continue  # one that was cancelled has nothing waiting any more
                if is_cancelled():
                    raise
                log.exception("listener_failed", listener=self.owner, kind=type(event).__name__)
                self._bus.on_failure(self.owner, type(event).__name__, error)

    async def cancel(self) -> None:
        """Stop delivering; what is under way is cancelled."""
        self._bus.forget(self)
        self._waiting.clear()
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            _, late = await asyncio.wait({task}, timeout=CANCEL_S)
            if late:
                log.error("listener_does_not_end", listener=self.owner, kind=self.kind.__name__)

    async def drained(self) -> None:
        """Wait until the listener has seen everything published so far."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])


class EventBus:
    """The kernel's bus."""

    def __init__(self) -> None:
        self.on_failure: Callable[[str, str, BaseException], None] = _only_logged
        """Told whose listener raised, on which kind of event, and what."""
        self._subscriptions: dict[type[Event], tuple[Subscription, ...]] = {}

    def subscribe[E: Event](self, kind: type[E], listener: Listener[E], owner: str) -> Subscription:
        """Call ``listener`` (plain or async) for every event of ``kind`` or a subclass, in order."""
        subscription = Subscription(self, kind, listener, owner)
        self._subscriptions[kind] = (*self._subscriptions.get(kind, ()), subscription)
        return subscription

    def publish(self, event: Event) -> None:
        """Tell everybody who subscribed; returns at once."""
        for kind in type(event).__mro__:
            for subscription in self._subscriptions.get(kind, ()):
                subscription.offer(event)

    def forget(self, subscription: Subscription) -> None:
        """Take a subscription out; called by :meth:`Subscription.cancel`."""
        others = tuple(other for other in self._subscriptions.get(subscription.kind, ()) if other is not subscription)
        self._subscriptions[subscription.kind] = others
        if not others:
            del self._subscriptions[subscription.kind]

    async def drained(self) -> None:
        """Wait until every listener has seen what was published so far: for tests and for a graceful stop."""
        for subscriptions in list(self._subscriptions.values()):
            for subscription in subscriptions:
                await subscription.drained()


def _only_logged(owner: str, kind: str, error: BaseException) -> None:
    """What a listener raised is in the log, and nobody else asks."""

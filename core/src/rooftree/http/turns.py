"""Turns of the event loop, shared out: many who have something to do at the same moment do it one after another.

The loop runs whatever is ready before it looks at its sockets again. Hundreds of connections that all have requests
waiting would so keep everybody else waiting for all of them. Here at most :data:`PER_TURN` pieces of work, which is a
request or a piece of an answer, are begun in each turn of the loop. Where more want to, callers take turns, whatever
the number of their connections, and those who are known come before strangers.

Where much has come in a turn, it is handled in stages: all of it is read, then all of it handled, then all that comes
of it sent. The code of sockets, parser and proxy together is more than a processor's nearest caches hold: one
connection after another, each step finds there what the step before has left, and a page passed on costs a third more.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import Final

from attrs import field, frozen, mutable

PER_TURN: Final = 8
"""Pieces of work that are begun in one turn of the loop."""
BRIEF: Final = 0.25
"""What a brief piece of work counts: a request that is only passed on, without a task."""
OF_STRANGERS: Final = 2
"""Of these, how many strangers have while known callers wait."""
UNSTAGED: Final = 4
"""How much of what comes in a turn, about, is handled at once, before it is known to be much."""

type Work = Callable[[], object]


@frozen
class Account:
    """Whose work, and whose bytes, are counted together."""

    name: str
    """A principal, as ``kind:id``, or where a stranger's connection comes from."""
    is_known: bool
    """Whether somebody vouches for the caller."""


@mutable(eq=False)
class _Line:
    """Who waits, by account; each account in the order in which it came, the accounts in turn."""

    waiting: OrderedDict[str, deque[asyncio.Future[None]]] = field(factory=OrderedDict)

    def join(self, account: Account, future: asyncio.Future[None]) -> None:
        self.waiting.setdefault(account.name, deque()).append(future)

    def give(self, most: int) -> int:
        """Give so many turns at most; how many were given."""
        given = 0
        while self.waiting and given < most:
            name, futures = self.waiting.popitem(last=False)
            future = futures.popleft()
            if futures:
                self.waiting[name] = futures
            if not future.done():  # else its connection has gone
                future.set_result(None)
                given += 1
        return given


class Turns:
    """Says who may go on now. For one event loop; made where nobody in particular is being answered."""

    def __init__(self) -> None:
        self._context = copy_context()
        self._begun = 0.0
        """Pieces of work that were begun in this turn of the loop."""
        self._known = _Line()
        self._strangers = _Line()
        self._is_due = False
        self._handled = 0
        """How much has come in this turn, and in those before it in which no work was begun."""
        self._to_handle: list[Work] = []
        self._to_send: list[Work] = []
        self._is_staged = False
        """Whether what is handled now is so together with others."""

    @property
    def is_free(self) -> bool:
        """Whether a piece of work may begin at once; it counts as begun then."""
        return self._counts(1)

    @property
    def is_free_for_brief(self) -> bool:
        """The same for a brief piece."""
        return self._counts(BRIEF)

    def _counts(self, share: float) -> bool:
        if self._begun + share > PER_TURN or self._known.waiting or self._strangers.waiting:
            return False
        self._begun += share
        if not self._is_due:
            self._await_next()
        return True

    async def wait(self, account: Account) -> None:
        """Wait until a piece of ``account``'s work may begin, where :attr:`is_free` said that it may not yet."""
        future = asyncio.get_running_loop().create_future()
        (self._known if account.is_known else self._strangers).join(account, future)
        if not self._is_due:
            self._await_next()
        await future

    def handle(self, work: Work) -> None:
        """Handle what has come: now, or together with what else comes in this turn, where that is much."""
        if self.is_crowded:
            self.put_off(work)
        else:
            work()

    @property
    def is_crowded(self) -> bool:
        """Whether what has come just now had better be :meth:`put_off`; else it counts as handled."""
        self._handled += 1
        return self._handled > UNSTAGED

    def put_off(self, work: Work) -> None:
        """Handle it together with what else comes in this turn."""
        self._to_handle.append(work)
        if not self._is_due:
            self._await_next()

    def send(self, work: Work) -> None:
        """Send what comes of what is being handled: now, or when all was that is handled with it."""
        if self._is_staged:
            self._to_send.append(work)
        else:
            work()

    def _await_next(self) -> None:
        self._is_due = True
        asyncio.get_running_loop().call_soon(self._next, context=self._context)

    def _next(self) -> None:
        """A new turn of the loop has begun."""
        self._is_due = False
        kept = OF_STRANGERS if self._strangers.waiting else 0
        given = self._known.give(PER_TURN - kept)
        given += self._strangers.give(PER_TURN - given)
        self._begun = given
        self._handled = 0
        if self._to_handle:
            self._is_staged = True
            for stage in (self._to_handle, self._to_send):
                _do(stage)
                stage.clear()
            self._is_staged = False
        if given or self._known.waiting or self._strangers.waiting:
            self._await_next()


def _do(stage: Iterable[Work]) -> None:
    for work in stage:
        try:
            work()
        except Exception as error:  # the others are not to miss their turn
            facts = {"message": "What has come on a connection could not be handled", "exception": error}
            asyncio.get_running_loop().call_exception_handler(facts)

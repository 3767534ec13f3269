"""What ends with the token that opened it: streams, WebSockets, and bodies that are still coming in.

Whether a caller may do something is decided when a request comes in. An answer that goes on for days must not outlive
that decision: twice a second it is looked who its token, or session, stands for now. Where that is not who it was,
because the token was revoked, or its holder stopped or given another role, the answer ends. Whatever makes such answers
need not think of it. What is changed in one go is not taken back: it was asked for by who was allowed to. Clients that
hung up while nothing was read from them are noticed here too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog
from attrs import field, frozen

from rooftree.errors import RooftreeError
from rooftree.http.binding import GOODBYE_S, Call
from rooftree.http.bodies import connection_of
from rooftree.http.connection import Connection
from rooftree.principal import Principal

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.5
"""Seconds between looks at all that is open."""
AT_A_TIME: Final = 100
"""Calls that are looked at before others have their turn."""


@frozen(eq=False)
class Watched:
    """A call that goes on for as long as its caller is who it was."""

    call: Call
    task: asyncio.Task[Any]
    streams: bool
    """Whether its answer goes on; otherwise it is looked after while its body comes in."""
    others: set[Watched] = field(repr=False)

    @property
    def connection(self) -> Connection:
        """The client's."""
        return connection_of(self.call.request)

    def end(self) -> None:
        """The call is over."""
        self.others.discard(self)

    def cut_off(self) -> None:
        """End it: a WebSocket is told, for a moment; then nothing more is sent, read or not."""
        self.task.cancel()
        asyncio.get_running_loop().call_later(2 * GOODBYE_S, self.connection.let_go)


class Revocation:
    """Watches the calls that go on.

    :param principal_of: whose a call is, by what is valid now
    """

    def __init__(self, principal_of: Callable[[Call], Principal | None]) -> None:
        self._principal_of = principal_of
        self._watched: set[Watched] = set()

    def watches(self, call: Call, task: asyncio.Task[Any], *, streams: bool) -> Watched:
        """Look after a call from now on."""
        watched = Watched(call, task, streams, self._watched)
        self._watched.add(watched)
        return watched

    async def watch(self) -> None:
        """Look at all, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            for number, watched in enumerate(tuple(self._watched), 1):
                if number % AT_A_TIME == 0:
                    await asyncio.sleep(0)
                if watched in self._watched and watched.connection.has_gone():
                    watched.connection.let_go()
                elif watched in self._watched and not self._holds(watched):
                    log.info("call_ended_with_its_token", caller=str(watched.call.principal),
                             path=watched.call.request.path)  # fmt: skip
                    watched.end()
                    watched.cut_off()

    def _holds(self, watched: Watched) -> bool:
        """Whether the call's caller is who it was when it came in, or that does not matter any more."""
        call = watched.call
        if call.request.transport is None or (call.request.content.is_eof() and not watched.streams):
            return True
        try:
            return self._principal_of(call) == call.principal
        except RooftreeError:
            return False
        except Exception:  # a plugin's own look at its callers
            log.exception("caller_not_looked_up", caller=str(call.principal))
            return True

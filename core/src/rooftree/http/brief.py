"""Requests that are passed on without a task of their own, as short as most of a page's are.

A request without a body, whose answer comes whole and at once, needs nobody who waits in between: it is sent on when it
was read, and its answer when that has come. Whatever it turns out to be else (an answer in many pieces, one that lets
itself be waited for, a client that sends more meanwhile) goes the long way that all other requests go: it is admitted
anew, gets its turn, and the proxy goes on with what it has begun.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Final

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import HttpVersion11

from rooftree.context import caller, looking, plugin_under_way
from rooftree.http.admission import Admission
from rooftree.http.begun import Begun
from rooftree.http.binding import Call
from rooftree.http.connection import Connection
from rooftree.http.exchanges import Exchange, Field
from rooftree.http.senders import Senders
from rooftree.http.table import Entry
from rooftree.http.traffic import Traffic
from rooftree.http.turns import Work

LONGEST_S: Final = 0.5
"""Seconds, up to twice as many, that one may take: then somebody has to look after it."""
_METHODS: Final = frozenset({"GET", "HEAD"})


class Brief:
    """A request that is passed on without a task. Who passes it on ends it by :meth:`answer` or
    :meth:`take_long_way`."""

    __slots__ = ("_begun", "_calls", "_connection", "_entry", "_exchange", "_since")

    def __init__(self, calls: BriefCalls, connection: Connection, entry: Entry, exchange: Exchange) -> None:
        self._calls = calls
        self._connection = connection
        self._entry = entry
        self._exchange = exchange
        self._since = time.perf_counter()
        self._begun: Begun | None = None

    @property
    def owner(self) -> str:
        """The plugin that answers it."""
        return self._entry.owner

    def goes_on_with(self, begun: Begun) -> None:
        """This has been begun for it."""
        self._begun = begun
        self._calls.under_way.add(self)

    def answer(self, status: int, reason: bytes, fields: Iterable[Field], length: int | None, body: bytes) -> None:
        """Answer it; see :meth:`Exchange.begin`, whose errors are raised before anything has left."""
        exchange = self._exchange
        exchange.begin(status, reason, fields, length)
        self._calls.under_way.discard(self)
        self._begun = None
        self._connection.turns.send(partial(self._send, body))
        self._calls.traffic.note(exchange.method, self._entry.route.path, status, time.perf_counter() - self._since)

    def _send(self, body: bytes) -> None:
        with suppress(ConnectionError):  # the client has just gone
            self._exchange.send_whole(body)
        self._connection.brief_has_ended()

    def handle(self, work: Work) -> None:
        """Do it together with what else came."""
        self._connection.turns.handle(work)

    def send(self, work: Work) -> None:
        """Send something when what came with it was handled."""
        self._connection.turns.send(work)

    def take_long_way(self) -> None:
        """Let it be answered as others are, with what was begun."""
        self._calls.under_way.discard(self)
        begun, self._begun = self._begun, None
        self._connection.take_long_way(self._exchange.request, begun)

    def abort(self) -> None:
        """Its client has gone."""
        self._calls.under_way.discard(self)
        if self._begun is not None:
            self._begun.abort()
            self._begun = None

    def cut_off(self) -> None:
        """Its answer is not wanted any more: the connection ends."""
        self._connection.let_go()


class BriefCalls:
    """Begins requests without a task, where that can be done."""

    def __init__(self, admission: Admission, senders: Senders, traffic: Traffic) -> None:
        self._admission = admission
        self._senders = senders
        self.traffic = traffic
        self.under_way: set[Brief] = set()

    def begin(self, connection: Connection, message: RawRequestMessage) -> Brief | None:
        """Begin to answer a request; ``None`` where it goes the long way, before anything was done for it."""
        if (
            message.method not in _METHODS
            or message.should_close
            or message.upgrade
            or message.version != HttpVersion11
        ):
            return None
        match = self._admission.table.remembered(message.path.partition("?")[0])
        offered = match and match.offered(message.method)
        if not match or not offered:
            return None
        entry, names = offered
        if entry.endpoint is None or not entry.endpoint.may_begin or entry.route.access.session is None:
            return None
        if not connection.turns.is_free_for_brief:
            return None
        parts = dict(zip(names, match.values, strict=True))
        return copy_context().run(self._begin, connection, connection.request_of(message), entry, parts)

    def _begin(
        self, connection: Connection, request: web.BaseRequest, entry: Entry, parts: dict[str, str]
    ) -> Brief | None:
        access = entry.route.access
        assert access.session is not None
        plugin_under_way.set(entry.owner)
        looking.set(True)
        try:
            principal = self._senders.of_session_alone(request, access.session)
            if principal is None:
                return None
            caller.set(principal)
            connection.caller = principal
            endpoint = self._admission.endpoint(entry, request, principal, parts)
            proxied = endpoint.proxied(Call(request, principal, parts, self._senders.introduce, access))
            if proxied.begin is None:
                return None
            exchange = Exchange(request)
            brief = Brief(self, connection, entry, exchange)
            begun = proxied.begin(exchange, brief)
        except Exception:  # whoever answers it the long way meets the same, and says so
            return None
        if begun is None:
            return None
        brief.goes_on_with(begun)
        return brief

    @property
    def owners(self) -> set[str]:
        """The plugins that answer those under way."""
        return {brief.owner for brief in self.under_way}

    def end_those_of(self, owner: str) -> None:
        """End those that a plugin answers."""
        for brief in [brief for brief in self.under_way if brief.owner == owner]:
            brief.cut_off()

    async def let_long_ones_wait(self) -> None:
        """Let those go the long way that are not brief, for ever."""
        while True:
            waiting = tuple(self.under_way)
            await asyncio.sleep(LONGEST_S)
            for brief in waiting:
                if brief in self.under_way:
                    brief.take_long_way()

"""Every open connection: what they share, and who looks after the slow ones among them."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from typing import Any

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from rooftree.http import connection
from rooftree.http.connection import BeginBrief, Connection
from rooftree.http.in_flight import InFlight
from rooftree.http.open_connections import OpenConnections
from rooftree.http.turns import Turns

log = structlog.get_logger(__name__)


class Connections(web.Server):
    """Every open connection.

    :param in_flight: how many bytes they may hold together
    """

    def __init__(self, handler: Any, in_flight: InFlight, begin_brief: BeginBrief, **options: Any) -> None:
        super().__init__(handler, **options)
        self._begin_brief = begin_brief
        self._turns = Turns()
        self._in_flight = in_flight
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._open = OpenConnections(files // connection.FILES_PER_CONNECTION)

    def __call__(self) -> RequestHandler:
        """A new one."""
        return Connection(
            self, self._turns, self._in_flight, self._open, self._begin_brief, loop=self._loop, **self._kwargs
        )

    async def let_slow_ones_go(self) -> None:
        """Look after the connections, for ever."""
        while True:
            await asyncio.sleep(connection.LOOK_S)
            gone: Counter[str] = Counter()
            for number, client in enumerate(self.connections, 1):
                if number % connection.AT_A_TIME == 0:
                    await asyncio.sleep(0)
                assert isinstance(client, Connection)
                slowness = client.slowness(self._loop.time())
                if slowness is not None:
                    gone[slowness] += 1
                    client.let_go()
            if gone:
                log.warning("slow_clients_let_go", **gone)
            if self._open.sent_away:
                log.warning("too_many_connections", sent_away=self._open.sent_away)
                self._open.sent_away = 0
            if self._in_flight.refused:
                log.warning("too_much_in_flight", refused=self._in_flight.refused, kib=self._in_flight.total // 1024)
                self._in_flight.refused = 0

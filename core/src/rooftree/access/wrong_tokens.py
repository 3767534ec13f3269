"""Who sends tokens that are nobody's, and how often.

A source that sends many is answered 429 for a while; a right token from there passes at once, so that nobody is
locked out by a neighbour. Tokens have 448 random bits and can't be guessed: this is for the program with an old token
that asks over and over, so that it is told to wait and fills no log. What was sent is never kept or logged.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import timedelta
from ipaddress import ip_network

import structlog
from attrs import mutable

from rooftree.clock import MACHINE, Clock
from rooftree.errors import RateLimited
from rooftree.model import Meter, Rate

log = structlog.get_logger(__name__)

ALLOWED = Rate(20, timedelta(minutes=1))
"""Wrong tokens of one source that are answered with 403; what comes beyond gets 429."""
SOURCES = 1024
"""Sources that are remembered; beyond, the one that has been quiet for longest is forgotten."""
LOG_EVERY_S = 60.0
"""Seconds between two log lines about one source."""
IPV6_SITE_BITS = 64
"""One machine has all addresses of such a prefix to choose from."""


@mutable(eq=False)
class _Source:
    """What is known of one source."""

    meter: Meter
    unlogged: int = 0
    line: asyncio.TimerHandle | None = None
    """The log line that is due, while another one was written less than :data:`LOG_EVERY_S` ago."""


class WrongTokens:
    """Counts wrong tokens by where they come from."""

    def __init__(self, clock: Clock = MACHINE) -> None:
        self._clock = clock
        self._sources: OrderedDict[str, _Source] = OrderedDict()

    def note(self, address: str | None) -> None:
        """A token was nobody's. Raises :class:`~rooftree.errors.RateLimited` when too many came from that address;
        the unix socket's users have none, and are not counted."""
        name = source_name(address)
        if name is None:
            return
        source = self._source(name)
        self._log(name, source)
        wait_s = source.meter.wait_s()
        if wait_s > 0:
            raise RateLimited(
                f"{name} has sent more than {ALLOWED.times} wrong tokens in {ALLOWED.per.total_seconds():.0f} s. "
                "A token that is valid passes at once",
                wait_s=round(wait_s, 1),
            )
        source.meter.note()

    def close(self) -> None:
        """Write the log lines that are due."""
        while self._sources:
            self._forget(*self._sources.popitem())

    def _source(self, name: str) -> _Source:
        sender = self._sources.get(name)
        if sender is None:
            sender = self._sources[name] = _Source(Meter(ALLOWED, self._clock))
            if len(self._sources) > SOURCES:
                self._forget(*self._sources.popitem(last=False))
        else:
            self._sources.move_to_end(name)
        return sender

    def _forget(self, name: str, source: _Source) -> None:
        if source.line is not None:
            source.line.cancel()
            self._write(name, source)

    def _log(self, name: str, source: _Source) -> None:
        source.unlogged += 1
        if source.line is None:
            self._write(name, source)

    def _write(self, name: str, source: _Source) -> None:
        """Write the line, if there is anything to say, and see to it that the next one is not too soon."""
        source.line = None
        if not source.unlogged:
            return
        log.warning("wrong_tokens", source=name, count=source.unlogged)
        source.unlogged = 0
        if self._sources.get(name) is source:
            source.line = asyncio.get_running_loop().call_later(LOG_EVERY_S, self._write, name, source)


def source_name(address: str | None) -> str | None:
    """How a peer's address is counted: IPv4 as it is, IPv6 by its network; ``None`` for a unix socket."""
    if address is None or ":" not in address:
        return address
    return str(ip_network((address, IPV6_SITE_BITS), strict=False))

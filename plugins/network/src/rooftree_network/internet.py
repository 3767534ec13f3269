"""What is known of the internet: whether the host reaches it, and whether we do. It is advice and never a gate: a
registry in the house, or one behind a proxy, answers all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog
from yarl import URL

from rooftree import Event
from rooftree.interfaces.bus import (
    BusConnected,
    BusLost,
    BusPropertiesChanged,
    BusRefused,
    BusServiceChanged,
    BusUnavailable,
    SystemBus,
)
from rooftree.interfaces.network import InternetChanged
from rooftree_network.bus_objects import CHECK_CONNECTIVITY, FULL_CONNECTIVITY, MANAGER, NETWORK_MANAGER, Manager
from rooftree_network.internet_probe import why_offline

log = structlog.get_logger(__name__)

ONLINE_S: Final = 600.0
"""Seconds after which it is looked again whether we reach the internet …"""
OFFLINE_S: Final = 30.0
"""… and while we do not."""
PAUSE_S: Final = 5.0
"""Seconds between two looks at least, whatever changes."""
CHECK_S: Final = 10.0
"""Seconds that NetworkManager may take to look."""


class Internet:
    """Provides :class:`~rooftree.interfaces.network.Network`.

    :param bus: asked at each use for the system bus
    :param endpoints: what we try to reach; without any, we are taken to reach the internet as the host does
    """

    def __init__(
        self, bus: Callable[[], SystemBus | None], endpoints: Sequence[URL], publish: Callable[[Event], None]
    ) -> None:
        self._bus = bus
        self._endpoints = endpoints
        self._publish = publish
        self._host: bool | None = None
        self._own = False
        self._reason: str | None = None
        self._check_host = False
        self._host_news = asyncio.Event()
        self._own_news = asyncio.Event()

    @property
    def host_internet(self) -> bool | None:
        """Whether the host reaches it; see :attr:`Network.host_internet`."""
        return self._host

    @property
    def supervisor_internet(self) -> bool:
        """Whether we do; see :attr:`Network.supervisor_internet`."""
        return self._own

    @property
    def why_offline(self) -> str | None:
        """Why we do not; see :attr:`Network.why_offline`."""
        return self._reason

    # --- looking ------------------------------------------------------------------------------------------------------

    def bus_said(self, event: Event) -> None:
        """NetworkManager came or went, or has checked."""
        match event:
            case BusConnected() | BusLost():
                self._host_news.set()
            case BusServiceChanged(service=service) if service == NETWORK_MANAGER:
                self._host_news.set()
            case BusPropertiesChanged() if event.object == MANAGER:
                self._host_news.set()

    def look_again(self) -> None:
        """Something has changed on the way to the internet."""
        self._own_news.set()

    def check(self) -> None:
        """Look soon, both of us: it takes as long as somebody does not answer."""
        self._check_host = True
        self._host_news.set()
        self._own_news.set()

    async def follow_host(self) -> None:
        """Know whether the host reaches it, for ever."""
        while True:
            self._host_news.clear()
            if self._check_host:
                self._check_host = False
                await self._let_host_check()
            await self._look_at_host()
            await self._host_news.wait()

    async def _let_host_check(self) -> None:
        bus = self._bus()
        if bus is not None and bus.has(NETWORK_MANAGER):
            with suppress(BusUnavailable, BusRefused):
                await bus.call(MANAGER, CHECK_CONNECTIVITY, timeout_s=CHECK_S)

    async def _look_at_host(self) -> None:
        reached, bus = None, self._bus()
        if bus is not None and bus.has(NETWORK_MANAGER):
            with suppress(BusUnavailable, BusRefused):
                manager = await bus.read(Manager, MANAGER)
                if manager.checks_connectivity:
                    reached = manager.connectivity == FULL_CONNECTIVITY
        if reached != self._host:
            log.info("internet_of_host", reached=reached)
            self._host = reached
            self._publish(InternetChanged("host", reached))
            self.look_again()

    async def follow_own(self) -> None:
        """Know whether we do, for ever."""
        while True:
            self._own_news.clear()
            await self._look_ourselves()
            await asyncio.sleep(PAUSE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(ONLINE_S if self._own else OFFLINE_S):
                    await self._own_news.wait()

    async def _look_ourselves(self) -> None:
        if self._endpoints:
            reason = await why_offline(self._endpoints)
        else:
            reason = "NetworkManager says that the host does not reach it" if self._host is False else None
        if reason != self._reason:
            log.info("internet", reached=reason is None, reason=reason)
        reached, self._reason = reason is None, reason
        if reached != self._own:
            self._own = reached
            self._publish(InternetChanged("supervisor", reached))

"""Asking an add-on whether it works, where its configuration says at which address it answers (``watchdog``)."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Final

import aiohttp
from yarl import URL

from rooftree.interfaces.containers import OWN_ADDRESS, OwnAddress
from rooftree_addons.addons import Addons
from rooftree_addons.installed import InstalledAddon
from rooftree_store import WatchdogTarget, resolve_watchdog

CONNECT_S: Final = 0.5
"""Seconds that a TCP connection may take."""
ANSWER_S: Final = 10.0
"""Seconds that an HTTP answer may take."""
GOOD_BELOW: Final = 300
"""HTTP statuses from here on are no sign of health; redirections are followed, on the add-on's own host only."""
MOST_REDIRECTIONS: Final = 5
_REDIRECTIONS: Final = frozenset({301, 302, 303, 307, 308})


async def complaint(addons: Addons, addon: InstalledAddon) -> str | None:
    """What is wrong with a running add-on's answer, or ``None``."""
    config = addon.config
    host = (await addons.engine.network()).gateway if config.host_network else addons.address(addon.slug)
    if host is None or config.watchdog is None:
        return None  # it ended just now: the engine's events tell
    target = resolve_watchdog(
        config.watchdog,
        host=host,
        host_network=config.host_network,
        ports=addon.ports or {},
        options=addon.effective_options,
    )
    # From where ingress comes: many let nobody else in. What is on the host's network is asked by the host itself.
    own_address = None if config.host_network else addons.kernel.find(OWN_ADDRESS)
    try:
        return await (_refusal if target.scheme == "tcp" else _bad_answer)(target, own_address)
    except TimeoutError:
        return f"{target.url} does not answer in time"
    except (aiohttp.ClientError, OSError, ValueError, OverflowError) as error:  # the last for a port beyond 65535
        return f"{target.url}: {error}"


async def _new_socket(own_address: OwnAddress | None) -> socket.socket:
    """A socket that is not connected, of our own address where we have one."""
    line = await own_address.own_socket() if own_address is not None else None
    return line or socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def _given(line: socket.socket, _: object) -> socket.socket:
    return line


async def _refusal(target: WatchdogTarget, own_address: OwnAddress | None) -> str | None:
    async with asyncio.timeout(CONNECT_S):
        with await _new_socket(own_address) as line:
            await asyncio.get_running_loop().sock_connect(line, (target.host, target.port))
    return None


async def _bad_answer(target: WatchdogTarget, own_address: OwnAddress | None) -> str | None:
    """Ask, without reading what is answered. An add-on that sends us elsewhere would let us ask for it what only this
    host can reach: that it answered at all is good enough then."""
    url = URL(target.url)
    for _ in range(MOST_REDIRECTIONS + 1):
        line = await _new_socket(own_address)
        # Certificates of add-ons are made out for names that we do not know them by.
        connector = aiohttp.TCPConnector(ssl=False, force_close=True, socket_factory=partial(_given, line))
        async with (
            aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(ANSWER_S)) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status not in _REDIRECTIONS:
                return None if response.status < GOOD_BELOW else f"{url} answered with status {response.status}"
            onward = url.join(URL(response.headers.get("Location", "")))
        if onward.host != url.host or onward.scheme not in {"http", "https"}:
            return None
        url = onward
    return f"{target.url} leads round in circles"

"""Core's web page as a browser sees it: the page itself, and the WebSocket that it opens."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from rooftree_homeassistant.core_options import CoreOptions
from rooftree_homeassistant.core_state import CoreHttpConfig

PAGE_S: Final = 30.0
FIRST_FRAME_S: Final = 10.0
CONNECT_S: Final = 5.0
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  # what Core listens on


async def page_complaint(host: str, options: CoreOptions, http: CoreHttpConfig | None) -> str | None:
    """What is wrong with Core's page, as the rest of a sentence; ``None`` also where it is not to be seen from here.

    :param host: where a port of the host's network is reached
    :param http: how Core's web server is set, where Core tells
    """
    hosts = frozenset(http.server_hosts) if http is not None else frozenset[str]()
    if hosts and hosts.isdisjoint(_EVERYWHERE | {host}):
        return None
    port, with_tls = (http.port, http.ssl) if http is not None else (options.port, options.ssl)
    address = f"{'s' if with_tls else ''}://{host}:{port}"
    # Nothing is said to it but "show me the page": whose certificate it has does not matter, and here it has no name.
    connector = aiohttp.TCPConnector(ssl=False, force_close=True)
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(PAGE_S)) as session:
            return await _page(session, f"http{address}/") or await _websocket(session, f"ws{address}/api/websocket")
    except TimeoutError:
        return f"its page at http{address} does not answer in time"
    except (aiohttp.ClientConnectionError, OSError) as error:
        if with_tls and await _listens(host, port):  # it may want a certificate of its clients
            return None
        return f"its page at http{address} can't be reached: {error}"
    except (aiohttp.ClientError, ValueError) as error:
        return f"its page at http{address} answers with something else: {error}"


async def _page(session: aiohttp.ClientSession, url: str) -> str | None:
    async with session.get(url) as answer:
        if answer.status != 200 or answer.content_type != "text/html":
            return f"its page at {url} answers with status {answer.status} and {answer.content_type}"
    return None


async def _websocket(session: aiohttp.ClientSession, url: str) -> str | None:
    async with session.ws_connect(url) as socket:
        async with asyncio.timeout(FIRST_FRAME_S):
            frame = await socket.receive_json()
        said = frame.get("type") if isinstance(frame, dict) else None
        return None if said == "auth_required" else f"its WebSocket begins with {said!r}"


async def _listens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True

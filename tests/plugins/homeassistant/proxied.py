"""A system whose add-ons may talk to Core: the proxy in front of a Core that a test names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from attrs import frozen

from rooftree import Kernel, Plugin, Principal, Routes
from rooftree.interfaces.callers import HOME_ASSISTANT_HEADER, TOKEN_HEADERS
from rooftree.interfaces.core import CORE
from rooftree.testing import Client, token_for
from rooftree_homeassistant.api_proxy import API_PROXY, ApiProxy
from rooftree_homeassistant.api_proxy_routes import routes
from rooftree_homeassistant.core_client import CoreClient
from tests.plugins.homeassistant.linked import Linked, linked

HELLO = Principal("addon", "local_hello", None, frozenset({"homeassistant_api"}))
OTHER = Principal("addon", "local_other", None, frozenset({"hassio_api"}))
"""An add-on that may not talk to Core."""


class ProxyPlugin(Plugin):
    """The proxy on the connection that there is."""

    name = "proxy"
    provides = (API_PROXY,)
    requires = (CORE,)

    async def setup(self, kernel: Kernel) -> None:
        proxy = ApiProxy(cast(CoreClient, kernel.service(CORE)))
        kernel.defer(proxy.close)
        kernel.accept_tokens_in(*TOKEN_HEADERS, HOME_ASSISTANT_HEADER)
        kernel.provide(API_PROXY, proxy)

    def routes(self) -> Routes:
        return routes


@frozen
class Proxied:
    """The system, and a client that has the token of an add-on which may talk to Core."""

    link: Linked
    client: Client
    token: str
    other: str
    """The token of one that may not."""

    @property
    def url(self) -> str:
        """Where the system listens."""
        return f"http://127.0.0.1:{self.link.system.port}"


@asynccontextmanager
async def proxied(folder: Path) -> AsyncIterator[Proxied]:
    """The system; where Core is, says the test."""
    async with linked(folder, plugins=[ProxyPlugin]) as link:
        token, other = await token_for(link.system, HELLO), await token_for(link.system, OTHER)
        async with Client.over_tcp(link.system, token=token) as client:
            yield Proxied(link, client, token, other)

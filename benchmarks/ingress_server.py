"""Add-ons' pages, and Core's API for add-ons, as they are in a daemon, without a container engine:
``ingress_server.py FOLDER NAME=PORT …``.

The engine is the one of the tests; store, add-ons, ingress, the API proxy and the kernel are the real ones. Each
``NAME`` is installed and started as an add-on whose page is on that port; ``page`` stands in for Core, too. A line of
JSON says where we listen, and with what one gets in.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from typing import cast

from yarl import URL

from rooftree import Kernel, Plugin, Principal, Role, Routes
from rooftree.testing import token_for
from rooftree.testing.containers import FakeContainerEngine
from rooftree_homeassistant.api_proxy import API_PROXY, ApiProxy
from rooftree_homeassistant.api_proxy_routes import routes
from rooftree_homeassistant.core_client import CoreClient
from rooftree_homeassistant.core_session import CoreAccess
from rooftree_ingress.ingress import INGRESS
from rooftree_ingress.plugin import IngressPlugin
from tests.plugins.addons.house import house


class Core:
    """A Core that answers on a port."""

    answers = True

    def __init__(self, port: int) -> None:
        self._access = CoreAccess(url=URL(f"http://127.0.0.1:{port}"), socket=None, tls=None, access_token=None)

    async def access(self) -> CoreAccess:
        return self._access


def proxy_to(port: int) -> type[Plugin]:
    class Proxy(Plugin):
        name = "proxy"
        provides = (API_PROXY,)

        async def setup(self, kernel: Kernel) -> None:
            proxy = ApiProxy(cast(CoreClient, Core(port)))
            kernel.defer(proxy.close)
            kernel.provide(API_PROXY, proxy)

        def routes(self) -> Routes:
            return routes

    return Proxy


async def main(folder: Path, pages: Iterable[str]) -> None:
    ports = {name: int(port) for name, _, port in (page.partition("=") for page in pages)}
    engine = FakeContainerEngine()
    engine.address = "127.0.0.1"
    async with house(folder, engine, plugins=[IngressPlugin, proxy_to(ports["page"])]) as home:
        paths = {}
        for name, port in ports.items():
            slug = await home.run(name, config={"ingress": True, "ingress_port": port})
            paths[name] = f"/ingress/{home.installed(slug).ingress_token}"
        session = await home.system.services.get(INGRESS).sessions.open(None)
        token = await token_for(home.system, Principal("core", "homeassistant", Role.ADMIN))
        addon = await token_for(home.system, Principal("addon", slug, grants=frozenset({"homeassistant_api"})))
        facts = {"port": home.system.port, "pages": paths, "session": session, "token": token, "addon_token": addon}
        print(json.dumps(facts), flush=True)
        await asyncio.Event().wait()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))

"""Add-ons' pages as they are in a daemon, without a container engine: ``ingress_server.py FOLDER NAME=PORT …``.

The engine is the one of the tests; store, add-ons, ingress and the kernel are the real ones. Each ``NAME`` is installed
and started as an add-on whose page is on that port. A line of JSON says where we listen, and with what one gets in.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from rooftree import Principal, Role
from rooftree.testing import token_for
from rooftree.testing.containers import FakeContainerEngine
from rooftree_ingress.ingress import INGRESS
from rooftree_ingress.plugin import IngressPlugin
from tests.plugins.addons.house import house


async def main(folder: Path, pages: Iterable[str]) -> None:
    engine = FakeContainerEngine()
    engine.address = "127.0.0.1"
    async with house(folder, engine, plugins=[IngressPlugin]) as home:
        paths = {}
        for name, _, port in (page.partition("=") for page in pages):
            slug = await home.run(name, config={"ingress": True, "ingress_port": int(port)})
            paths[name] = f"/ingress/{home.installed(slug).ingress_token}"
        session = await home.system.services.get(INGRESS).sessions.open(None)
        token = await token_for(home.system, Principal("core", "homeassistant", Role.ADMIN))
        print(json.dumps({"port": home.system.port, "pages": paths, "session": session, "token": token}), flush=True)
        await asyncio.Event().wait()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))

"""All our plugins in a running system with add-ons, a fake engine, a journal and a bus: something to ask all of."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rooftree import Plugin
from rooftree.process.system import System
from rooftree.testing import Client, running_system
from rooftree.testing.containers import FakeContainerEngine
from tests.bus.private_bus import private_bus, services
from tests.contract.door import SETTINGS, our_plugins
from tests.plugins.addons.house import REGISTRY, done, write_offer
from tests.plugins.host.journal import entry, gateway, write

RUNS, INSTALLED, OFFERED = "local_hello", "local_quiet", "local_new"
"""An add-on that runs, one that is installed and stopped, and one in the store."""
FILES = {
    "CHANGELOG.md": "# 1.0\n",
    "DOCS.md": "Say hello.\n",
    "README.md": "Hello.\n",
    "icon.png": "no picture, but that is not looked at",
    "translations/en.yaml": "configuration:\n  word:\n    name: The word\n    description: What is said\n",
}
CONFIG = {
    "options": {"word": "hello", "names": ["you"]},
    "schema": {"word": "str", "names": ["str"], "loud": "bool?", "at": {"hour": "int(0,23)"}},
    "ports": {"80/tcp": 8099},
    "ports_description": {"80/tcp": "The web page"},
    "ingress": True,
    "stdin": True,
    "hassio_api": True,
}


class Spare(Plugin):
    """Does nothing, and can be spared."""

    name = "spare"


@asynccontextmanager
async def inhabited_house(folder: Path, log_driver: str = "json-file") -> AsyncIterator[System]:
    """The system; its client is whoever the test makes one for."""
    engine = FakeContainerEngine()
    engine.log_driver = log_driver
    journal = folder / "journal"
    written = [
        line
        for boot in range(2)
        for line in (
            entry(b"tick", name="kernel", boot=boot, epoch=None),
            entry(b"ours in boot %d" % boot, name="rooftree", boot=boot, at=1, epoch=None),
            entry(b"hello in boot %d" % boot, name="app_" + RUNS, boot=boot, at=2),
        )
    ]
    await asyncio.to_thread(write, journal, *written)
    plugins = [*await asyncio.to_thread(lambda: [*our_plugins(engine)]), Spare]
    sockets = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="rooftree-")
    with sockets as socket_folder, gateway(journal, Path(socket_folder)) as process:
        settings = SETTINGS | {"plugins.store.machine": "generic-x86-64", "plugins.host.journal": process.url}
        async with (
            private_bus(Path(socket_folder)) as bus,
            services(bus.address),
            running_system(
                folder,
                plugins=plugins,
                settings=settings | {"plugins.host.bus": bus.address},
            ) as system,
            Client.over_unix(system) as client,
        ):
            for slug in (RUNS, INSTALLED, OFFERED):
                name = slug.removeprefix("local_")
                engine.publish_image(f"{REGISTRY}/{name}:1.0")
                await asyncio.to_thread(write_offer, system.data.path, name, files=FILES, config=CONFIG)
            done(await client.post("/store/reload"))
            for slug in (RUNS, INSTALLED):
                done(await client.post(f"/store/addons/{slug}/install"))
            done(await client.post(f"/addons/{RUNS}/options", json={"options": {"at": {"hour": 7}}}))
            done(await client.post(f"/addons/{INSTALLED}/options", json={"options": {"at": {"hour": 7}}}))
            done(await client.post(f"/addons/{RUNS}/start"))
            yield system

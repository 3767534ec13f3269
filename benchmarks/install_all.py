"""Enter every add-on of a data folder's store as installed, without any image: ``install_all.py FOLDER REPOSITORY…``.

Through the plugins themselves, with the fake engine in Docker's place; the daemon must not run.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from rooftree.testing import running_system
from rooftree.testing.containers import FakeContainerEngine, FakeEnginePlugin
from rooftree_addons import ADDONS, InstalledAddon
from rooftree_addons.plugin import AddonsPlugin
from rooftree_store import ADDON_STORE
from rooftree_store.plugin import StorePlugin


async def main(folder: str, *repositories: str) -> None:
    plugins = [FakeEnginePlugin.serving(FakeContainerEngine()), StorePlugin, AddonsPlugin]
    settings = {"plugins.store.repositories": list(repositories), "plugins.store.reload_every_s": 1e9}
    async with running_system(Path(folder), plugins=plugins, settings=settings) as system:
        store, addons = system.services.get(ADDON_STORE), system.services.get(ADDONS)
        entered = []
        for offer in store.addons.values():
            image = f"{offer.config.image or offer.slug}:{offer.config.version}"
            addon = InstalledAddon.fresh(offer.slug, image, offer.config.normalised(), set())
            entered.append(addons.installed.put(offer.slug, addon))
        await addons.kernel.commit(*entered)
        print(len(addons.installed))


asyncio.run(main(*sys.argv[1:]))

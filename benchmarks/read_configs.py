"""Times the store's own reading of its repositories: the first from nothing, then again with nothing changed.

``read_configs.py FOLDER URL…`` prints one JSON object, times in seconds of CPU over all threads. A process of its own,
so that "from nothing" is true.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from pathlib import Path

from rooftree import Kernel
from rooftree.daemon import configure
from rooftree.testing import running_system
from rooftree_store import AddonStore
from rooftree_store.plugin import StorePlugin

AGAIN = 5


class TimedStore(StorePlugin):
    """The store, with its start timed."""

    cold_s = 0.0
    started: AddonStore

    async def setup(self, kernel: Kernel) -> None:
        gc.collect()
        began = time.process_time()
        await super().setup(kernel)
        TimedStore.cold_s = time.process_time() - began
        TimedStore.started = self.store


async def main(folder: Path, urls: list[str]) -> None:
    settings = {"plugins.store.repositories": urls, "plugins.store.reload_every_s": 1e9}
    logs = configure("error", "text")  # the corpus has files that the store warns about
    async with running_system(folder, plugins=[TimedStore], settings=settings, logs=logs):
        store = TimedStore.started
        again, revision = [], store.revision
        for _ in range(AGAIN):
            began = time.process_time()
            await store.refresh(store.sources)
            again.append(time.process_time() - began)
        result = {"addons": len(store.addons), "cold_cpu_s": TimedStore.cold_s, "unchanged_cpu_s": again}
        assert store.revision == revision, "nothing changed, and the store thinks otherwise"
    sys.stdout.write(json.dumps(result))


asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))

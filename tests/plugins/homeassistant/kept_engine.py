"""A fake engine that outlives its process: what it has of images and containers lies in a file."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from pathlib import Path

from rooftree.interfaces.containers import ContainerSpec, Progress
from rooftree.testing.containers import FakeContainerEngine


class KeptEngine(FakeContainerEngine):
    """Writes down what it has after each call that changes that, and begins with what was written."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        if file.exists():
            self.images, self._kept = pickle.loads(file.read_bytes())  # our own

    async def write_down(self) -> None:
        """Keep what there is."""
        await asyncio.to_thread(self._file.write_bytes, pickle.dumps((self.images, self._kept)))

    async def pull(self, image: str, *, platform: str | None = None) -> AsyncIterator[Progress]:
        """As it does."""
        async for progress in super().pull(image, platform=platform):
            yield progress
        await self.write_down()

    async def remove_image(self, image: str) -> bool:
        """As it does."""
        removed = await super().remove_image(image)
        await self.write_down()
        return removed

    async def create(self, spec: ContainerSpec) -> str:
        """As it does."""
        identity = await super().create(spec)
        await self.write_down()
        return identity

    async def start(self, name: str) -> None:
        """As it does."""
        await super().start(name)
        await self.write_down()

    async def stop(self, name: str, timeout_s: int) -> None:
        """As it does."""
        await super().stop(name, timeout_s)
        await self.write_down()

    async def remove(self, name: str) -> None:
        """As it does."""
        await super().remove(name)
        await self.write_down()

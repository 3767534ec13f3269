"""The table of contents of this domain."""

from __future__ import annotations

from rooftree import Kernel, Plugin, Routes, hookimpl
from rooftree.interfaces.hardware import Device
from rooftree_os.boards import BOARDS, Boards
from rooftree_os.routes import routes


class OsPlugin(Plugin):
    """The operating system of the machine: so far its boards, by drivers in the group ``rooftree.boards``."""

    name = "os"
    provides = (BOARDS,)
    _boards: Boards | None = None

    async def setup(self, kernel: Kernel) -> None:
        """Load the board drivers."""
        self._boards = await Boards.load(kernel)
        kernel.provide(BOARDS, self._boards)

    def routes(self) -> Routes:
        """See :mod:`rooftree_os.routes`."""
        return routes

    async def stop(self) -> None:
        """Let the drivers go."""
        if self._boards is not None:
            await self._boards.stop()

    @hookimpl
    async def hardware_added(self, device: Device) -> None:
        """Boards react to devices."""
        if self._boards is not None:
            await self._boards.tell(lambda board: board.hardware_added(device))

    @hookimpl
    async def hardware_removed(self, device: Device) -> None:
        """Boards react to devices."""
        if self._boards is not None:
            await self._boards.tell(lambda board: board.hardware_removed(device))

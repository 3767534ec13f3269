"""Serial devices that come and go: Core looks for new ones when it is told to."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from rooftree import Kernel
from rooftree.interfaces.core import Core, CoreRefused, CoreUnavailable
from rooftree.interfaces.hardware import DeviceAdded, DeviceRemoved

log = structlog.get_logger(__name__)

SUBSYSTEM: Final = "tty"
COMPONENT: Final = "usb"


class UsbScan:
    """Has Core look. While Core is away nothing is owed: it looks when it starts."""

    def __init__(self, kernel: Kernel, core: Core) -> None:
        self._core = core
        self._due = asyncio.Event()
        kernel.on(DeviceAdded, self._changed)
        kernel.on(DeviceRemoved, self._changed)

    async def run(self) -> None:
        """Have Core look whenever that is due, once for many; for a task of the plugin."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                config = await self._core.command("get_config")
                if isinstance(config, dict) and COMPONENT in (config.get("components") or ()):
                    await self._core.command("usb/scan")
            except (CoreUnavailable, CoreRefused) as error:
                log.info("usb_not_scanned", reason=error.message)

    def _changed(self, event: DeviceAdded | DeviceRemoved) -> None:
        if event.device.subsystem == SUBSYSTEM and self._core.answers:
            self._due.set()

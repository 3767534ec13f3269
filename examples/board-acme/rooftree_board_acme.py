"""The Acme Home Box: two lights that can be switched, and one that shines while a radio stick is plugged in.

The Linux kernel shows each light as a folder (``/sys/class/leds/acme:power``), and what is written to ``brightness`` in
it is how brightly it shines (Documentation/leds/leds-class.rst of the kernel). Without the box, try it with a folder of
your own: ``ROOFTREE_BOARDS__ACME__LEDS=/tmp/leds``.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from attrs import frozen
from rooftree import Unavailable
from rooftree.interfaces.boards import Board, BoardServices
from rooftree.interfaces.hardware import Device

RADIOS = "tty"
"""Radio sticks are serial ports."""


@frozen
class Leds:
    """The lights that people may switch off, for a dark bedroom."""

    power: bool = True
    activity: bool = True


@frozen
class Places:
    """``[boards.acme]``: what the operator may set."""

    leds: Path = Path("/sys/class/leds")


class Acme(Board):
    """The Acme Home Box."""

    name = "acme"
    settings = Leds
    operator_settings = Places

    async def connect(self, services: BoardServices) -> None:
        self._lights = services.settings(Places).leds
        self._radios = set[str]()

    async def present(self) -> bool:
        return await asyncio.to_thread((self._lights / "acme:power").exists)

    async def read(self) -> Leds:
        return await asyncio.to_thread(lambda: Leds(self._shines("power"), self._shines("activity")))

    async def write(self, leds: Leds) -> None:
        await asyncio.to_thread(self._switch, "power", leds.power)
        await asyncio.to_thread(self._switch, "activity", leds.activity)

    async def hardware_added(self, device: Device) -> None:
        if device.subsystem == RADIOS:
            self._radios.add(device.sysfs)
            await self._show_radios()

    async def hardware_removed(self, device: Device) -> None:
        self._radios.discard(device.sysfs)
        await self._show_radios()

    async def _show_radios(self) -> None:
        await asyncio.to_thread(self._switch, "radio", bool(self._radios))

    def _shines(self, light: str) -> bool:
        return (self._lights / f"acme:{light}" / "brightness").read_text().strip() != "0"

    def _switch(self, light: str, on: bool) -> None:
        try:
            (self._lights / f"acme:{light}" / "brightness").write_text("1" if on else "0")
        except OSError as error:
            raise Unavailable(f"The light {light} cannot be switched: {error.strerror}") from error

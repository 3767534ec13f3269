"""The operating system, and a board."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from rooftree.interfaces.boards import Board
from tests.contract.situations.scene import Call, Scene, situation


@frozen
class Lamps:
    """What the lamps of a board may be set to."""

    power: bool = True


class Box(Board):
    """A board."""

    name = "box"
    settings = Lamps
    lamps: ClassVar[Lamps] = Lamps()

    async def read(self) -> Lamps:
        return Box.lamps

    async def write(self, lamps: Lamps) -> None:
        Box.lamps = lamps


@situation("POST /os/boards/{board}")
async def board_changed(scene: Scene) -> Call:
    Box.lamps = Lamps()
    return Call("/os/boards/box", {"power": False})


@situation("POST /os/boards/{board}")
async def board_as_it_is(scene: Scene) -> Call:
    Box.lamps = Lamps()
    return Call("/os/boards/box", {})


@situation("POST /os/update")
async def os_updated(scene: Scene) -> Call:
    return Call("/os/update", {})


@situation("POST /os/boot-slot")
async def other_slot_booted(scene: Scene) -> Call:
    return Call("/os/boot-slot", {"boot_slot": "B"})


@situation("POST /os/config/sync")
async def configuration_on_a_stick(scene: Scene) -> Call:
    return Call("/os/config/sync")


@situation("POST /os/config/swap")
async def more_swap(scene: Scene) -> Call:
    return Call("/os/config/swap", {"swap_size": "4G"})


@situation("POST /os/config/swap")
async def swap_as_it_is(scene: Scene) -> Call:
    return Call("/os/config/swap", {})


@situation("POST /os/datadisk/move")
async def data_moved(scene: Scene) -> Call:
    return Call("/os/datadisk/move", {"device": "SSD-0002"})


@situation("POST /os/datadisk/wipe")
async def data_wiped(scene: Scene) -> Call:
    return Call("/os/datadisk/wipe")


@situation("POST /os/boards/raspberrypi/firmware/update")
async def firmware_updated(scene: Scene) -> Call:
    return Call("/os/boards/raspberrypi/firmware/update")

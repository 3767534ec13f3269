"""The routes of OS."""

from __future__ import annotations

from rooftree import JobCall, NotFound, Role, Routes, role
from rooftree.interfaces.callers import OBSERVER
from rooftree_os.board_options import change_board
from rooftree_os.boards import Boards
from rooftree_os.boot_slots import set_boot_slot
from rooftree_os.config_sync import sync_config
from rooftree_os.data_disk import DataDisksOfMachine, move_data, wipe_data
from rooftree_os.firmware import read_firmware, update_firmware
from rooftree_os.info import os_info
from rooftree_os.models import (
    BoardName,
    BoardOptions,
    BootSlotChoice,
    DataDisks,
    DiskChoice,
    FirmwareInfo,
    OsInfo,
    OsUpdate,
    SwapChange,
    SwapInfo,
)
from rooftree_os.operating_system import OperatingSystem
from rooftree_os.swap import change_swap, read_swap
from rooftree_os.updates import update_os

routes = Routes()
ANY_ROLE = role(Role.DEFAULT)
MANAGER = role(Role.MANAGER)
ADMIN = role(Role.ADMIN)


@routes.get("/os/info", access=ANY_ROLE | OBSERVER)
async def info(system: OperatingSystem, disks: DataDisksOfMachine) -> OsInfo:
    """What is known of the operating system; null for what is not."""
    return await os_info(system, disks)


@routes.post("/os/update", access=MANAGER)
def update(body: OsUpdate) -> JobCall[None]:
    """Install another version, the newest unless one is named; it runs after the next reboot."""
    return update_os(version=body.version)


@routes.post("/os/boot-slot", access=MANAGER)
def boot_slot(body: BootSlotChoice) -> JobCall[None]:
    """Reboot into another slot."""
    return set_boot_slot(boot_slot=body.boot_slot)


@routes.post("/os/config/sync", access=MANAGER)
def config_sync() -> JobCall[None]:
    """Take over the configuration that is on a USB stick."""
    return sync_config()


@routes.route("GET", "/os/config/swap", access=MANAGER, refuses=(NotFound,))
async def swap(system: OperatingSystem) -> SwapInfo:
    """The swap."""
    return await read_swap(system)


@routes.post("/os/config/swap", access=MANAGER, refuses=(NotFound,))
def set_swap(body: SwapChange) -> JobCall[None]:
    """Change the swap; what is absent stays. It takes effect with the next reboot."""
    return change_swap(changes=body)


@routes.get("/os/datadisk/list", access=MANAGER)
async def data_disks(disks: DataDisksOfMachine) -> DataDisks:
    """The disks that the data could be moved to."""
    return await disks.listed()


@routes.post("/os/datadisk/move", access=MANAGER)
def move_data_disk(body: DiskChoice) -> JobCall[None]:
    """Move the data to another disk, which is erased, and reboot."""
    return move_data(device=body.device)


@routes.post("/os/datadisk/wipe", access=ADMIN)
def wipe_data_disk() -> JobCall[None]:
    """Erase all data and settings, and reboot."""
    return wipe_data()


@routes.route("GET", "/os/boards/raspberrypi/firmware", access=MANAGER, refuses=(NotFound,))
async def firmware(system: OperatingSystem) -> FirmwareInfo:
    """The state of a Raspberry Pi's boot firmware."""
    return await read_firmware(system)


@routes.post("/os/boards/raspberrypi/firmware/update", access=MANAGER, refuses=(NotFound,))
def firmware_update() -> JobCall[None]:
    """Update the boot firmware; it is used from the next reboot on."""
    return update_firmware()


@routes.get("/os/boards/{board}", access=MANAGER)
async def board(boards: Boards, board: BoardName) -> BoardOptions:
    """The settings of the board that this host is; which there are, its driver says."""
    return await boards.read(board)


@routes.post("/os/boards/{board}", access=MANAGER)
def set_board(board: BoardName, body: BoardOptions) -> JobCall[None]:
    """Change settings of the board; what is absent stays."""
    return change_board(board=board, changes=body)

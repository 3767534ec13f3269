"""Checkpoints of NetworkManager: what it goes back to by itself when its time is over and nobody has said that it may
stay. They are its own: it goes back also where we are killed meanwhile."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from contextlib import suppress

from rooftree import Conflict
from rooftree.interfaces.bus import BusRefused, SystemBus
from rooftree_network.bus_objects import (
    CHECKPOINT,
    CHECKPOINT_ADJUST,
    CHECKPOINT_CREATE,
    CHECKPOINT_DESTROY,
    CHECKPOINT_ROLLBACK,
    DELETES_NEW_PROFILES,
    MANAGER,
    Checkpoint,
)
from rooftree_network.changed_device import manager_of

ROLLS_BACK_S = 20.0
"""Seconds that NetworkManager may take to go back."""


class CheckpointTaken(Conflict):
    """Somebody else tries something with this device."""


async def checkpoints_of(bus: SystemBus, device: str) -> list[str]:
    """The checkpoints that a device is in."""
    manager = await manager_of(bus)
    holding = []
    for path in manager.checkpoints or ():
        with suppress(BusRefused):  # it has ended meanwhile
            checkpoint = await bus.read(Checkpoint, CHECKPOINT.at(path))
            if device in (checkpoint.devices or ()):
                holding.append(path)
        await bus.unwatch(CHECKPOINT.at(path))
    return holding


async def own_checkpoint(bus: SystemBus, device: str, earlier: Collection[str] = ()) -> str | None:
    """The one that is ours: NetworkManager lets a device be in one only."""
    return next((path for path in await checkpoints_of(bus, device) if path not in earlier), None)


async def refuse_taken(bus: SystemBus, device: str, name: str) -> None:
    """Raise :class:`CheckpointTaken` for a device that somebody else has a checkpoint of."""
    if await checkpoints_of(bus, device):
        raise CheckpointTaken(
            f"Another program is trying out a change to {name} just now, and NetworkManager may go back on it: wait "
            "until that is over"
        )


async def create_checkpoint(bus: SystemBus, devices: Sequence[str], within_s: float, *, adds: bool) -> str:
    """Remember how devices are, and go back to it after so many seconds.

    :param adds: whether profiles that are added until then go, too
    """
    flags = DELETES_NEW_PROFILES if adds else 0
    return str(await bus.call(MANAGER, CHECKPOINT_CREATE, list(devices), math.ceil(within_s), flags))


async def extend(bus: SystemBus, checkpoint: str, within_s: float) -> None:
    """Go back so many seconds from now, and no sooner or later."""
    await bus.call(MANAGER, CHECKPOINT_ADJUST, checkpoint, math.ceil(within_s))


async def destroy(bus: SystemBus, checkpoint: str) -> None:
    """Never go back."""
    await bus.call(MANAGER, CHECKPOINT_DESTROY, checkpoint)


async def roll_back(bus: SystemBus, checkpoint: str) -> None:
    """Go back now; one that has gone back by itself in this moment will do, too."""
    with suppress(BusRefused):
        await bus.call(MANAGER, CHECKPOINT_ROLLBACK, checkpoint, timeout_s=ROLLS_BACK_S)

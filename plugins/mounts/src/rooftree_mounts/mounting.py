"""What mounts and unmounts, as the rest of this domain sees it; there are two ways, by systemd and by mount(8)."""

from __future__ import annotations

from typing import Final, Protocol

from rooftree import Invalid
from rooftree_mounts.orders import MountOrder

UNMOUNT_S: Final = 10.0
"""Seconds that unmounting may take; what is used goes on being used by whoever has it open."""


class ActivationFailed(Invalid):
    """It could not be mounted. ``extra_fields``: ``name``."""

    error_key = "mount_activation_error"


class UnmountFailed(Invalid):
    """It could not be unmounted. ``extra_fields``: ``name``."""

    error_key = "mount_unmount_error"


class Refused(Exception):
    """Whoever mounts says that it can't be done; the message says why."""


class Mounter(Protocol):
    """Mounts things below the data folder. Paths are relative to that. Nothing here is held up by a server for longer
    than it says, and nothing that is mounted is looked at."""

    async def mount(self, order: MountOrder, place: str, description: str) -> None:
        """Mount something on the folder at ``place``, within 90 seconds; raises :class:`Refused`."""
        ...

    async def bind(self, source: str, place: str, description: str) -> None:
        """Show what is mounted at ``source`` at another place too; raises :class:`Refused`."""
        ...

    async def unmount(self, place: str) -> None:
        """Unmount what is there, also while it is used, within :data:`UNMOUNT_S`; raises :class:`Refused`."""
        ...

    async def path_of(self, place: str) -> str:
        """What a place is called where mounting is done; raises :class:`Refused`."""
        ...

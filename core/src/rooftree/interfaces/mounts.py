"""Network storage and local disks that are mounted for add-ons and backups, as other domains use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from attrs import frozen

from rooftree.errors import Invalid, NotFound
from rooftree.events import Event
from rooftree.interfaces.containers import DataPath
from rooftree.services import Service

type MountUse = Literal["backup", "media", "share"]
type MountState = Literal["active", "activating", "deactivating", "failed", "inactive", "maintenance", "reloading"]
"""In systemd's words. Only what is ``active`` can be read and written."""


class MountNotFound(NotFound):
    """There is no mount of that name."""

    error_key = "mount_not_found_error"


class MountDown(Invalid):
    """What is mounted there does not answer, or nothing is. ``extra_fields``: ``mount``."""

    error_key = "backup_mount_down"


@frozen(kw_only=True)
class Mount:
    """One mount, as it was known to be last."""

    name: str
    usage: MountUse
    state: MountState
    path: Path
    """Where we find what is on it. While it is not active there is an empty folder that nobody can write to. Work on it
    in processes that can be left behind, never in the daemon's threads: a server that is gone answers nobody."""
    data_path: DataPath
    """Where containers see it: for ``media`` and ``share`` a folder of its name in those of the data folder (``/media``
    and ``/share`` of an add-on). That folder is the mount's: who copies, empties or replaces the one around it leaves
    it out, and could not delete it."""
    read_only: bool


@frozen(kw_only=True)
class MountUsage:
    """What takes the room on a mount, as a tree; in bytes."""

    id: str
    """``root``, ``other`` for what is in no folder of its own, else the folder's name."""
    label: str
    used_bytes: int
    total_bytes: int | None = None
    """Of the whole; ``None`` below it."""
    children: Sequence[MountUsage] | None = None
    """``None`` as deep as was asked for."""


class Mounts(Protocol):
    """The mounts there are. What is asked here is answered from memory, unless it says otherwise."""

    def mounts(self) -> tuple[Mount, ...]:
        """All of them, by name."""
        ...

    def mount(self, name: str) -> Mount:
        """One of them; raises :class:`MountNotFound`."""
        ...

    def default_backup_mount(self) -> str | None:
        """The one that backups go to unless told otherwise; ``None``: the data folder. It is always one that there is,
        and whose usage is ``backup``."""
        ...

    async def look(self, name: str) -> Mount:
        """One of them that answers now: it is asked, in a process of its own, and given 30 seconds at most. Raises
        :class:`MountNotFound` and :class:`MountDown`."""
        ...

    async def usage(self, name: str, max_depth: int) -> MountUsage:
        """What takes the room on a mount, down to that depth (0: only the sum), measured within a minute.

        :raises MountNotFound: with its ``name``
        :raises Invalid: ``mount_usage_not_active_error``, ``mount_usage_not_mounted_error``,
            ``mount_usage_read_error``, ``mount_usage_timeout_error``
        """
        ...

    def export(self) -> Mapping[str, Any]:
        """All of them as plain data, with their credentials in the clear, for a backup, which only its owner gets to
        see: ``{"default_backup_mount": …, "mounts": [{"name": …, "type": …, …}]}``, as in the existing
        supervisor's ``mounts.json``. Raises ``SecretLocked`` where a password can't be read."""
        ...

    async def restore(self, records: Mapping[str, Any]) -> tuple[str, ...]:
        """Take over what :meth:`export` (or the existing supervisor) has written: mounts in place of those of the same
        name, the others stay; the default backup mount where none is set. They are kept when this returns, and mounted
        afterwards: what can't be is a problem. May be repeated.

        Returns a sentence for each that is no mount, and was left out.
        """
        ...


MOUNTS = Service[Mounts]("mounts/1")


@frozen
class MountsChanged(Event):
    """Mounts came, went, or are in another state than before; or another one is the default for backups."""

    names: tuple[str, ...]
    """Of those that changed."""

"""The shapes of the mounts' answers, as the contract has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class Mount:
    """What every mount has; a kind of mount has more."""

    name: str
    type: Literal["cifs", "nfs", "disk"]
    usage: Literal["backup", "media", "share"]
    read_only: bool
    state: str | None
    """As systemd has it: ``active``, ``failed`` …; ``None`` where there is no unit for it."""
    user_path: str | None
    """Where add-ons see it; ``None`` for backups."""


@frozen(kw_only=True)
class MountsInfo:
    """The mounts, and where backups go."""

    mounts: Sequence[Mount] = ()
    default_backup_mount: str | None = None
    """``None``: to the data folder."""

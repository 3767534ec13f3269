"""Probation: an update has to prove itself before what it replaced is given up.

Until then the image of the old version and a copy of its data are kept, and this document says where. It ends when the
new version has run well for a while, or the old one is put back.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePosixPath
from typing import Self
from uuid import uuid4

from attrs import frozen

from rooftree import Event, Invalid, document
from rooftree_addons.container import config_folder, data_folder
from rooftree_addons.installed import InstalledVersion
from rooftree_addons.snapshot import KEPT_FOLDER, KeptFolder
from rooftree_store import AddonSlug

ROLLED_BACK = "update_rolled_back"
"""The type of the problem that says that an update failed, and that the version before it is back."""
BY_HAND = "it was asked for"
"""The reason of a roll-back for which the version is not to blame."""


class NothingToRollBack(Invalid):
    """The add-on's version has proved itself, or was never updated."""

    error_key = "app_no_roll_back_available_error"


@frozen
class AddonRolledBack(Event):
    """An add-on's update failed after it had seemed to work, and the version before it is back with its data."""

    slug: AddonSlug
    version: str
    """The one that failed."""
    back_to: str
    reason: str
    set_aside: str
    """Where the data lies that the failed version left, relative to the data folder."""


@frozen(kw_only=True)
class Keepsake:
    """Where that is kept which an update replaces: names that no other update has."""

    image: str
    """The further name of the old image."""
    folder: str
    """Relative to the data folder; it holds the copies."""
    folders: tuple[KeptFolder, ...]

    @classmethod
    def for_update(cls, slug: AddonSlug) -> Self:
        """Names for one update."""
        own = uuid4().hex
        folder = f"{KEPT_FOLDER}/{slug}/{own}"
        lives = {"data": data_folder(slug), "config": config_folder(slug)}
        return cls(
            image=f"rooftree-kept:{own}",
            folder=folder,
            folders=tuple(KeptFolder(live, f"{folder}/{name}") for name, live in lives.items()),
        )

    @property
    def set_aside(self) -> str:
        """Where what the new version left goes when the old one is put back."""
        place = PurePosixPath(self.folder)
        return str(place.with_name(f"failed-{place.name}"))

    def aside(self, folder: KeptFolder) -> str:
        """The same for one folder."""
        return f"{self.set_aside}/{PurePosixPath(folder.copy).name}"


@document("addons.probation", version=1)
@frozen(kw_only=True)
class Probation:
    """An add-on whose version has not proved itself yet."""

    version: str
    """The new one."""
    was: InstalledVersion
    """The old one."""
    kept: Keepsake
    profile: str | None
    """The old version's AppArmor profile."""
    began: datetime

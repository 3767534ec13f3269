"""What an update keeps for the way back, and where: names that no other update has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Final, Self
from uuid import uuid4

from attrs import frozen

from rooftree.interfaces.containers import DataPath
from rooftree_containers.snapshot import KeptFolder

FAILED: Final = "failed-"
"""What the names of folders begin with that have what a failed version left."""


@frozen(kw_only=True)
class UpdateBackup:
    """Where that is kept which an update replaces."""

    image: str
    """The further name of the old image."""
    folder: str
    """Relative to the data folder; it holds the copies."""
    folders: tuple[KeptFolder, ...]

    @classmethod
    def for_update(cls, place: str, live: Mapping[str, DataPath], stays: Collection[str] = ()) -> Self:
        """Names for one update.

        :param place: the folder for all copies of that container, relative to the data folder
        :param live: what is kept, by the name of its copy
        :param stays: the names of what is in none of the copies, and is not put back either
        """
        own = uuid4().hex
        folder = f"{place}/{own}"
        return cls(
            image=f"rooftree-kept:{own}",
            folder=folder,
            folders=tuple(KeptFolder(path.path, f"{folder}/{name}", tuple(stays)) for name, path in live.items()),
        )

    @property
    def set_aside(self) -> str:
        """Where what the new version left goes when the old one is put back."""
        place = PurePosixPath(self.folder)
        return str(place.with_name(f"{FAILED}{place.name}"))

    def aside(self, folder: KeptFolder) -> str:
        """The same for one folder."""
        return f"{self.set_aside}/{PurePosixPath(folder.copy).name}"

"""What may be shown to an add-on of the data folder: only what nobody but us can replace.

The engine is told paths, and looks them up when a container starts, long after we have. So a look before helps nothing
where an add-on can put a link in the place of a folder; what helps is that it can't: **a source is given to the engine
only if none of the folders above it is writable for an add-on.** Then what lies at the path is what we (or root) put
there. Mount points can't be renamed or replaced from within a container, so that the source itself may be writable.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

from rooftree import Invalid
from rooftree.interfaces.containers import DataPath, Mount

WRITABLE: Final = frozenset({"apps/local", "backup", "homeassistant", "media", "share", "ssl"})
"""The folders that add-ons share, and may be shown writable."""
OWN: Final = frozenset({"app_configs", "apps/data"})
"""Where each add-on has a folder of its own. These two are shown to nobody for writing."""


class SourceMovable(Invalid):
    """An add-on could put something else in the place of what is to be mounted. ``extra_fields``: ``path``."""

    error_key = "app_mount_source_error"


def is_writable(folder: str) -> bool:
    """Whether some add-on may be shown this folder (relative to the data folder) for writing."""
    return folder in WRITABLE or str(PurePosixPath(folder).parent) in OWN


def is_fixed(source: str) -> bool:
    """Whether no add-on can change what lies at a path relative to the data folder."""
    return not any(is_writable(str(parent)) for parent in PurePosixPath(source).parents)


def refuse_movable(mounts: Iterable[Mount]) -> None:
    """Raise :class:`SourceMovable` for what is not to be given to the engine, whoever wants it mounted."""
    for mount in mounts:
        if isinstance(mount.source, DataPath):
            path = str(PurePosixPath(mount.source.path))
            if not is_fixed(path):
                raise SourceMovable(
                    f"{path} cannot be shown at {mount.target}: it lies in a folder in which add-ons may write, so "
                    "that they could put something else in its place",
                    path=path,
                )
            if path in OWN and not mount.read_only:
                raise SourceMovable(
                    f"{path} cannot be shown at {mount.target} for writing: an add-on could put something else in "
                    "the place of the folders that others are shown",
                    path=path,
                )

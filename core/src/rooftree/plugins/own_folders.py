"""Folders of plugins' own, ``plugins/<name>`` in the data folder: for files that no document can be.

Nobody but the daemon's user can look into them, no container is shown them, and they are not in the layout that clients
know. They stay when a plugin is uninstalled, and go when it is purged. Everything here blocks.
"""

from __future__ import annotations

import errno
import shutil
import stat
from pathlib import Path
from typing import Final

from rooftree.errors import Unavailable
from rooftree.plugins.held_places import release_held

FOLDER: Final = "plugins"
"""Below the data folder."""


def own_folder(data: Path, plugin: str) -> Path:
    """Where a plugin's folder is, or would be."""
    return data / FOLDER / plugin


def made_folder(data: Path, plugin: str) -> Path:
    """A plugin's folder, made where it is not there; raises :class:`Unavailable` where the disk refuses that."""
    folder = own_folder(data, plugin)
    try:
        for place in (folder.parent, folder):
            place.mkdir(mode=0o700, exist_ok=True)
            status = place.lstat()
            if not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "it is a link or a file", str(place))
            if status.st_mode & 0o077:
                place.chmod(0o700)
    except OSError as error:
        raise Unavailable(f"The folder {folder} of plugin {plugin} can't be used: {error.strerror or error}") from error
    return folder


def has_folder(data: Path, plugin: str) -> bool:
    """Whether a plugin has a folder."""
    return own_folder(data, plugin).is_dir(follow_symlinks=False)


def remove_folder(data: Path, plugin: str) -> None:
    """Remove a plugin's folder with all that is in it, and let go what it holds besides; raises :class:`Unavailable`
    for what can't be."""
    folder = own_folder(data, plugin)
    try:
        release_held(data, folder)
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Unavailable(f"The folder of plugin {plugin} can't be removed: {error}") from error

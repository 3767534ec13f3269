"""An add-on's folders on the disk: made, looked at and written into without going where a link in the way leads.

What an add-on can write it can also replace: what is in its own folders at any time, and what is in the folders that it
shares with others. So nothing here goes by paths, and a link, pipe or file that is found where a folder has to be is
refused by name, before anything is stopped or started for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from rooftree import Invalid
from rooftree.state import close_to_others
from rooftree_addons.container import CONFIG_FOLDERS, MAPPED_FOLDERS, OPTIONS_FILE, data_folder
from rooftree_containers.cid_file import CID_FOLDER
from rooftree_files import Folder, PathRefused
from rooftree_store import AddonSlug

log = structlog.get_logger(__name__)

KEPT_FOLDER: Final = "apps/kept"
"""Where updates keep copies of data, below the data folder: next to ``apps/data``, and in no container."""
MOST_OPTIONS_BYTES: Final = 16 * 1024 * 1024
"""More are not read back; the body of a request that sets them could not be longer."""
MOST_CONFIG_FOLDERS: Final = 2_000
"""As many folders are shown writable to an add-on that may write the configurations of all: each is a mount."""


class FolderRefused(Invalid):
    """Something else lies where an add-on's folder has to be. ``extra_fields``: ``path``, below the data folder."""

    error_key = "app_folder_refused_error"


def make_folders(data: Path, folders: Iterable[str]) -> None:
    """Make folders below the data folder, where they are missing. Blocks; raises :class:`FolderRefused`."""
    with Folder.open(data) as root:
        for folder in folders:
            try:
                root.make(folder).close()
            except PathRefused as error:
                raise _refused(folder, error) from None


def refuse_what_is_no_folder(data: Path, folders: Iterable[str]) -> None:
    """Raise :class:`FolderRefused` where something else than a folder, or than nothing, lies at one of the paths below
    the data folder. Changes nothing. Blocks."""
    with Folder.open(data) as root:
        for folder in folders:
            try:
                root.folder(folder).close()
            except FileNotFoundError:
                continue
            except NotADirectoryError as error:
                raise FolderRefused(f"{folder} cannot be an add-on's folder: {error}", path=folder) from None
            except PathRefused as error:
                raise _refused(folder, error) from None


def _refused(folder: str, error: PathRefused) -> FolderRefused:
    return FolderRefused(
        f"{error.message}, and an add-on's folder has to be there, which could lead anywhere otherwise. Put the folder "
        "itself there; one of another disk can be mounted there (mount --bind)",
        path=folder,
    )


def has_folder(data: Path, folder: str) -> bool:
    """Whether anything lies there below the data folder, a link too. Blocks."""
    with Folder.open(data) as root:
        return root.status(folder) is not None


def write_options(data: Path, slug: AddonSlug, options: bytes) -> None:
    """Write the options as the add-on will read them, in place of whatever has that name. Blocks."""
    with Folder.open(data) as root, root.folder(data_folder(slug)) as own:
        own.write(OPTIONS_FILE, options, 0o600)


def keep_options(data: Path, slug: AddonSlug, container: str) -> None:
    """Keep the options that a container was given, beside its id. What an add-on has put in the place of the file is
    not its options, and is not kept. Blocks."""
    with Folder.open(data) as root, root.make(CID_FOLDER, 0o700) as kept:
        try:
            content = root.read(f"{data_folder(slug)}/{OPTIONS_FILE}", MOST_OPTIONS_BYTES)
        except (PathRefused, FileNotFoundError, NotADirectoryError):
            kept.remove(_kept_options(container))
        else:
            kept.write(_kept_options(container), content, 0o600)


def put_back_options(data: Path, slug: AddonSlug, container: str) -> None:
    """Write the options again that were kept; nothing to do where none were. Blocks."""
    with suppress(FileNotFoundError), Folder.open(data) as root, root.make(CID_FOLDER, 0o700) as kept:
        write_options(data, slug, kept.read(_kept_options(container), MOST_OPTIONS_BYTES))
        kept.remove(_kept_options(container))


def drop_kept_options(data: Path, container: str) -> None:
    """Delete what was kept of them. Blocks."""
    with Folder.open(data) as root, root.make(CID_FOLDER, 0o700) as kept:
        kept.remove(_kept_options(container))


def _kept_options(container: str) -> str:
    return f"{container}.options.json"


def config_folders(data: Path) -> tuple[str, ...]:
    """The names of the folders in which add-ons keep what their users configure, those of add-ons that are gone too.

    Links are none, and what has no plain name is not shown to anybody for writing. Blocks.
    """
    with Folder.open(data) as root, root.make(CONFIG_FOLDERS) as folder:
        names = [name for name in sorted(folder.names()) if name.isprintable() and folder.is_folder(name)]
    if len(names) > MOST_CONFIG_FOLDERS:
        log.warning("too_many_config_folders", writable=MOST_CONFIG_FOLDERS, read_only=len(names) - MOST_CONFIG_FOLDERS)
    return tuple(names[:MOST_CONFIG_FOLDERS])


def make_shared_folders(data: Path) -> None:
    """Make the folders that add-ons may be shown, where somebody took them away. Blocks."""
    for folder in MAPPED_FOLDERS:  # root may have put some of them elsewhere; no add-on can
        (data / folder).mkdir(parents=True, exist_ok=True)  # ours: no add-on can change their parents


def prepare(data: Path) -> None:
    """Make the folders that add-ons may be shown, and keep the host's other users out of what is add-ons' and ours.

    What is in them is the add-ons' and keeps its modes. ``share``, ``media``, ``ssl``, ``backup``, ``homeassistant``
    and ``app_configs`` keep theirs too: whether others of the host get there is decided by the data folder's own group,
    or by who mounts one of them elsewhere. Blocks.
    """
    make_shared_folders(data)
    close_to_others(data / "apps", 0o7750)
    for folder in ("apps/data", KEPT_FOLDER, "apps/removed", CID_FOLDER, "apparmor"):
        close_to_others(data / folder, 0o7700)

"""How much is in a folder, in words for people; not what is on other disks and shares that are mounted in it, which
need not answer."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rooftree_files.folder import Folder, FolderMissing
from rooftree_files.mountpoints import mountpoints_below
from rooftree_files.refusals import PathRefused, TreeChanged, TreeTooLarge
from rooftree_files.walk import TreeLimits, size_of

MOST_ENTRIES: Final = 200_000
"""That are looked at: nobody waits for more."""
MIB: Final = 1024 * 1024


def size_in_words(root: Path, path: str) -> str:
    """How much is in a folder now. Blocks.

    :param path: relative to ``root``
    """
    try:
        mounted = {str(place) for place in mountpoints_below(root / path)}
        with Folder.open(root) as top, top.folder(path) as folder:
            return f"{size_of(folder, TreeLimits(entries=MOST_ENTRIES), skip=mounted) / MIB:,.1f} MiB"
    except (FileNotFoundError, FolderMissing, PathRefused):
        return "nothing"
    except TreeTooLarge:
        return f"more than {MOST_ENTRIES:,} files"
    except (TreeChanged, OSError):
        return "what could not be measured"

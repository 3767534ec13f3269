"""The only way into folders in which strangers can write: what add-ons keep, what repositories bring.

A path is no promise: between a look and the next call an add-on can put a link, a pipe or a device in its place. So
everything here begins with a folder that is open, goes from descriptor to descriptor without following what it was not
told to, looks at what it has opened rather than at its name, and reads with a limit. ``make lint`` sees to it that no
other way is left (``scripts/foreign-paths``).

Everything blocks: call it in a thread.
"""

from rooftree_files.copying import BlocksNotShared, CopyStopped, copy_tree, shares_blocks
from rooftree_files.folder import Content, Folder, FolderMissing
from rooftree_files.listing import Listing, listings
from rooftree_files.measuring import size_in_words
from rooftree_files.mountpoints import mountpoints_below
from rooftree_files.refusals import FileTooLarge, PathRefused, TreeChanged, TreeTooLarge, printable
from rooftree_files.removal import RemovalIncomplete, RemovalStopped, remove_tree
from rooftree_files.walk import Entry, TreeLimits, size_of, walk

__all__ = [
    "BlocksNotShared",
    "Content",
    "CopyStopped",
    "Entry",
    "FileTooLarge",
    "Folder",
    "FolderMissing",
    "Listing",
    "PathRefused",
    "RemovalIncomplete",
    "RemovalStopped",
    "TreeChanged",
    "TreeLimits",
    "TreeTooLarge",
    "copy_tree",
    "listings",
    "mountpoints_below",
    "printable",
    "remove_tree",
    "shares_blocks",
    "size_in_words",
    "size_of",
    "walk",
]

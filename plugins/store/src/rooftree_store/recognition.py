"""Whether a file that is called as an add-on's configuration is meant as one.

Repositories also hold a program's own defaults, fixtures of tests and the like under that name. Nobody is helped by
being told that such a file is a bad add-on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rooftree_store.addon_config import REQUIRED
from rooftree_store.yaml_files import is_lfs_pointer

NOT_MEANT = (
    f"has no slug, and most of what an add-on has ({', '.join(REQUIRED)}) is not there: it is taken for the file of "
    "something else, and left alone"
)


def is_meant(content: Mapping[Any, Any]) -> bool:
    """Whether a mapping is meant as an add-on: it has a slug, or most of the other keys that have to be there."""
    return "slug" in content or 2 * sum(key in content for key in REQUIRED) > len(REQUIRED)


def may_be_meant(data: bytes) -> bool:
    """The same of a file that cannot be read as a mapping; what git LFS has in its place may be anything."""
    return b"slug" in data.replace(b"\0", b"") or is_lfs_pointer(data)

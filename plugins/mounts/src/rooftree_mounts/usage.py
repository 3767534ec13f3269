"""What takes the room on a mount, as du(1) counts it."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Mapping

from rooftree import Invalid
from rooftree.interfaces.mounts import MountUsage

type _Sizes = Mapping[str, int]
"""Bytes by path, relative to the mount; ``""`` is all of it."""


class UsageInactive(Invalid):
    """What is not mounted takes no room. ``extra_fields``: ``name``."""

    error_key = "mount_usage_not_active_error"


class UsageUnmounted(Invalid):
    """It is no longer mounted. ``extra_fields``: ``name``."""

    error_key = "mount_usage_not_mounted_error"


class UsageUnreadable(Invalid):
    """It could not be measured. ``extra_fields``: ``name``, ``reason``."""

    error_key = "mount_usage_read_error"


class UsageTimeout(Invalid):
    """It takes too long to measure. ``extra_fields``: ``name``."""

    error_key = "mount_usage_timeout_error"


def sizes(printed: bytes, top: str) -> dict[str, int]:
    """What ``du --null`` printed of a folder; a last line that was cut off is left out."""
    lines = printed.split(b"\0")[:-1]
    read = {}
    for size, _, path in (line.partition(b"\t") for line in lines):
        if size.isdigit():
            read[path.decode(errors="replace").removeprefix(top).lstrip("/")] = int(size)
    return read


def tree(read: _Sizes, total_bytes: int, used_bytes: int, max_depth: int) -> MountUsage:
    """The answer; what is in none of the folders is its ``other``."""
    below: defaultdict[str, list[str]] = defaultdict(list)
    for path in read:
        if path:
            below[posixpath.dirname(path)].append(path)
    if max_depth < 1:
        return MountUsage(id="root", label="Root", used_bytes=used_bytes, total_bytes=total_bytes)
    children = [_part(path, read, below, max_depth - 1) for path in below[""]]
    children.sort(key=lambda child: (-child.used_bytes, child.id))
    rest = max(0, used_bytes - sum(child.used_bytes for child in children))
    other = MountUsage(id="other", label="Other", used_bytes=rest)
    return MountUsage(
        id="root", label="Root", used_bytes=used_bytes, total_bytes=total_bytes, children=[*children, other]
    )


def _part(path: str, read: _Sizes, below: Mapping[str, list[str]], depth: int) -> MountUsage:
    name = posixpath.basename(path)
    if depth < 1:
        return MountUsage(id=name, label=name, used_bytes=read[path])
    children = [_part(child, read, below, depth - 1) for child in below.get(path, [])]
    children.sort(key=lambda child: (-child.used_bytes, child.id))
    return MountUsage(id=name, label=name, used_bytes=read[path], children=children)

"""The file itself: which members there are in it and where, found by going from header to header."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from rooftree_archives.byte_streams import FileBytes, members
from rooftree_archives.faults import Damaged
from rooftree_archives.tar_headers import FILE, FOLDER

MOST_MEMBERS: Final = 10_000
MOST_METADATA: Final = 2 * 1024 * 1024
METADATA: Final = ("backup.json", "snapshot.json")


@frozen
class InnerArchive:
    """A member of the file: an inner archive, as a rule.

    :ivar offset: of its first byte in the file
    :ivar size: in bytes, as it is stored
    :ivar is_regular: no link, and what else a header can say
    :ivar is_twice: there are more of that name, so that nobody can tell which is meant
    """

    name: str
    offset: int
    size: int
    is_regular: bool = True
    is_twice: bool = False


@frozen
class OuterArchive:
    """What is in the file.

    :ivar inner: by name, less ``./`` and the suffix
    """

    metadata: bytes
    inner: Mapping[str, InnerArchive]


def read_outer(descriptor: int) -> OuterArchive:
    """Look through an open file. Raises :class:`Damaged`."""
    size = os.fstat(descriptor).st_size
    source = FileBytes(descriptor, size)
    inner: dict[str, InnerArchive] = {}
    metadata: list[bytes] = []
    count = 0
    try:
        for member in members(source):
            count += 1
            if count > MOST_MEMBERS:
                raise Damaged(f"it has more than {MOST_MEMBERS} members")
            name = _plain_name(member.name)
            if member.kind == FOLDER and not name:
                continue
            if name in METADATA and member.kind == FILE:
                if member.size > MOST_METADATA:
                    raise Damaged(f"{name} is larger than {MOST_METADATA} bytes")
                metadata.append(source.take(member.size))
                continue
            key = name.removesuffix(".gz").removesuffix(".tar")
            inner[key] = InnerArchive(name, source.position, member.size, member.kind == FILE, key in inner)
            if source.position + member.size > size:
                raise Damaged("it ends in the middle")
    except Damaged as error:
        raise Damaged(
            f"It is no backup, or a damaged one: {error}" if count else "It is no backup, or cut off"
        ) from None
    if len(metadata) != 1:
        raise Damaged("It has no backup.json" if not metadata else "It has more than one backup.json")
    return OuterArchive(metadata[0], inner)


def _plain_name(name: str) -> str:
    """A name in the file: of one part, with or without ``./`` before it. Raises :class:`Damaged`."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if name.startswith("/") or len(parts) > 1 or ".." in parts:
        raise Damaged(f"{name!a} is no name for a member")
    return parts[0] if parts else ""

"""Where the members of an inner archive belong: documents, the image, trees. Names that lead elsewhere are refused."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from rooftree_archives.faults import Damaged
from rooftree_archives.tar_headers import FILE, FOLDER, Member

DOCUMENTS: Final = "documents"
TREES: Final = "trees"
IMAGE: Final = "image.tar"
ROOT: Final = "root"
"""What the tree without a name is called."""
LARGEST_DOCUMENT: Final = 4 * 1024 * 1024
_MOST_DOCUMENTS: Final = 1_000
_LONGEST_NAME: Final = 64 * 1024
_DEEPEST: Final = 1_000

type Parts = tuple[str, ...]


@frozen
class Place:
    """Where a member belongs.

    :ivar tree: the tree's name, ``None`` for a document or the image
    :ivar parts: of the path in the tree, none for the tree itself; of a document, its name
    """

    tree: str | None
    parts: Parts

    @property
    def is_image(self) -> bool:
        """Whether it is the image."""
        return self.tree is None and self.parts == (IMAGE,)


class Places:
    """The places of one inner archive's members, which come one after another."""

    def __init__(self, kind: str) -> None:
        """:param kind: whose part it is, as ``PartKind`` says"""
        self._kind = kind
        self._whole: str | None = ROOT if kind == "folder" else None
        """The tree that everything is in."""
        self._begun = False
        self._documents = 0

    def of(self, member: Member) -> Place | None:
        """Where it belongs; ``None`` for the entry of the archive's own top. Raises :class:`Damaged`."""
        parts = plain_parts(member.name)
        if parts and not self._begun:
            self._begun = True
            if self._kind == "homeassistant" and parts[0] not in {"homeassistant.json", "data"}:
                self._whole = "data"  # as it was once: the configuration itself, and nothing beside it
        if self._whole is not None:
            return Place(self._whole, parts)
        if not parts:
            return None
        if len(parts) > 1 or member.kind == FOLDER:
            return Place(parts[0], parts[1:])
        if member.kind != FILE or member.sparse_size is not None:
            raise Damaged(f"{member.name!a} has to be a file")
        self._documents += 1
        if self._documents > _MOST_DOCUMENTS:
            raise Damaged(f"it has more than {_MOST_DOCUMENTS} files beside its folders")
        if parts[0] != IMAGE and member.size > LARGEST_DOCUMENT:
            raise Damaged(f"{member.name!a} is larger than {LARGEST_DOCUMENT} bytes")
        return Place(None, parts)

    def target(self, member: Member) -> Place:
        """What a hard link is another name of."""
        parts = plain_parts(member.target)
        place = Place(self._whole, parts) if self._whole is not None else Place(parts[0], parts[1:]) if parts else None
        if place is None or not place.parts:
            raise Damaged(f"{member.name!a} is a link to {member.target!a}, which is no file of a tree")
        return place


def plain_parts(name: str) -> Parts:
    """The parts of a name; raises :class:`Damaged` for one that leads out."""
    if len(name) > _LONGEST_NAME:
        raise Damaged(f"{name[:100]!a}… is longer than a name may be")
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if name.startswith("/") or ".." in parts:
        raise Damaged(f"{name!a} leads out of its folder")
    if len(parts) > _DEEPEST:
        raise Damaged(f"{name[:100]!a}… is deeper than {_DEEPEST} folders")
    return parts

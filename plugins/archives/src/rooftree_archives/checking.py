"""Archives held against the rules that unpacking them would enforce, with nothing written."""

from __future__ import annotations

from typing import Final

from rooftree_archives.faults import Damaged
from rooftree_archives.places import Parts, Place
from rooftree_archives.tar_headers import Member
from rooftree_archives.unpacking import Content

_MOST_NAMES: Final = 250_000
"""So many names of files are kept in mind, to know what hard links mean and what comes twice; not those beyond."""
_FOLDER: Final = 1
_OTHER: Final = 2


class Checking:
    """A :class:`~rooftree_archives.unpacking.Receiver` that reads everything and keeps nothing.

    Of a name it keeps the hash, or a million files would not fit into the worker.
    """

    def __init__(self) -> None:
        self._kinds: dict[int, int] = {}
        self._files = 0
        self._above: Parts = ()

    def document(self, name: str, content: Content) -> None:
        """Take a document."""
        content.read()

    def image(self, content: Content) -> None:
        """Take the image."""
        _read(content)

    def folder(self, tree: str, parts: Parts, member: Member) -> None:
        """Take a folder."""
        self._enter((tree, *parts))

    def file(self, tree: str, parts: Parts, member: Member, content: Content) -> None:
        """Take a file."""
        self._note(tree, parts)
        _read(content)

    def link(self, tree: str, parts: Parts, member: Member) -> None:
        """Take a symbolic link."""
        if not member.target:
            raise Damaged(f"{member.name!a} is a link to nothing")
        self._note(tree, parts)

    def hard_link(self, tree: str, parts: Parts, target: Place) -> None:
        """Take another name of a file."""
        kind = self._kinds.get(hash((target.tree, *target.parts)))
        if kind == _FOLDER or (kind is None and self._files <= _MOST_NAMES):
            raise Damaged(f"a link to {'/'.join(target.parts)!a}, which is not in the archive")
        self._note(tree, parts)

    def pipe(self, tree: str, parts: Parts, member: Member) -> None:
        """Take a named pipe."""
        self._note(tree, parts)

    def _note(self, tree: str, parts: Parts) -> None:
        self._enter((tree, *parts[:-1]))
        self._files += 1
        key = hash((tree, *parts))
        if self._kinds.get(key) == _FOLDER:
            raise Damaged(f"{'/'.join(parts)!a} is a folder, and then none")
        if self._files <= _MOST_NAMES:
            self._kinds[key] = _OTHER

    def _enter(self, parts: Parts) -> None:
        if parts == self._above:
            return
        for length in range(1, len(parts) + 1):
            if self._kinds.setdefault(hash(parts[:length]), _FOLDER) == _OTHER:
                raise Damaged(f"{'/'.join(parts)!a} leads through {parts[length - 1]!a}, which is no folder")
        self._above = parts


class Documents(Checking):
    """Keeps the documents."""

    def __init__(self) -> None:
        super().__init__()
        self.documents: dict[str, bytes] = {}

    def document(self, name: str, content: Content) -> None:
        """Take a document."""
        self.documents[name] = content.read()


def _read(content: Content) -> None:
    for extent in content.extents:
        content.pour(extent.length, len)

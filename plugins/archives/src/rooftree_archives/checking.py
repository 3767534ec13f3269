"""Archives held against the rules that unpacking them would enforce, with nothing written."""

from __future__ import annotations

from rooftree_archives.faults import Damaged
from rooftree_archives.known_names import FOLDER, NOTHING, OTHER, KnownNames
from rooftree_archives.places import Parts, Place
from rooftree_archives.tar_headers import Member
from rooftree_archives.unpacking import Content


class Checking:
    """A :class:`~rooftree_archives.unpacking.Receiver` that reads everything and keeps nothing but names, to know what
    hard links mean and what comes twice."""

    def __init__(self) -> None:
        self._names = KnownNames()
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
        kind = self._names.kind((target.tree, *target.parts))
        if kind == FOLDER or (kind == NOTHING and not self._names.is_full):
            raise Damaged(f"a link to {'/'.join(target.parts)!a}, which is not in the archive")
        self._note(tree, parts)

    def pipe(self, tree: str, parts: Parts, member: Member) -> None:
        """Take a named pipe."""
        self._note(tree, parts)

    def _note(self, tree: str, parts: Parts) -> None:
        self._enter((tree, *parts[:-1]))
        if self._names.kind((tree, *parts)) == FOLDER:
            raise Damaged(f"{'/'.join(parts)!a} is a folder, and then none")
        self._names.note((tree, *parts), OTHER)

    def _enter(self, parts: Parts) -> None:
        if parts == self._above:
            return
        for length in range(1, len(parts) + 1):
            if self._names.kind(parts[:length]) == OTHER:
                raise Damaged(f"{'/'.join(parts)!a} leads through {parts[length - 1]!a}, which is no folder")
            self._names.note(parts[:length], FOLDER)
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

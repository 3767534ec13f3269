"""An archive that is open for reading, in the worker."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rooftree_archives.checking import Checking, Documents
from rooftree_archives.faults import Damaged
from rooftree_archives.inner_archives import PartStream, open_part
from rooftree_archives.metadata import Head, read_metadata
from rooftree_archives.outer_archive import OuterArchive, read_outer
from rooftree_archives.staging import Staging
from rooftree_archives.unpacking import Receiver, Unpacked, UnpackLimits, unpack
from rooftree_files import Folder, FolderMissing, PathRefused

if TYPE_CHECKING:
    from rooftree_archives.sealing import Keys

type Part = Mapping[str, str]
"""``key``, the name of its inner archive less the suffix, and ``kind``, as ``PartKind`` says."""


class ArchiveFile:
    """An open file with what it says of itself. Raises :class:`Damaged`, and ``FileNotFoundError``."""

    def __init__(self, path: Path) -> None:
        try:
            with Folder.open(path.parent) as folder:
                self.descriptor = folder.open_file(path.name)
        except FolderMissing as error:
            raise FileNotFoundError(error.message) from None
        except PathRefused as error:
            raise Damaged(f"It is no backup: {error.message}") from None
        try:
            self.outer: OuterArchive = read_outer(self.descriptor)
            self.head: Head = read_metadata(self.outer.metadata)
        except BaseException:
            os.close(self.descriptor)
            raise

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)

    def facts(self) -> Mapping[str, Any]:
        """What is told of it: ``head``, and the bytes of its inner archives by key."""
        stored = {key: inner.size for key, inner in self.outer.inner.items()}
        return {"head": self.head, "stored": stored, "size": os.fstat(self.descriptor).st_size}


class Reading:
    """What can be asked of an open archive. What is damaged is told with the part named."""

    def __init__(self, file: ArchiveFile, password: str | None) -> None:
        self._file = file
        self._keys: Keys | None = None
        if password is not None:
            from rooftree_archives.sealing import Keys  # noqa: PLC0415  # not for archives that are not encrypted

            self._keys = Keys(password)

    def check_password(self, part: Part) -> None:
        """See whether the password opens a part, by what it begins with. Raises ``PasswordRefused``; damage is
        told when the part is read."""
        try:
            with self._open(part):
                pass
        except Damaged:
            pass

    def documents(self, part: Part) -> Mapping[str, bytes]:
        """The small files of a part; those that come first, as they do where the existing supervisor or we wrote it."""
        receiver = Documents()
        with self._open(part) as stream:
            for result in self._members(stream, part, receiver, UnpackLimits()):
                if result.trees and receiver.documents:
                    break
        return receiver.documents

    def unpack(self, part: Part, into: Path, limits: UnpackLimits, progress: Callable[[int], None]) -> Unpacked:
        """Put a part into a folder. Raises :class:`Damaged`, with ``into`` as far as it was filled."""
        with Staging(into) as staging:
            with self._open(part, progress) as stream:
                result = Unpacked()
                for result in self._members(stream, part, staging, limits):  # noqa: B007  # the last one is meant
                    pass
                stream.finish()
            staging.finish()
        return result

    def check(self, part: Part, limits: UnpackLimits, progress: Callable[[int], None]) -> tuple[Unpacked, bool]:
        """Read a part and write nothing. Returns also whether an altered bit would have been noticed."""
        with self._open(part, progress) as stream:
            result = Unpacked()
            for result in self._members(stream, part, Checking(), limits):  # noqa: B007  # the last one is meant
                pass
            stream.finish()
        return result, stream.is_authenticated

    def _members(self, stream: PartStream, part: Part, receiver: Receiver, limits: UnpackLimits) -> Iterator[Unpacked]:
        stored = self._file.outer.inner[part["key"]].size
        return unpack(stream.tar, part["kind"], receiver, limits, stored)

    def _digest(self, part: Part) -> str | None:
        digest: str | None = self._file.head["digests"].get(part["key"])
        return digest

    @contextmanager
    def _open(self, part: Part, progress: Callable[[int], None] = lambda _: None) -> Iterator[PartStream]:
        key = part["key"]
        inner = self._file.outer.inner.get(key)
        try:
            if inner is None:
                raise Damaged("it is missing")
            with open_part(
                self._file.descriptor, inner, self._keys,
                protected=self._file.head["protected"], expected=self._digest(part), progress=progress,
            ) as stream:  # fmt: skip
                yield stream
        except Damaged as error:
            raise Damaged(f"{key} can't be restored: {error}") from None

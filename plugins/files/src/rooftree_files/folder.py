"""A folder that is open, and what can be done beneath it.

Every name is looked up from the descriptor of the folder that it stands in, never from the root again, and first opened
without any effect (``O_PATH``, open(2)): only what turns out to be a regular file or a folder is opened for real. To
open a device has effects of its own, and to open a pipe may wait for ever.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from attrs import frozen

from rooftree.errors import NotFound
from rooftree_files.refusals import FileTooLarge, PathRefused, TreeTooLarge, printable
from rooftree_files.removal import remove_tree

_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_LINKS: Final = 40
"""As many links as are followed for one path, as the kernel has it (path_resolution(7))."""
MOST_NAMES: Final = 100_000
_LONGEST_PATH: Final = 4096


class FolderMissing(NotFound):
    """There is no such folder."""


@frozen
class Content:
    """What was read of a file."""

    data: bytes
    status: os.stat_result
    """As it was before the first byte was read."""


class Folder:
    """An open folder. Close it, or use it as a context.

    Relative paths have no empty and no dotted parts; one that has (or a NUL) is refused. What is not there is
    ``FileNotFoundError``; what is in the way is :class:`PathRefused`; other ``OSError`` are the disk's.

    :ivar name: what the folder is called in errors
    :ivar hidden: names that no path beneath leads through
    """

    def __init__(self, descriptor: int, name: str, hidden: frozenset[str] = frozenset()) -> None:
        self._descriptor: int | None = descriptor
        self.name = name
        self.hidden = hidden

    @classmethod
    def open(cls, path: Path | str, *, hidden: frozenset[str] = frozenset()) -> Self:
        """Open a folder by a path that no stranger can change: its parents are ours. Raises :class:`FolderMissing`.

        :param hidden: names that no path beneath leads through, whoever made the link: ``.git``
        """
        try:
            return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), str(path), hidden)
        except (FileNotFoundError, NotADirectoryError):
            raise FolderMissing(f"There is no folder {printable(str(path))}") from None

    @property
    def descriptor(self) -> int:
        """The open descriptor, ours to close."""
        assert self._descriptor is not None, "the folder is closed"
        return self._descriptor

    def close(self) -> None:
        """Close it; safe to call twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- looking -----------------------------------------------------------------------------------------------------

    def folder(self, path: str, *, links: bool = False) -> Folder:
        """The folder at ``path`` below this one.

        :param links: follow links that stay beneath this folder; one that leads out is refused all the same
        """
        seen = self._look(path, links)
        try:
            if not stat.S_ISDIR(os.fstat(seen).st_mode):
                raise PathRefused(path, f"is {kind_of(os.fstat(seen).st_mode)}, not a folder")
            return Folder(_open_seen(seen, os.O_RDONLY | os.O_DIRECTORY), f"{self.name}/{path}", self.hidden)
        finally:
            os.close(seen)

    def status(self, path: str, *, links: bool = False) -> os.stat_result | None:
        """What lies at ``path``, a link itself unless ``links``; ``None`` where nothing does, or a file is in the way.

        Raises :class:`PathRefused` where a folder above is a link (or one that leads out).
        """
        try:
            seen = self._look(path, links)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return os.fstat(seen)
        finally:
            os.close(seen)

    def is_folder(self, path: str) -> bool:
        """Whether a folder lies at ``path``; a link to one is none."""
        status = self.status(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def names(self, path: str = "", *, most: int = MOST_NAMES) -> list[str]:
        """The names in this folder, or in the one at ``path``; raises :class:`TreeTooLarge` for more than ``most``."""
        if path:
            with self.folder(path) as folder:
                return folder.names(most=most)
        names: list[str] = []
        with os.scandir(self.descriptor) as entries:
            for entry in entries:
                if len(names) >= most:
                    raise TreeTooLarge(self.name, f"has more than {most} entries")
                names.append(entry.name)
        return names

    def read(self, path: str, most: int, *, links: bool = False) -> bytes:
        """The regular file at ``path``; raises :class:`FileTooLarge` for more than ``most`` bytes."""
        content = self.read_beginning(path, most + 1, links=links)
        if len(content) > most:
            raise FileTooLarge(path, f"is larger than {most} bytes")
        return content

    def read_beginning(self, path: str, most: int, *, links: bool = False) -> bytes:
        """The first ``most`` bytes of the regular file at ``path``."""
        return self.content(path, most, links=links).data

    def content(self, path: str, most: int, *, links: bool = False) -> Content:
        """The first ``most`` bytes of the regular file at ``path``, with what it is: of one and the same file."""
        with os.fdopen(self.open_file(path, links=links), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            parts, missing = [], most
            while missing and (part := file.read(min(missing, 1024 * 1024))):
                parts.append(part)
                missing -= len(part)
            return Content(b"".join(parts), status)

    def open_file(self, path: str, *, links: bool = False) -> int:
        """A descriptor for reading the regular file at ``path``, the caller's to close."""
        seen = self._look(path, links)
        try:
            mode = os.fstat(seen).st_mode
            if not stat.S_ISREG(mode):
                raise PathRefused(path, f"is {kind_of(mode)}, not a regular file")
            return _open_seen(seen, os.O_RDONLY | os.O_NONBLOCK)
        finally:
            os.close(seen)

    # --- changing ----------------------------------------------------------------------------------------------------

    def make(self, path: str, mode: int = 0o755) -> Folder:
        """The folder at ``path``, made with those above it where they are missing. A link in the way is refused."""
        folder = Folder(os.dup(self.descriptor), self.name, self.hidden)
        done: list[str] = []
        for part in _parts(path):
            done.append(part)
            with folder:
                with suppress(FileExistsError):
                    os.mkdir(part, mode, dir_fd=folder.descriptor)
                try:
                    below = folder.folder(part)
                except PathRefused as error:
                    raise PathRefused("/".join(done), error.reason) from None
            folder = below
        folder.name = f"{self.name}/{path}"
        return folder

    def write(self, name: str, data: bytes, mode: int) -> None:
        """Replace the file ``name`` in this folder by one with ``data``; durable when this returns.

        A reader sees the old file or the new one. Whatever else has that name (a folder, a link, a pipe) goes.
        """
        _require_name(name)
        temporary = f".{name[:100]}.{secrets.token_hex(8)}.tmp"
        here = self.descriptor
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=here)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                os.fchmod(descriptor, mode)
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(descriptor)
            self._put_in_place(temporary, name)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=here)
            raise
        os.fsync(here)

    def _put_in_place(self, temporary: str, name: str) -> None:
        here = self.descriptor
        try:
            os.rename(temporary, name, src_dir_fd=here, dst_dir_fd=here)
        except IsADirectoryError:
            remove_tree(here, name)
            os.rename(temporary, name, src_dir_fd=here, dst_dir_fd=here)

    def remove(self, name: str) -> None:
        """Delete what has that name in this folder: a file, a link itself, or a folder with all that is in it.

        Nothing to do where nothing has it. Raises :class:`~rooftree_files.RemovalIncomplete`.
        """
        _require_name(name)
        remove_tree(self.descriptor, name)

    def move(self, name: str, into: Folder, new_name: str) -> None:
        """Rename what has that name; ``OSError`` (EXDEV) when ``into`` lies on another disk."""
        _require_name(name)
        _require_name(new_name)
        os.rename(name, new_name, src_dir_fd=self.descriptor, dst_dir_fd=into.descriptor)

    # --- the way -----------------------------------------------------------------------------------------------------

    def _look(self, path: str, links: bool) -> int:
        """An ``O_PATH`` descriptor of what lies at ``path``: without ``links`` the last part may be a link itself."""
        way = [os.dup(self.descriptor)]
        parts = deque(_parts(path))
        followed = 0
        try:
            while parts:
                part = parts.popleft()
                if part == "..":  # only a link's
                    if len(way) == 1:
                        raise PathRefused(path, "leads out of its folder")
                    os.close(way.pop())
                    continue
                if part in self.hidden:
                    raise PathRefused(path, f"leads into {part}")
                way.append(os.open(part, _LOOK, dir_fd=way[-1]))
                mode = os.fstat(way[-1]).st_mode
                if stat.S_ISLNK(mode) and links:
                    followed += 1
                    if followed > MOST_LINKS:
                        raise PathRefused(path, "leads through too many links")
                    link = way.pop()
                    try:
                        parts.extendleft(reversed(_target(path, os.readlink("", dir_fd=link))))
                    finally:
                        os.close(link)
                elif stat.S_ISLNK(mode) and parts:
                    raise PathRefused(path, f"leads through {printable(part)}, which is a link")
                elif parts and not stat.S_ISDIR(mode):
                    raise NotADirectoryError(f"{printable(part)} is {kind_of(mode)}")
            return way.pop()
        finally:
            for descriptor in way:
                os.close(descriptor)


def _parts(path: str) -> list[str]:
    """The parts of a path that somebody wrote; raises :class:`PathRefused`."""
    parts = path.split("/")
    if len(path) > _LONGEST_PATH or "\0" in path or any(part in {"", ".", ".."} for part in parts):
        raise PathRefused(path, "is no plain path: it may not be empty, absolute or have . and .. in it")
    return parts


def _target(path: str, target: str) -> list[str]:
    """The parts that a link stands for."""
    if target.startswith("/"):
        raise PathRefused(path, "leads out of its folder")
    return [part for part in target.split("/") if part not in {"", "."}]


def _require_name(name: str) -> None:
    if "/" in name:
        raise PathRefused(name, "is not the name of one thing")
    _parts(name)


def _open_seen(seen: int, flags: int) -> int:
    """Open for real what an ``O_PATH`` descriptor stands for."""
    return os.open(f"/proc/self/fd/{seen}", flags | os.O_CLOEXEC)


_KINDS: Final = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind_of(mode: int) -> str:
    """What something is, by its mode (inode(7)), for a sentence."""
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), "something unknown")

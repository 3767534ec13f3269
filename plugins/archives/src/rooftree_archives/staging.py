"""What an archive holds, put into a folder of our own: from open folder to open folder, through no link.

The folder is laid out as ``rooftree.interfaces.backups.StagedPart`` says. Owners are numbers. Of the mode, what would
let a program run as somebody else is not put back, and no attribute of its kind: it is what an attack would bring.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from pathlib import Path
from typing import Final

from attrs import define

from rooftree_archives.faults import Damaged, TargetFailed
from rooftree_archives.places import DOCUMENTS, IMAGE, TREES, Parts, Place
from rooftree_archives.tar_headers import Member
from rooftree_archives.unpacking import Content
from rooftree_files import Folder

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID
_ATTRIBUTES: Final = ("user.", "system.posix_acl_")
_IN_THE_WAY: Final = {errno.ENOTDIR, errno.ELOOP}
_NO_ATTRIBUTES: Final = {errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL, errno.ENOSPC, errno.ERANGE}
_libc: Final = ctypes.CDLL(None, use_errno=True)


@define
class _Level:
    """A folder that is being filled, and what it will be like when that is over: what is put in changes its time."""

    name: str
    descriptor: int
    mode: int
    mtime_ns: int


class Staging:
    """A ``Receiver`` that writes. Use it as a context; :meth:`finish` ends it well."""

    def __init__(self, into: Path) -> None:
        with Folder.open(into.parent) as parent:
            self._folder = parent.make(into.name, 0o700)
            self._trees = self._folder.make(TREES, 0o700)
        self._levels: list[_Level] = []
        self._parts: Parts = ()
        self._is_root = os.geteuid() == 0
        space = os.fstatvfs(self._folder.descriptor)
        self._room = space.f_bavail * space.f_frsize

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        while self._levels:
            os.close(self._levels.pop().descriptor)
        self._trees.close()
        self._folder.close()

    def finish(self) -> None:
        """Give all folders their modes and times, and have everything on the disk."""
        while self._levels:
            self._leave()
        if _libc.syncfs(self._folder.descriptor):
            code = ctypes.get_errno()
            raise TargetFailed(os.strerror(code))

    # --- Receiver -----------------------------------------------------------------------------------------------------

    def document(self, name: str, content: Content) -> None:
        """Take a document."""
        with self._folder.make(DOCUMENTS, 0o700) as folder:
            folder.write(name, content.read(), 0o600)

    def image(self, content: Content) -> None:
        """Take the image."""
        self._fill(os.open(IMAGE, _MAKE, 0o600, dir_fd=self._folder.descriptor), content)

    def folder(self, tree: str, parts: Parts, member: Member) -> None:
        """Take a folder."""
        level = self._enter((tree, *parts))
        self._own(level.descriptor, member)
        self._set_attributes(level.descriptor, member)
        level.mode, level.mtime_ns = member.mode, member.mtime_ns

    def file(self, tree: str, parts: Parts, member: Member, content: Content) -> None:
        """Take a file."""
        folder = self._make_room(tree, parts)
        descriptor = os.open(parts[-1], _MAKE, 0o600, dir_fd=folder)
        self._fill(descriptor, content, member)

    def link(self, tree: str, parts: Parts, member: Member) -> None:
        """Take a symbolic link."""
        if not member.target:
            raise Damaged(f"{member.name!a} is a link to nothing")
        folder = self._make_room(tree, parts)
        os.symlink(member.target, parts[-1], dir_fd=folder)
        if self._is_root:
            os.chown(parts[-1], member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
        times = (member.mtime_ns, member.mtime_ns)
        os.utime(parts[-1], ns=times, dir_fd=folder, follow_symlinks=False)

    def hard_link(self, tree: str, parts: Parts, target: Place) -> None:
        """Take another name of a file."""
        assert target.tree is not None
        with self._open_file(target) as original:
            folder = self._make_room(tree, parts)
            os.link(
                target.parts[-1], parts[-1], src_dir_fd=original.descriptor, dst_dir_fd=folder, follow_symlinks=False
            )

    def pipe(self, tree: str, parts: Parts, member: Member) -> None:
        """Take a named pipe."""
        folder = self._make_room(tree, parts)
        os.mkfifo(parts[-1], 0o600, dir_fd=folder)
        if self._is_root:
            os.chown(parts[-1], member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
        os.chmod(parts[-1], member.mode & ~_SET_ID, dir_fd=folder)  # a pipe, made just now in a folder of ours
        os.utime(parts[-1], ns=(member.mtime_ns, member.mtime_ns), dir_fd=folder, follow_symlinks=False)

    # --- the way ------------------------------------------------------------------------------------------------------

    def _enter(self, parts: Parts) -> _Level:
        """The folder there, with those above it; the others are left."""
        common = 0
        for level, part in zip(self._levels, parts, strict=False):
            if level.name != part:
                break
            common += 1
        while len(self._levels) > common:
            self._leave()
        for part in parts[common:]:
            self._levels.append(self._open(part, parts))
        return self._levels[-1]

    def _open(self, name: str, parts: Parts) -> _Level:
        here = self._levels[-1].descriptor if self._levels else self._trees.descriptor
        try:
            descriptor = os.open(name, _OPEN, dir_fd=here)
        except FileNotFoundError:
            os.mkdir(name, 0o700, dir_fd=here)
            descriptor = os.open(name, _OPEN, dir_fd=here)
            return _Level(name, descriptor, 0o755, os.fstat(descriptor).st_mtime_ns)
        except OSError as error:
            if error.errno in _IN_THE_WAY:
                raise Damaged(f"{'/'.join(parts)!a} leads through {name!a}, which is no folder") from None
            raise
        status = os.fstat(descriptor)
        os.fchmod(descriptor, 0o700)
        return _Level(name, descriptor, stat.S_IMODE(status.st_mode), status.st_mtime_ns)

    def _leave(self) -> None:
        level = self._levels.pop()
        try:
            os.fchmod(level.descriptor, level.mode)
            os.utime(level.descriptor, ns=(level.mtime_ns, level.mtime_ns))  # ours: it is open
        finally:
            os.close(level.descriptor)

    def _make_room(self, tree: str, parts: Parts) -> int:
        """The folder in which something is about to be made; what has its name already goes, for the later counts."""
        folder = self._enter((tree, *parts[:-1])).descriptor
        try:
            os.unlink(parts[-1], dir_fd=folder)
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            raise Damaged(f"{'/'.join(parts)!a} is a folder, and then none") from None
        return folder

    def _open_file(self, place: Place) -> Folder:
        """The folder in which the file that a hard link means lies. Raises :class:`Damaged`."""
        path = "/".join((str(place.tree), *place.parts[:-1]))
        try:
            folder = self._trees.folder(path)
        except Exception:  # not there, or through a link
            raise Damaged(f"a link to {'/'.join(place.parts)!a}, which is not in the archive") from None
        status = folder.status(place.parts[-1]) if place.parts else None
        if status is None or stat.S_ISDIR(status.st_mode):
            folder.close()
            raise Damaged(f"a link to {'/'.join(place.parts)!a}, which is not in the archive")
        return folder

    # --- what a file is like ------------------------------------------------------------------------------------------

    def _fill(self, descriptor: int, content: Content, member: Member | None = None) -> None:
        try:
            self._room -= sum(extent.length for extent in content.extents)
            if self._room < 0:
                raise TargetFailed("The disk has no room for all that is in it")
            for extent in content.extents:
                if extent.offset != os.lseek(descriptor, 0, os.SEEK_CUR):
                    os.lseek(descriptor, extent.offset, os.SEEK_SET)
                content.pour(extent.length, lambda piece: _write(descriptor, piece))
            if len(content.extents) != 1 or content.extents[0].length != content.length:
                os.ftruncate(descriptor, content.length)
            if member is not None:
                self._own(descriptor, member)
                os.fchmod(descriptor, member.mode & ~_SET_ID)
                self._set_attributes(descriptor, member)
                os.utime(descriptor, ns=(member.mtime_ns, member.mtime_ns))  # ours: it is open
        finally:
            os.close(descriptor)

    def _own(self, descriptor: int, member: Member) -> None:
        if self._is_root:
            os.fchown(descriptor, member.uid, member.gid)

    def _set_attributes(self, descriptor: int, member: Member) -> None:
        for name, value in member.attributes.items():
            if name.startswith(_ATTRIBUTES):
                try:
                    os.setxattr(descriptor, name, value)  # ours: it is open
                except OSError as error:
                    if error.errno not in _NO_ATTRIBUTES:
                        raise


def _write(descriptor: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]

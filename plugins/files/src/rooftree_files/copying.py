"""Copying a tree that somebody else may be changing, with all there is to know of it.

Owners, modes, times, extended attributes, holes and links between files are kept, pipes and devices made anew, symbolic
links copied as links. Blocks are shared where the file system can (reflink): then a copy costs no room and no time.
``cp --archive`` does the same but goes by paths, and can be led out of the tree by whoever writes in it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Collection
from typing import Final

from rooftree_files.folder import Folder
from rooftree_files.refusals import TreeChanged
from rooftree_files.removal import LIST
from rooftree_files.walk import USUAL, Entry, TreeLimits, walk

_FICLONE: Final = 0x40049409  # ioctl_ficlone(2)
_NO_CLONES: Final = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM}
_NO_RANGES: Final = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF}
_NO_ATTRIBUTES: Final = {errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM, errno.EINVAL}
_AT_A_TIME: Final = 8 * 1024 * 1024


class CopyStopped(Exception):
    """The caller wanted no more of it."""


class BlocksNotShared(Exception):
    """The blocks of a file can't be shared with its copy, which the caller wanted or nothing."""


def copy_tree(
    source: Folder,
    target: Folder,
    *,
    limits: TreeLimits = USUAL,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda _: None,
    skip: Collection[str] = (),
    leave_out: Callable[[Entry], bool] = lambda _: False,
    only_shared: bool = False,
) -> None:
    """Copy what is in ``source``, and what that folder itself is like, into ``target``, an empty folder of our own.

    Blocks. The caller sees to it that the copy is on the disk, and deletes one that is not whole.

    :param stop: asked before each thing and each 8 MiB; when it says so, :class:`CopyStopped` is raised
    :param progress: told the bytes that are copied so far
    :param skip: the names of what in ``source`` itself is left out
    :param leave_out: what else is, with what is in it
    :param only_shared: raise :class:`BlocksNotShared` rather than copy a file byte for byte
    """
    copy = _Copy(source, target, stop, progress, only_shared)
    try:
        for entry in walk(source, limits, enter=lambda entry: not leave_out(entry), skip=skip):
            if not leave_out(entry):
                copy.take(entry)
        copy.end()
    finally:
        copy.close()


def shares_blocks(source: Folder, target: Folder) -> bool:
    """Whether a copy from one folder to the other can share blocks with its original, found out with files that have
    no name. Blocks."""
    descriptors: list[int] = []
    try:
        for folder in (source, target):
            flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
            descriptors.append(os.open(".", flags, 0o600, dir_fd=folder.descriptor))
        original, copy = descriptors
        os.pwrite(original, bytes(4096), 0)
        fcntl.ioctl(copy, _FICLONE, original)
    except OSError as error:
        if error.errno in _NO_CLONES or error.errno == errno.EISDIR:  # the latter: no files without a name (open(2))
            return False
        raise
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return True


class _Copy:
    def __init__(
        self,
        source: Folder,
        target: Folder,
        stop: Callable[[], bool],
        progress: Callable[[int], None],
        only_shared: bool,
    ) -> None:
        self._root = target.descriptor
        self._here = os.dup(target.descriptor)
        self._stop = stop
        self._progress = progress
        self._only_shared = only_shared
        self._copied = 0
        self._open: list[os.stat_result] = [os.fstat(source.descriptor)]
        """What the folders are like that we are in; set when they are left, for what is put into one changes it."""
        self._linked: dict[tuple[int, int], str] = {}
        _copy_attributes(source.descriptor, self._here)

    def close(self) -> None:
        os.close(self._here)

    def take(self, entry: Entry) -> None:
        if self._stop():
            raise CopyStopped
        while len(self._open) > entry.depth + 1:
            self._leave()
        mode = entry.status.st_mode
        if stat.S_ISDIR(mode):
            self._enter(entry)
        elif not self._is_linked(entry):
            if stat.S_ISREG(mode):
                self._copy_file(entry)
            elif stat.S_ISLNK(mode):
                os.symlink(_target(entry), entry.name, dir_fd=self._here)
                self._set_owner_and_times(entry)
            else:
                os.mknod(entry.name, mode, entry.status.st_rdev, dir_fd=self._here)
                os.chmod(entry.name, stat.S_IMODE(mode), dir_fd=self._here)
                self._set_owner_and_times(entry)

    def end(self) -> None:
        while len(self._open) > 1:
            self._leave()
        _describe(self._here, self._open[0])

    def _enter(self, entry: Entry) -> None:
        os.mkdir(entry.name, 0o700, dir_fd=self._here)
        original = _opened(entry, LIST)
        try:
            below = os.open(entry.name, LIST, dir_fd=self._here)
            _copy_attributes(original, below)
        finally:
            os.close(original)
        os.close(self._here)
        self._here = below
        self._open.append(entry.status)

    def _leave(self) -> None:
        above = os.open("..", LIST, dir_fd=self._here)
        _describe(self._here, self._open.pop())
        os.close(self._here)
        self._here = above

    def _is_linked(self, entry: Entry) -> bool:
        """Make a further name of a file that is copied already."""
        if entry.status.st_nlink < 2:
            return False
        known = self._linked.get((entry.status.st_dev, entry.status.st_ino))
        if known is None:
            self._linked[entry.status.st_dev, entry.status.st_ino] = entry.path
            return False
        try:
            os.link(known, entry.name, src_dir_fd=self._root, dst_dir_fd=self._here, follow_symlinks=False)
        except OSError as error:
            if error.errno not in {errno.ENAMETOOLONG, errno.EMLINK, errno.EPERM}:
                raise
            return False
        return True

    def _copy_file(self, entry: Entry) -> None:
        original = _opened(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            copy = os.open(entry.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._here)
            try:
                self._copy_content(original, copy, entry.status.st_size)
                _describe(copy, entry.status, attributes_of=original)
            finally:
                os.close(copy)
        finally:
            os.close(original)

    def _copy_content(self, original: int, copy: int, size: int) -> None:
        try:
            fcntl.ioctl(copy, _FICLONE, original)
        except OSError as error:
            if error.errno not in _NO_CLONES:
                raise
            if self._only_shared:
                raise BlocksNotShared from None
        else:
            self._note(size)
            return
        os.ftruncate(copy, size)
        at = 0
        while at < size:
            try:
                begin = os.lseek(original, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a hole up to the end
                    break
                raise
            end = min(os.lseek(original, begin, os.SEEK_HOLE), size)
            if end <= begin:
                break
            self._copy_range(original, copy, begin, end)
            at = end

    def _copy_range(self, original: int, copy: int, begin: int, end: int) -> None:
        while begin < end:
            if self._stop():
                raise CopyStopped
            most = min(_AT_A_TIME, end - begin)
            try:
                count = os.copy_file_range(original, copy, most, begin, begin)
            except OSError as error:
                if error.errno not in _NO_RANGES:
                    raise
                count = os.pwrite(copy, os.pread(original, most, begin), begin)
            if not count:  # it was cut meanwhile
                return
            begin += count
            self._note(count)

    def _note(self, count: int) -> None:
        self._copied += count
        self._progress(self._copied)

    def _set_owner_and_times(self, entry: Entry) -> None:
        status = entry.status
        os.chown(entry.name, status.st_uid, status.st_gid, dir_fd=self._here, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(entry.name, stat.S_IMODE(status.st_mode), dir_fd=self._here)
        os.utime(entry.name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=self._here, follow_symlinks=False)


def _target(entry: Entry) -> str:
    """Where a link leads; raises :class:`TreeChanged` where it is none any more."""
    try:
        return os.readlink(entry.name, dir_fd=entry.folder)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise TreeChanged(entry.path) from None
        raise


def _opened(entry: Entry, flags: int) -> int:
    """Open what was looked at, and nothing that took its place since."""
    seen = os.open(entry.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.folder)
    try:
        status = os.fstat(seen)
        if (status.st_dev, status.st_ino) != (entry.status.st_dev, entry.status.st_ino):
            raise TreeChanged(entry.path)
        return os.open(f"/proc/self/fd/{seen}", flags & ~os.O_NOFOLLOW)
    finally:
        os.close(seen)


def _describe(copy: int, status: os.stat_result, attributes_of: int | None = None) -> None:
    """Give a copy owner, mode, attributes and times, in the order in which none takes another away again."""
    os.fchown(copy, status.st_uid, status.st_gid)
    os.fchmod(copy, stat.S_IMODE(status.st_mode))
    if attributes_of is not None:
        _copy_attributes(attributes_of, copy)
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_attributes(original: int, copy: int) -> None:
    """Extended attributes, as far as the copy's file system has them: labels, capabilities, access lists."""
    try:
        names = os.listxattr(original)
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return
        raise
    for name in names:
        try:
            os.setxattr(copy, name, os.getxattr(original, name))
        except OSError as error:
            if error.errno not in _NO_ATTRIBUTES:
                raise

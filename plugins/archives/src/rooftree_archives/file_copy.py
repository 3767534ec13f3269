"""A copy of an archive's file in another folder: hidden until it was read back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from rooftree_archives.faults import Damaged, TargetFailed
from rooftree_archives.naming import create_hidden, give_name
from rooftree_files import Folder

_PIECE: Final = 1024 * 1024
_FLUSHED_EACH: Final = 64 * 1024 * 1024
"""Bytes after which what was written is waited for, so that a slow share shows how far it is, and none hides it."""


def copy_file(
    source: Folder, filename: str, target: Folder, hidden_name: str, name: str, progress: Callable[[int, int], None]
) -> os.stat_result:
    """Copy a file; durable, and read back, when it has its name. Returns what the disk has of the copy.

    Raises :class:`Damaged` where what was read back is something else, ``TargetExists``, :class:`TargetFailed`; then
    nothing of it stays.

    :param progress: told the bytes that are done, and all there are: each is written, and read back
    """
    reading = source.open_file(filename)
    try:
        writing = create_hidden(target, hidden_name)
        try:
            total = 2 * os.fstat(reading).st_size
            written = _copy(reading, writing, lambda done: progress(done, total))
            if _read_back(writing, lambda done: progress(total // 2 + done, total)) != written:
                raise Damaged(f"What was written of {filename} is not what was read back")
            give_name(target, hidden_name, name, replace=False)
            return os.fstat(writing)
        except BaseException:
            with suppress(OSError):
                os.unlink(hidden_name, dir_fd=target.descriptor)
            raise
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy(reading: int, writing: int, progress: Callable[[int], None]) -> bytes:
    digest, done = hashlib.sha256(), 0
    while data := os.read(reading, _PIECE):
        digest.update(data)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(writing, rest) :]
            if (done + len(data)) // _FLUSHED_EACH > done // _FLUSHED_EACH:
                os.fdatasync(writing)
        except OSError as error:
            raise TargetFailed(f"The copy can't be written: {error.strerror}") from error
        done += len(data)
        progress(done)
    try:
        os.fsync(writing)
    except OSError as error:
        raise TargetFailed(f"The copy can't be written: {error.strerror}") from error
    os.posix_fadvise(writing, 0, 0, os.POSIX_FADV_DONTNEED)  # so that the disk is read, not what we remember
    return digest.digest()


def _read_back(writing: int, progress: Callable[[int], None]) -> bytes:
    digest, done = hashlib.sha256(), 0
    os.lseek(writing, 0, os.SEEK_SET)
    while data := os.read(writing, _PIECE):
        digest.update(data)
        done += len(data)
        progress(done)
    return digest.digest()

"""Files that are hidden until they are whole, and the name that one gets then."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final

from rooftree_archives.faults import TargetExists, TargetFailed
from rooftree_files import Folder

_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


def create_hidden(folder: Folder, hidden_name: str) -> int:
    """A new file, open for both; the descriptor is the caller's to close. Raises :class:`TargetFailed`."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(hidden_name, flags, 0o600, dir_fd=folder.descriptor)
    except OSError as error:
        raise TargetFailed(f"The archive can't be made: {error.strerror}") from error


def give_name(folder: Folder, hidden_name: str, name: str, *, replace: bool) -> None:
    """Rename a file in its folder. Raises :class:`TargetExists` where something has that name, unless it is to be
    replaced, and :class:`TargetFailed`."""
    here = folder.descriptor
    try:
        if replace:
            os.rename(hidden_name, name, src_dir_fd=here, dst_dir_fd=here)
        else:
            _link(folder, hidden_name, name)
    except FileExistsError:
        raise TargetExists(f"There is a file {name} already") from None
    except OSError as error:
        raise TargetFailed(f"The archive can't be given its name: {error.strerror}") from error
    with suppress(OSError):  # not every share flushes folders, and it has its name
        os.fsync(here)


def _link(folder: Folder, hidden_name: str, name: str) -> None:
    """Give it its name where nothing has it: a second one first, which fails where there is something."""
    here = folder.descriptor
    try:
        os.link(hidden_name, name, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if folder.status(name) is not None:
            raise FileExistsError from None
        os.rename(hidden_name, name, src_dir_fd=here, dst_dir_fd=here)
    else:
        os.unlink(hidden_name, dir_fd=here)

"""What the machine has run out of, or refuses, in words: an ``OSError`` that is nobody's bug becomes an answer that
says what now.

Whoever writes a file or opens a connection need not look for this; what they let through ends here.
"""

from __future__ import annotations

import errno
from pathlib import Path

from rooftree.errors import Unavailable
from rooftree.state.disk_reserve import is_disk_full


class DiskFull(Unavailable):
    """There is no space left for what has to be written."""

    error_key = "disk_full_error"


class DiskReadOnly(Unavailable):
    """The disk takes no writes: it is mounted so, or was made so after an error."""

    error_key = "disk_read_only_error"


class OutOfFiles(Unavailable):
    """The process, or the machine, has as many files open as it may."""

    error_key = "out_of_files_error"


class DiskFailing(Unavailable):
    """The disk could not read or write."""

    error_key = "disk_failing_error"


class FileRefused(Unavailable):
    """The operating system does not let us at a file."""

    error_key = "file_refused_error"


def explained(error: BaseException) -> Unavailable | None:
    """The answer to ``error`` where it says that something has run out or is refused; ``None`` for all others."""
    if not isinstance(error, OSError):
        return None
    if is_disk_full(error):
        return DiskFull(f"There is no space left on the disk{_place(error)}. Free some, and try again")
    if error.errno == errno.EROFS:
        return DiskReadOnly(f"The disk{_place(error)} is read-only. Make it writable, and try again")
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return OutOfFiles(
            "There are too many open files: Rooftree may open no more just now. Try again; if it stays so, let it have "
            "more (LimitNOFILE= in its service)"
        )
    if error.errno == errno.EIO:
        return DiskFailing(
            f"The disk{_place(error)} gives errors. Look at the host's log; save what is on it while that is possible"
        )
    if error.errno in {errno.EACCES, errno.EPERM} and error.filename is not None:
        return FileRefused(
            f"Rooftree may not use a file{_place(error)}: {error.strerror}. Give the user that it runs as the rights to"
        )
    return None


def _place(error: OSError) -> str:
    """Where it happened, as far as the error knows: the folder, because a temporary file's name says nothing."""
    if not isinstance(error.filename, str | bytes):
        return ""
    name = error.filename if isinstance(error.filename, str) else error.filename.decode(errors="replace")
    return f" of {Path(name).parent}"

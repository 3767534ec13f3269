"""What happens to folders, told by the kernel (inotify(7))."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_EVENT: Final = struct.Struct("iIII")
_CHANGES: Final = 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800  # modify, attrib, moved, create, delete
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Everything that changes in some folders, while the block lasts; read it with :meth:`changes`."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = folders

    def __enter__(self) -> Self:
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._descriptor >= 0
        self._names = {
            _libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _CHANGES): folder for folder in self._folders
        }
        assert -1 not in self._names
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def changes(self) -> set[Path]:
        """What was touched."""
        touched: set[Path] = set()
        while True:
            try:
                data = os.read(self._descriptor, 65536)
            except BlockingIOError:
                return touched
            while data:
                number, _, _, length = _EVENT.unpack_from(data)
                name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
                touched.add(self._names[number] / os.fsdecode(name))
                data = data[_EVENT.size + length :]

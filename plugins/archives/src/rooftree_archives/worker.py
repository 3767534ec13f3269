"""The worker: a process that reads or makes an archive, asked over a socket: ``-m rooftree_archives.worker FD``.

A message is a length of four bytes and JSON, or bytes (``wire.py``): those of a file that is received or read. To a
call ``{"call": NAME, …}`` come any number of ``{"progress": [DONE, TOTAL]}`` and then ``{"result": …}`` or ``{"fault":
KIND, "message": …}``. Other bytes are base64.
Little is imported here, and that lazily: a start has to be quick, and the memory of a worker is limited.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from attrs import asdict

from rooftree.errors import RooftreeError
from rooftree_archives.faults import Damaged, PasswordRefused, SourceRefused, TargetExists, TargetFailed
from rooftree_archives.wire import LENGTH, RAW
from rooftree_files import Folder

MEMORY: Final = 64 * 1024 * 1024
"""Bytes that a worker may have for itself."""
_PROGRESS_EVERY_S: Final = 0.1
_NICENESS: Final = 5
_SWITCH_INTERVAL_S: Final = 0.0005
"""Threads that have hashed or encrypted a piece should not wait for their turn to hand it on."""
_STACK: Final = 512 * 1024
_FAULTS: Final = {
    Damaged: "damaged",
    PasswordRefused: "password",
    SourceRefused: "source",
    TargetExists: "exists",
    TargetFailed: "target",
}

type Answer = Mapping[str, Any]


class Worker:
    """The calls; a worker makes one archive, or reads some."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._told_at = 0.0
        self._telling = threading.Lock()

    def run(self) -> None:
        """Answer calls until the other side is gone."""
        while (header := self._receive(LENGTH.size)) is not None:
            (length,) = LENGTH.unpack(header)
            content = self._receive(length & ~RAW)
            if content is None:
                return
            call = {"call": "write", "piece": content} if length & RAW else json.loads(content)
            self._told_at = 0.0  # of each call the beginning is told, however soon it ends
            try:
                answer: Answer = {"result": getattr(self, f"call_{call.pop('call')}")(**call)}
            except RooftreeError as error:
                answer = {"fault": "refused", "message": error.message}
            except FileNotFoundError as error:
                answer = {"fault": "missing", "message": str(error)}
            except OSError as error:
                answer = {"fault": "target", "message": str(error)}
            except (Damaged, PasswordRefused, SourceRefused, TargetExists, TargetFailed) as error:
                answer = {"fault": _FAULTS[type(error)], "message": str(error)}
            except MemoryError:
                answer = {"fault": "damaged", "message": "It needs more memory than there is for it"}
            self._send(answer)
            gc.collect()

    # --- making -------------------------------------------------------------------------------------------------------

    def call_create(self, folder: str, hidden: str, password: str | None, version: Any, compressed: bool) -> None:
        """Begin an archive."""
        from rooftree_archives.making import Archive  # noqa: PLC0415

        self._archive = Archive(Folder.open(folder), hidden, password, version, compressed)

    def call_add(self, key: str, kind: str, total: int, contents: dict[str, Any]) -> Answer:
        """Read a part and store it."""
        from rooftree_archives.packing import Contents, Tree  # noqa: PLC0415

        made = self._archive.add(
            key, kind,
            Contents(
                data_folder=Path(contents["data_folder"]),
                documents={name: base64.b64decode(text) for name, text in contents["documents"].items()},
                trees=[Tree(**{**tree, "excluded": tuple(tree["excluded"])}) for tree in contents["trees"]],
                image=None if contents["image"] is None else Path(contents["image"]),
                files={path: Path(file) for path, file in contents["files"].items()},
            ),
            lambda done: self._tell(done, max(done, total)),
        )  # fmt: skip
        return {"stored": made.inner.size, "digest": made.digest, "size": made.size}

    def call_publish(self, name: str, metadata: str, replace: bool) -> None:
        """Complete the archive and give it its name."""
        self._archive.publish(name, metadata.encode(), replace=replace, progress=self._tell)

    # --- reading ------------------------------------------------------------------------------------------------------

    def call_index(self, paths: list[str]) -> list[Answer]:
        """What archives say of themselves."""
        from rooftree_archives.reading import ArchiveFile  # noqa: PLC0415

        return [_index(ArchiveFile, Path(path)) for path in paths]

    def call_open(self, path: str, password: str | None) -> Answer:
        """Open an archive for the calls that follow."""
        from rooftree_archives.reading import ArchiveFile, Reading  # noqa: PLC0415

        file = ArchiveFile(Path(path))
        self._reading = Reading(file, password)
        return file.facts()

    def call_check_password(self, part: dict[str, str]) -> None:
        """Try the password on a part."""
        self._reading.check_password(part)

    def call_documents(self, part: dict[str, str]) -> Answer:
        """The small files of a part."""
        documents = self._reading.documents(part)
        return {name: base64.b64encode(document).decode() for name, document in documents.items()}

    def call_unpack(self, part: dict[str, str], into: str, limits: dict[str, int], total: int) -> Answer:
        """Put a part into a folder."""
        from rooftree_archives.unpacking import UnpackLimits  # noqa: PLC0415

        return asdict(
            self._reading.unpack(part, Path(into), UnpackLimits(**limits), lambda done: self._tell(done, total))
        )

    def call_check(self, part: dict[str, str], limits: dict[str, int], total: int) -> Answer:
        """Read a part and write nothing."""
        from rooftree_archives.unpacking import UnpackLimits  # noqa: PLC0415

        result, authenticated = self._reading.check(part, UnpackLimits(**limits), lambda done: self._tell(done, total))
        return {**asdict(result), "authenticated": authenticated}

    # --- files as they are --------------------------------------------------------------------------------------------

    def call_copy(self, source: str, filename: str, target: str, hidden: str, name: str) -> Answer:
        """Copy an archive's file to another folder, and say what the disk has of the copy."""
        from rooftree_archives.file_copy import copy_file  # noqa: PLC0415

        with Folder.open(source) as folder, Folder.open(target) as other:
            status = copy_file(folder, filename, other, hidden, name, self._tell)
        return _written(status)

    def call_receive(self, folder: str, hidden: str) -> None:
        """Make a file for the calls that follow."""
        from rooftree_archives.naming import create_hidden  # noqa: PLC0415

        with Folder.open(folder) as here:
            self._descriptor = create_hidden(here, hidden)

    def call_write(self, piece: bytes) -> None:
        """Write more of it."""
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise TargetFailed(f"The file can't be written: {error.strerror}") from error

    def call_complete(self) -> None:
        """Have all of it on the disk."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise TargetFailed(f"The file can't be written: {error.strerror}") from error

    def call_name(self, folder: str, hidden: str, name: str, replaces: dict[str, int] | None) -> Answer:
        """Give a file its name, and say what the disk has of it."""
        from rooftree_archives.naming import give_name  # noqa: PLC0415

        with Folder.open(folder) as here:
            there = here.status(name)
            replace = there is not None and _written(there) == replaces
            give_name(here, hidden, name, replace=replace)
            named = here.status(name)
        if named is None:
            raise TargetFailed(f"The file {name} went while it got its name")
        return _written(named)

    def call_remove(self, folder: str, name: str, expected: dict[str, int] | None) -> bool:
        """Remove a file, if it is the one that is meant; whether there was one."""
        with Folder.open(folder) as here:
            status = here.status(name)
            if status is None or (expected is not None and _written(status) != expected):
                return False
            here.remove(name)
        return True

    def call_open_file(self, folder: str, name: str) -> int:
        """Open a file for the calls that follow; its bytes."""
        with Folder.open(folder) as here:
            self._descriptor = here.open_file(name)
        return os.fstat(self._descriptor).st_size

    def call_read(self, begin: int, size: int) -> bytes:
        """Bytes of the open file; fewer where it ends."""
        return os.pread(self._descriptor, size, begin)

    # --- the connection -----------------------------------------------------------------------------------------------

    def _tell(self, done: int, total: int) -> None:
        """Progress, now and then: bytes."""
        now = time.monotonic()
        if now - self._told_at >= _PROGRESS_EVERY_S:
            self._told_at = now
            self._send({"progress": [done, total]})

    def _send(self, message: Answer) -> None:
        result = message.get("result")
        if isinstance(result, bytes):
            header, data = LENGTH.pack(len(result) | RAW), result
        else:
            data = json.dumps(message, default=str).encode()
            header = LENGTH.pack(len(data))
        with self._telling:
            self._connection.sendall(header + data)

    def _receive(self, size: int) -> bytes | None:
        data = bytearray()
        while len(data) < size:
            piece = self._connection.recv(min(size - len(data), 1024 * 1024))
            if not piece:
                return None
            data += piece
        return bytes(data)


def _written(status: os.stat_result) -> Answer:
    return {"size_bytes": status.st_size, "changed_ns": status.st_mtime_ns, "inode": status.st_ino}


def _index(open_file: Callable[[Path], Any], path: Path) -> Answer:
    """What a file says of itself, or why it is none; whatever is wrong with it costs no other one."""
    try:
        file = open_file(path)
        try:
            facts: Answer = file.facts()
            return facts
        finally:
            file.close()
    except Damaged as error:
        return {"damaged": str(error)}
    except (RooftreeError, OSError) as error:
        return {"damaged": f"It can't be read: {error}"}
    except Exception as error:
        return {"damaged": f"It can't be understood: {type(error).__name__}: {error}"}


def main() -> None:
    """Be a worker."""
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most_files, 8192), most_files))
    threading.stack_size(_STACK)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    with ExitStack() as stack:
        Worker(stack.enter_context(socket.socket(fileno=int(sys.argv[1])))).run()


if __name__ == "__main__":
    main()

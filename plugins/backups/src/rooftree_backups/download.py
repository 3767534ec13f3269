"""Downloads: an archive's file as it lies there, or a part of it (RFC 9110, 14), read while it is sent.

What lies on a mount is read by a process: its server may stop answering, and must not hold a thread then.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from attrs import frozen

from rooftree import Exchange, Failed, Kernel, NotFound
from rooftree.interfaces.backups import BackupLocation
from rooftree_archives import OpenArchive, WorkerEnded, open_archive
from rooftree_backups.catalogue import Backup, Copy
from rooftree_backups.names import SUFFIX, slugified
from rooftree_backups.passing import passing_folder
from rooftree_backups.places import ArchiveFolder
from rooftree_files import Folder, PathRefused

PIECE_BYTES: Final = 256 * 1024
CONTENT_TYPE: Final = "application/tar"
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class ArchiveGone(NotFound):
    """The file is not there any more."""


@frozen
class Span:
    """The bytes from ``begin`` up to, without, ``end``."""

    begin: int
    end: int


class SentFile(Protocol):
    """A file that is open to be sent."""

    @property
    def size(self) -> int:
        """In bytes."""
        ...

    async def read(self, begin: int, size: int) -> bytes:
        """So many bytes from there on, fewer where it ends."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


@frozen
class LocalFile:
    """A file of the data folder's disk."""

    descriptor: int
    size: int

    @classmethod
    def of(cls, descriptor: int) -> LocalFile:
        """An open one. Blocks."""
        return cls(descriptor, os.fstat(descriptor).st_size)

    async def read(self, begin: int, size: int) -> bytes:
        return await asyncio.to_thread(os.pread, self.descriptor, size, begin)

    async def close(self) -> None:
        os.close(self.descriptor)


@frozen
class MountedFile:
    """A file on a mount, open in a process."""

    _file: OpenArchive
    _process: AsyncExitStack

    @property
    def size(self) -> int:
        return self._file.size

    async def read(self, begin: int, size: int) -> bytes:
        return await self._file.read(begin, size)

    async def close(self) -> None:
        await self._process.aclose()


async def open_in(place: ArchiveFolder, filename: str) -> SentFile:
    """A file in a folder, the caller's to close. Raises :class:`ArchiveGone`, ``WorkerEnded`` for a mount that does not
    answer."""
    try:
        if not place.mounted:
            return await asyncio.to_thread(_open_local, place.path, filename)
        async with AsyncExitStack() as process:
            file = await process.enter_async_context(open_archive(place.path / filename))
            return MountedFile(file, process.pop_all())
    except WorkerEnded:
        raise
    except (FileNotFoundError, NotFound, PathRefused, Failed):
        raise ArchiveGone(f"The file {filename} is not there any more") from None


def _open_local(path: Path, filename: str) -> LocalFile:
    with Folder.open(path) as folder:
        return LocalFile.of(folder.open_file(filename))


def download_name(backup: Backup, copy: Copy) -> str:
    """What a browser is told to call the file: a name that somebody chose for it, else one made of the backup's."""
    own = f"{backup.head.slug}{SUFFIX}"
    if copy.filename is not None and copy.filename != own:
        return copy.filename
    return f"{slugified(backup.head.name) or backup.head.slug}{SUFFIX}"


def span_of(header: str | None, size: int) -> Span | None:
    """The part that is asked for; ``None`` for all: nothing is asked for, or what is no single range of bytes. One that
    begins behind the end is empty."""
    match = _RANGE.fullmatch(header) if header is not None else None
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return Span(max(0, size - int(last)), size) if int(last) else Span(size, size)
    begin, end = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < begin:
        return None
    return Span(begin, max(begin, end)) if begin < size else Span(size, size)


async def send_file(exchange: Exchange, file: SentFile, name: str, wanted: str | None) -> None:
    """Send an open file, or the part of it that is wanted; it is closed then.

    :param wanted: the header ``Range``
    """
    try:
        size = file.size
        span = span_of(wanted, size)
        fields = [
            (b"Content-Type", CONTENT_TYPE.encode()),
            (b"Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}".encode()),
            (b"Accept-Ranges", b"bytes"),
        ]
        if span is None:
            exchange.begin(200, b"OK", fields, size)
            span = Span(0, size)
        elif span.begin == span.end:
            exchange.begin(416, b"Range Not Satisfiable", [*fields, (b"Content-Range", b"bytes */%d" % size)], 0)
        else:
            content_range = b"bytes %d-%d/%d" % (span.begin, span.end - 1, size)
            exchange.begin(206, b"Partial Content", [*fields, (b"Content-Range", content_range)], span.end - span.begin)
        if exchange.method != "HEAD":
            await _send(exchange, file, span)
        await exchange.end()
    finally:
        await file.close()


async def _send(exchange: Exchange, file: SentFile, span: Span) -> None:
    place = span.begin
    while place < span.end:
        piece = await file.read(place, min(PIECE_BYTES, span.end - place))
        if not piece:
            raise ArchiveGone("The file was cut while it was sent")
        await exchange.write(piece)
        place += len(piece)


async def exported(kernel: Kernel, location: BackupLocation, slug: str) -> SentFile:
    """A backup that is no file, as an open one that nobody else sees, the caller's to close."""
    path = await passing_folder(kernel) / f"{slug}-{secrets.token_hex(4)}{SUFFIX}"
    try:
        await location.export(slug, path, lambda done, total: None)
        return await asyncio.to_thread(_opened, path)
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)  # ours: the plugin's own folder


def _opened(path: Path) -> LocalFile:
    return LocalFile.of(os.open(path, os.O_RDONLY | os.O_CLOEXEC))  # ours: the plugin's own folder

"""Uploads: a form with a file in it, written to the disk as it comes, and looked at before it counts as a backup."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Final

import aiohttp
from aiohttp.base_protocol import BaseProtocol
from aiohttp.hdrs import CONTENT_TYPE
from attrs import asdict, frozen

from rooftree import Invalid, Lock, RawBody, Run, Step, Steps, job, step
from rooftree.interfaces.backups import BackupHead
from rooftree_archives import ArchiveExists, WrittenFile, carry, name_archive, receive_archive
from rooftree_backups.archive_folder import FilenameTaken, FileState
from rooftree_backups.catalogue import same_backup
from rooftree_backups.copying import copies_to
from rooftree_backups.index import sound_heads
from rooftree_backups.kept_backups import KeptBackups
from rooftree_backups.names import LOCAL
from rooftree_backups.passing import passing_folder
from rooftree_backups.places import ArchiveFolder, Places

BUFFERED_BYTES: Final = 64 * 1024
PIECE_BYTES: Final = 1024 * 1024
MOST_BYTES: Final = 2**50
"""Of one upload; the disk has less."""


class UploadRefused(Invalid):
    """What was uploaded is no backup that can be taken in."""


class _Line(BaseProtocol):
    """What the form's parser takes for the connection: it lets who feeds it wait until it has taken in what is
    there."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.room = asyncio.Event()
        self.room.set()

    @property
    def connected(self) -> bool:
        return True

    def pause_reading(self) -> None:
        """The parser has enough for now."""
        self._reading_paused = True
        self.room.clear()

    def resume_reading(self, resume_parser: bool = True) -> None:
        self._reading_paused = False
        self.room.set()


async def file_of(body: RawBody, content_type: str) -> AsyncIterator[bytes]:
    """The contents of the first part of a form. Raises :class:`UploadRefused` for what is none."""
    if not content_type.lower().startswith("multipart/"):
        raise UploadRefused("The body must be multipart/form-data, with the backup's file as its first part")
    line = _Line()
    stream = aiohttp.StreamReader(line, BUFFERED_BYTES, loop=asyncio.get_running_loop())
    feeding = asyncio.ensure_future(_feed(body, stream, line))
    feeding.add_done_callback(lambda done: done.cancelled() or done.exception())  # told where it is asked for
    try:
        part = await aiohttp.MultipartReader({CONTENT_TYPE: content_type}, stream).next()
        if not isinstance(part, aiohttp.BodyPartReader):
            raise UploadRefused("The form has no file in it")
        while piece := await part.read_chunk(BUFFERED_BYTES):
            yield piece
        if feeding.done():
            feeding.result()
    except (ValueError, AssertionError, RuntimeError) as error:
        if feeding.done() and (failure := feeding.exception()):
            raise failure from None
        raise UploadRefused(f"The form can't be read: {error}") from None
    finally:
        feeding.cancel()
        await asyncio.wait({feeding})


async def _feed(body: RawBody, stream: aiohttp.StreamReader, line: _Line) -> None:
    try:
        async for chunk in body.chunks:
            stream.feed_data(chunk)
            await line.room.wait()
        stream.feed_eof()
    except Exception as error:
        stream.set_exception(error)
        raise


async def receive(folder: ArchiveFolder, unfinished: str, contents: AsyncIterator[bytes]) -> None:
    """Write a file into a folder as it comes, under a hidden name; durable then. A process does it: a mount may stop
    answering, and must not hold a thread then."""
    async with receive_archive(folder.path / unfinished) as file:
        pending = bytearray()
        async for piece in contents:
            pending += piece
            if len(pending) >= PIECE_BYTES:
                await file.write(bytes(pending))
                pending.clear()
        await file.write(bytes(pending))
        await file.complete()


async def looked_at(places: Places, folder: ArchiveFolder, name: str) -> BackupHead:
    """What an uploaded file says of itself; raises :class:`UploadRefused`."""
    (head,) = await sound_heads(places.archives, folder.path, [name])
    if not isinstance(head, BackupHead):
        raise UploadRefused(f"The file is no backup that can be read: {head.message}")
    return head


async def replaced(backups: KeptBackups, head: BackupHead, location: str, filename: str) -> FileState | None:
    """The file that an upload takes the place of: one of the same backup. Raises :class:`UploadRefused` where the
    backup's slug is another's, and :class:`FilenameTaken` where the file's name is."""
    await _refuse_another(backups, head)
    mine = next((file for file in backups.index.of(location) if file.filename == filename), None)
    if mine is None:
        return None
    if mine.head is None or not same_backup(mine.head, head):
        raise _taken(location, filename)
    return mine.state


def _taken(location: str, filename: str) -> FilenameTaken:
    return FilenameTaken(f"There is a file {filename} in {location} already, and it stays", filename=filename)


@step("backups.take_in/1")
class TakeIn(Step):
    """Give an uploaded backup its name among the others."""

    slug: str
    location: str
    unfinished: str
    filename: str

    async def do(self, run: Run, backups: KeptBackups) -> None:
        folder = await backups.places.folder(self.location)
        assert folder is not None, "uploads go to folders"
        head = await looked_at(backups.places, folder, self.unfinished)
        state = await replaced(backups, head, self.location, self.filename)
        replaces = None if state is None else WrittenFile(**asdict(state))
        try:
            named = await name_archive(folder.path / self.unfinished, self.filename, replaces)
        except ArchiveExists:
            raise _taken(self.location, self.filename) from None
        await backups.index.add(self.location, self.filename, FileState(**asdict(named)), head)


@step("backups.store_upload/1")
class StoreUpload(Step):
    """Take what was uploaded into a place that keeps no files, part by part."""

    slug: str
    location: str
    folder: str
    """The folder that the file was received in."""
    unfinished: str
    interruptible = True

    async def before(self, backups: KeptBackups) -> bool:
        """Whether it is there already."""
        return await _is_there(backups, self.slug, self.location)

    async def do(self, run: Run, backups: KeptBackups) -> None:
        """Store it; there is no backup in the place before all of it is."""
        if run.before(bool):
            return
        place, folder = await backups.places.require(self.location), await backups.places.folder(self.folder)
        assert folder is not None and not isinstance(place, ArchiveFolder), "a file goes into what keeps none"
        data = backups.kernel.data.path
        scratch = (await passing_folder(backups.kernel) / secrets.token_hex(8)).relative_to(data)
        async with (
            backups.places.archives.reader(folder.path, self.unfinished, None) as reader,
            place.writer(self.slug, None) as writer,
        ):
            await carry(reader, writer, data, str(scratch), run.progress)

    async def undo(self, was_there: bool, backups: KeptBackups) -> None:
        """Remove it, if it was taken in."""
        if not was_there and await _is_there(backups, self.slug, self.location):
            place = await backups.places.require(self.location)
            assert not isinstance(place, ArchiveFolder), "it keeps no files"
            await place.delete(self.slug)


async def _is_there(backups: KeptBackups, slug: str, location: str) -> bool:
    backup = await backups.catalogue.find(slug)
    return backup is not None and backup.at(location) is not None


@frozen(kw_only=True)
class UploadTargets:
    """Where an upload goes."""

    folders: tuple[str, ...]
    """The first takes the file; the others get copies of it."""
    others: tuple[str, ...]
    """Places that keep no files, such as vaults."""

    @property
    def received_in(self) -> str:
        """The folder that the file is written to as it comes."""
        return self.folders[0] if self.folders else LOCAL

    @classmethod
    async def of(cls, places: Places, keys: Sequence[str]) -> UploadTargets:
        """Tell them apart; raises as :meth:`~rooftree_backups.places.Places.require` where one can't be used."""
        folders = [key for key in keys if isinstance(await places.require(key), ArchiveFolder)]
        return cls(folders=tuple(folders), others=tuple(key for key in keys if key not in folders))


@job(
    "backup_manager_import_backup",
    reference="slug",
    locks=lambda slug, targets, unfinished, filename: {Lock("backup", slug)},
)
async def take_in(slug: str, targets: UploadTargets, unfinished: str, filename: str) -> Steps:
    """What can be taken back comes first."""
    stored = [StoreUpload(slug, other, targets.received_in, unfinished) for other in targets.others]
    if not targets.folders:
        return stored
    first, *further = targets.folders
    copies = [copies_to(slug, (first, filename), tuple(further), filename)] if further else []
    return [*stored, TakeIn(slug, first, unfinished, filename), *copies]


async def refuse_taken(backups: KeptBackups, head: BackupHead, targets: UploadTargets, filename: str) -> None:
    """Raise :class:`UploadRefused` or :class:`FilenameTaken` for what can't be taken in."""
    if targets.folders:
        await replaced(backups, head, targets.received_in, filename)
    else:
        await _refuse_another(backups, head)
    if targets.others and head.protected:
        raise UploadRefused(
            f"location: {targets.others[0]} takes in what is in a backup, and this one is encrypted: upload it to the "
            "data folder, and have it taken in with its password (rooftree vault import)"
        )


async def _refuse_another(backups: KeptBackups, head: BackupHead) -> None:
    known = await backups.catalogue.find(head.slug)
    if known is not None and not same_backup(known.head, head):
        raise UploadRefused(f"There is another backup {head.slug} already; remove that first")

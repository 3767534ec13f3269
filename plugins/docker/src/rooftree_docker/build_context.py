"""A folder as the tar stream that the engine's builder wants.

The folder is opened once, and everything in it from there; no link is followed but a Dockerfile's that stays in the
folder, and nothing but regular files is read. The Dockerfile is read before anything is sent, and those very bytes are
sent: what was looked at is what is built. The archive is written by a thread into a pipe and read from there as the
engine takes it, so neither it nor a file is ever whole in memory. Symbolic links stay links, and what ``.dockerignore``
names stays at home.
"""

from __future__ import annotations

import asyncio
import io
import os
import stat
import tarfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import BinaryIO, Final, override

from attrs import field, frozen

from rooftree.errors import Invalid
from rooftree.interfaces.containers import BuildFailed
from rooftree_docker.ignore_rules import LARGEST_FILE_BYTES, IgnoreRules
from rooftree_docker.image_reference import ImageReference
from rooftree_files import (
    Entry,
    Folder,
    FolderMissing,
    PathRefused,
    TreeChanged,
    TreeLimits,
    TreeTooLarge,
    printable,
    walk,
)
from rooftree_files.dockerfile import read_dockerfile, words_of_from

LARGEST_CONTEXT_BYTES: Final = 2 * 1024**3
MOST_ENTRIES: Final = 200_000
"""That are looked at."""
LONGEST_PATH_BYTES: Final = 4095
"""The engine could not unpack a longer one (PATH_MAX, path_resolution(7))."""
LOOKING_S: Final = 120.0
"""Seconds that a look through the folder may take, before anything is sent."""

_DEEPEST: Final = LONGEST_PATH_BYTES // 2
_BLOCK_BYTES: Final = 256 * 1024
_IGNORE_FILE: Final = ".dockerignore"


@frozen
class BuildContext:
    """A folder to build from, open, with the file that tells how."""

    folder: Folder = field(repr=False)
    dockerfile: str
    """Its path below the folder."""
    instructions: bytes = field(repr=False)
    """What the Dockerfile says."""
    _rules: IgnoreRules = field(repr=False)

    @property
    def text(self) -> str:
        return self.instructions.decode(errors="replace")


@asynccontextmanager
async def build_context(open_folder: Callable[[], Folder], dockerfile: str) -> AsyncIterator[BuildContext]:
    """Open a folder and read how it is to be built. Raises :class:`BuildFailed` for one that nothing can be built from.

    :param open_folder: opens it; called in a thread
    :param dockerfile: its path below the folder; it is sent even where ``.dockerignore`` names it
    """
    context = await asyncio.to_thread(_opened, open_folder, dockerfile)
    try:
        yield context
    finally:
        context.folder.close()


@asynccontextmanager
async def tar_stream(context: BuildContext) -> AsyncIterator[AsyncIterator[bytes]]:
    """The folder's archive in blocks. Raises :class:`BuildFailed` for a folder that cannot be sent."""
    await asyncio.to_thread(_look_through, context)
    reading, writing = os.pipe()
    is_over = threading.Event()
    archive = asyncio.create_task(asyncio.to_thread(_write_archive, context, writing, is_over), name="build context")
    reader = asyncio.StreamReader(limit=_BLOCK_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
    )
    try:
        yield _blocks(reader, archive)
    finally:
        is_over.set()
        transport.close()  # closes the pipe, which ends a thread that is still writing
        with suppress(OSError, BuildFailed):  # the reader has seen it, or has its own reason to stop
            await asyncio.shield(archive)


def base_images(dockerfile: str, arguments: Mapping[str, str]) -> set[ImageReference]:
    """The images a build may start from, to know at which registries it needs a login."""
    images = set()
    for word in (*words_of_from(dockerfile), *arguments.values()):
        with suppress(Invalid):  # a variable, or an argument that is no image
            images.add(ImageReference.parse(word))
    return images


def _opened(open_folder: Callable[[], Folder], dockerfile: str) -> BuildContext:
    try:
        folder = open_folder()
    except (FolderMissing, FileNotFoundError, NotADirectoryError, PathRefused) as error:
        raise BuildFailed(f"There is no folder to build from: {error}") from None
    try:
        instructions = read_dockerfile(folder, dockerfile)
        if instructions is None:
            raise BuildFailed(f"There is no {dockerfile} in {folder.name} to build from.")
        rules = IgnoreRules.parse(_ignored(folder).decode(errors="surrogateescape"), [dockerfile, _IGNORE_FILE])
    except PathRefused as error:
        folder.close()
        raise BuildFailed(f"{folder.name} cannot be built from: {error}.") from None
    except BaseException:
        folder.close()
        raise
    return BuildContext(folder, dockerfile, instructions, rules)


def _ignored(folder: Folder) -> bytes:
    try:
        return folder.read(_IGNORE_FILE, LARGEST_FILE_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise BuildFailed(f"{_IGNORE_FILE} in {folder.name} cannot be read: {error.strerror}.") from error


def _look_through(context: BuildContext) -> None:
    """Refuse a folder that is too large, before anything is sent."""
    deadline = time.monotonic() + LOOKING_S

    def check_time() -> None:
        if time.monotonic() > deadline:
            raise BuildFailed(f"To look through {context.folder.name} takes more than {LOOKING_S:g} s. {_ADVICE}")

    for _ in _entries(context, check_time):
        pass


_ADVICE: Final = f"Name what the build does not need in its {_IGNORE_FILE}."


def _entries(context: BuildContext, check: Callable[[], None]) -> Iterator[Entry]:
    """What is sent, as long as it is not too much: it is counted each time, for it may grow meanwhile.

    :param check: called for each thing in the folder; what it raises ends the walk
    """
    name = context.folder.name
    rules = context._rules
    places = [rules.root]
    too_large = BuildFailed(
        f"The folder {name} is too large to build from: more than {LARGEST_CONTEXT_BYTES // 1024**2} MiB or "
        f"{MOST_ENTRIES} files. {_ADVICE}"
    )

    def is_wanted(_: Entry) -> bool:
        return not places[-1].is_final

    size = 0
    try:
        for entry in walk(context.folder, TreeLimits(entries=MOST_ENTRIES, depth=_DEEPEST), enter=is_wanted):
            check()
            del places[entry.depth + 1 :]
            place = rules.below(places[-1], entry.name)
            if entry.is_folder:
                places.append(place)
            if place.left_out:
                continue
            size += entry.status.st_size if stat.S_ISREG(entry.status.st_mode) else 0
            if size > LARGEST_CONTEXT_BYTES:
                raise too_large
            if len(os.fsencode(entry.path)) > LONGEST_PATH_BYTES:
                raise BuildFailed(f"The folder {name} has paths of more than {LONGEST_PATH_BYTES} bytes. {_ADVICE}")
            yield entry
    except TreeTooLarge as error:
        raise BuildFailed(f"{too_large} It {error.reason}.") from None
    except (PathRefused, TreeChanged) as error:
        raise BuildFailed(f"The folder {name} cannot be built from: {error}. {_ADVICE}") from None
    except OSError as error:
        raise BuildFailed(f"The folder {name} cannot be read: {error.strerror or error}.") from error


def _write_archive(context: BuildContext, writing: int, is_over: threading.Event) -> None:
    def check_reader() -> None:
        if is_over.is_set():
            raise BuildFailed("Nobody reads the archive any more.")

    with (
        os.fdopen(writing, "wb", buffering=0) as pipe,
        tarfile.open(
            fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_BLOCK_BYTES
        ) as archive,  # ours: a pipe
    ):
        for entry in _entries(context, check_reader):
            path = entry.path
            if path != context.dockerfile:
                _add(archive, entry, path)
        # Last, so that nothing that came into the folder meanwhile is unpacked in its place.
        member = tarfile.TarInfo(context.dockerfile)
        member.size = len(context.instructions)
        archive.addfile(member, io.BytesIO(context.instructions))


def _add(archive: tarfile.TarFile, entry: Entry, path: str) -> None:
    # Owners stay at home: inside an image everything belongs to root unless the Dockerfile says otherwise.
    member = tarfile.TarInfo(path)
    member.mode = stat.S_IMODE(entry.status.st_mode)
    member.mtime = int(entry.status.st_mtime)
    if stat.S_ISDIR(entry.status.st_mode):
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
    elif stat.S_ISLNK(entry.status.st_mode):
        member.type = tarfile.SYMTYPE
        try:
            member.linkname = os.readlink(entry.name, dir_fd=entry.folder)
        except OSError:
            raise _replaced(path) from None
        archive.addfile(member)
    elif stat.S_ISREG(entry.status.st_mode):
        member.size = entry.status.st_size  # what was counted: a file that has grown meanwhile is cut there
        try:
            opened = Folder(entry.folder, path).open_file(entry.name)
        except (OSError, PathRefused):
            raise _replaced(path) from None
        with os.fdopen(opened, "rb") as file:
            archive.addfile(member, _Whole(file, path, member.size))


def _replaced(path: str) -> BuildFailed:
    return BuildFailed(f"{printable(path)} was replaced while the build read its folder. Try again.")


class _Whole(io.RawIOBase):
    """A file that must not end before it has given what its entry in the archive says."""

    def __init__(self, file: BinaryIO, path: str, size: int) -> None:
        self._file = file
        self._path = path
        self._missing = size

    @override
    def read(self, size: int = -1, /) -> bytes:
        try:
            block = self._file.read(size)
        except OSError as error:
            raise BuildFailed(f"{printable(self._path)} cannot be read: {error.strerror}.") from error
        self._missing -= len(block)
        if len(block) < size and self._missing > 0:
            raise _replaced(self._path)
        return block


async def _blocks(reader: asyncio.StreamReader, archive: asyncio.Task[None]) -> AsyncIterator[bytes]:
    while block := await reader.read(_BLOCK_BYTES):
        yield block
    await archive  # an archive that broke off must not look like a whole one

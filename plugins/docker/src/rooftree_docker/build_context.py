"""A folder as the tar stream that the engine's builder wants.

Written by a thread into a pipe and read from there as the engine takes it, so neither the archive nor a file is ever
whole in memory. Symbolic links stay links, nothing outside the folder is followed, and what ``.dockerignore`` names
stays at home.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final

from attrs import frozen

from rooftree.errors import Invalid
from rooftree.interfaces.containers import BuildFailed
from rooftree_docker.image_reference import ImageReference

LARGEST_CONTEXT_BYTES: Final = 2 * 1024**3
MOST_ENTRIES: Final = 200_000

_BLOCK_BYTES: Final = 256 * 1024
_LARGEST_DOCKERFILE_BYTES: Final = 1024 * 1024
_FROM: Final = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE | re.MULTILINE)


@frozen
class IgnoreRules:
    """The patterns of a ``.dockerignore`` file; the last one that matches decides."""

    rules: tuple[tuple[re.Pattern[str], bool], ...] = ()
    """Pattern, and whether it leaves out (or, with ``!``, takes back in)."""
    always_sent: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str, always_sent: frozenset[str] = frozenset()) -> IgnoreRules:
        """Read the file's lines."""
        rules = []
        for line in text.splitlines():
            word = line.strip()
            if not word or word.startswith("#"):
                continue
            leaves_out = not word.startswith("!")
            pattern = str(PurePosixPath(word.removeprefix("!").strip().strip("/")))
            if pattern != ".":
                rules.append((re.compile(_expression(pattern), re.DOTALL), leaves_out))
        return cls(tuple(rules), always_sent)

    def leave_out(self, path: str) -> bool:
        """Whether ``path``, relative to the folder, stays at home: by itself or with a folder above it."""
        if path in self.always_sent:
            return False
        left_out = False
        for pattern, leaves_out in self.rules:
            if pattern.fullmatch(path):
                left_out = leaves_out
        return left_out

    def prune(self, folder: str) -> bool:
        """Whether nothing below ``folder`` can be wanted."""
        if not self.leave_out(folder) or not all(leaves_out for _, leaves_out in self.rules):
            return False
        return not any(kept.startswith(folder + "/") for kept in self.always_sent)


@asynccontextmanager
async def tar_stream(folder: Path, dockerfile: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """The folder's archive in blocks. Raises :class:`BuildFailed` for a folder that cannot be sent.

    :param dockerfile: its path below the folder; it is sent even where ``.dockerignore`` names it
    """
    rules = await asyncio.to_thread(_prepare, folder, str(PurePosixPath(dockerfile)))
    reading, writing = os.pipe()
    archive = asyncio.create_task(asyncio.to_thread(_write_archive, folder, rules, writing), name="build context")
    reader = asyncio.StreamReader(limit=_BLOCK_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
    )
    try:
        yield _blocks(reader, archive)
    finally:
        transport.close()  # closes the pipe, which ends a thread that is still writing
        with suppress(OSError, BuildFailed):  # the reader has seen it, or has its own reason to stop
            await asyncio.shield(archive)


async def read_dockerfile(folder: Path, dockerfile: str) -> str:
    """The text of a Dockerfile. Raises :class:`BuildFailed` when there is none inside the folder."""

    def read() -> str:
        path = (folder / dockerfile).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise BuildFailed(f"There is no {dockerfile} in {folder} to build from.")
        with path.open("rb") as file:
            return file.read(_LARGEST_DOCKERFILE_BYTES).decode(errors="replace")

    return await asyncio.to_thread(read)


def base_images(dockerfile: str, arguments: Mapping[str, str]) -> set[ImageReference]:
    """The images a build may start from, to know at which registries it needs a login."""
    found = set()
    for word in (*_FROM.findall(dockerfile), *arguments.values()):
        with suppress(Invalid):  # a variable, or an argument that is no image
            found.add(ImageReference.parse(word))
    return found


@frozen
class _Entry:
    """Something in the folder, to be opened relative to the folder it lies in: no path is looked up twice."""

    path: str
    name: str
    directory: int
    status: os.stat_result


def _prepare(folder: Path, dockerfile: str) -> IgnoreRules:
    """Read the rules and refuse a folder that is too large, before anything is sent."""
    if not folder.is_dir():
        raise BuildFailed(f"There is no folder {folder} to build from.")
    always_sent = frozenset({dockerfile, ".dockerignore"})
    try:
        text = (folder / ".dockerignore").read_text(errors="replace")
    except FileNotFoundError:
        text = ""
    rules = IgnoreRules.parse(text, always_sent)
    size = 0
    for count, entry in enumerate(_walk(folder, rules)):
        size += entry.status.st_size
        if size > LARGEST_CONTEXT_BYTES or count >= MOST_ENTRIES:
            raise BuildFailed(
                f"The folder {folder} is too large to build from: more than {LARGEST_CONTEXT_BYTES // 1024**2} MiB or "
                f"{MOST_ENTRIES} files. Name what the build does not need in its .dockerignore."
            )
    return rules


def _walk(folder: Path, rules: IgnoreRules) -> Iterator[_Entry]:
    for root, directories, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        above = "" if Path(root) == folder else f"{Path(root).relative_to(folder)}/"
        directories[:] = [name for name in sorted(directories) if not rules.prune(above + name)]
        for name in (*directories, *sorted(files)):
            if not rules.leave_out(above + name):
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                yield _Entry(above + name, name, descriptor, status)


def _write_archive(folder: Path, rules: IgnoreRules, writing: int) -> None:
    with (
        os.fdopen(writing, "wb", buffering=0) as pipe,
        tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_BLOCK_BYTES) as archive,
    ):
        for entry in _walk(folder, rules):
            _add(archive, entry)


def _add(archive: tarfile.TarFile, entry: _Entry) -> None:
    # Owners stay at home: inside an image everything belongs to root unless the Dockerfile says otherwise.
    member = tarfile.TarInfo(entry.path)
    member.mode = stat.S_IMODE(entry.status.st_mode)
    member.mtime = int(entry.status.st_mtime)
    if stat.S_ISDIR(entry.status.st_mode):
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
    elif stat.S_ISLNK(entry.status.st_mode):
        member.type = tarfile.SYMTYPE
        member.linkname = os.readlink(entry.name, dir_fd=entry.directory)
        archive.addfile(member)
    elif stat.S_ISREG(entry.status.st_mode):
        # Not following links and not waiting: it may have been replaced by a link or a pipe since it was looked at.
        opened = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=entry.directory)
        with os.fdopen(opened, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BuildFailed(f"{entry.path} was replaced while the build read its folder. Try again.")
            member.size = status.st_size
            archive.addfile(member, file)


async def _blocks(reader: asyncio.StreamReader, archive: asyncio.Task[None]) -> AsyncIterator[bytes]:
    while block := await reader.read(_BLOCK_BYTES):
        yield block
    await archive  # an archive that broke off must not look like a whole one


def _expression(pattern: str) -> str:
    """The regular expression of a ``.dockerignore`` pattern, which also covers everything below what it names."""
    written, at = "", 0
    while at < len(pattern):
        rest = pattern[at:]
        if rest.startswith("**/"):
            written, at = written + "(?:.*/)?", at + 3
        elif rest.startswith("**"):
            written, at = written + ".*", at + 2
        elif rest[0] == "*":
            written, at = written + "[^/]*", at + 1
        elif rest[0] == "?":
            written, at = written + "[^/]", at + 1
        elif rest[0] == "[" and (choice := re.match(r"\[(\^?)([^\]]+)\]", rest)):
            written, at = written + f"[{choice[1]}{re.escape(choice[2]).replace(r'\-', '-')}]", at + choice.end()
        elif rest[0] == "\\" and len(rest) > 1:
            written, at = written + re.escape(rest[1]), at + 2
        else:
            written, at = written + re.escape(rest[0]), at + 1
    return written + "(?:/.*)?"

"""The driver for restic: https://restic.readthedocs.io, its repository format version 1 and 2.

restic locks a repository by itself; what a kill leaves of its locks is taken away before anybody needs the repository
for themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from rooftree import Invalid, NotFound, RooftreeError
from rooftree.interfaces.backups import Progress
from rooftree.interfaces.vaults import (
    Omission,
    Snapshot,
    SnapshotRequest,
    StoreDocument,
    StoredSnapshot,
    VaultAccess,
    VaultDriver,
    VaultEntry,
    VaultRefused,
)
from rooftree_backups_vault.restic_process import content, output, running, told

log = structlog.get_logger(__name__)

HOST: Final = "rooftree"
"""Under which all is stored: restic finds the snapshot before by the host's name, which may change."""
SCHEMES: Final = ("sftp", "s3", "rest", "b2", "azure", "gs", "swift")
"""What restic reaches by itself. Without ``rclone``, whose configuration would be a program to run."""
PATIENCE: Final = timedelta(minutes=2)
"""For what takes a moment wherever the vault can be reached."""
MOST_CHARACTERS: Final = 1000
"""Of an address."""
LOCKS_S: Final = 20.0
"""Seconds within which a restic that is to wait has its lock, over a slow line too; else all begins a little early."""
_SPECIAL: Final = frozenset("\\*?[")
_TYPES: Final[dict[str, Any]] = {"file": "file", "dir": "folder", "symlink": "link"}


class Restic(VaultDriver):
    """Vaults kept by restic."""

    name = "restic"

    def refuse_repository(self, repository: str) -> None:
        scheme = repository.partition(":")[0]
        if scheme not in SCHEMES or not _is_printed(repository) or _is_option(repository):
            raise Invalid(
                f"restic has no place {repository[:100]!r}: allowed are addresses that begin with "
                f"{', '.join(f'{scheme}:' for scheme in SCHEMES)}, such as sftp:user@host:/folder"
            )

    async def create(self, vault: VaultAccess) -> None:
        await output(vault, "init", within=PATIENCE)

    async def open(self, vault: VaultAccess) -> None:
        await output(vault, "cat", "config", "--no-lock", within=PATIENCE)

    async def snapshots(self, vault: VaultAccess, tag: str) -> Sequence[Snapshot]:
        said = await output(
            vault, "snapshots", "--json", "--no-lock", "--tag", tag, within=PATIENCE, left_out=b"load snapshot"
        )
        listed = orjson.loads(said) or []
        return [
            Snapshot(id=item["id"], time=datetime.fromisoformat(item["time"]), tags=tuple(item.get("tags") or ()))
            for item in listed
        ]

    async def store(self, vault: VaultAccess, request: SnapshotRequest, progress: Progress) -> StoredSnapshot:
        patterns = [_pattern(request.base, omission) for omission in request.omissions]
        omitted = [part for pattern in patterns for part in ("--exclude", pattern)]
        options = (*_backup(request.tags), "--one-file-system", *omitted, "--", *request.paths)
        async with running(vault, *options, folder=request.base) as lines:
            summary = await _summary(lines, progress)
        return _stored(summary)

    @asynccontextmanager
    async def document(self, vault: VaultAccess, name: str, tags: Sequence[str]) -> AsyncIterator[StoreDocument]:
        """One restic waits for the content, and has its lock when the block begins: one that looks at the locks while
        another takes its own away asks for that for three quarters of a minute. Where it fails, or takes longer than
        :data:`LOCKS_S`, the block begins all the same."""
        options = (*_backup(tags), "--stdin", "--stdin-filename", name)
        wanted: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        locked = asyncio.Event()
        storing = asyncio.create_task(_document(vault, options, wanted, locked), name="store a document in a vault")
        storing.add_done_callback(lambda _: locked.set())

        async def store(content: bytes) -> StoredSnapshot:
            if not wanted.done():
                wanted.set_result(content)
            try:
                return await storing
            except RooftreeError as error:  # whatever befell it while it waited, the vault may be there now
                log.warning("vault_head_tried_again", reason=error.message)
                return await _document(vault, options, _ready(content), locked)

        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOCKS_S):
                    await locked.wait()
            yield store
        finally:
            storing.cancel()
            await asyncio.gather(storing, return_exceptions=True)

    async def restore(self, vault: VaultAccess, snapshot: str, paths: Sequence[str], into: Path) -> None:
        wanted = [part for path in paths for part in ("--include", _escaped(f"/{path}"))]
        await output(vault, "restore", snapshot, "--verify", "--no-lock", *wanted, "--target", str(into))

    async def entries(self, vault: VaultAccess, snapshot: str, path: str) -> Sequence[VaultEntry]:
        wanted = f"/{path}".rstrip("/")
        listed: list[VaultEntry] = []
        is_there = not wanted
        async with running(vault, "ls", "--json", "--no-lock", snapshot, wanted or "/") as lines:
            async for line in lines:
                node = orjson.loads(line)
                if node.get("struct_type") != "node":
                    continue
                is_there |= node["path"] == wanted
                if node["path"] == f"{wanted}/{node['name']}":
                    listed.append(_entry(node))
        if not is_there:
            raise NotFound(f"There is no folder {wanted} in the backup")
        return listed

    async def content(self, vault: VaultAccess, snapshot: str, path: str) -> AsyncGenerator[bytes]:
        above, _, name = path.rpartition("/")
        entry = next((entry for entry in await self.entries(vault, snapshot, above) if entry.name == name), None)
        if entry is None or entry.type != "file":
            raise NotFound(f"There is no file /{path} in the backup")
        async with content(vault, "dump", "--no-lock", snapshot, f"/{path}") as pieces:
            async for piece in pieces:
                yield piece

    async def forget(self, vault: VaultAccess, snapshots: Sequence[str]) -> None:
        if snapshots:
            await output(vault, "unlock", within=PATIENCE)
            await output(vault, "forget", "--", *snapshots)

    async def prune(self, vault: VaultAccess) -> None:
        await output(vault, "unlock", within=PATIENCE)
        await output(vault, "prune")
        await output(vault, "check")

    def by_hand(self, vault: VaultAccess) -> str:
        variables = "".join(f"export {name}=…\n" for name in vault.environment)
        return (
            "Install restic (https://restic.net; Debian's package is called restic), then:\n\n"
            f"{variables}export RESTIC_REPOSITORY='{vault.repository}'\n"
            "export RESTIC_PASSWORD='the key above'\n"
            "restic snapshots                 # what is there\n"
            "restic restore ID --target DIR   # brings one back below the folder DIR\n"
        )


def _backup(tags: Sequence[str]) -> Sequence[str]:
    return ("backup", "--json", "--host", HOST, *(part for tag in tags for part in ("--tag", tag)))


async def _ready(content: bytes) -> bytes:
    return content


async def _document(
    vault: VaultAccess, options: Sequence[str], content: Awaitable[bytes], locked: asyncio.Event
) -> StoredSnapshot:
    """:param locked: set once restic has its lock: it says nothing of its progress before"""
    async with told(vault, content, *options) as lines:
        summary = await _summary(lines, lambda done, total: locked.set())
    return _stored(summary)


async def _summary(lines: AsyncIterator[bytes], progress: Progress) -> dict[str, Any] | None:
    """What a ``restic backup`` says in the end."""
    summary: dict[str, Any] | None = None
    async for line in lines:
        message = orjson.loads(line)
        if message.get("message_type") == "status":
            progress(message.get("bytes_done", 0), message.get("total_bytes", 0))
        elif message.get("message_type") == "summary":
            summary = message
    return summary


def _stored(summary: dict[str, Any] | None) -> StoredSnapshot:
    """What it has stored; raises :class:`VaultRefused` where it ended without a word."""
    if summary is None:
        raise VaultRefused("restic ended without a word of what it had stored")
    return StoredSnapshot(
        id=summary["snapshot_id"],
        total_bytes=summary["total_bytes_processed"],
        added_bytes=summary["data_added"],
    )


def _is_option(repository: str) -> bool:
    """Whether a part of the address could be taken for an option of ssh, as in CVE-2017-1000117."""
    return any(part.startswith("-") for part in repository.replace("@", ":").replace("/", ":").split(":"))


def _is_printed(repository: str) -> bool:
    """Whether it is of ASCII's printable letters without a blank, and not endless."""
    return len(repository) <= MOST_CHARACTERS and all("!" <= letter <= "~" for letter in repository)


def _pattern(base: Path, omission: Omission) -> str:
    """An omission in restic's own words: patterns without a slash in front hit anywhere, as the end of a path; others
    are whole paths, with ``**`` for any number of levels (https://restic.readthedocs.io, "Excluding Files")."""
    if omission.matching == "tail":
        return f"\\{omission.pattern}" if omission.pattern.startswith("!") else omission.pattern
    folder = _escaped(str(base / omission.folder))
    inside = _escaped(omission.pattern) if omission.matching == "exact" else omission.pattern
    return f"{folder}/{inside}"


def _escaped(path: str) -> str:
    """A path as a pattern that matches it alone."""
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in path)


def _entry(node: dict[str, Any]) -> VaultEntry:
    return VaultEntry(
        name=node["name"],
        type=_TYPES.get(node["type"], "other"),
        size_bytes=node.get("size", 0),
        modified=datetime.fromisoformat(node["mtime"]),
    )

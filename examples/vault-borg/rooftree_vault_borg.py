"""Vaults kept by BorgBackup 1.2 (https://borgbackup.readthedocs.io), for Rooftree.

A snapshot is an archive, its id is the archive's name, and its tags are words in the archive's comment. borg locks a
repository for whoever writes: others wait for their turn.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from attrs import define, field, frozen
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
    VaultExists,
    VaultLocked,
    VaultMissing,
    VaultRefused,
    VaultUnreachable,
)
from rooftree_workers import child_process

WAIT_S: Final = 6 * 3600
"""For a lock: as long as the longest backup may take that somebody else is making."""
REASONS: Final[Mapping[str, type[RooftreeError]]] = {
    "PassphraseWrong": VaultLocked,
    "Repository.AlreadyExists": VaultExists,
    "Repository.DoesNotExist": VaultMissing,
    "Repository.InvalidRepository": VaultMissing,
    "Repository.ParentPathDoesNotExist": VaultMissing,
    "ConnectionClosed": VaultUnreachable,
    "ConnectionClosedWithHint": VaultUnreachable,
    "LockTimeout": VaultUnreachable,
}
"""borg's names for what went wrong ("Message IDs" in its manual)."""
HARMLESS: Final = ("file changed while we backed it up", "never matched")
"""Warnings of what Rooftree expects, or looks at by itself."""
TYPES: Final[Mapping[str, Any]] = {"-": "file", "d": "folder", "l": "link"}


class Borg(VaultDriver):
    """Vaults kept by borg."""

    name = "borg"

    def refuse_repository(self, repository: str) -> None:
        is_plain = all("!" <= letter <= "~" for letter in repository) and "::" not in repository
        if (
            not repository.startswith("ssh://")
            or repository.startswith("ssh://-")
            or "@-" in repository
            or not is_plain
        ):
            raise Invalid(
                f"borg has no place {repository[:100]!r}: allowed are addresses such as ssh://user@host/./folder"
            )

    async def create(self, vault: VaultAccess) -> None:
        await run(vault, "init", "--encryption", "repokey-blake2", "--make-parent-dirs", vault.repository)

    async def open(self, vault: VaultAccess) -> None:
        await run(vault, "list", "--last", "1", vault.repository)

    async def snapshots(self, vault: VaultAccess, tag: str) -> Sequence[Snapshot]:
        said = json.loads(await run(vault, "list", "--json", "--format", "{comment}", vault.repository))
        return [
            Snapshot(id=archive["archive"], time=moment(archive["start"]), tags=tuple(archive["comment"].split()))
            for archive in said["archives"]
            if tag in archive["comment"].split()
        ]

    async def store(self, vault: VaultAccess, request: SnapshotRequest, progress: Progress) -> StoredSnapshot:
        left_out = [part for omission in request.omissions for part in ("--exclude", pattern(omission))]

        def tell(message: Mapping[str, Any]) -> None:
            if message["type"] == "archive_progress" and not message.get("finished"):
                progress(message["original_size"], 0)

        options = ("--one-file-system", "--progress", *left_out)
        return await create(vault, request.tags, options, request.paths, folder=request.base, tell=tell)

    @asynccontextmanager
    async def document(self, vault: VaultAccess, name: str, tags: Sequence[str]) -> AsyncIterator[StoreDocument]:
        """Nothing is got ready: borg begins quickly, and one that waited would keep the others waiting."""

        async def store(content: bytes) -> StoredSnapshot:
            return await create(vault, tags, ("--stdin-name", name), ("-",), content=content)

        yield store

    async def restore(self, vault: VaultAccess, snapshot: str, paths: Sequence[str], into: Path) -> None:
        """borg verifies each piece that it restores."""
        await asyncio.to_thread(into.mkdir, 0o700, True, True)
        wanted = [f"pp:{path}" for path in paths]
        await run(vault, "extract", "--numeric-ids", "--sparse", archive(vault, snapshot), *wanted, folder=into)

    async def entries(self, vault: VaultAccess, snapshot: str, path: str) -> Sequence[VaultEntry]:
        prefix = f"{path}/" if path else ""
        wanted = [f"pp:{path}"] if path else []
        said = await run(vault, "list", "--json-lines", archive(vault, snapshot), *wanted)
        items = [json.loads(line) for line in said.splitlines()]
        if path and not items:
            raise NotFound(f"There is no folder /{path} in the backup")
        below = [item for item in items if item["path"].startswith(prefix) and item["path"] != path]
        return [entry(item, prefix) for item in below if "/" not in item["path"].removeprefix(prefix)]

    async def content(self, vault: VaultAccess, snapshot: str, path: str) -> AsyncGenerator[bytes]:
        above, _, name = path.rpartition("/")
        if not any(entry.name == name and entry.type == "file" for entry in await self.entries(vault, snapshot, above)):
            raise NotFound(f"There is no file /{path} in the backup")
        async with borg(vault, "extract", "--stdout", archive(vault, snapshot), f"pp:{path}") as child:
            while piece := await child.output.read(256 * 1024):
                yield piece

    async def forget(self, vault: VaultAccess, snapshots: Sequence[str]) -> None:
        there = await run(vault, "list", "--short", vault.repository) if snapshots else b""
        if gone := set(snapshots) & set(there.decode().split()):
            await run(vault, "delete", vault.repository, *gone)

    async def prune(self, vault: VaultAccess) -> None:
        await run(vault, "compact", vault.repository)
        await run(vault, "check", vault.repository)

    def by_hand(self, vault: VaultAccess) -> str:
        return (
            "Install borg 1.2 or later (https://www.borgbackup.org; Debian's package is called borgbackup), then:\n\n"
            f"export BORG_REPO='{vault.repository}'\n"
            "export BORG_PASSPHRASE='the key above'\n"
            "borg list --format '{archive} {time} {comment}{NL}'   # what is there, with its tags\n"
            "borg extract ::ARCHIVE                                # brings one back below the current folder\n"
        )


def archive(vault: VaultAccess, name: str) -> str:
    return f"{vault.repository}::{name}"


def moment(text: str) -> datetime:
    """borg tells local times, and runs in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def entry(item: Mapping[str, Any], prefix: str) -> VaultEntry:
    return VaultEntry(
        name=item["path"].removeprefix(prefix),
        type=TYPES.get(item["type"], "other"),
        size_bytes=item["size"],
        modified=moment(item["mtime"]),
    )


def pattern(omission: Omission) -> str:
    """An omission in borg's words (``borg help patterns``). What is hit is left out with all that is in it."""
    folder = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in omission.folder)
    match omission.matching:
        case "exact":
            return f"pp:{omission.folder}/{omission.pattern}"
        case "whole":
            return f"sh:{folder}/{omission.pattern}"
        case "tail":
            return f"sh:{folder}/**/{omission.pattern}"


async def create(
    vault: VaultAccess, tags: Sequence[str], options: Sequence[str], paths: Sequence[str], **how: Any
) -> StoredSnapshot:
    """Make an archive, or none: borg also keeps one in which something lacks that it could not read."""
    name = uuid4().hex
    options = ("--json", "--comment", " ".join(tags), "--checkpoint-interval", str(10**9), *options)
    try:
        said = await run(vault, "create", *options, archive(vault, name), *paths, **how)
    except VaultRefused:
        await Borg().forget(vault, [name])
        raise
    stats = json.loads(said)["archive"]["stats"]
    return StoredSnapshot(id=name, total_bytes=stats["original_size"], added_bytes=stats["deduplicated_size"])


# --- the program ------------------------------------------------------------------------------------------------------


@define
class Child:
    """A borg that runs, and what it complains of."""

    output: asyncio.StreamReader
    complaints: list[Mapping[str, Any]] = field(factory=list)


def silent(_: Mapping[str, Any]) -> None:
    """For who wants no messages."""


async def run(vault: VaultAccess, *arguments: str, **how: Any) -> bytes:
    """Run borg; all that it says."""
    async with borg(vault, *arguments, **how) as child:
        return await child.output.read()


@asynccontextmanager
async def borg(
    vault: VaultAccess, *arguments: str, folder: Path | None = None, content: bytes | None = None,
    tell: Callable[[Mapping[str, Any]], None] = silent,
) -> AsyncIterator[Child]:  # fmt: skip
    """A borg that runs: it has ended well when the block ends, or what it complained of is raised.

    :param tell: called with its messages
    """
    command, *rest = arguments
    pipe = asyncio.subprocess.PIPE
    async with connection(vault) as ssh:
        try:
            async with child_process(
                "borg", command, "--log-json", "--lock-wait", str(WAIT_S), *rest, env=environment(vault, ssh.command),
                cwd=folder or "/", stdin=pipe if content is not None else asyncio.subprocess.DEVNULL,
                stdout=pipe, stderr=pipe, limit=2**22,
            ) as process:  # fmt: skip
                assert process.stdout is not None and process.stderr is not None
                child = Child(process.stdout)
                listening = asyncio.create_task(listen(process.stderr, child.complaints, tell))
                try:
                    if process.stdin is not None and content is not None:
                        process.stdin.write(content)
                        process.stdin.close()
                    yield child
                    await listening
                finally:
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)
                code = await process.wait()
            child.complaints += await asyncio.to_thread(ssh.complaints)
        except FileNotFoundError:
            raise VaultUnreachable("There is no borg on this machine; install it (package borgbackup)") from None
    if code:
        refuse(vault, child.complaints, is_error=code > 1)


async def listen(
    errors: asyncio.StreamReader, complaints: list[Mapping[str, Any]], tell: Callable[[Mapping[str, Any]], None]
) -> None:
    async for line in errors:
        try:
            message = json.loads(line)
        except ValueError:  # of Python, or of a library
            message = {"type": "log_message", "levelname": "ERROR", "message": line.decode(errors="replace").strip()}
        tell(message)
        if message["type"] == "log_message" and message["levelname"] in {"WARNING", "ERROR", "CRITICAL"}:
            complaints.append(message)
            del complaints[:-20]


def refuse(vault: VaultAccess, complaints: Sequence[Mapping[str, Any]], *, is_error: bool) -> None:
    """Raise what borg complained of, but for warnings that say nothing."""
    counting = [told for told in complaints if is_error or not any(word in told["message"] for word in HARMLESS)]
    if not counting:
        return
    kind = next((REASONS[told["msgid"]] for told in counting if told.get("msgid") in REASONS), VaultRefused)
    said = "; ".join(" ".join(told["message"].split()) for told in counting[-3:])
    raise kind(f"borg failed: {said.replace(vault.key.reveal(), '***')}")


def environment(vault: VaultAccess, ssh: str) -> Mapping[str, str]:
    """The key is here, where root alone can read it, and not among the arguments."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "BORG_BASE_DIR": str(vault.cache),
        "BORG_PASSPHRASE": vault.key.reveal(),
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "BORG_RSH": ssh,
    }


@frozen
class Ssh:
    """How borg reaches another machine."""

    command: str = "ssh"
    log: Path | None = None

    def complaints(self) -> list[Mapping[str, Any]]:
        """What ssh has said: it is all there when borg has ended because of it, unlike what borg passes on."""
        said = self.log.read_text(errors="replace").splitlines() if self.log and self.log.exists() else []
        return [{"message": line} for line in said]


@asynccontextmanager
async def connection(vault: VaultAccess) -> AsyncIterator[Ssh]:
    """ssh(1) with our key and known servers alone, for the length of a block."""
    if not vault.repository.startswith("ssh:"):
        yield Ssh()
        return
    with await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="rooftree-borg-") as folder:
        yield await asyncio.to_thread(prepared, vault, Path(folder))


def prepared(vault: VaultAccess, folder: Path) -> Ssh:
    (folder / "known_hosts").write_text(vault.ssh_hosts)
    log = folder / "log"
    options = ["-F", "/dev/null", "-E", str(log), "-oBatchMode=yes", "-oIdentitiesOnly=yes", "-oConnectTimeout=20",
               "-oStrictHostKeyChecking=yes", f"-oUserKnownHostsFile={folder / 'known_hosts'}"]  # fmt: skip
    if vault.ssh_key is not None:
        (folder / "key").touch(mode=0o600)
        (folder / "key").write_text(vault.ssh_key.reveal().strip() + "\n")
        options += ["-i", str(folder / "key")]
    return Ssh(shlex.join(("ssh", *options)), log)

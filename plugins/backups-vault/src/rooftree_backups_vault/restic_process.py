"""restic, as a child process that dies with the daemon or with the call that wanted it.

The key and credentials are in its environment, which only root can read, and never among its arguments. Nothing of the
operator's own restic configuration is used.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import tempfile
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from rooftree import RooftreeError
from rooftree.interfaces.vaults import (
    VaultAccess,
    VaultExists,
    VaultLocked,
    VaultMissing,
    VaultRefused,
    VaultUnreachable,
)
from rooftree_backups_vault import scratch
from rooftree_workers import child_process

PASSED_ON: Final = frozenset({"PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"})
LONGEST_LINE_BYTES: Final = 4 * 1024 * 1024
"""Of its JSON: a list of snapshots is one line."""
_MOST_COMPLAINT_BYTES: Final = 8 * 1024
_BLOCK_BYTES: Final = 256 * 1024
_SHORTEST_SECRET: Final = 3
"""Characters; to mask shorter ones would make nonsense of every sentence."""

_REASONS: Final[Sequence[tuple[str, type[RooftreeError], str]]] = (
    ("wrong password or no key found", VaultLocked, "The key does not open the vault"),
    ("config file already exists", VaultExists, "There is a vault at that place already; give its key to use it"),
    ("Is there a repository at the following location?", VaultMissing, "There is no vault at that place"),
    ("no space left on device", VaultRefused, "The vault's disk is full"),
    ("unable to open config file", VaultUnreachable, "The vault cannot be reached"),
    ("unable to create lock in backend", VaultUnreachable, "The vault cannot be locked"),
    ("Permission denied (publickey", VaultUnreachable, "The server does not accept the SSH key"),
    ("Host key verification failed", VaultUnreachable, "The server is none of those that are trusted"),
    ("unable to start the sftp session", VaultUnreachable, "The server cannot be reached over SSH"),
    ("connection refused", VaultUnreachable, "The vault's server does not answer"),
    ("no such host", VaultUnreachable, "The vault's server has no address"),
    ("i/o timeout", VaultUnreachable, "The vault's server does not answer in time"),
)
"""What restic says, in any case of letters, and what it means; the first that is in its complaint counts."""


async def output(vault: VaultAccess, *arguments: str, folder: Path | None = None) -> bytes:
    """Run restic for a short answer; all that it says."""
    async with running(vault, *arguments, folder=folder) as lines:
        return b"".join([line async for line in lines])


@asynccontextmanager
async def running(
    vault: VaultAccess, *arguments: str, folder: Path | None = None
) -> AsyncIterator[AsyncIterator[bytes]]:
    """A restic that runs, line by line; it has ended well when the block ends, or what it complained of is raised.

    :param folder: where it runs: paths that it is given are relative to that
    """
    async with _process(vault, arguments, folder) as child:
        assert child.stdout is not None  # for type checkers: it is a pipe
        yield _lines(child.stdout)


@asynccontextmanager
async def told(vault: VaultAccess, content: Awaitable[bytes], *arguments: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """A restic that runs and reads its standard input, line by line; it may begin long before it is told anything."""
    async with _process(vault, arguments, None, stdin=asyncio.subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdin is not None  # for type checkers: they are pipes
        telling = asyncio.create_task(_tell(child.stdin, content), name="tell restic a content")
        try:
            yield _lines(child.stdout)
        finally:
            telling.cancel()
            await asyncio.wait({telling})


async def _tell(input: asyncio.StreamWriter, content: Awaitable[bytes]) -> None:
    input.write(await content)
    with suppress(ConnectionError):  # it has ended, and says why elsewhere
        await input.drain()
    input.close()


@asynccontextmanager
async def content(vault: VaultAccess, *arguments: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """A restic that runs, in pieces of what it says."""
    async with _process(vault, arguments, None) as child:
        assert child.stdout is not None  # for type checkers: it is a pipe
        yield _pieces(child.stdout)


@asynccontextmanager
async def _process(
    vault: VaultAccess, arguments: Sequence[str], folder: Path | None, *, stdin: int = asyncio.subprocess.DEVNULL
) -> AsyncIterator[asyncio.subprocess.Process]:
    async with _ssh_options(vault) as options:
        environment = await asyncio.to_thread(_environment, vault)
        try:
            async with child_process(
                "restic", *options, *arguments, env=environment, cwd=folder or "/", stdin=stdin,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=LONGEST_LINE_BYTES,
            ) as child:  # fmt: skip
                assert child.stderr is not None  # for type checkers: it is a pipe
                complaint = asyncio.create_task(_end_of(child.stderr), name="read restic's complaint")
                try:
                    yield child
                    errors = await complaint
                finally:
                    complaint.cancel()
                    await asyncio.wait({complaint})
                await child.wait()
        except FileNotFoundError:
            raise VaultUnreachable(
                "There is no restic on this machine; install it (the package is called restic)"
            ) from None
    if child.returncode:
        raise reason(vault, errors.decode(errors="replace"))


async def _lines(output: asyncio.StreamReader) -> AsyncIterator[bytes]:
    try:
        while line := await output.readline():
            yield line
    except ValueError:  # the reader's word for a line beyond its limit
        raise VaultRefused(f"restic has said more than {LONGEST_LINE_BYTES // 1024**2} MiB in a line") from None


async def _pieces(output: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await output.read(_BLOCK_BYTES):
        yield piece


async def _end_of(errors: asyncio.StreamReader) -> bytes:
    text = bytearray()
    while block := await errors.read(_MOST_COMPLAINT_BYTES):
        text += block
        del text[:-_MOST_COMPLAINT_BYTES]
    return bytes(text)


def reason(vault: VaultAccess, complaint: str) -> RooftreeError:
    """restic's complaint as one of our errors, without what only the vault may know."""
    lowered = complaint.lower()
    for secret in (vault.key, *vault.environment.values()):
        for form in (text := secret.reveal(), quote(text, safe="")):
            complaint = complaint.replace(form, "***") if len(form) >= _SHORTEST_SECRET else complaint
    complaint = complaint.replace(vault.repository, "the vault")  # may have a login in it
    lines = [line.removeprefix("Fatal: ").strip() for line in complaint.splitlines() if line.strip()]
    said = "".join(letter if letter.isprintable() else "�" for letter in "; ".join(lines[-3:]))
    for words, kind, meaning in _REASONS:
        if words.lower() in lowered:
            return kind(f"{meaning}: {said}")
    return VaultRefused(f"restic failed: {said or 'it said nothing'}")


def _environment(vault: VaultAccess) -> dict[str, str]:
    scratch.made(vault.cache)
    passed = {name: value for name, value in os.environ.items() if name.upper() in PASSED_ON}
    return {
        **passed,
        **{name: secret.reveal() for name, secret in vault.environment.items()},
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "RESTIC_CACHE_DIR": str(vault.cache),
        "RESTIC_PASSWORD": vault.key.reveal(),
        "RESTIC_PROGRESS_FPS": "2",
        "RESTIC_REPOSITORY": vault.repository,
    }


@asynccontextmanager
async def _ssh_options(vault: VaultAccess) -> AsyncIterator[Sequence[str]]:
    """The options that have restic reach a server over SSH as we want it; the files that they name go afterwards."""
    if not vault.repository.startswith("sftp:"):
        yield ()
        return
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="rooftree-vault-"))  # ours: nobody else may enter
    try:
        command = await asyncio.to_thread(_ssh_command, vault, folder)
        yield ("-o", f"sftp.command={shlex.join(command)}")
    finally:
        await asyncio.to_thread(scratch.remove, folder)


def _ssh_command(vault: VaultAccess, folder: Path) -> Sequence[str]:
    """ssh(1) with our key and known servers alone. Nothing is asked: who is not known is refused."""
    user_and_host, port = _ssh_server(vault.repository)
    known = folder / "known_hosts"
    scratch.write(known, vault.ssh_hosts.encode())
    key: Sequence[str] = ()
    if vault.ssh_key is not None:
        path = folder / "key"
        path.touch(mode=0o600)  # ours: in a folder of our own
        scratch.write(path, vault.ssh_key.reveal().strip().encode() + b"\n")
        key = ("-i", str(path))
    options = ("-F", "/dev/null", "-oBatchMode=yes", "-oIdentitiesOnly=yes", "-oStrictHostKeyChecking=yes",
               f"-oUserKnownHostsFile={known}", "-oConnectTimeout=20", "-oServerAliveInterval=20")  # fmt: skip
    return ("ssh", *options, *key, *(("-p", port) if port else ()), user_and_host, "-s", "sftp")


def _ssh_server(repository: str) -> tuple[str, str]:
    """User and host, and the port where there is one, of ``sftp:user@host:/path`` or ``sftp://user@host:port//path``."""
    rest = repository.removeprefix("sftp:")
    if not rest.startswith("//"):
        return rest.partition(":")[0], ""
    user_and_host, _, port = rest.removeprefix("//").partition("/")[0].partition(":")
    return user_and_host, port

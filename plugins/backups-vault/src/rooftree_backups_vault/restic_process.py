"""restic, as a child process that dies with the daemon or with the call that wanted it.

The key and credentials are in its environment, which only root can read, and never among its arguments. Nothing of the
operator's own restic configuration is used.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

from rooftree import RooftreeError, Secret
from rooftree.interfaces.vaults import (
    VaultAccess,
    VaultExists,
    VaultLocked,
    VaultMissing,
    VaultRefused,
    VaultUnreachable,
)
from rooftree_backups_vault import scratch
from rooftree_backups_vault.places import password_of, without_password
from rooftree_backups_vault.restic_reach import reach
from rooftree_workers import child_process

PASSED_ON: Final = frozenset({"PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"})
LONGEST_LINE_BYTES: Final = 4 * 1024 * 1024
"""Of its JSON: a list of snapshots is one line."""
CACHE_MARGIN_BYTES: Final = 64 * 1024 * 1024
"""What must be free where its cache lies: on a full disk it tries for minutes to write there what it has at hand."""
_MOST_COMPLAINT_BYTES: Final = 8 * 1024
_BLOCK_BYTES: Final = 256 * 1024
_SHORTEST_SECRET: Final = 3
"""Characters; to mask shorter ones would make nonsense of every sentence."""

_REASONS: Final[Sequence[tuple[str, type[RooftreeError], str]]] = (
    ("wrong password or no key found", VaultLocked, "The key does not open the vault"),
    ("config file already exists", VaultExists, "There is a vault at that place already; give its key to use it"),
    ("unknown flag:", VaultUnreachable, "This machine's restic is too old; 0.14 or later is needed"),
    ("unsupported repository version", VaultUnreachable, "This machine's restic is too old for the vault"),
    ("no space left on device", VaultRefused, "The vault's disk is full"),
    ("Permission denied (publickey", VaultUnreachable, "The server does not accept the SSH key"),
    ("Host key verification failed", VaultUnreachable, "The server is none of those that are trusted"),
    ("certificate", VaultUnreachable, "The server's certificate is not trusted"),
    ("401 Unauthorized", VaultUnreachable, "The server does not accept the login"),
    ("403 Forbidden", VaultUnreachable, "The server does not let the login in here"),
    ("The AWS Access Key Id you provided", VaultUnreachable, "The server does not know the access key"),
    (
        "The request signature we calculated",
        VaultUnreachable,
        "The access key's secret is not the server's",
    ),
    ("Access Denied", VaultUnreachable, "The server does not let the access key in here"),
    ("connection refused", VaultUnreachable, "The vault's server does not answer"),
    ("no route to host", VaultUnreachable, "There is no way to the vault's server"),
    ("network is unreachable", VaultUnreachable, "There is no way to the vault's server"),
    ("no such host", VaultUnreachable, "The vault's server has no address"),
    ("Could not resolve hostname", VaultUnreachable, "The vault's server has no address"),
    ("i/o timeout", VaultUnreachable, "The vault's server does not answer in time"),
    ("connection timed out", VaultUnreachable, "The vault's server does not answer in time"),
    ("unable to start the sftp session", VaultUnreachable, "The server cannot be reached over SSH"),
    ("unexpected HTTP response", VaultUnreachable, "What answers there is no server of restic's"),
    ("unable to create lock in backend", VaultUnreachable, "The vault cannot be locked"),
    ("Bucket name ", VaultRefused, "There can be no such bucket"),
    ("The specified bucket does not exist", VaultMissing, "There is no such bucket"),
    ("Is there a repository at the following location?", VaultMissing, "There is no vault at that place"),
    ("unable to open config file", VaultUnreachable, "The vault cannot be reached"),
)
"""What restic and ssh say, in any case of letters, and what it means; the first that is in their complaints counts:
restic asks whether there is a repository whatever kept it from looking."""


async def output(
    vault: VaultAccess, *arguments: str, within: timedelta | None = None, left_out: bytes | None = None
) -> bytes:
    """Run restic for a short answer; all that it says. Raises :class:`VaultUnreachable` where it has not ended in time:
    it tries for a quarter of an hour to reach a server that is away, and waits for ever for one that is silent.

    :param left_out: what it complains of where it has left something out of its answer, and ends well all the same;
        raises :class:`VaultRefused` then
    """
    complaints = bytearray()
    try:
        async with asyncio.timeout(within.total_seconds() if within is not None else None):
            async with _process(vault, arguments, None, complaints=complaints) as child:
                assert child.stdout is not None  # for type checkers: it is a pipe
                answer = b"".join([line async for line in _lines(child.stdout)])
    except TimeoutError:
        assert within is not None  # or else there is none
        late = f"did not answer within {within.total_seconds():.0f} s"
        cause = reason(vault, complaints.decode(errors="replace"))
        raise VaultUnreachable(f"{_shown(vault)} {late}: {cause.message}") from None
    if left_out is not None and left_out in complaints:
        raise reason(vault, complaints.decode(errors="replace"))
    return answer


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
    vault: VaultAccess, arguments: Sequence[str], folder: Path | None, *, stdin: int = asyncio.subprocess.DEVNULL,
    complaints: bytearray | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:  # fmt: skip
    """:param complaints: where what it complains of is put, for who can't wait for its end"""
    said = bytearray() if complaints is None else complaints
    async with reach(vault) as way:
        environment = await asyncio.to_thread(_environment, vault)
        caching = (
            () if await asyncio.to_thread(scratch.free_bytes, vault.cache) > CACHE_MARGIN_BYTES else ("--no-cache",)
        )
        try:
            async with child_process(
                "restic", *way.options, *caching, *arguments, env=environment, cwd=folder or "/", stdin=stdin,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=LONGEST_LINE_BYTES,
            ) as child:  # fmt: skip
                assert child.stderr is not None  # for type checkers: it is a pipe
                listening = asyncio.create_task(_listen(child.stderr, said), name="read restic's complaint")
                try:
                    yield child
                    await listening
                finally:
                    listening.cancel()
                    await asyncio.wait({listening})
                await child.wait()
        except FileNotFoundError:
            raise VaultUnreachable(
                "There is no restic on this machine; install it (the package is called restic)"
            ) from None
        said += await asyncio.to_thread(way.complaints)
    if child.returncode:
        raise reason(vault, said.decode(errors="replace"))


async def _lines(output: asyncio.StreamReader) -> AsyncIterator[bytes]:
    try:
        while line := await output.readline():
            yield line
    except ValueError:  # the reader's word for a line beyond its limit
        raise VaultRefused(f"restic has said more than {LONGEST_LINE_BYTES // 1024**2} MiB in a line") from None


async def _pieces(output: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await output.read(_BLOCK_BYTES):
        yield piece


async def _listen(errors: asyncio.StreamReader, said: bytearray) -> None:
    while block := await errors.read(_MOST_COMPLAINT_BYTES):
        said += block
        del said[:-_MOST_COMPLAINT_BYTES]


def reason(vault: VaultAccess, complaint: str) -> RooftreeError:
    """restic's complaint as one of our errors, without what only the vault may know."""
    lowered = complaint.lower()
    said = _masked(vault, complaint)
    for words, kind, meaning in _REASONS:
        if words.lower() in lowered:
            return kind(f"{meaning} ({_shown(vault)}): {said}")
    return VaultRefused(f"restic failed ({_shown(vault)}): {said or 'it said nothing'}")


def _shown(vault: VaultAccess) -> str:
    return without_password(vault.repository)


def _masked(vault: VaultAccess, complaint: str) -> str:
    """The last of what was said, without what only the vault may know."""
    complaint = complaint.replace(vault.repository, _shown(vault))
    secrets = (vault.key.reveal(), password_of(vault.repository), *map(Secret.reveal, vault.environment.values()))
    for text in secrets:
        for form in (text, quote(text, safe="")) if text else ():
            complaint = complaint.replace(form, "***") if len(form) >= _SHORTEST_SECRET else complaint
    lines = [line.removeprefix("Fatal: ").strip() for line in complaint.splitlines() if line.strip()]
    return "".join(letter if letter.isprintable() else "�" for letter in "; ".join(lines[-4:]))


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

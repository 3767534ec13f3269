"""Servers and repositories that cost more than they may: what git holds in memory, what it says, how long a line is."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from rooftree_store import git, git_process
from rooftree_store.git_process import GitFailed, RepositoryTooLarge
from rooftree_store.sources import RepositorySource
from tests.rig.git_server import GitRepository, GitServer
from tests.rig.git_server import git as run_git


@pytest.fixture
def repository(git_server: GitServer) -> GitRepository:
    """A repository on the server."""
    return git_server.repository(secrets.token_hex(4), {"repository.yaml": "name: Mine\n"})


@pytest.fixture
def source(repository: GitRepository) -> RepositorySource:
    """Where it is."""
    return RepositorySource.parse(repository.url)


@pytest.fixture
async def clone(source: RepositorySource, tmp_path: Path) -> Path:
    """A clone of it."""
    await git.clone(source, tmp_path / "clone")
    return tmp_path / "clone"


async def advertise(writer: asyncio.StreamWriter, refs: int | None) -> None:
    """Answer git's first question with so many names of branches, or with no end of them."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nConnection: close\r\n\r\n"
    writer.write(head + packet(b"# service=git-upload-pack\n") + b"0000" + packet(COMMIT + b" HEAD\0side-band-64k\n"))
    numbers = itertools.count() if refs is None else range(0, refs, 1000)
    for number in numbers:
        names = (b"refs/%07d/%b/HEAD" % (each, b"x" * 900) for each in range(number, number + 1000))
        writer.write(b"".join(packet(b"%b %b\n" % (COMMIT, name)) for name in names))
        await writer.drain()
    writer.write(b"0000")
    await writer.drain()


COMMIT = b"1" * 40


def packet(content: bytes) -> bytes:
    """A packet of git's protocol (gitprotocol-common(5))."""
    return b"%04x%b" % (len(content) + 4, content)


@asynccontextmanager
async def lying_server(refs: int | None) -> AsyncIterator[RepositorySource]:
    """A repository on a server that has more to say than anybody wants to know."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await advertise(writer, refs)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield RepositorySource.parse(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x")


async def test_server_with_endless_branches_fills_nobodys_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_process, "_MOST_MEMORY_BYTES", 64 * 1024**2)

    async with lying_server(refs=None) as source:
        with pytest.raises(RepositoryTooLarge):
            await git.tip(source)


async def test_answer_of_git_that_is_far_too_long_is_not_taken() -> None:
    async with lying_server(refs=25_000) as source:
        with pytest.raises(GitFailed, match="more than 16 MiB to say"):
            await git.tip(source)


async def test_complaint_of_git_that_is_far_too_long_is_kept_by_its_end(
    source: RepositorySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talker = tmp_path / "git"
    talker.write_text("#!/bin/sh\nhead -c 5000000 /dev/zero | tr '\\0' 'x' >&2\necho 'fatal: the reason' >&2\nexit 1\n")
    talker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(GitFailed, match="the reason") as failure:
        await git.tip(source)

    assert len(failure.value.message) < 20_000


async def test_path_longer_than_any_line_is_refused(
    repository: GitRepository, source: RepositorySource, clone: Path
) -> None:
    blob = run_git("-C", repository.folder, "rev-parse", "HEAD:repository.yaml")
    tree = subprocess.run(
        ["git", "-C", repository.folder, "mktree"],
        input=f"100644 blob {blob}\t{'x' * 100_000}\n", text=True, check=True, capture_output=True,
    ).stdout.strip()  # fmt: skip
    commit = run_git("-C", repository.folder, "commit-tree", "-m", "long", "-p", "HEAD", tree)
    run_git("-C", repository.folder, "reset", "--quiet", "--soft", commit)
    run_git("-C", repository.folder, "push", "--quiet", "origin", "HEAD:main")

    with pytest.raises(RepositoryTooLarge, match="a path of more than 65536 bytes"):
        await git.update(source, clone)

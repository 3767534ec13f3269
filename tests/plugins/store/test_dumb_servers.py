"""Servers that only hand out files: they know no depth, so all comes, as long as it is not too much."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rooftree_store import git
from rooftree_store.git_process import USUAL, Limits, RepositoryTooLarge
from rooftree_store.sources import RepositorySource
from rooftree_store.submodules import bring_submodules
from tests.plugins.store.shop import Shop, config
from tests.rig.git_http_server import GitHttpServer, serve_git_over_http
from tests.rig.git_server import GitRepository, GitServer
from tests.rig.git_server import git as run_git

FILES = {"repository.yaml": "name: Mine\n", "hello/config.json": config()}


@pytest.fixture
async def server(git_server: GitServer) -> AsyncIterator[GitHttpServer]:
    """Hands out what the other one has."""
    async with serve_git_over_http(git_server.served) as server:
        server.is_dumb = True
        yield server


@pytest.fixture
def repository(git_server: GitServer) -> GitRepository:
    """A repository with a history."""
    repository = git_server.repository(secrets.token_hex(4), FILES)
    repository.push("Second")
    return repository


def source_of(server: GitHttpServer, repository: GitRepository) -> RepositorySource:
    return RepositorySource.parse(server.url(repository.folder.name))


async def test_repository_of_a_server_that_hands_out_files_is_added_and_brought_up_to_date(
    here: Shop, server: GitHttpServer, repository: GitRepository
) -> None:
    source = source_of(server, repository)

    await here.add(str(source))
    first = here.offered()
    repository.write({"hello/config.json": config(version="2.0")})
    repository.push()
    await here.reload()
    second = here.offered()
    repository.write({"hello/config.json": config(version="3.0")})
    repository.rewrite()
    await here.reload()

    assert [first, second, here.offered()] == [{f"{source.slug}_hello": f"{number}.0"} for number in (1, 2, 3)]
    assert here.problem("fatal_error") is None


async def test_branch_of_such_a_server_is_what_is_fetched(
    server: GitHttpServer, repository: GitRepository, tmp_path: Path
) -> None:
    run_git("-C", repository.folder, "checkout", "--quiet", "-b", "other")
    repository.write({"repository.yaml": "name: Other\n"})
    run_git("-C", repository.folder, "commit", "--all", "--quiet", "--message", "Other")
    run_git("-C", repository.folder, "push", "--quiet", "origin", "other")
    source = RepositorySource.parse(f"{source_of(server, repository)}#other")

    await git.clone(source, tmp_path / "clone")
    changed = await git.update(source, tmp_path / "clone")

    assert (tmp_path / "clone" / "repository.yaml").read_text() == "name: Other\n"
    assert not changed


async def test_submodule_of_such_a_server_comes_at_its_commit(
    git_server: GitServer, server: GitHttpServer, repository: GitRepository, tmp_path: Path
) -> None:
    inner = git_server.repository(secrets.token_hex(4), {"run": "first"})
    run_git("-C", repository.folder, "-c", "protocol.allow=always", "submodule", "--quiet", "add", inner.url, "rootfs")
    url = f"../{inner.folder.name}.git"
    run_git("-C", repository.folder, "config", "--file", ".gitmodules", "submodule.rootfs.url", url)
    repository.push()
    inner.write({"run": "second"})
    inner.push()
    source = source_of(server, repository)

    await git.clone(source, tmp_path / "clone")
    brought = await bring_submodules(source, tmp_path / "clone")

    assert brought.lacking == {}
    assert (tmp_path / "clone" / "rootfs" / "run").read_text() == "first"


def push_history(repository: GitRepository, commits: int, size_bytes: int) -> None:
    """Push commits with a large file each, of which the last one has none."""
    for number in range(commits):
        (repository.folder / "large").write_bytes(os.urandom(size_bytes))
        run_git("-C", repository.folder, "add", "large")
        run_git("-C", repository.folder, "commit", "--quiet", "--message", str(number))
    repository.delete("large")
    repository.push()


SMALL = Limits(max_bytes=1024**2)


async def test_history_that_is_too_large_is_given_up_while_it_comes(
    server: GitHttpServer, repository: GitRepository, tmp_path: Path
) -> None:
    push_history(repository, commits=20, size_bytes=200_000)
    source = source_of(server, repository)
    server.meanwhile = lambda: asyncio.sleep(0.1)

    with pytest.raises(RepositoryTooLarge, match="a repository may have 1 MiB"):
        await git.clone(source, tmp_path / "clone", SMALL)

    objects = [path for path, _ in server.asked if "/objects/" in path]
    assert 0 < len(objects) < 60
    assert list(tmp_path.iterdir()) == []


async def test_update_that_is_too_large_leaves_the_clone_as_it_is(
    server: GitHttpServer, repository: GitRepository, tmp_path: Path
) -> None:
    source, clone = source_of(server, repository), tmp_path / "clone"
    await git.clone(source, clone, SMALL)
    before = await git.head(source, clone)
    push_history(repository, commits=10, size_bytes=200_000)

    with pytest.raises(RepositoryTooLarge):
        await git.update(source, clone, SMALL)

    assert await git.head(source, clone) == before
    assert sum(file.stat().st_size for file in (clone / ".git" / "objects").rglob("*") if file.is_file()) < 1024**2
    assert await git.update(source, clone, USUAL)

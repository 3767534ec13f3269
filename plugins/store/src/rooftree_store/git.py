"""Clones of repositories: made, brought up to date, and kept small.

A server is first asked for its newest commit, which costs next to nothing where there is no newer one, and tells a
server that hangs soon. What was fetched is measured before any of it is written out as files.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import structlog
from attrs import evolve

from rooftree import RooftreeError
from rooftree_store.git_process import (
    NOWHERE,
    USUAL,
    GitFailed,
    GitUnavailable,
    Limits,
    RepositoryTooLarge,
    git,
    git_lines,
    too_large,
    within,
)
from rooftree_store.leftovers import remove_folder
from rooftree_store.logins import Login
from rooftree_store.shallow_fetch import NEWEST, git_fetching
from rooftree_store.sources import RepositorySource

log = structlog.get_logger(__name__)

MAX_DEPTH = 200
"""Folders within each other. Real repositories stay below twenty; git itself ends where a path gets too long."""
MAX_PACKS = 15
"""Each update brings a pack; when there are more, what no commit needs any more is dropped."""


async def clone(source: RepositorySource, folder: Path, limits: Limits = USUAL, login: Login | None = None) -> None:
    """Fetch the newest commit into ``folder``, which must not exist; nothing stays there on failure."""
    branch = ["--branch", source.branch] if source.branch else []
    try:
        await git_fetching(
            source, "clone", "--quiet", NEWEST, "--single-branch", "--no-tags", "--no-recurse-submodules",
            "--no-checkout", *branch, "--", source.url, str(folder), folder=folder, limits=limits, login=login,
        )  # fmt: skip
        commit = await head(source, folder)
        await left_by(source, folder, commit, limits)
        await git(source, *within(folder), "reset", "--quiet", "--hard", commit, limits=limits)
    except BaseException:
        await asyncio.to_thread(_remove_begun, folder)
        raise


def _remove_begun(folder: Path) -> None:
    try:
        remove_folder(folder)
    except (RooftreeError, OSError) as error:  # it has a name of its own, and is swept away later
        log.warning("clone_not_deleted", folder=folder.name, reason=str(error))


async def update(source: RepositorySource, folder: Path, limits: Limits = USUAL, login: Login | None = None) -> bool:
    """Bring a clone to the newest commit, whatever its history has become; whether anything changed.

    Raises :class:`GitUnavailable` when the server cannot be reached, :class:`RepositoryTooLarge` when it offers too
    much (in both cases the clone stays as it is), :class:`GitFailed` when the clone is damaged.
    """
    for lock in ("index.lock", "shallow.lock", "HEAD.lock"):
        await asyncio.to_thread((folder / ".git" / lock).unlink, missing_ok=True)  # ours: git's own folder of a clone
    newest, present = await tip(source, limits, login), await head(source, folder)
    untouched = not await git(
        source, *within(folder), "status", "--porcelain", "--ignore-submodules=all", limits=limits
    )
    if newest == present and untouched:
        return False
    try:
        await git_fetching(
            source, *within(folder), "fetch", "--quiet", NEWEST, "--no-tags", "--force", "--update-shallow",
            "--no-recurse-submodules", "--", source.url, source.branch or "HEAD",
            folder=folder, limits=limits, login=login,
        )  # fmt: skip
        fetched = await head(source, folder, "FETCH_HEAD")
        await left_by(source, folder, fetched, limits)
    except RepositoryTooLarge:
        await _give_back(source, folder, limits)
        raise
    await git(source, *within(folder), "reset", "--quiet", "--hard", fetched, limits=limits)
    await git(source, *within(folder), "clean", "-xdff", "--quiet", limits=limits)
    if await asyncio.to_thread(_packs, folder) > MAX_PACKS:
        await _give_back(source, folder, limits)
    return True


async def tip(source: RepositorySource, limits: Limits = USUAL, login: Login | None = None) -> str | None:
    """The newest commit that the server has of the branch; ``None`` where it does not say."""
    branch = source.branch
    wanted = [f"refs/heads/{branch}", f"refs/tags/{branch}^{{}}", f"refs/tags/{branch}"] if branch else ["HEAD"]
    told = await git(
        source, *NOWHERE, "ls-remote", "--quiet", "--", source.url, *wanted,
        limits=limits, timeout_s=limits.answer_s, login=login,
    )  # fmt: skip
    commits = {name: commit for commit, _, name in (line.partition("\t") for line in told.splitlines())}
    return next((commits[name] for name in wanted if name in commits), None)


async def head(source: RepositorySource, folder: Path, ref: str = "HEAD") -> str:
    """The commit a clone is at."""
    return (await git(source, *within(folder), "rev-parse", "--verify", f"{ref}^{{commit}}")).strip()


async def reachable(source: RepositorySource, limits: Limits = USUAL, login: Login | None = None) -> bool:
    """Whether the server answers for that repository."""
    try:
        await tip(source, limits, login)
    except (GitFailed, GitUnavailable):
        return False
    return True


async def left_by(source: RepositorySource, folder: Path, commit: str, limits: Limits) -> Limits:
    """What a commit's files leave of the limits: a small pack can unfold into any number of bytes.

    Raises :class:`RepositoryTooLarge` as soon as they leave nothing.
    """
    files, folders, size = 0, 0, 0
    listing = git_lines(source, *within(folder), "ls-tree", "-r", "-t", "-l", commit, limits=limits)
    async with aclosing(listing):
        async for line in listing:
            about, _, path = line.partition("\t")
            _, kind, _, number = about.split()
            files, folders = (files, folders + 1) if kind == "tree" else (files + 1, folders)
            size += int(number) if number.isdigit() else 0  # a submodule has none
            if files > limits.max_files or folders > limits.max_files or size > limits.max_bytes:
                raise too_large(source, limits)
            if path.count("/") >= MAX_DEPTH:
                raise RepositoryTooLarge(
                    f"{source.address} is too large: it has more than {MAX_DEPTH} folders within each other"
                )
    return evolve(limits, max_bytes=limits.max_bytes - size, max_files=limits.max_files - files)


async def _give_back(source: RepositorySource, folder: Path, limits: Limits) -> None:
    """Drop what was fetched and is of no use: what no commit of ours needs, and packs that were begun."""
    await asyncio.to_thread(_drop_begun, folder)
    try:
        await git(source, *within(folder), "gc", "--quiet", "--prune=now", limits=limits)
    except (GitFailed, GitUnavailable, RepositoryTooLarge) as error:
        log.warning("clone_not_tidied", repository=str(source), reason=error.message)


def _drop_begun(folder: Path) -> None:
    for begun in (folder / ".git" / "objects").glob("**/tmp_*"):  # ours: git's own folder of a clone
        _remove_begun(begun)
    (folder / ".git" / "FETCH_HEAD").unlink(missing_ok=True)  # ours: as above


def _packs(folder: Path) -> int:
    """How many packs, or folders of single objects, a clone has."""
    objects = folder / ".git" / "objects"
    packs = sum(1 for _ in (objects / "pack").glob("*.pack"))  # ours: git's own folder of a clone
    return packs + sum(1 for _ in objects.glob("[0-9a-f][0-9a-f]")) // 16  # ours: as above

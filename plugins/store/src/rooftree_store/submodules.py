"""Submodules of repositories: some add-ons keep what they are built from in one.

``git submodule`` is not run: it has a long history of running what it should not. A submodule is fetched as a
repository of its own, by the commit that the outer one names, with the same confinement and within the outer one's
limits. It may come by https, or the way that the outer one comes. One that cannot be fetched leaves its folder empty,
and is told; the rest of the repository is offered all the same.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from attrs import field, frozen

from rooftree import RooftreeError
from rooftree_files import Folder, PathRefused
from rooftree_store.catalogue import is_file, open_repository
from rooftree_store.git import head, left_by
from rooftree_store.git_process import USUAL, GitFailed, Limits, git, git_lines, server_of, within
from rooftree_store.logins import Login
from rooftree_store.shallow_fetch import NEWEST, git_fetching
from rooftree_store.sources import RepositorySource

MAX_DEPTH: Final = 3
"""How deep submodules may have submodules."""
MAX_SUBMODULES: Final = 30
"""Of one repository; more are a mistake or an attack."""
_GITLINK: Final = "160000"


@frozen
class Brought:
    """What fetching submodules came to."""

    changed: bool = False
    lacking: Mapping[str, str] = field(factory=dict)
    """Those that could not be fetched by their paths, with the reasons."""


async def bring_submodules(
    source: RepositorySource, folder: Path, limits: Limits = USUAL, login: Login | None = None, depth: int = 1
) -> Brought:
    """Fetch what is missing of the submodules of a clone."""
    links = await _links(source, folder, limits)
    if not links:
        return Brought()
    try:
        urls = await _urls(source, folder, limits)
    except GitFailed:
        urls = {}  # a file that git cannot read names none
    remaining = await left_by(source, folder, "HEAD", limits)
    changed, lacking = False, dict[str, str]()
    for number, (path, commit) in enumerate(links.items()):
        try:
            if number >= MAX_SUBMODULES or depth > MAX_DEPTH:
                raise GitFailed(f"there are more than {MAX_SUBMODULES} submodules, or {MAX_DEPTH} within each other")
            submodule = _source(source, urls.get(path))
            its_login = login if server_of(submodule) == server_of(source) else None
            target = folder / path
            await asyncio.to_thread(_refuse_elsewhere, folder, path)
            changed |= await _bring(submodule, target, commit, remaining, its_login)
            remaining = await left_by(submodule, target, "HEAD", remaining)
            inner = await bring_submodules(submodule, target, remaining, its_login, depth + 1)
            changed |= inner.changed
            lacking |= {f"{path}/{below}": reason for below, reason in inner.lacking.items()}
        except RooftreeError as error:
            lacking[path] = error.message
    return Brought(changed, lacking)


async def _links(source: RepositorySource, folder: Path, limits: Limits) -> dict[str, str]:
    """The commits of the submodules by their paths."""
    if not await asyncio.to_thread(_has_submodules, folder):
        return {}
    links: dict[str, str] = {}
    listing = git_lines(source, *within(folder), "ls-tree", "-r", "HEAD", limits=limits)
    async with aclosing(listing):
        async for line in listing:
            about, _, path = line.rstrip("\n").partition("\t")
            mode, _, commit = about.split()
            if mode == _GITLINK:
                links[path] = commit
    return links


async def _urls(source: RepositorySource, folder: Path, limits: Limits) -> dict[str, str]:
    """The addresses of the submodules by their paths, as the commit's own ``.gitmodules`` has them."""
    said = await git(
        source, *within(folder), "config", "--blob", "HEAD:.gitmodules", "--null", "--get-regexp",
        r"^submodule\..*\.(path|url)$", limits=limits,
    )  # fmt: skip
    submodules: dict[str, dict[str, str]] = {}
    for entry in said.split("\0"):
        key, _, value = entry.partition("\n")
        name, _, what = key.rpartition(".")
        submodules.setdefault(name, {})[what] = value
    return {
        submodule["path"]: submodule["url"] for submodule in submodules.values() if {"path", "url"} <= submodule.keys()
    }


def _source(outer: RepositorySource, url: str | None) -> RepositorySource:
    """Where a submodule comes from; raises :class:`GitFailed` for what is not allowed."""
    if url is None:
        raise GitFailed(".gitmodules does not say where it comes from")
    if url.startswith(("./", "../")):
        there = urlsplit(outer.url)
        url = there._replace(path=posixpath.normpath(f"{there.path}/{url}")).geturl()
    try:
        source = RepositorySource.parse(url)
    except ValueError as error:
        raise GitFailed(f"its address {error}") from None
    allowed = {"https", urlsplit(outer.url).scheme}
    if source.branch is not None or urlsplit(source.url).scheme not in allowed:
        raise GitFailed(f"its address must begin with {' or '.join(f'{scheme}://' for scheme in sorted(allowed))}")
    return source


def _has_submodules(clone: Path) -> bool:
    with open_repository(clone) as folder:
        return is_file(folder, ".gitmodules")


def _refuse_elsewhere(clone: Path, path: str) -> None:
    """Raise :class:`GitFailed` where the way to a submodule's folder leads elsewhere. Only git changes a clone."""
    try:
        with open_repository(clone) as folder:
            folder.folder(path).close()
    except (PathRefused, OSError):
        raise GitFailed("its path leads elsewhere") from None


async def _bring(source: RepositorySource, folder: Path, commit: str, limits: Limits, login: Login | None) -> bool:
    """Have a submodule's folder at a commit, and say whether it was not; nothing is left in it where that fails."""
    if await _is_at(source, folder, commit, limits):
        return False
    try:
        await asyncio.to_thread(_empty, folder)
        await git(source, "init", "--quiet", "--template=", "--", str(folder), limits=limits)
        await git_fetching(
            source, *within(folder), "fetch", "--quiet", NEWEST, "--no-tags", "--no-recurse-submodules",
            "--", source.url, commit, folder=folder, limits=limits, login=login,
        )  # fmt: skip
        await left_by(source, folder, commit, limits)
        await git(source, *within(folder), "reset", "--quiet", "--hard", commit, limits=limits)
    except BaseException:
        await asyncio.to_thread(_empty, folder)
        raise
    return True


async def _is_at(source: RepositorySource, folder: Path, commit: str, limits: Limits) -> bool:
    if not await asyncio.to_thread((folder / ".git").is_dir):  # ours: git's own folder of a clone
        return False
    try:
        if await head(source, folder) != commit:
            return False
        status = ("status", "--porcelain", "--ignore-submodules=all")
        return not await git(source, *within(folder), *status, limits=limits)
    except GitFailed:
        return False


def _empty(folder: Path) -> None:
    """Raises :class:`~rooftree_files.RemovalIncomplete`."""
    with Folder.open(folder.parent) as above:  # ours: in a clone, and seen to be no link
        above.remove(folder.name)
        above.make(folder.name).close()

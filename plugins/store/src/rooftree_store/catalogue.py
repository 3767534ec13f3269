"""The catalogue: reading the folders of repositories into what they offer.

A file is parsed again only when its size, time or identity changed, so that reading everything anew costs little more
than a walk over the folders. A broken add-on never hides its neighbours: it is left out, with its reason kept.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from attrs import Factory, frozen, mutable

from rooftree import RooftreeError
from rooftree_store.addon_config import AddonConfig, parse_addon_config
from rooftree_store.repository_file import RepositoryFile, parse_repository_file
from rooftree_store.slugs import AddonSlug, RepositorySlug
from rooftree_store.yaml_files import SUFFIXES, FileInvalid, is_lfs_pointer, read_bytes, read_document

CONFIG_NAMES: Final = ("config.yaml", "config.yml", "config.json")
REPOSITORY_NAMES: Final = ("repository.yaml", "repository.yml", "repository.json")
ICON: Final = "icon.png"
LOGO: Final = "logo.png"
CHANGELOG: Final = "CHANGELOG.md"
DOCUMENTATION: Final = "DOCS.md"
README: Final = "README.md"
APPARMOR: Final = "apparmor.txt"
_SHOWN_FILES: Final = frozenset({ICON, LOGO, CHANGELOG, DOCUMENTATION, README, APPARMOR})
_MAY_BE_POINTERS: Final = _SHOWN_FILES | {"Dockerfile", *(f"build{suffix}" for suffix in SUFFIXES)}
MAX_ADDONS: Final = 5_000
"""Add-ons of one repository that are read; more are a mistake or an attack, and reported."""


@frozen
class Offer:
    """An add-on that a repository offers."""

    slug: AddonSlug
    repository: RepositorySlug
    config: AddonConfig
    folder: str
    """Its folder, relative to the data folder."""
    changed: datetime
    """When its config file last changed."""
    files: frozenset[str]
    """Which of icon, logo, changelog, documentation, readme and AppArmor profile it has, by file name."""


@frozen
class Contents:
    """What one repository's folder holds."""

    file: RepositoryFile | None
    """Its own description; ``None`` where it has none (the local repository)."""
    offers: Mapping[AddonSlug, Offer]
    broken: Mapping[str, str]
    """Config files that were left out, with the reason, by path relative to the repository."""
    pointers: tuple[str, ...] = ()
    """Files of add-ons that are kept in git LFS, and so are not there."""


@frozen
class _Stamp:
    size: int
    changed_ns: int
    inode: int


@mutable
class ConfigReader:
    """Reads add-on configs, remembering those of files that did not change."""

    _known: dict[str, tuple[_Stamp, AddonConfig | str]] = Factory(dict)

    def read(self, path: str, status: os.stat_result) -> AddonConfig | str:
        """The config in the file whose status that is, or the sentence that says what is wrong with it."""
        stamp = _Stamp(status.st_size, status.st_mtime_ns, status.st_ino)
        known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        result = _parsed(Path(path))
        self._known[path] = (stamp, result)
        return result

    def forget_below(self, folder: Path, kept: set[str]) -> None:
        """Drop what is remembered below a folder, but for these files."""
        prefix = f"{folder}{os.sep}"
        for path in [path for path in self._known if path.startswith(prefix) and path not in kept]:
            del self._known[path]


def _parsed(path: Path) -> AddonConfig | str:
    try:
        return parse_addon_config(read_document(path).content).config
    except FileInvalid as error:  # which file it is stands before it already
        return error.reason if error.line is None else f"line {error.line}: {error.reason}"
    except RooftreeError as error:
        return error.message


def read_contents(data: Path, folder: Path, repository: RepositorySlug, reader: ConfigReader) -> Contents:
    """Read one repository's folder. Blocks: call in a thread. Raises :class:`FileInvalid` for a bad repository file."""
    description = read_repository_file(folder) if repository != "local" else None
    offers: dict[AddonSlug, Offer] = {}
    broken: dict[str, str] = {}
    pointers: list[str] = []
    seen: set[str] = set()
    root = folder.resolve()
    uses_lfs = _uses_lfs(folder)
    # Paths are plain strings here: with pathlib's, a walk over 400 add-ons where nothing changed takes twice the time.
    for place, name, siblings in config_files(folder):
        path = os.path.join(place, name)  # noqa: PTH118
        shown = path.removeprefix(f"{folder}{os.sep}")
        if len(seen) >= MAX_ADDONS:
            broken[shown] = f"the repository has more than {MAX_ADDONS} add-ons; the rest is left out"
            break
        status = _status_inside(path, root)
        if status is None:
            broken[shown] = "it leads out of the repository, or to nothing"
            continue
        seen.add(path)
        config = reader.read(path, status)
        if isinstance(config, str):
            broken[shown] = config
            continue
        slug = AddonSlug.of(repository, config.slug)
        if slug in offers:
            first = Path(offers[slug].folder).relative_to(folder.relative_to(data))
            broken[shown] = f"its slug {config.slug} is already that of {first}; slugs must differ within a repository"
            continue
        lfs = _pointers(place, siblings) if uses_lfs or ".gitattributes" in siblings else frozenset()
        pointers += [f"{place}{os.sep}{name}".removeprefix(f"{folder}{os.sep}") for name in sorted(lfs)]
        offers[slug] = Offer(
            slug=slug,
            repository=repository,
            config=config,
            folder=place.removeprefix(f"{data}{os.sep}"),
            changed=datetime.fromtimestamp(status.st_mtime, UTC),
            files=_SHOWN_FILES & siblings - lfs,
        )
    reader.forget_below(folder, seen)
    return Contents(description, offers, broken, tuple(pointers))


def _pointers(place: str, siblings: Set[str]) -> frozenset[str]:
    """Those of an add-on's files that are kept in git LFS."""
    return frozenset(name for name in siblings & _MAY_BE_POINTERS if _is_pointer(f"{place}{os.sep}{name}"))


def _is_pointer(path: str) -> bool:
    """Whether a file is a pointer of git LFS. Links are left alone: they are looked at when the file is sent."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return is_lfs_pointer(os.read(descriptor, 64))
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _uses_lfs(folder: Path) -> bool:
    """Whether a repository says that it keeps files in git LFS: only then each is looked into."""
    try:
        return b"filter=lfs" in read_bytes(folder / ".gitattributes")
    except FileInvalid:
        return False


def _status_inside(path: str, root: Path) -> os.stat_result | None:
    """The status of a regular file within ``root``; ``None`` for anything else. Its folder is known to be within."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            if not Path(path).resolve().is_relative_to(root):
                return None
            status = os.stat(path)  # noqa: PTH116  # a string, as above
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def read_repository_file(folder: Path) -> RepositoryFile:
    """A repository's description of itself; raises :class:`FileInvalid` when there is none, or a bad one."""
    for name in REPOSITORY_NAMES:
        path = folder / name
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            return parse_repository_file(read_document(path).content)
    raise FileInvalid(REPOSITORY_NAMES[0], "the repository does not have this file, so it is no add-on repository")


def config_files(folder: Path) -> Iterator[tuple[str, str, set[str]]]:
    """Every config file below a folder: where, its name, the names beside it. Always in the same order."""
    for place, folders, files in os.walk(folder):  # does not follow links to folders
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "rootfs")
        names = set(files)
        for name in CONFIG_NAMES:
            if name in names:
                yield place, name, names

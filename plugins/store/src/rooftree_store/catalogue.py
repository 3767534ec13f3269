"""The catalogue: reading the folders of repositories into what they offer.

A file is parsed again only when it changed, so that reading everything anew costs little more than a walk over the
folders. A broken add-on never hides its neighbours: it is left out, with its reason kept. What is kept of a repository
has a limit, whatever its author packs into it: it is offered as far as that goes, and what is beyond is named.

Everything is opened beneath the repository's own folder: add-ons can write in the local one at any moment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import Final

from attrs import Factory, define, field, frozen

from rooftree import RooftreeError
from rooftree_files import Folder, Listing, PathRefused, TreeLimits, TreeTooLarge, listings, printable
from rooftree_store.addon_config import AddonConfig, parse_addon_config
from rooftree_store.recognition import is_meant, may_be_meant
from rooftree_store.repository_file import RepositoryFile, parse_repository_file
from rooftree_store.slugs import AddonSlug, RepositorySlug
from rooftree_store.translations import MAX_LANGUAGES, TRANSLATIONS, language_files
from rooftree_store.yaml_files import (
    SUFFIXES,
    FileInvalid,
    content_in,
    cost_of_refused,
    document_in,
    is_lfs_pointer,
    parse_document,
)

CONFIG_NAMES: Final = ("config.yaml", "config.yml", "config.json")
REPOSITORY_NAMES: Final = ("repository.yaml", "repository.yml", "repository.json")
ICON: Final = "icon.png"
LOGO: Final = "logo.png"
CHANGELOG: Final = "CHANGELOG.md"
DOCUMENTATION: Final = "DOCS.md"
README: Final = "README.md"
APPARMOR: Final = "apparmor.txt"
PICTURES: Final = frozenset({ICON, LOGO})
_SHOWN_FILES: Final = frozenset({ICON, LOGO, CHANGELOG, DOCUMENTATION, README, APPARMOR})
_MAY_BE_POINTERS: Final = _SHOWN_FILES | {"Dockerfile", *(f"build{suffix}" for suffix in SUFFIXES)}
MAX_ADDONS: Final = 5_000
"""Add-ons of one repository that are read; more are a mistake or an attack, and reported."""
MAX_KEPT_BYTES: Final = 32 * 1024**2
"""What the configurations of one repository's add-ons may take in memory together. A thousand real ones take 8 MB."""
TREE_LIMITS: Final = TreeLimits(entries=300_000, depth=100)
"""How much of a repository is gone through for configurations. Real ones stay below ten folders within each other."""
MOST_NAMED: Final = 100
"""Files that cannot be offered are told by name up to that many; the rest is counted."""
_MOST_REASON_CHARACTERS: Final = 500
_HIDDEN: Final = frozenset({".git"})


def open_repository(folder: Path) -> Folder:
    """Open a repository's folder, to read what is in it but git's own. Raises ``FolderMissing``. Blocks."""
    return Folder.open(folder, hidden=_HIDDEN)


@frozen
class Offer:
    """An add-on that a repository offers."""

    slug: AddonSlug
    repository: RepositorySlug
    config: AddonConfig
    folder: str
    """Its folder, relative to the data folder."""
    place: str
    """Its folder, relative to the repository's; empty for that itself."""
    changed: datetime
    """When its config file last changed."""
    files: frozenset[str]
    """Which of icon, logo, changelog, documentation, readme and AppArmor profile it has, by file name."""

    def within(self, name: str) -> str:
        """The path of one of its files beneath the repository's folder."""
        return f"{self.place}/{name}" if self.place else name


@frozen
class Contents:
    """What one repository's folder holds."""

    file: RepositoryFile | None
    """Its own description; ``None`` where it has none (the local repository)."""
    offers: Mapping[AddonSlug, Offer]
    broken: Mapping[str, str]
    """What was left out, with the reason, by path relative to the repository."""
    more_broken: int = 0
    """How many more were left out than are named."""
    pointers: tuple[str, ...] = ()
    """Files of add-ons that are kept in git LFS, and so are not there."""
    more_pointers: int = 0


@frozen
class _Stamp:
    """What tells that a file is as it was. An add-on can set the time of change back, but not that of the inode."""

    size: int
    changed_ns: int
    inode_changed_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Stamp:
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@frozen
class ReadConfig:
    """What a config file came to."""

    stamp: _Stamp
    outcome: AddonConfig | str | None
    """The configuration, or the sentence that says what is wrong with it; ``None`` where it is not meant as one."""
    cost_bytes: int
    """What it costs to keep, or did to read."""
    changed: datetime


@define
class ConfigReader:
    """Reads add-on configs, remembering those of files that did not change."""

    _known: dict[str, dict[str, ReadConfig]] = Factory(dict)
    """By repository's folder, and path in it."""

    def read(self, folder: Folder, path: str, status: os.stat_result) -> ReadConfig:
        """The config at ``path`` in the open folder of a repository; ``status`` is what was last seen there."""
        of_repository = self._known.setdefault(folder.name, {})
        known = of_repository.get(path)
        if known is None or known.stamp != _Stamp.of(status):
            known = of_repository[path] = _read(folder, path, status)
        return known

    def forget_others(self, folder: Folder, kept: set[str]) -> None:
        """Drop what is remembered of a repository, but for these paths."""
        known = self._known.get(folder.name, {})
        for path in known.keys() - kept:
            del known[path]

    def forget(self, folder: Path) -> None:
        """Drop all that is remembered of a repository."""
        self._known.pop(str(folder), None)


def _read(folder: Folder, path: str, status: os.stat_result) -> ReadConfig:
    cost_bytes = cost_of_refused(status.st_size)
    outcome: AddonConfig | str | None
    data = b""
    try:
        content = content_in(folder, path)
        data = content.data
        status = content.status  # what was read, whatever was looked at before
        cost_bytes = cost_of_refused(len(data))
        document = parse_document(data, path)
        cost_bytes = document.cost_bytes
        outcome = parse_addon_config(document.content).config if is_meant(document.content) else None
    except FileInvalid as error:  # which file it is stands before it already
        reason = error.reason if error.line is None else f"line {error.line}: {error.reason}"
        outcome = None if data and not may_be_meant(data) else _cut(reason)
    except RooftreeError as error:
        outcome = _cut(error.message)
    return ReadConfig(_Stamp.of(status), outcome, cost_bytes, _moment(status.st_mtime))


def _moment(seconds: float) -> datetime:
    """A file's time. Whoever owns a file sets it, also to a year that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _cut(reason: str) -> str:
    most = _MOST_REASON_CHARACTERS
    return reason if len(reason) <= most else f"{reason[:most]}…"


@define
class _Shortcomings:
    """Files with what is wrong with them: the first by name, the rest by number."""

    named: dict[str, str] = field(factory=dict)
    more: int = 0

    def add(self, path: str, reason: str) -> None:
        if len(self.named) < MOST_NAMED:
            self.named[printable(path)] = _cut(reason)
        else:
            self.more += 1


def read_contents(data: Path, folder: Path, repository: RepositorySlug, reader: ConfigReader) -> Contents:
    """Read one repository's folder. Blocks: call in a thread.

    Raises :class:`FileInvalid` for a bad repository file, ``FolderMissing`` where there is no folder.
    """
    with open_repository(folder) as opened:
        description = read_repository_file(opened) if repository != "local" else None
        reading = _Reading(opened, str(folder.relative_to(data)), repository, reader)
        reading.run()
    return Contents(
        description,
        reading.offers,
        reading.broken.named,
        reading.broken.more,
        tuple(reading.pointers.named),
        reading.pointers.more,
    )


class _Reading:
    """One go through a repository."""

    def __init__(self, folder: Folder, shown_folder: str, repository: RepositorySlug, reader: ConfigReader) -> None:
        self.offers: dict[AddonSlug, Offer] = {}
        self.broken = _Shortcomings()
        self.pointers = _Shortcomings()
        self._folder = folder
        self._shown_folder = shown_folder
        self._repository = repository
        self._reader = reader
        self._seen: set[str] = set()
        self._cost_bytes = 0
        self._uses_lfs = _mentions_lfs(folder, ".gitattributes")

    def run(self) -> None:
        places = set[str]()
        try:
            for listing in repository_folders(self._folder, self.broken.add):
                for name in CONFIG_NAMES:
                    if name in listing.others:
                        places.add(listing.path)
                        if not self._take(listing, name):
                            return
                if listing.path.rpartition("/")[2] == TRANSLATIONS:
                    self._count_languages(listing, places)
        except TreeTooLarge as error:
            self.broken.add("", f"the repository {error.reason}; the rest is left out")
        finally:
            self._reader.forget_others(self._folder, self._seen)

    def _take(self, listing: Listing, name: str) -> bool:
        """Take in the config of that name; whether there may be more."""
        path = f"{listing.path}/{name}" if listing.path else name
        if len(self._seen) >= MAX_ADDONS:
            self.broken.add(path, f"the repository has more than {MAX_ADDONS} add-ons; the rest is left out")
            return False
        status = _status_inside(self._folder, listing, name, path)
        if status is None:
            self.broken.add(path, "it is no file, or leads out of the repository, or to nothing")
            return True
        if not _is_text(path):
            self.broken.add(path, "its folder has a name that is no text (UTF-8)")
            return True
        read = self._reader.read(self._folder, path, status)
        self._seen.add(path)
        self._cost_bytes += read.cost_bytes
        if self._cost_bytes > MAX_KEPT_BYTES:
            self.broken.add(
                path,
                f"the configurations of the repository's add-ons take more than {MAX_KEPT_BYTES // 1024**2} MiB up to "
                "here; the rest is left out",
            )
            return False
        if isinstance(read.outcome, str):
            self.broken.add(path, read.outcome)
        elif read.outcome is not None:
            self._offer(listing, path, read.outcome, read.changed)
        return True

    def _offer(self, listing: Listing, path: str, config: AddonConfig, changed: datetime) -> None:
        slug = AddonSlug.of(self._repository, config.slug)
        if slug in self.offers:
            first = printable(self.offers[slug].place or ".")
            reason = f"its slug {config.slug} is already that of {first}; slugs must differ within a repository"
            self.broken.add(path, reason)
            return
        place = listing.path
        lfs = self._lfs_pointers(listing)
        for name in sorted(lfs):
            self.pointers.add(f"{place}/{name}" if place else name, "")
        self.offers[slug] = Offer(
            slug=slug,
            repository=self._repository,
            config=config,
            folder=f"{self._shown_folder}/{place}" if place else self._shown_folder,
            place=place,
            changed=changed,
            files=_SHOWN_FILES & listing.others - lfs,
        )

    def _lfs_pointers(self, listing: Listing) -> frozenset[str]:
        """Those of an add-on's files that are kept in git LFS: looked for only where something says that it is used."""
        if not self._uses_lfs and ".gitattributes" not in listing.others:
            return frozenset()
        at = f"{listing.path}/" if listing.path else ""
        return frozenset(name for name in listing.others & _MAY_BE_POINTERS if _is_pointer(self._folder, at + name))

    def _count_languages(self, listing: Listing, places: set[str]) -> None:
        above = listing.path.rpartition("/")[0]
        if above in places and len(language_files(listing.others)) > MAX_LANGUAGES:
            self.broken.add(listing.path, f"has more than {MAX_LANGUAGES} translations; the rest is left out")


def _is_text(path: str) -> bool:
    """Whether a path can stand in an answer and in the journal."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_pointer(folder: Folder, path: str) -> bool:
    """Whether a file is a pointer of git LFS. Links are left alone: they are looked at when the file is sent."""
    try:
        return is_lfs_pointer(folder.read_beginning(path, 64))
    except (PathRefused, OSError):
        return False


def _mentions_lfs(folder: Folder, path: str) -> bool:
    """Whether a repository says that it keeps files in git LFS: only then each is looked into."""
    try:
        return b"filter=lfs" in content_in(folder, path).data
    except FileInvalid:
        return False


def _status_inside(folder: Folder, listing: Listing, name: str, path: str) -> os.stat_result | None:
    """The status of a regular file within the repository; ``None`` for anything else."""
    status = listing.status(name)
    if status is None or S_ISREG(status.st_mode):
        return status
    try:
        status = folder.status(path, links=True)
    except PathRefused:
        return None
    return status if status is not None and S_ISREG(status.st_mode) else None


def read_repository_file(folder: Folder) -> RepositoryFile:
    """A repository's description of itself; raises :class:`FileInvalid` when there is none, or a bad one. Blocks."""
    for name in REPOSITORY_NAMES:
        if is_file(folder, name):
            return parse_repository_file(document_in(folder, name).content)
    raise FileInvalid(REPOSITORY_NAMES[0], "the repository does not have this file, so it is no add-on repository")


def is_file(folder: Folder, path: str) -> bool:
    """Whether a file lies at ``path`` in an open repository, or a link to one in it. Blocks."""
    try:
        status = folder.status(path, links=True)
    except PathRefused:
        return False
    return status is not None and S_ISREG(status.st_mode)


def repository_folders(folder: Folder, left_out: Callable[[str, str], None]) -> Iterator[Listing]:
    """The folders of an open repository in which there may be add-ons, always in the same order. Blocks.

    Raises ``TreeTooLarge``.

    :param left_out: told the folders that were not looked into, with the reason
    """

    def wanted(listing: Listing, name: str) -> bool:
        if name.startswith(".") or name == "rootfs":
            return False
        if listing.depth >= TREE_LIMITS.depth:
            left_out(listing.path, f"has folders within each other deeper than {TREE_LIMITS.depth}; they are left out")
            return False
        return True

    def unreadable(path: str, error: OSError) -> None:
        left_out(path, f"cannot be read: {error.strerror or error}")

    return listings(folder, TREE_LIMITS, enter=wanted, unreadable=unreadable)

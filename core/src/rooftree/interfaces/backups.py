"""Backups: what domains give to them and take back, and where they are kept.

A backup is made of *parts*: one for each add-on, one for Core, one for each folder, one for the supervisor's own
settings. The domain that owns a part is its :class:`BackupSource`: it says what the part holds and keeps that still
while it is read, and it makes the job that puts it back. Where parts go to and come from is a
:class:`BackupLocation`: a folder of archives, a vault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol

from attrs import field, frozen

from rooftree.errors import Failed
from rooftree.events import Event
from rooftree.interfaces.containers import DataPath
from rooftree.jobs import JobCall
from rooftree.model import Secret
from rooftree.services import Service


class PartKind(StrEnum):
    """Whose part it is."""

    ADDON = "addon"
    CORE = "homeassistant"
    FOLDER = "folder"
    SUPERVISOR = "supervisor"


@frozen(kw_only=True)
class PartId:
    """A part, as it is told from the others of a backup."""

    kind: PartKind
    slug: str
    """An add-on's slug, a folder as the API names it (``addons/local``), else the kind's own word."""


@frozen(kw_only=True)
class BackupPart:
    """A part that could be backed up now, or that is in a backup."""

    id: PartId
    name: str
    """For people."""
    version: str | None = None
    size_bytes: int = 0
    """Of what it holds; 0 where that was not counted."""


@frozen(kw_only=True)
class PartTree:
    """A folder that belongs to a part, read without following links. What is mounted inside is left out."""

    source: DataPath
    name: str
    """In the part: ``data``, ``config``; empty where the folder is the part."""
    excluded: tuple[str, ...] = ()
    """Globs of what is left out; how they are matched is ``matching``'s affair."""
    matching: Literal["tail", "whole"] = "tail"
    """``tail``: against the end of the path, as ``PurePath.match`` does (``*.log`` hits anywhere); ``whole``: against
    the whole path below the tree, where ``*`` stays in its level and ``**`` spans levels."""
    read_from: DataPath | None = None
    """Where a copy of ``source`` lies that is read in its place; patterns are those of ``source`` all the same. It
    lives as long as the part is held, and is there only for who wished it (:attr:`PartWishes.from_copy`)."""


@frozen(kw_only=True)
class PartContents:
    """What a part holds, while it is kept still."""

    documents: Mapping[str, bytes] = field(factory=dict, repr=False)
    """Small files beside the trees, by name (``addon.json``); they come first, so that they can be read alone."""
    trees: tuple[PartTree, ...] = ()
    image: Path | None = None
    """The export of a container image that goes along as ``image.tar``, because nowhere else has it. It lives as long
    as the part is kept still."""
    files: Mapping[str, Path] = field(factory=dict)
    """Files that stand in the place of what lies in a tree, by their path in the part (``data/home-assistant_v2.db``):
    consistent copies of databases. They live as long as the part is kept still."""
    exclude_database: bool = False
    """Whether Core's database was left out, as was wished or as its own options say."""


@frozen(kw_only=True)
class PartWishes:
    """What who asks for a backup wants otherwise than usual."""

    exclude_database: bool | None = None
    """Of Core; ``None`` for what its own options say."""
    from_copy: bool = False
    """Whether a copy does, where one is made at once because it shares the blocks of what is copied (reflink): the part
    is kept still only until then. Not for who needs it still, or where it lies."""


@frozen(kw_only=True)
class StagedPart:
    """A part on its way back: what a plan can know of it, and where it will lie when its steps run."""

    id: PartId
    version: str | None
    size_bytes: int
    folder: DataPath
    """Holds ``documents/NAME``, ``image.tar`` where there is one, and each tree as ``trees/NAME`` (``trees/root`` for
    one without a name); nothing of it is there before the steps run. Take trees by renaming them, and read what is
    secret from the documents there: the arguments of steps are journaled. What was in their place belongs below
    ``replaced``: the folder is deleted when all works."""
    documents: Mapping[str, bytes] = field(factory=dict, repr=False)
    """Read and checked already, for the plan."""
    trees: tuple[str, ...] = ()
    """Those that may be in it: which are there is known once it is unpacked."""
    exclude_database: bool = False


class PartLeftOut(Failed):
    """A part could not be backed up; the backup is made without it. ``extra_fields`` say what the domain knows."""

    error_key = "backup_part_failed_error"


class BackupSource(Protocol):
    """A domain, as the owner of parts. Returned by the hook ``backup_source``."""

    @property
    def kind(self) -> PartKind:
        """Whose parts they are; one domain owns a kind."""
        ...

    def parts(self) -> Sequence[BackupPart]:
        """What could be backed up now; from memory."""
        ...

    def hold(self, slug: str, wishes: PartWishes) -> AbstractAsyncContextManager[PartContents]:
        """Keep a part still for the length of the block, in which it is read, or until a copy of it was made
        (:attr:`PartWishes.from_copy`): commands of a hot add-on, a cold one stopped, a database that does not change.
        What was stopped runs again afterwards, also after a failure, and
        what is *desired* of it stays as it is meanwhile, so that a kill in between leaves nothing stopped. Raises
        :class:`PartLeftOut` or any other error of the kernel's, which leaves the part out.
        """
        ...

    async def release(self, slug: str) -> None:
        """End a hold that a kill has interrupted; nothing to do where there is none."""
        ...

    def remove(self, slug: str) -> JobCall[None]:
        """The job that takes a part out of the house: one that was not there when everything was backed up, and so is
        not to be there once everything is restored. Nothing of it need be taken back."""
        ...

    def restore(self, part: StagedPart) -> JobCall[None]:
        """The job that puts a part back, run as a child of the restore's. Its plan refuses what can't be restored, with
        what to do about it, and changes nothing; its steps keep what is there now until all works, and put it back
        when a later step, or a later part, fails."""
        ...


class SettingsKeeper(Protocol):
    """A domain's settings that belong to the supervisor's own part. Returned by the hook ``backup_settings``."""

    @property
    def document(self) -> str:
        """The name of the file that they are in: ``mounts.json``, ``docker.json``."""
        ...

    @property
    def has_settings(self) -> bool:
        """Whether there is anything to back up; from memory."""
        ...

    def export(self) -> Mapping[str, Any]:
        """All of them as plain data, with passwords in the clear; in the existing supervisor's words, where it has
        such a file. Raises ``SecretLocked``."""
        ...

    async def restore(self, records: Mapping[str, Any]) -> tuple[str, ...]:
        """Take over what :meth:`export`, or the existing supervisor, has written: in place of what has the same names;
        the rest stays. May be repeated. Returns a sentence for each that can't be, and was left out."""
        ...


type Progress = Callable[[int, int], None]
"""Told the bytes that are done, and all there are; cheap, and called on the event loop."""


@frozen(kw_only=True)
class StoredPart:
    """A part in a backup, and what is known of it there."""

    part: BackupPart
    stored_bytes: int
    """What it takes where it is kept."""
    digest: str | None
    """``ALGORITHM:HEX`` over what is stored, before it is encrypted: who decrypts it, or encrypts it anew, leaves it as
    it is. ``None`` where whoever wrote it noted none."""


@frozen(kw_only=True)
class BackupHead:
    """What a backup says of itself."""

    slug: str
    """8 hex digits."""
    name: str
    date: datetime
    type: Literal["full", "partial"]
    supervisor_version: str
    protected: bool
    compressed: bool
    core_version: str | None = None
    """``None`` for one without Core."""
    exclude_database: bool = False
    folders: tuple[str, ...] = ()
    addons: tuple[BackupPart, ...] = ()
    repositories: tuple[str, ...] = ()
    has_supervisor: bool = False
    """Whether the supervisor's own settings are in it."""
    core_size_bytes: int = 0
    extra: Mapping[str, Any] = field(factory=dict)
    """Its maker's own data, kept as they are."""


class BackupReader(Protocol):
    """A backup that is open for reading."""

    @property
    def head(self) -> BackupHead:
        """What it says of itself."""
        ...

    @property
    def parts(self) -> Sequence[StoredPart]:
        """What is in it."""
        ...

    async def documents(self, part: PartId) -> Mapping[str, bytes]:
        """The small files of a part; quick. Raises what :meth:`BackupLocation.reader` does."""
        ...

    async def unpack(self, part: PartId, into: Path, progress: Progress) -> StagedTrees:
        """Unpack a part into a folder, laid out as :class:`StagedPart` says, wholly checked, and without a link, device
        or name that leads out of it. What it leaves when it fails or is cancelled is for the caller to remove."""
        ...

    async def verify(self, progress: Progress) -> Verification:
        """Read everything and hold it against what is known of it, writing nothing."""
        ...


@frozen(kw_only=True)
class StagedTrees:
    """What was unpacked of a part."""

    trees: tuple[str, ...]
    """By name; ``root`` for the one without a name."""
    has_image: bool
    size_bytes: int
    left_out: tuple[str, ...] = ()
    """What is never put back, by its path in the part: device nodes."""


@frozen(kw_only=True)
class Verification:
    """What came of verifying a backup."""

    whole: bool
    """Whether all of it can be restored."""
    authenticated: bool
    """Whether an altered bit would have been noticed; an old encryption without digests can't tell."""
    findings: tuple[str, ...] = ()
    """What is wrong, in sentences."""


class BackupWriter(Protocol):
    """A backup that is being made. Nothing of it is listed before :meth:`publish` returns."""

    async def add(self, part: BackupPart, contents: PartContents, progress: Progress) -> StoredPart:
        """Read and store a part."""
        ...

    async def publish(self, head: BackupHead, progress: Progress) -> None:
        """Read everything back, hold it against the digests taken while it was written, and let it be listed. Raises
        where it is not what was written, or not protected as ``head`` says."""
        ...


class WrongPassword(Failed):
    """The password does not open the backup, or it needs one and none was given."""

    status = 400


class BackupDamaged(Failed):
    """A backup can't be read, or not whole; the message names the part."""

    status = 400


class BackupLocation(Protocol):
    """A place for backups beside the folders that the domain of backups keeps itself, such as a vault. Returned by the
    hook ``backup_locations``."""

    @property
    def name(self) -> str:
        """As the API names it: what backup mounts may be called, and none of them."""
        ...

    def backups(self) -> Sequence[tuple[BackupHead, int]]:
        """What is there, with what each takes in bytes; from memory."""
        ...

    def facts(self, slug: str) -> Mapping[str, Any]:
        """What else is known of a backup, for ``GET /kernel/v1/backups``. ``verified`` says whether what was read of it
        was whole: one that is ``False`` counts as none when it is decided which stay."""
        ...

    async def reload(self) -> None:
        """Look anew at what is there."""
        ...

    def writer(self, slug: str, password: Secret | None) -> AbstractAsyncContextManager[BackupWriter]:
        """Make a backup; what was written goes when the block ends before it is published."""
        ...

    def reader(self, slug: str, password: Secret | None) -> AbstractAsyncContextManager[BackupReader]:
        """Open a backup. Raises :class:`WrongPassword`, :class:`BackupDamaged`, ``NotFound``."""
        ...

    async def export(self, slug: str, archive: Path, progress: Progress) -> None:
        """Write it as an ordinary archive, for whoever downloads or copies it; removed by the caller."""
        ...

    async def delete(self, slug: str) -> None:
        """Remove a backup; nothing to do when it is gone."""
        ...


@frozen(kw_only=True)
class BackupRequest:
    """A backup that somebody wants."""

    name: str
    type: Literal["full", "partial"] = "partial"
    addons: tuple[str, ...] = ()
    """Slugs."""
    folders: tuple[str, ...] = ()
    core: bool = False
    wishes: PartWishes = PartWishes()
    locations: tuple[str | None, ...] | None = None
    """Names, ``None`` for the data folder's own; ``None`` in place of the tuple for where backups usually go. The first
    is made, the others are copies of it."""
    filename: str | None = None
    compressed: bool = True
    extra: Mapping[str, Any] = field(factory=dict)


class Backups(Protocol):
    """Backups, for other domains."""

    def create(self, request: BackupRequest, password: Secret | None = None) -> JobCall[None]:
        """The job that makes one: run by itself, or as the first part of an update's, which fails with it."""
        ...

    async def reader(
        self, slug: str, location: str | None, password: Secret | None
    ) -> AbstractAsyncContextManager[BackupReader]:
        """Open one where it is kept. Raises ``NotFound``, and at its entrance what :meth:`BackupLocation.reader` does.

        :param location: ``None`` for its first place
        """
        ...


BACKUPS = Service[Backups]("backups/1")


@frozen
class BackupLocationChanged(Event):
    """A place for backups has come or gone: the hook ``backup_locations`` answers with others than before. For who has
    such places to publish, as vaults do."""

    name: str
    there: bool


@frozen
class BackupMade(Event):
    """A backup was made and verified."""

    slug: str


@frozen
class BackupRestored(Event):
    """A backup, or a part of one, was put back."""

    slug: str


__all__ = [
    "BACKUPS",
    "BackupDamaged",
    "BackupHead",
    "BackupLocation",
    "BackupLocationChanged",
    "BackupMade",
    "BackupPart",
    "BackupReader",
    "BackupRequest",
    "BackupRestored",
    "BackupSource",
    "BackupWriter",
    "Backups",
    "PartContents",
    "PartId",
    "PartKind",
    "PartLeftOut",
    "PartTree",
    "PartWishes",
    "Progress",
    "SettingsKeeper",
    "StagedPart",
    "StagedTrees",
    "StoredPart",
    "Verification",
    "WrongPassword",
]

"""Vaults: what a driver for one program has to be that keeps backups without storing anything twice.

A driver is a class in a distribution of its own, named in the entry-point group ``rooftree.vaults``. It runs the
program (restic, kopia, borg …) and knows nothing of backups: to it a vault is a repository of snapshots, each with the
tags that it was given. The repository stays in the program's own format: its owner can always get at it by
hand::

    class Acme(VaultDriver):
        name = "acme"

        async def create(self, vault: VaultAccess) -> None: ...

Verbs are called for several vaults at once, and those that read also beside a :meth:`VaultDriver.store` in the same
vault; :meth:`VaultDriver.prune` and :meth:`VaultDriver.forget` are called alone. So it is within one installation:
another may be in the same vault at any time, and the program's own locks keep the two apart. A verb that is cancelled
leaves nothing running.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final, Literal

from attrs import field, frozen

from rooftree.errors import Failed, Unavailable
from rooftree.interfaces.backups import Progress
from rooftree.model import Secret
from rooftree.source_texts import tell_whole

GROUP: Final = "rooftree.vaults"
"""The entry-point group."""


class VaultUnreachable(Unavailable):
    """The repository, or the program that reads it, is not there at the moment."""

    error_key = "vault_unreachable_error"


class VaultRefused(Failed):
    """The program would not do it; the message has its own reason."""

    error_key = "vault_error"


class VaultLocked(Failed):
    """The key does not open the repository."""

    status = 400
    error_key = "vault_key_error"


class VaultMissing(Failed):
    """There is no repository at that place."""

    status = 404
    error_key = "vault_missing_error"


class VaultExists(Failed):
    """There is a repository at that place already; its key opens it."""

    status = 409
    error_key = "vault_exists_error"


@frozen(kw_only=True)
class VaultAccess:
    """How a repository is reached."""

    repository: str
    """A folder's absolute path, or an address in the driver's own words."""
    key: Secret
    """What the repository is encrypted with."""
    environment: Mapping[str, Secret] = field(factory=dict, repr=False)
    """Variables with credentials, such as ``AWS_SECRET_ACCESS_KEY``."""
    ssh_key: Secret | None = None
    """A private key in OpenSSH's format."""
    ssh_hosts: str = ""
    """Lines of a ``known_hosts`` file: servers that are not among them are not trusted."""
    ca_certificates: str = ""
    """Certificates as PEM: servers over TLS are trusted by these alone. Without any, by the system's."""
    cache: Path
    """A folder of the vault's own, which may be lost at any time."""


@frozen(kw_only=True)
class Snapshot:
    """A snapshot in a repository."""

    id: str
    time: datetime
    tags: tuple[str, ...]


@frozen(kw_only=True)
class Omission:
    """What is not stored of a folder."""

    folder: str
    """Relative to the base, as among the paths of the request."""
    pattern: str
    matching: Literal["tail", "whole", "exact"]
    """``tail``: a glob against the end of a path, never with a slash in front; ``whole``: a glob against the whole path
    below the folder, where ``*`` stays in its level and ``**`` spans levels; ``exact``: one path below the folder. What
    is hit is left out with all that is in it."""


@frozen(kw_only=True)
class SnapshotRequest:
    """A snapshot that is wanted."""

    base: Path
    """Folder that the paths are relative to. What is stored is known by its path below it."""
    paths: tuple[str, ...]
    """All of them are there."""
    omissions: tuple[Omission, ...] = ()
    tags: tuple[str, ...] = ()
    """Words of letters, digits, ``-`` and ``=``; without blanks, commas or anything that a program might split at."""


@frozen(kw_only=True)
class StoredSnapshot:
    """What came of one."""

    id: str
    total_bytes: int
    added_bytes: int
    """What the repository has grown by."""


type StoreDocument = Callable[[bytes], Awaitable[StoredSnapshot]]
"""Makes a snapshot of one file with that content; called once at most. Raises :class:`VaultRefused`."""


@frozen(kw_only=True)
class VaultEntry:
    """A file or folder in a snapshot."""

    name: str
    type: Literal["file", "folder", "link", "other"]
    size_bytes: int
    modified: datetime


@tell_whole
class VaultDriver:
    """Base of every driver of vaults. Constructing one has no side effects."""

    name: ClassVar[str]
    """What the entry point calls it: lower-case letters, digits and dashes."""

    def refuse_repository(self, repository: str) -> None:
        """Raise :class:`~rooftree.errors.Invalid` for an address that is none of the driver's; a path never comes
        here."""
        raise NotImplementedError

    async def create(self, vault: VaultAccess) -> None:
        """Make an empty repository. Raises :class:`VaultExists`."""
        raise NotImplementedError

    async def open(self, vault: VaultAccess) -> None:
        """Prove that the key opens the repository. Raises :class:`VaultLocked`, :class:`VaultMissing`."""
        raise NotImplementedError

    async def snapshots(self, vault: VaultAccess, tag: str) -> Sequence[Snapshot]:
        """Those that have a tag."""
        raise NotImplementedError

    async def store(self, vault: VaultAccess, request: SnapshotRequest, progress: Progress) -> StoredSnapshot:
        """Make a snapshot. Raises :class:`VaultRefused` where anything could not be read: a snapshot is whole."""
        raise NotImplementedError

    def document(
        self, vault: VaultAccess, name: str, tags: Sequence[str]
    ) -> AbstractAsyncContextManager[StoreDocument]:
        """What makes a snapshot of one file called ``name``, which is known only when others are stored.

        It is entered before the first :meth:`store` and left after the last, so that a program which takes long to
        begin can do so beside them: from then on a :meth:`store` may end at any time. Left without a content, there is
        no snapshot."""
        raise NotImplementedError

    async def restore(self, vault: VaultAccess, snapshot: str, paths: Sequence[str], into: Path) -> None:
        """Put what lies at ``paths`` in a snapshot below the folder ``into``, under those same paths, and verify it
        against the repository's digests."""
        raise NotImplementedError

    async def entries(self, vault: VaultAccess, snapshot: str, path: str) -> Sequence[VaultEntry]:
        """What lies in a folder of a snapshot. Raises :class:`~rooftree.errors.NotFound`."""
        raise NotImplementedError

    def content(self, vault: VaultAccess, snapshot: str, path: str) -> AsyncGenerator[bytes]:
        """A file of a snapshot, in pieces. Raises :class:`~rooftree.errors.NotFound` before the first."""
        raise NotImplementedError

    async def forget(self, vault: VaultAccess, snapshots: Sequence[str]) -> None:
        """Remove snapshots; nothing to do for those that are gone. What they took is freed by :meth:`prune`."""
        raise NotImplementedError

    async def prune(self, vault: VaultAccess) -> None:
        """Free what no snapshot needs, and prove that the repository's structure is whole."""
        raise NotImplementedError

    def by_hand(self, vault: VaultAccess) -> str:
        """For the recovery kit: how its owner gets at the repository without Rooftree, as lines of text. Names the
        variables of :attr:`VaultAccess.environment`, not what is in them; the kit has the key itself."""
        raise NotImplementedError


__all__ = [
    "GROUP",
    "Omission",
    "Snapshot",
    "SnapshotRequest",
    "StoreDocument",
    "StoredSnapshot",
    "VaultAccess",
    "VaultDriver",
    "VaultEntry",
    "VaultExists",
    "VaultLocked",
    "VaultMissing",
    "VaultRefused",
    "VaultUnreachable",
]

"""The shapes of the backups' answers and bodies, as the contract has them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from attrs import field, frozen, validators

from rooftree import UNSET, Secret, Unset
from rooftree_backups.catalogue import Backup
from rooftree_backups.failed_parts import FailedPart, failed_parts
from rooftree_backups.names import CLOUD, BackupFilename, BackupSlug, LocationName, shown

MIB = 1024 * 1024

type Folder = Literal["share", "addons/local", "ssl", "media"]
type LocationAnswer = str | None
type BackupExtra = dict[str, Any]
"""What a backup's maker keeps in it; its own affair."""


@frozen(kw_only=True)
class BackupContent:
    """What is in a backup."""

    homeassistant: bool
    addons: list[str]
    folders: list[str]


@frozen(kw_only=True)
class LocationAttributes:
    """A backup, as it is kept in one place."""

    protected: bool
    size_bytes: int


@frozen(kw_only=True)
class _KnownOfEach:
    """What lists and pages have of a backup."""

    slug: str
    name: str
    date: datetime
    type: Literal["full", "partial"]
    size: float
    """In MiB."""
    size_bytes: int
    location: LocationAnswer
    locations: list[LocationAnswer]
    protected: bool
    location_attributes: dict[str, LocationAttributes]
    compressed: bool
    failed: list[FailedPart]
    """What was asked for and is not in it."""


@frozen(kw_only=True)
class BackupSummary(_KnownOfEach):
    """A backup in a list."""

    content: BackupContent

    @classmethod
    def of(cls, backup: Backup) -> Self:
        head = backup.head
        content = BackupContent(
            homeassistant=head.core_version is not None,
            addons=[addon.id.slug for addon in head.addons],
            folders=list(head.folders),
        )
        return cls(content=content, **_known(backup))


@frozen(kw_only=True)
class BackupAddon:
    """An add-on in a backup."""

    slug: str
    name: str
    version: str
    size: float
    """In MiB."""


@frozen(kw_only=True)
class BackupDetails(_KnownOfEach):
    """A backup, whole."""

    supervisor_version: str
    homeassistant: str | None
    """The version of Core in it."""
    addons: list[BackupAddon]
    repositories: list[str]
    folders: list[str]
    homeassistant_exclude_database: bool | None
    """``None`` for one without Core."""
    extra: BackupExtra

    @classmethod
    def of(cls, backup: Backup) -> Self:
        head = backup.head
        addons = [
            BackupAddon(
                slug=addon.id.slug, name=addon.name, version=addon.version or "", size=_mebibytes(addon.size_bytes)
            )
            for addon in head.addons
        ]
        return cls(
            supervisor_version=head.supervisor_version,
            homeassistant=head.core_version,
            addons=addons,
            repositories=list(head.repositories),
            folders=list(head.folders),
            homeassistant_exclude_database=None if head.core_version is None else head.exclude_database,
            extra=dict(head.extra),
            **_known(backup),
        )


def _mebibytes(size_bytes: int) -> float:
    return round(size_bytes / MIB, 2)


def _known(backup: Backup) -> dict[str, Any]:
    head, primary = backup.head, backup.primary
    keys = [copy.location for copy in backup.copies]
    visible = [key for key in keys if key != CLOUD] or keys
    return {
        "slug": head.slug,
        "name": head.name,
        "date": head.date,
        "type": head.type,
        "size": _mebibytes(primary.size_bytes),
        "size_bytes": primary.size_bytes,
        "location": shown(primary.location),
        "locations": [shown(key) for key in visible],
        "protected": primary.head.protected,
        "location_attributes": {
            copy.location: LocationAttributes(protected=copy.head.protected, size_bytes=copy.size_bytes)
            for copy in backup.copies
        },
        "compressed": head.compressed,
        "failed": failed_parts(head),
    }


@frozen
class BackupList:
    """The backups."""

    backups: list[BackupSummary]


@frozen(kw_only=True)
class BackupsInfo:
    """The backups, and when one of them counts as stale."""

    backups: list[BackupSummary]
    days_until_stale: int


@frozen
class OptionsChange:
    """What is to be otherwise."""

    days_until_stale: int = field(validator=validators.ge(1))


@frozen(kw_only=True)
class FullBackupRequest:
    """A backup of everything."""

    name: str = ""
    filename: BackupFilename | None = None
    password: Secret | None = None
    """Empty for none."""
    compressed: bool | None = None
    location: LocationName | list[LocationName | None] | Unset | None = UNSET
    homeassistant_exclude_database: bool | None = None
    background: bool | None = None
    extra: BackupExtra | None = None


@frozen(kw_only=True)
class PartialBackupRequest(FullBackupRequest):
    """A backup of what is named."""

    addons: list[str] | Literal["ALL"] | None = None
    folders: list[Folder | Literal["homeassistant"]] | None = None
    """``homeassistant`` is an older word for the next one."""
    homeassistant: bool | None = None


@frozen(kw_only=True)
class NewBackup:
    """A backup that was made, or is being made."""

    job_id: str
    slug: str | Unset = UNSET
    """Once it is there."""
    failed: list[FailedPart] | Unset = UNSET


@frozen
class UploadedBackup:
    """A backup that was taken in."""

    slug: BackupSlug


@frozen(kw_only=True)
class RemovalRequest:
    """Where a backup is to be removed; everywhere unless told."""

    location: LocationName | list[LocationName | None] | Unset | None = UNSET


@frozen(kw_only=True)
class FreezeRequest:
    """How long everything may be kept still, in seconds."""

    timeout: int = field(default=600, validator=validators.ge(1))

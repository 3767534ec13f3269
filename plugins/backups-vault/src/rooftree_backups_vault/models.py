"""What the vaults' routes take and answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import field, frozen

from rooftree import Secret
from rooftree.interfaces.backups import PartId, PartKind
from rooftree.interfaces.vaults import VaultEntry
from rooftree_backups_vault.stored_backups import PartProof, StoredBackup
from rooftree_backups_vault.vaults import VariableName, Vault, VaultName, new_key


@frozen(kw_only=True)
class VaultRequest:
    """A vault that somebody wants."""

    name: VaultName
    place: Secret
    """``local`` (this disk), ``mount:NAME`` (a mount for backups), or an address that the driver reaches, such as
    ``sftp:user@host:/folder``. A secret, because it may have a login in it."""
    driver: str = "restic"
    key: Secret | None = None
    """What it is encrypted with; made by us where there is none. Of one that exists, its own."""
    existing: bool = False
    """Take up a vault that is there."""
    environment: Mapping[VariableName, Secret] = field(factory=dict)
    """Credentials for the place, by the variables that the driver's program reads."""
    ssh_key: Secret | None = None
    """A private key in OpenSSH's format."""
    ssh_hosts: str = ""
    """Lines of ``known_hosts``; for a place that is reached over SSH there has to be one."""
    ca_certificates: str = ""
    """Certificates as PEM: a place that is reached over TLS is trusted by these alone. Without any, by the system's."""

    def as_vault(self, now: datetime) -> Vault:
        """The vault that is wanted."""
        return Vault(driver=self.driver, place=self.place, key=self.key or new_key(), ssh_key=self.ssh_key,
                     environment={str(name): secret for name, secret in self.environment.items()},
                     ssh_hosts=self.ssh_hosts, ca_certificates=self.ca_certificates, created=now)  # fmt: skip


@frozen(kw_only=True)
class ShownProof:
    """When a part was proved, and what came of it."""

    kind: PartKind
    slug: str
    time: datetime
    whole: bool
    compared_files: int
    compared_bytes: int
    opened_files: int
    findings: Sequence[str]

    @classmethod
    def of(cls, proof: PartProof) -> ShownProof:
        """A proof as it is kept."""
        return cls(kind=proof.part.kind, slug=proof.part.slug, time=proof.time, whole=proof.whole,
                   compared_files=proof.compared_files, compared_bytes=proof.compared_bytes,
                   opened_files=proof.opened_files, findings=proof.findings)  # fmt: skip


@frozen(kw_only=True)
class ShownBackup:
    """A backup in a vault."""

    slug: str
    name: str
    date: datetime
    added_bytes: int
    """What the vault has grown by for it."""
    total_bytes: int
    parts: Sequence[str]
    proofs: Sequence[ShownProof]

    @classmethod
    def of(cls, backup: StoredBackup) -> ShownBackup:
        """A backup as it is kept."""
        return cls(
            slug=backup.head.slug,
            name=backup.head.name,
            date=backup.head.date,
            added_bytes=backup.added_bytes,
            total_bytes=sum(part.total_bytes for part in backup.parts),
            parts=[part.part.id.slug for part in backup.parts],
            proofs=[ShownProof.of(proof) for proof in backup.proofs],
        )


@frozen(kw_only=True)
class ShownVault:
    """A vault."""

    name: str
    driver: str
    place: str
    created: datetime
    backups: Sequence[ShownBackup]

    @classmethod
    def of(cls, name: str, vault: Vault, backups: Sequence[StoredBackup]) -> ShownVault:
        """A vault with its backups, the newest first."""
        newest_first = sorted(backups, key=lambda backup: backup.head.date, reverse=True)
        return cls(name=name, driver=vault.driver, place=vault.shown_place, created=vault.created,
                   backups=[ShownBackup.of(backup) for backup in newest_first])  # fmt: skip


@frozen
class VaultListing:
    """The vaults."""

    vaults: Sequence[ShownVault]


@frozen
class VaultMade:
    """A vault, and the page with which its owner gets at it when this machine is gone."""

    vault: ShownVault
    recovery_kit: str = field(repr=False)


@frozen
class KitPage:
    """A recovery kit."""

    recovery_kit: str = field(repr=False)
    """Plain text, to be printed."""


@frozen
class KeyCheck:
    """A key that is to be proved; without one, the vault's own."""

    key: Secret | None = None


@frozen(kw_only=True)
class ProofRequest:
    """What is to be proved; without anything, the part whose turn it is."""

    slug: str | None = None
    kind: PartKind | None = None
    part: str | None = None
    background: bool = False

    def part_id(self) -> PartId | None:
        """The part, where one is named."""
        return PartId(kind=self.kind, slug=self.part) if self.kind is not None and self.part is not None else None


@frozen(kw_only=True)
class ImportRequest:
    """A backup that is to be taken into a vault."""

    slug: str
    location: str | None = None
    """Where it is, if in several places: ``.local`` or a mount's name."""
    password: Secret | None = None
    background: bool = False


@frozen
class EntryListing:
    """What lies in a folder of a part."""

    entries: Sequence[VaultEntry]


@frozen(kw_only=True)
class PutBackRequest:
    """A file or folder that is to be brought back."""

    path: str
    """Below the part, such as ``data/options.json``."""

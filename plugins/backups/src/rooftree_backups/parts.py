"""The parts of the house: who owns them, and which of them a backup is to have."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from attrs import frozen

from rooftree import Failed, Invalid, Kernel
from rooftree.interfaces.backups import BackupPart, BackupRequest, BackupSource, PartContents, PartKind, PartWishes
from rooftree.interfaces.hooks import backup_facts, backup_source
from rooftree_backups.failed_parts import FailedPart
from rooftree_backups.folder_parts import FolderParts
from rooftree_backups.settings_parts import SettingsParts


@frozen(kw_only=True)
class Selection:
    """The parts that a backup is to have."""

    core: BackupPart | None = None
    addons: tuple[BackupPart, ...] = ()
    folders: tuple[BackupPart, ...] = ()
    supervisor: BackupPart | None = None
    missing: tuple[FailedPart, ...] = ()
    """What was asked for and is not there."""


@frozen(kw_only=True)
class InstallationFacts:
    """What the domains say of the whole installation."""

    repositories: tuple[str, ...] = ()
    supervisor_version: str = ""


class NobodyOwns(Failed):
    """The domain whose parts they are does not run."""


class PartOwner(Protocol):
    """What of a :class:`~rooftree.interfaces.backups.BackupSource` is needed to make a backup."""

    @property
    def kind(self) -> PartKind:
        """Whose parts they are."""
        ...

    def parts(self) -> Sequence[BackupPart]:
        """What could be backed up now."""
        ...

    def hold(self, slug: str, wishes: PartWishes) -> AbstractAsyncContextManager[PartContents]:
        """Keep a part still for the length of the block."""
        ...

    async def release(self, slug: str) -> None:
        """End a hold that a kill has interrupted."""
        ...


class Parts:
    """The parts of all domains.

    :param folders: the owner of the folders
    :param settings: the owner of the supervisor's own part
    """

    def __init__(self, kernel: Kernel, folders: FolderParts, settings: SettingsParts) -> None:
        self._kernel = kernel
        self._own: tuple[PartOwner, ...] = (folders, settings)
        self._folders = folders
        self.settings = settings

    async def owners(self) -> dict[PartKind, PartOwner]:
        """Who owns which kind of parts; the domains that run."""
        owners: list[PartOwner] = [*await self._kernel.call(backup_source), *self._own]
        return {owner.kind: owner for owner in owners}

    async def sources(self) -> dict[PartKind, BackupSource]:
        """Whose parts are put back by jobs of their own; the domains that run."""
        return {source.kind: source for source in await self._kernel.call(backup_source)}

    async def owner(self, kind: PartKind) -> PartOwner:
        """The owner of a kind of parts; raises :class:`NobodyOwns` where its domain does not run."""
        owners = await self.owners()
        if kind not in owners:
            raise NobodyOwns(f"There is nobody now who could back up what is called {kind}")
        return owners[kind]

    async def facts(self) -> InstallationFacts:
        """What belongs into the head of every backup."""
        facts: dict[str, Any] = {}
        for answer in await self._kernel.call(backup_facts):
            facts |= answer
        return InstallationFacts(
            repositories=tuple(facts.get("repositories", ())),
            supervisor_version=str(facts.get("supervisor_version", "")),
        )

    async def core_version(self) -> str | None:
        """The version of Core that is installed; ``None`` where none is, or only its stand-in."""
        owner = (await self.owners()).get(PartKind.CORE)
        return next((part.version for part in owner.parts()), None) if owner is not None else None

    async def select(self, request: BackupRequest) -> Selection:
        """The parts that a request means.

        :raises Invalid: where Core is asked for and is not installed
        """
        parts = {kind: {part.id.slug: part for part in owner.parts()} for kind, owner in (await self.owners()).items()}
        addons, folders = parts.get(PartKind.ADDON, {}), parts.get(PartKind.FOLDER, {})
        core = next(iter(parts.get(PartKind.CORE, {}).values()), None)
        supervisor = None if await self.settings.is_empty() else self.settings.parts()[0]
        if request.type == "full":
            there = await self._folders.there()
            return Selection(
                core=core,
                addons=tuple(addons.values()),
                folders=tuple(part for slug, part in folders.items() if slug in there),
                supervisor=supervisor,
            )
        if request.core and core is None:
            raise Invalid("homeassistant: Home Assistant Core is not installed, so there is nothing to back up of it")
        wanted = [
            *((PartKind.ADDON, slug, addons) for slug in dict.fromkeys(request.addons)),
            *((PartKind.FOLDER, slug, folders) for slug in dict.fromkeys(request.folders)),
        ]
        missing = [
            FailedPart(kind=kind, slug=slug, message=f"There is no {kind} {slug} to back up")
            for kind, slug, there in wanted
            if slug not in there
        ]
        return Selection(
            core=core if request.core else None,
            addons=tuple(addons[slug] for slug in dict.fromkeys(request.addons) if slug in addons),
            folders=tuple(folders[slug] for slug in dict.fromkeys(request.folders) if slug in folders),
            supervisor=supervisor,
            missing=tuple(missing),
        )

"""The parts of the house: who owns them, and which of them a backup is to have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from rooftree import Invalid, Kernel, Unavailable
from rooftree.interfaces.backups import BackupPart, BackupRequest, BackupSource, PartKind
from rooftree.interfaces.hooks import backup_facts, backup_source
from rooftree_backups.failed_parts import FailedPart


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


class Parts:
    """The parts of all domains.

    :param own: the sources of this domain's own parts
    """

    def __init__(self, kernel: Kernel, own: Sequence[BackupSource]) -> None:
        self._kernel = kernel
        self._own = own

    async def sources(self) -> dict[PartKind, BackupSource]:
        """Who owns which kind of parts; the domains that run."""
        return {source.kind: source for source in (*await self._kernel.call(backup_source), *self._own)}

    async def source(self, kind: PartKind) -> BackupSource:
        """The owner of a kind of parts; raises ``Unavailable`` where its domain does not run."""
        sources = await self.sources()
        if kind not in sources:
            raise Unavailable(f"There is nobody now who could back up what is called {kind}")
        return sources[kind]

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
        source = (await self.sources()).get(PartKind.CORE)
        return next((part.version for part in source.parts()), None) if source is not None else None

    async def select(self, request: BackupRequest) -> Selection:
        """The parts that a request means.

        :raises Invalid: where Core is asked for and is not installed
        """
        parts = {
            kind: {part.id.slug: part for part in source.parts()} for kind, source in (await self.sources()).items()
        }
        addons, folders = parts.get(PartKind.ADDON, {}), parts.get(PartKind.FOLDER, {})
        core = next(iter(parts.get(PartKind.CORE, {}).values()), None)
        supervisor = next(iter(parts.get(PartKind.SUPERVISOR, {}).values()), None)
        if request.type == "full":
            return Selection(
                core=core, addons=tuple(addons.values()), folders=tuple(folders.values()), supervisor=supervisor
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

"""What is kept of the mounts: their configurations, and which of them is the default for backups."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Self

import structlog
from attrs import frozen

from rooftree import CallMemory, Collection, Invalid, Kernel, Service, document
from rooftree.interfaces.mounts import MountNotFound, MountsChanged
from rooftree_files import Folder
from rooftree_mounts.configuration import MountConfig
from rooftree_mounts.places import every_place

log = structlog.get_logger(__name__)

HELD: Final = "held"
"""The file in the plugin's own folder in which the kernel looks for them."""
_KEY = "backup"
_OFFERED: Final = CallMemory[MountConfig]("mounts that are to be tried")


@document("mounts.default", version=1)
@frozen
class DefaultMount:
    """The mount that backups go to."""

    name: str


@document("mounts.draft", version=1)
@frozen
class Draft:
    """A configuration that a job is about to try, by the mount's name."""

    config: MountConfig


class KeptMounts:
    """The configurations, in memory and on the disk."""

    def __init__(
        self,
        kernel: Kernel,
        configs: Collection[MountConfig],
        drafts: Collection[Draft],
        defaults: Collection[DefaultMount],
        folder: Path,
    ) -> None:
        self._kernel = kernel
        self._folder = folder
        self._configs = configs
        self._drafts = drafts
        self._defaults = defaults

    @classmethod
    async def load(cls, kernel: Kernel) -> Self:
        """With what was kept."""
        kept = cls(
            kernel,
            await kernel.collection(MountConfig),
            await kernel.collection(Draft),
            await kernel.collection(DefaultMount),
            await kernel.folder(),
        )
        await kept._note_held()
        return kept

    @property
    def configs(self) -> Mapping[str, MountConfig]:
        """All of them, by name."""
        return self._configs

    def config(self, name: str) -> MountConfig:
        """One of them; raises :class:`MountNotFound`."""
        config = self._configs.get(name)
        if config is None:
            raise MountNotFound(f"There is no mount {name}; {self._those_there()}")
        return config

    def _those_there(self) -> str:
        return f"there are {', '.join(sorted(self._configs))}" if self._configs else "there are none"

    # --- the default for backups --------------------------------------------------------------------------------------

    @property
    def default(self) -> str | None:
        """The mount that backups go to; ``None`` for the data folder."""
        kept = self._defaults.get(_KEY)
        config = None if kept is None else self._configs.get(kept.name)
        return kept.name if kept is not None and config is not None and config.usage == "backup" else None

    async def choose_default(self, name: str | None) -> None:
        """Let backups go to a mount, or to the data folder.

        Raises :class:`MountNotFound`, and :class:`Invalid` for one with another usage.
        """
        if name is not None and self.config(name).usage != "backup":
            raise Invalid(
                f"default_backup_mount: must be a mount with usage backup, and {name} has {self.config(name).usage}"
            )
        before = self.default
        if name != before:
            change = self._defaults.delete(_KEY) if name is None else self._defaults.put(_KEY, DefaultMount(name))
            await self._kernel.commit(change)
            self._tell(*filter(None, (before, name)))

    # --- what a job is about to try -----------------------------------------------------------------------------------

    def offered(self, name: str, config: MountConfig) -> AbstractContextManager[None]:
        """While a job is under way, let it find a configuration: only memory knows it until the job has kept it."""
        return _OFFERED.of({name: config})

    def wanted(self, name: str) -> MountConfig:
        """What a job is about to try; raises ``KeyError`` where nothing is."""
        offered = _OFFERED.get(name)
        return self._drafts[name].config if offered is None else offered

    def draft(self, name: str) -> MountConfig | None:
        """What a job has begun to try."""
        draft = self._drafts.get(name)
        return None if draft is None else draft.config

    async def keep_draft(self, name: str, config: MountConfig) -> None:
        """Keep what a job is about to try, so that it can be taken up, or back, after a kill."""
        await self._kernel.commit(self._drafts.put(name, Draft(config)))
        await self._note_held()

    async def drop_draft(self, name: str) -> None:
        """Forget what was to be tried."""
        if name in self._drafts:
            await self._kernel.commit(self._drafts.delete(name))
            await self._note_held()

    async def save_draft(self, name: str) -> None:
        """What was tried is the mount from now on; the first for backups becomes the default. May be repeated."""
        config = self.draft(name)
        if config is None:
            return
        changes = [self._configs.put(name, config), self._drafts.delete(name)]
        if config.usage == "backup" and self.default is None and name not in self._configs:
            changes.append(self._defaults.put(_KEY, DefaultMount(name)))
        elif config.usage != "backup" and self.default == name:
            changes.append(self._defaults.delete(_KEY))
        await self._kernel.commit(*changes)
        self._tell(name)

    # --- a mount that goes --------------------------------------------------------------------------------------------

    async def set_aside(self, name: str) -> None:
        """A mount is none from now on, but can come back. May be repeated."""
        config = self._configs.get(name)
        if config is not None:
            gone = [self._defaults.delete(_KEY)] if self.default == name else []
            await self._kernel.commit(self._configs.delete(name), self._drafts.put(name, Draft(config)), *gone)
            self._tell(name)

    async def bring_back(self, name: str, *, as_default: bool) -> None:
        """What was set aside is a mount again. May be repeated."""
        config = self.draft(name)
        if config is not None:
            default = [self._defaults.put(_KEY, DefaultMount(name))] if as_default else []
            await self._kernel.commit(self._configs.put(name, config), self._drafts.delete(name), *default)
            self._tell(name)

    # --- in backups ---------------------------------------------------------------------------------------------------

    def export(self) -> dict[str, Any]:
        """As :meth:`rooftree.interfaces.mounts.Mounts.export` has it."""
        mounts = [config.record(name) for name, config in sorted(self._configs.items())]
        return {"default_backup_mount": self.default, "mounts": mounts}

    async def take_over(self, records: Mapping[str, Any], taken: frozenset[str]) -> tuple[list[str], list[str]]:
        """Keep what :meth:`export` wrote. Returns the names of those that are new or other than before, and a sentence
        for each that is left out.

        :param taken: names that another domain's places for backups have
        """
        read: dict[str, MountConfig] = {}
        refused = []
        listed = records.get("mounts")
        for number, record in enumerate(listed if isinstance(listed, list) else []):
            label = record.get("name", number) if isinstance(record, Mapping) else number
            try:
                name, config = MountConfig.from_record(record if isinstance(record, Mapping) else {})
                if name in taken and name not in self._configs:
                    raise Invalid(
                        "there is a vault, or another place for backups, of that name; forget that and restore the "
                        "settings again, or make the mount under another name"
                    )
                read[name] = config
            except Invalid as error:
                refused.append(f"The mount {label!s:.64} was left out: {error}")
        changed = {name: config for name, config in read.items() if self._configs.get(name) != config}
        changes = [self._configs.put(name, config) for name, config in changed.items()]
        wanted = records.get("default_backup_mount")
        known = {**self._configs, **read}
        if self.default is None and isinstance(wanted, str) and wanted in known and known[wanted].usage == "backup":
            changes.append(self._defaults.put(_KEY, DefaultMount(wanted)))
        if changes:
            await self._kernel.commit(*changes)
            await self._note_held()
            self._tell(*changed)
        return list(changed), refused

    async def _note_held(self) -> None:
        """Name all folders that something may be mounted on, for who removes what we leave when we are uninstalled."""
        names = sorted({*self._configs, *self._drafts})
        text = "".join(f"{place}\n" for name in names for place in every_place(name))
        try:
            await asyncio.to_thread(_write_held, self._folder, text)
        except OSError as error:
            log.warning("held_places_not_noted", error=str(error))

    def _tell(self, *names: str) -> None:
        self._kernel.publish(MountsChanged(tuple(dict.fromkeys(names))))


def _write_held(folder: Path, text: str) -> None:
    with Folder.open(folder) as own:
        if own.status(HELD) is None or own.read_beginning(HELD, len(text) + 1) != text.encode():
            own.write(HELD, text.encode(), 0o600)


KEPT_MOUNTS = Service[KeptMounts]("mounts.kept/1")

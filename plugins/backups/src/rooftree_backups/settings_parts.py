"""The supervisor's own part of a backup: the mounts, and what other domains keep for the whole installation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from attrs import frozen

from rooftree import Kernel
from rooftree.interfaces.backups import BackupPart, PartContents, PartId, PartKind, PartWishes, SettingsKeeper
from rooftree.interfaces.hooks import backup_settings
from rooftree.interfaces.mounts import MOUNTS, Mounts
from rooftree.model import printable

MOUNTS_DOCUMENT: Final = "mounts.json"
MOST_NAMED: Final = 100


@frozen
class MountsKeeper:
    """The mounts, as one of those who keep something."""

    _mounts: Mounts
    document: str = MOUNTS_DOCUMENT

    @property
    def has_settings(self) -> bool:
        """Whether there is a mount."""
        return bool(self._mounts.mounts())

    def export(self) -> Mapping[str, Any]:
        """All of them, with their credentials."""
        return self._mounts.export()

    async def restore(self, records: Mapping[str, Any]) -> tuple[str, ...]:
        return await self._mounts.restore(records)


class SettingsParts:
    """The owner of the supervisor's part."""

    kind = PartKind.SUPERVISOR

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def parts(self) -> Sequence[BackupPart]:
        return [BackupPart(id=PartId(kind=PartKind.SUPERVISOR, slug=PartKind.SUPERVISOR.value), name="Settings")]

    @asynccontextmanager
    async def hold(self, slug: str, wishes: PartWishes) -> AsyncIterator[PartContents]:
        """The documents of all who keep something. Raises ``SecretLocked`` where a password can't be read."""
        documents = {name: orjson.dumps(records) for name, records in (await self._records()).items()}
        yield PartContents(documents=documents)

    async def is_empty(self) -> bool:
        """Whether there is nothing to back up."""
        return not any(keeper.has_settings for keeper in (await self._keepers()).values())

    async def _records(self) -> dict[str, Mapping[str, Any]]:
        return {name: keeper.export() for name, keeper in (await self._keepers()).items() if keeper.has_settings}

    async def _keepers(self) -> dict[str, SettingsKeeper]:
        keepers: list[SettingsKeeper] = await self._kernel.call(backup_settings)
        mounts = self._kernel.find(MOUNTS)
        if mounts is not None:
            keepers = [MountsKeeper(mounts), *keepers]
        return {keeper.document: keeper for keeper in keepers}

    async def release(self, slug: str) -> None:
        """Nothing was kept still."""

    async def put_back(self, documents: Mapping[str, bytes]) -> tuple[str, ...]:
        """Take over what a backup has of it; may be repeated. What is there now under the same names is replaced, the
        rest stays. A sentence for each setting that was left out is returned."""
        keepers, left_out = await self._keepers(), list[str]()
        for name, content in documents.items():
            if name not in keepers:
                left_out.append(f"{name}: there is nobody here who keeps that")
                continue
            left_out += await keepers[name].restore(orjson.loads(content))
        return tuple(left_out)


def named(documents: Mapping[str, bytes]) -> tuple[str, ...]:
    """What is in the part, in sentences without a password. An archive may be a stranger's: what is none of these is
    left out here, and refused where it is taken over."""
    sentences: list[str] = []
    for name in sorted(documents):
        try:
            records = orjson.loads(documents[name])
        except orjson.JSONDecodeError:
            continue
        if isinstance(records, dict):
            sentences += _named(records)
    return tuple(sentences[:MOST_NAMED])


def _named(records: Mapping[str, Any]) -> list[str]:
    mounts, registries = records.get("mounts"), records.get("registries")
    names = [mount.get("name") for mount in mounts if isinstance(mount, dict)] if isinstance(mounts, list) else []
    default = records.get("default_backup_mount")
    hosts = registries if isinstance(registries, dict) else ()
    return [
        *(f"The mount {printable(str(name))[:100]} comes back" for name in names),
        *([f"Backups go to {printable(str(default))[:100]}, where nothing else is set"] if default else []),
        *(f"The login at {printable(str(host))[:100]} comes back" for host in hosts),
    ]

"""The mounts as other domains see them: what is kept of each, and how it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rooftree import UNSET, Invalid, Service
from rooftree.interfaces.containers import DataPath
from rooftree.interfaces.mounts import Mount, MountDown, MountState, MountUsage
from rooftree_mounts.configuration import MountConfig
from rooftree_mounts.kept_mounts import KeptMounts
from rooftree_mounts.models import ListedMount, MountsInfo


class UsageOfInactive(Invalid):
    """What is not mounted takes no room. ``extra_fields``: ``name``."""

    error_key = "mount_usage_not_active_error"


class HostMounts:
    """The mounts there are."""

    def __init__(self, data: Path, kept: KeptMounts) -> None:
        self._data = data
        self._kept = kept
        self._states: dict[str, MountState] = {}

    def mounts(self) -> tuple[Mount, ...]:
        return tuple(self.mount(name) for name in sorted(self._kept.configs))

    def mount(self, name: str) -> Mount:
        config = self._kept.config(name)
        return Mount(
            name=name,
            usage=config.usage,
            state=self._states.get(name, "inactive"),
            path=self._data / "mounts" / name,
            data_path=DataPath(seen_at(name, config)),
            read_only=config.read_only,
        )

    def default_backup_mount(self) -> str | None:
        return self._kept.default

    async def look(self, name: str) -> Mount:
        mount = self.mount(name)
        if mount.state != "active":
            raise MountDown(f"The mount {name} is {mount.state}", mount=name)
        return mount

    async def usage(self, name: str, max_depth: int) -> MountUsage:
        raise UsageOfInactive(f"The mount {name} is {self.mount(name).state}", name=name)

    def export(self) -> Mapping[str, Any]:
        return self._kept.export()

    async def restore(self, records: Mapping[str, Any]) -> tuple[str, ...]:
        _, refused = await self._kept.take_over(records)
        return tuple(refused)

    def listing(self) -> MountsInfo:
        """All of them, for clients."""
        mounts = [self._listed(name, config) for name, config in sorted(self._kept.configs.items())]
        return MountsInfo(mounts=mounts, default_backup_mount=self._kept.default)

    def _listed(self, name: str, config: MountConfig) -> ListedMount:
        at_server = config.type != "disk"
        return ListedMount(
            name=name,
            type=config.type,
            usage=config.usage,
            read_only=config.read_only,
            state=self._states.get(name, "inactive"),
            user_path=None if config.usage == "backup" else f"/{seen_at(name, config)}",
            server=config.server if at_server and config.server is not None else UNSET,
            port=UNSET if config.port is None else config.port,
            share=UNSET if config.share is None else config.share,
            version=config.version if config.type == "cifs" else UNSET,
            path=UNSET if config.path is None else config.path,
            uuid=UNSET if config.uuid is None else config.uuid,
            filesystem=UNSET if at_server else config.filesystem,
        )


def seen_at(name: str, config: MountConfig) -> str:
    """Where containers see it, relative to the data folder."""
    return f"mounts/{name}" if config.usage == "backup" else f"{config.usage}/{name}"


HOST_MOUNTS = Service[HostMounts]("mounts.host/1")

"""Who uses a mount, and would miss it."""

from __future__ import annotations

from rooftree import Kernel, Service
from rooftree.interfaces import hooks
from rooftree_mounts.host_mounts import HostMounts
from rooftree_mounts.kept_mounts import KeptMounts


class MountRemoval:
    """Asks everybody who may use a mount."""

    def __init__(self, kernel: Kernel, kept: KeptMounts, mounts: HostMounts) -> None:
        self._kernel = kernel
        self._kept = kept
        self._mounts = mounts

    async def users(self, name: str) -> list[str]:
        """In sentences, each one that uses it; raises :class:`~rooftree.interfaces.mounts.MountNotFound`."""
        mount = self._mounts.mount(name)
        is_default = self._kept.default == name
        own = [f"Backups go to {name} by default; they go to the data folder then"] if is_default else []
        answers = await self._kernel.call(hooks.mount_users, mount)
        return own + [sentence for sentences in answers for sentence in sentences]


MOUNT_REMOVAL = Service[MountRemoval]("mounts.removal/1")

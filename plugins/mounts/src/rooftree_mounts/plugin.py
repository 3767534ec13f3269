"""The table of contents of this domain."""

from __future__ import annotations

from rooftree import Kernel, Plugin, Routes
from rooftree.interfaces.mounts import MOUNTS
from rooftree_mounts.host_mounts import HOST_MOUNTS, HostMounts
from rooftree_mounts.kept_mounts import KEPT_MOUNTS, KeptMounts
from rooftree_mounts.routes import routes


class MountsPlugin(Plugin):
    """Network storage and local disks."""

    name = "mounts"
    provides = (MOUNTS, HOST_MOUNTS, KEPT_MOUNTS)

    async def setup(self, kernel: Kernel) -> None:
        """Know what was kept."""
        kept = await KeptMounts.load(kernel)
        mounts = HostMounts(kernel.data.path, kept)
        kernel.provide(MOUNTS, mounts)
        kernel.provide(HOST_MOUNTS, mounts)
        kernel.provide(KEPT_MOUNTS, kept)

    def routes(self) -> Routes:
        """``/mounts…``."""
        return routes

"""The table of contents of this domain."""

from __future__ import annotations

from rooftree import Plugin, Routes
from rooftree_mounts.routes import routes


class MountsPlugin(Plugin):
    """Network storage and local disks; so far it says that there are none, which clients have to know to go on."""

    name = "mounts"

    def routes(self) -> Routes:
        """``/mounts``, so far what reads."""
        return routes

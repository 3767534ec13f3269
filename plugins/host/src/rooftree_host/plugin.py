"""The table of contents of this domain."""

from __future__ import annotations

from attrs import frozen

from rooftree import Kernel, Plugin, Routes
from rooftree.interfaces.journal import HOST_BOOTS, SYSTEM_JOURNAL
from rooftree_host.boots import Boots
from rooftree_host.gateway import Gateway
from rooftree_host.routes import routes


@frozen
class HostSettings:
    """``[plugins.host]`` in rooftree.toml."""

    journal: str = "unix:///run/systemd-journal-gatewayd.sock"
    """Where systemd-journal-gatewayd(8) listens: ``unix:///path`` or ``http://host:19531``."""


class HostPlugin(Plugin):
    """The host that Rooftree runs on: so far its system journal, and the boots it went through."""

    name = "host"
    provides = (SYSTEM_JOURNAL, HOST_BOOTS)
    settings = HostSettings
    _gateway: Gateway | None = None

    async def setup(self, kernel: Kernel) -> None:
        """Note the boot that we are in; whether the journal's gateway is there is found out by who reads it."""
        self._gateway = Gateway(kernel.settings(HostSettings).journal)
        kernel.provide(SYSTEM_JOURNAL, self._gateway)
        kernel.provide(HOST_BOOTS, await Boots.load(kernel))

    def routes(self) -> Routes:
        """``/host/logs…``."""
        return routes

    async def stop(self) -> None:
        """End what is being read."""
        if self._gateway is not None:
            await self._gateway.close()

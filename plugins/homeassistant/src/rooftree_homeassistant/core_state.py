"""What Core tells of itself: its state, and how its web server is set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

RUNNING: Final = "RUNNING"


@frozen
class CoreState:
    """Where Core is on its way."""

    state: str
    """Core's own word, such as ``NOT_RUNNING``, ``STARTING``, ``RUNNING``, ``STOPPING``."""
    migrating_offline: bool = False
    """Whether it changes its database, and answers little else until that is done. To stop it then can lose data."""

    @property
    def runs(self) -> bool:
        """Whether it has started."""
        return self.state == RUNNING

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> CoreState:
        """The state as ``api/core/state`` tells it, and ``api/config`` without what it says of the recorder."""
        recorder = content.get("recorder_state")
        told: Mapping[str, Any] = recorder if isinstance(recorder, dict) else {}
        migrates = told.get("migration_in_progress") is True and told.get("migration_is_live") is not True
        return cls(str(content.get("state", "UNKNOWN")), migrates)


@frozen
class CoreHttpConfig:
    """How Core's web server is set; Core tells it over its socket only."""

    port: int
    ssl: bool
    asks_for_certificates: bool = False
    """Whether only clients with a certificate are let in."""
    server_hosts: tuple[str, ...] = field(default=())
    """The addresses that it listens on."""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> CoreHttpConfig | None:
        """It as ``api/core/http_config`` tells it; ``None`` where that is something else."""
        port, hosts = content.get("port"), content.get("server_host")
        if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
            return None
        return cls(
            port,
            content.get("ssl") is True,
            content.get("ssl_peer_certificate") is True,
            tuple(map(str, hosts if isinstance(hosts, list) else [hosts] if isinstance(hosts, str) else [])),
        )

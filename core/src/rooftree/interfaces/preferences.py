"""What the user prefers for the whole installation, as far as several domains go by it."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from rooftree.events import Event
from rooftree.services import Service


class InstallationPreferences(Protocol):
    """The preferences in effect; ask at each use, for they may change."""

    @property
    def wait_boot_s(self) -> int:
        """Seconds that each stage of the add-ons' start takes at least."""
        ...

    @property
    def timezone(self) -> str | None:
        """The IANA name of the time zone that the user chose; ``None``: that of the machine."""
        ...

    @property
    def channel(self) -> str:
        """Where updates come from: ``stable``, ``beta`` or ``dev``."""
        ...

    @property
    def drop_net_raw(self) -> bool:
        """Whether add-ons may send raw frames only where their configuration declares ``NET_RAW``."""
        ...


INSTALLATION_PREFERENCES = Service[InstallationPreferences]("installation_preferences/1")


@frozen
class PreferencesChanged(Event):
    """The user, or who acts for them, prefers something else than before."""

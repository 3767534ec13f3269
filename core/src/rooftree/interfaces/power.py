"""Ending the host, for every domain that has to: there is one way, so that what runs is always ended first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from attrs import frozen

from rooftree.events import Event
from rooftree.services import Service

type Way = Literal["reboot", "shutdown"]


@frozen
class HostStays(Event):
    """The host was to be ended, could not be, and goes on: what was ended for that is to run again."""


class HostPower(Protocol):
    """Ends the host. A step that does so remembers the boot that it is to end: after the host's next start the
    job is found again, and must not end that too."""

    async def refuse_objections(self) -> None:
        """Raise :class:`~rooftree.errors.Unavailable`, with the reasons, while something speaks against it."""
        ...

    def refuse_impossible(self) -> None:
        """Raise :class:`~rooftree.errors.Unavailable` where nobody could do it."""
        ...

    async def what_runs(self) -> Sequence[str]:
        """The names of what would be ended, in that order."""
        ...

    async def end_what_runs(self) -> None:
        """Let the domains end what they run (hook ``before_host_ends``)."""
        ...

    async def end(self, way: Way) -> None:
        """End the host; publishes :class:`HostStays` where that fails, and raises."""
        ...


HOST_POWER = Service[HostPower]("host_power/1")

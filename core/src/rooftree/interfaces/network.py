"""The network of the host, and whether anything beyond it can be reached."""

from __future__ import annotations

from typing import Literal, Protocol

from attrs import frozen

from rooftree.events import Event
from rooftree.services import Service


class Network(Protocol):
    """What is known of the ways out; from memory. It is advice: what cannot be reached from here may answer all the
    same, such as a registry in the house."""

    @property
    def host_internet(self) -> bool | None:
        """Whether the host reaches the internet, as NetworkManager has checked; ``None`` where nobody has."""
        ...

    @property
    def supervisor_internet(self) -> bool:
        """Whether we reach it, as we have checked ourselves; ``False`` until then."""
        ...

    @property
    def why_offline(self) -> str | None:
        """Why we do not reach it, in a sentence: names, the connection, its encryption or the clock; ``None`` while we
        do, and until it was checked."""
        ...


NETWORK = Service[Network]("network/1")


@frozen
class InternetChanged(Event):
    """The host, or we ourselves, reach the internet from now on, or do not any more."""

    whose: Literal["host", "supervisor"]
    reached: bool | None
    """``None``, of the host only: nobody checks it any more."""

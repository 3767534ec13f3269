"""Which versions there are of what is updated: the version feed of the channel that the user is on."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from rooftree.errors import Unavailable
from rooftree.events import Event
from rooftree.services import Service


class VersionsUnknown(Unavailable):
    """The version feed could not be read, or does not say what was asked."""

    error_key = "versions_unknown_error"


class VersionFeed(Protocol):
    """What the feed said last; from memory, and nothing until it was read once. Kept over a restart. What it says
    wrongly of one thing is missing for that, and for nothing else."""

    @property
    def channel(self) -> str:
        """``stable``, ``beta`` or ``dev``."""
        ...

    def newest_core(self, machine: str | None) -> str | None:
        """The newest Core for a machine (in the words of the API; ``None`` where nobody knows what this is). One that
        uses another machine's image has that one's."""
        ...

    def newest_os(self, board: str) -> str | None:
        """The newest operating system for a board."""
        ...

    def last_os_of_major(self, major: int) -> str | None:
        """The last release within a major version of the operating system through which the way to the next leads."""
        ...

    @property
    def os_bundle(self) -> str | None:
        """The address of a bundle, with ``{version}``, ``{board}`` and ``{os_name}`` in it."""
        ...

    def newest_service(self, name: str) -> str | None:
        """The newest version of a base service: ``dns``, ``audio``, ``cli``, ``multicast``, ``observer``."""
        ...

    def image(self, name: str, *, machine: str | None = None, arch: str | None = None) -> str | None:
        """The image (without a tag) of ``core`` or of a base service, its template filled in; ``None`` where the feed
        has none, or what its template asks for is not known."""
        ...

    def keep_fresh(self, address: str | None = None) -> None:
        """Say that somebody goes by the versions: from now on they are read by themselves, soon and then daily. Before
        anybody says so, nobody is asked over the network. Say it at each use: the feed may be another one by then.

        :param address: where the domain's operator says that the file is; used where nobody says so to the feed's own
        """
        ...

    async def read(self) -> None:
        """Read the feed anew; one reading at a time. Raises :class:`VersionsUnknown`, and keeps what was known."""
        ...


VERSION_FEED = Service[VersionFeed]("version_feed/1")


@frozen
class VersionsChanged(Event):
    """The feed says something else than before."""

    parts: tuple[str, ...]
    """Of what: ``core``, ``os``, ``services`` (the base services). Where an image or a bundle lies belongs to that."""

"""Where Core's API is, as far as its container tells: what a connection is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from attrs import field, frozen

from rooftree import Event, Secret


@frozen(kw_only=True)
class CoreAddress:
    """Where the API of a Core that runs can be reached, and with what rights."""

    container_id: str
    """Another one is another Core: nothing that was agreed upon with the one before it holds."""
    version: str
    socket: Path | None
    """The unix socket on which Core takes us for its supervisor, on our side; ``None`` for a version that has none. Its
    file is there only once Core has set it up. The path may be longer than a socket's may be."""
    url: str | None
    """``http://172.30.32.1:8123``, without a slash at its end; ``None`` while the engine has not told its address."""
    refresh_token: Secret | None = field(repr=False)
    """For access over :attr:`url`; ``None`` where Core gave none."""


@frozen
class CoreMoved(Event):
    """Where Core is, or with what rights it is reached, may be something else than before."""


class CoreWhereabouts(Protocol):
    """Knows where Core is, from memory."""

    def address(self) -> CoreAddress | None:
        """Where it is now; ``None`` while its container does not run."""
        ...

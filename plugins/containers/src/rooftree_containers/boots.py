"""Which boot of the host a client means: ``/logs/boots/{bootid}`` takes an id, or how many boots ago it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rooftree import NotFound, ParsedString

_ID_CHARACTERS: Final = 32


class BootReference(ParsedString):
    """A boot's id, or an offset: 0 is the current boot, -1 the one before it, 1 the oldest that is known."""

    __slots__ = ()

    pattern = r"[+-]?[0-9]{1,9}|[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    allowed = "a boot's id (32 hex digits), or 0 for the current boot, -1 for the one before it, and so on"

    def place_among(self, ids: Sequence[str]) -> int:
        """Which of ``ids`` (the oldest first) it is; raises :class:`NotFound`."""
        wanted = self.replace("-", "").lower()
        if len(wanted) == _ID_CHARACTERS:
            if wanted not in ids:
                raise NotFound(f"No boot {wanted} of this host is known; /host/logs/boots lists those in its journal")
            return ids.index(wanted)
        offset = int(self)
        index = offset - 1 if offset > 0 else len(ids) - 1 + offset
        if not 0 <= index < len(ids):
            known = f"0 (the current one) to {1 - len(ids)}" if len(ids) > 1 else "only 0, the current one"
            raise NotFound(f"There is no boot {offset}: known of this host is {known if ids else 'none'}")
        return index

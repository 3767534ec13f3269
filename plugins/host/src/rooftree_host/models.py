"""The shapes of the host's answers, as the contract has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from attrs import frozen

from rooftree import ParsedString


class Identifier(ParsedString):
    """What a program calls itself in the system journal: ``SYSLOG_IDENTIFIER`` of systemd.journal-fields(7)."""

    __slots__ = ()

    pattern = r"[^\x00-\x1f]{1,256}"
    allowed = "what a program calls itself in the journal; /host/logs/identifiers lists them"


@frozen
class Identifiers:
    """The programs that wrote to the journal."""

    identifiers: Sequence[str]


@frozen
class JournalBoots:
    """The boots that the journal has entries of: how many boots ago (``"0"``, ``"-1"`` …), and their ids."""

    boots: Mapping[str, str]

    @classmethod
    def of(cls, ids: Sequence[str]) -> Self:
        """From the ids, the oldest first."""
        return cls({str(-ago): boot for ago, boot in enumerate(reversed(ids))})

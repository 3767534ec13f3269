"""The host's journal and the boots it went through, as domains see them.

The system journal is systemd's; it outlives containers, the daemon and reboots. Names of fields and of what a query may
ask are those of systemd.journal-fields(7) and systemd-journal-gatewayd(8).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

from attrs import field, frozen

from rooftree.errors import Unavailable
from rooftree.services import Service


class JournalUnavailable(Unavailable):
    """There is no system journal, or its gateway does not answer."""

    error_key = "host_journal_unavailable"


@frozen(kw_only=True)
class JournalRange:
    """Which of the entries that match: the header ``Range`` of systemd-journal-gatewayd(8).

    Counted is from a cursor, from a time, or from the first entry (with a negative skip, from the last).
    """

    cursor: str = ""
    """Count from the entry with this ``__CURSOR``. What goes back from it, and counts no more than that, ends before
    it, even where there are fewer."""
    since: datetime | None = None
    """Count from the first entry of this time or later; with a negative skip, from the last one of it or before."""
    skip: int = 0
    """Pass over so many entries; a negative number goes back, so that -9 from the end begins ten before it."""
    until: datetime | None = None
    """End before the first entry that is later. A negative skip from nowhere counts from the last one that is not."""
    count: int | None = None
    """End after so many; ``None`` for no end."""


@frozen(kw_only=True)
class JournalQuery:
    """Which entries are wanted. What is given must all hold; of several names, any."""

    identifiers: tuple[str, ...] = ()
    """``SYSLOG_IDENTIFIER``."""
    containers: tuple[str, ...] = ()
    """``CONTAINER_NAME``, as the engine calls it; set by Docker's log driver journald."""
    boot_id: str | None = None
    """``_BOOT_ID``: 32 hex digits."""
    epoch: str | None = None
    """``CONTAINER_LOG_EPOCH``: one run of a container, from its start to its end."""
    range: JournalRange = field(factory=JournalRange)
    follow: bool = False
    """Go on with what is written from now on."""


@frozen(kw_only=True)
class JournalEntry:
    """One entry: fields by name, the values in bytes. A value of more than 256 KiB is cut."""

    fields: Mapping[str, bytes]

    @property
    def cursor(self) -> str:
        """Its place in the journal, for :attr:`JournalRange.cursor`."""
        return self.fields["__CURSOR"].decode("ascii", "replace")

    def text(self, name: str) -> str | None:
        """A field as text, or ``None``."""
        value = self.fields.get(name)
        return None if value is None else value.decode("utf-8", "replace")


@frozen
class JournalText:
    """Entries as text that can be sent. Whoever gets one iterates ``chunks`` or closes them (``aclose``)."""

    first_cursor: str | None
    """Of the first entry; ``None`` where there is none (yet)."""
    chunks: AsyncIterator[bytes]
    """Whole lines, in pieces as they come. A gateway that dies ends a followed text, with a last line that says so; one
    that is not followed raises :class:`JournalUnavailable`."""


TextFormat = Literal["plain", "timestamp", "verbose"]
"""A message as it was written, with its time (UTC: ``2026-01-31 09:00:00.123 message``), or with its time, host and
author (``2026-01-31 09:00:00.123 home kernel[1]: message``)."""


class SystemJournal(Protocol):
    """Reads systemd's journal. Everything raises :class:`JournalUnavailable` where there is none."""

    async def text(self, query: JournalQuery, *, format: TextFormat = "plain", colors: bool = True) -> JournalText:
        """The messages of the entries that match, one to a line.

        :param colors: with the escape sequences of terminals
        :raises Invalid: for a cursor that is none
        """
        ...

    async def last(self, query: JournalQuery) -> JournalEntry | None:
        """The newest entry that matches (of its range only ``until`` counts), or ``None``."""
        ...

    async def boots(self) -> Sequence[str]:
        """The ids of the boots that the journal has entries of, the oldest first."""
        ...

    async def identifiers(self) -> Sequence[str]:
        """Every ``SYSLOG_IDENTIFIER`` that is in the journal, sorted."""
        ...

    async def container_identifiers(self) -> Sequence[str]:
        """Those of them that containers write under: ``CONTAINER_TAG``, of Docker's log driver journald. Sorted."""
        ...


SYSTEM_JOURNAL = Service[SystemJournal]("system_journal/1")


@frozen
class HostBoot:
    """One boot of the host."""

    id: str
    """32 hex digits, as in ``_BOOT_ID``."""
    began: datetime


class HostBoots(Protocol):
    """The boots of the host that Rooftree has seen, for hosts whose logs have no boots of their own."""

    def known(self) -> Sequence[HostBoot]:
        """The boots, the oldest first; the last one is this one."""
        ...


HOST_BOOTS = Service[HostBoots]("host_boots/1")

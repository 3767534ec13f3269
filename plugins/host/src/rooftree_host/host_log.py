"""The log of the host: what is in the system journal and was not written by a container."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from attrs import frozen

from rooftree import Stream
from rooftree.interfaces.journal import JournalQuery, SystemJournal
from rooftree_containers.boots import BootReference
from rooftree_containers.container_log import journal_answer
from rooftree_containers.log_query import LogQuery

REQUEST_BYTES: Final = 24 * 1024
"""What the names of all programs may come to: systemd-journal-gatewayd has 32 KiB for a request and its parameters."""
BYTES_BESIDE_A_NAME: Final = 96
"""What each takes there besides itself, as measured with systemd 252 (85), and something to spare."""


@frozen
class HostLog:
    """See :class:`~rooftree_containers.log_routes.RecentLog` and its neighbour; all of it only the journal has.

    :param identifier: of the one program that is asked for; else it is all that are no containers
    :param within: of that boot alone
    """

    system_journal: SystemJournal
    identifier: str | None = None
    within: BootReference | None = None

    async def recent(self, query: LogQuery, *, follow: bool) -> Stream:
        return await self._answer(self.within, query, follow=follow)

    async def boot(self, boot: BootReference, query: LogQuery, *, follow: bool) -> Stream:
        """What was written in one boot."""
        return await self._answer(boot, query, follow=follow)

    async def _answer(self, boot: BootReference | None, query: LogQuery, *, follow: bool) -> Stream:
        boot_id = None
        if boot is not None:
            ids = await self.system_journal.boots()
            boot_id = ids[boot.place_among(ids)]
        names = await self._of_the_host() if self.identifier is None else (self.identifier,)
        return await journal_answer(
            self.system_journal, JournalQuery(identifiers=names, boot_id=boot_id, follow=follow), query
        )

    async def _of_the_host(self) -> tuple[str, ...]:
        """The names of the programs; none, which leaves nothing out, where no container writes to the journal.

        A gateway can be told what is wanted, not what is unwanted.
        """
        of_containers = set(await self.system_journal.container_identifiers())
        if not of_containers:
            return ()
        names = tuple(name for name in await self.system_journal.identifiers() if name not in of_containers)
        size = sum(len(quote(name)) + BYTES_BESIDE_A_NAME for name in names)
        return names if size <= REQUEST_BYTES else ()

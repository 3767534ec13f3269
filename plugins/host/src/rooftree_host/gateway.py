"""The line to systemd-journal-gatewayd: one client, a deadline for every answer, and errors that say what to do.

A query opens a connection and reads it as it comes: a reader that is slow holds the gateway back. Nothing here needs
the gateway to be there; each query tries anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import aiohttp
import orjson
from yarl import URL

from rooftree import Invalid
from rooftree.interfaces.journal import (
    JournalEntry,
    JournalQuery,
    JournalRange,
    JournalText,
    JournalUnavailable,
    TextFormat,
)
from rooftree_containers.logs import FIRST_LINE_S, BegunText, readable
from rooftree_host.export_format import (
    Cut,
    ExportReader,
    Form,
    Piece,
    WithTime,
    cursor_in,
    last_entry,
    microseconds,
    plain,
    time_us,
)

EXPORT_FORMAT: Final = "application/vnd.fdo.journal"
ANSWER_S: Final = 20.0
"""Seconds until the gateway begins to answer."""
STALL_S: Final = 120.0
"""Seconds that it may search a large journal without a word; only what is followed may be silent for longer."""
BLOCK_BYTES: Final = 128 * 1024
"""About how much is read at a time."""
AT_A_TIME: Final = 8
"""How many boots are looked at side by side."""
MOST_ENTRIES: Final = 2**64 - 1
LARGEST_SKIP: Final = 2**63 - 1

type Parameters = list[tuple[str, str]]


class Gateway:
    """:class:`~rooftree.interfaces.journal.SystemJournal` through systemd-journal-gatewayd.

    :param url: ``unix:///run/systemd-journal-gatewayd.sock`` or ``http://host:19531``
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._socket = url.removeprefix("unix://") if url.startswith("unix://") else None
        if self._socket is None and not url.startswith(("http://", "https://")):
            raise Invalid(
                f"{url!r} is no address of a journal gateway, such as unix:///run/systemd-journal-gatewayd.sock"
            )
        self._base = URL("http://journal") if self._socket is not None else URL(url)
        self._session: aiohttp.ClientSession | None = None
        self._open: set[aiohttp.ClientResponse] = set()
        self._began_us: dict[str, int] = {}
        """When boots began, as far as it was asked: it does not change."""

    def is_there(self) -> bool:
        """Whether there is something to ask, without asking. Blocks for a moment."""
        return self._socket is None or Path(self._socket).exists()  # ours: the host's

    async def text(self, query: JournalQuery, *, format: TextFormat = "plain", colors: bool = True) -> JournalText:
        form = plain if format == "plain" else WithTime(author=format == "verbose")
        entries = _Entries(self, await self._entries(query), query, form, colors=colors)
        text = BegunText(entries.text())
        try:
            await text.begin(FIRST_LINE_S if query.follow else None)
        except BaseException:
            entries.release()
            raise
        return JournalText(entries.first_cursor, text)

    async def last(self, query: JournalQuery) -> JournalEntry | None:
        # A gateway counts back from behind the last entry but one, so the last one alone can't be asked for.
        return await self._last_entry(query, JournalRange(skip=-1, until=query.range.until, count=2))

    async def _last_entry(self, query: JournalQuery, range: JournalRange) -> JournalEntry | None:
        wanted = JournalQuery(
            identifiers=query.identifiers,
            containers=query.containers,
            boot_id=query.boot_id,
            epoch=query.epoch,
            range=range,
        )
        response = await self._entries(wanted)
        reader, cut, pieces = ExportReader(), _cut(range), list[Piece]()
        async with self._reading(response, STALL_S) as blocks:
            async for block in blocks:
                pieces += cut(reader.feed(block))
        fields = last_entry(iter(pieces))
        return None if fields is None else JournalEntry(fields=fields)

    async def boots(self) -> Sequence[str]:
        """See :class:`~rooftree.interfaces.journal.SystemJournal`.

        Gateways before systemd 258 have no list of boots, and what they list of a field has no order; so each boot is
        asked for its first entry, once.
        """
        ids = await self._values("_BOOT_ID")
        unknown = iter([boot for boot in ids if boot not in self._began_us])

        async def look() -> None:
            for boot in unknown:
                first = await self._last_entry(JournalQuery(boot_id=boot), JournalRange(count=1))
                if first is not None:
                    self._began_us[boot] = time_us(first.fields.get("__REALTIME_TIMESTAMP", b""))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_A_TIME):
                    group.create_task(look())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        self._began_us = {boot: self._began_us[boot] for boot in ids if boot in self._began_us}
        return sorted(self._began_us, key=self._began_us.__getitem__)

    async def identifiers(self) -> Sequence[str]:
        return sorted(await self._values("SYSLOG_IDENTIFIER"))

    async def container_identifiers(self) -> Sequence[str]:
        return sorted(await self._values("CONTAINER_TAG"))

    async def _values(self, field: str) -> set[str]:
        response = await self._get(f"fields/{field}", [], {"Accept": "application/json"})
        async with self._reading(response, STALL_S) as blocks:
            lines = b"".join([block async for block in blocks]).splitlines()
        try:
            said = [orjson.loads(line) for line in lines if line.strip()]
        except orjson.JSONDecodeError:
            raise JournalUnavailable(
                f"The system journal's gateway at {self.url} answers /fields/{field} with something that is no JSON"
            ) from None
        values = [entry.get(field) for entry in said if isinstance(entry, dict)]
        return {value for value in values if isinstance(value, str)}  # a value that is no text comes as numbers

    async def close(self) -> None:
        """End every query that is being read: its reader gets :class:`JournalUnavailable`."""
        # Closing the session would leave its readers waiting for ever.
        for response in self._open:
            response.content.set_exception(aiohttp.ClientConnectionError("closed"))
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # --- the exchange -------------------------------------------------------------------------------------------------

    async def _entries(self, query: JournalQuery) -> aiohttp.ClientResponse:
        parameters: Parameters = [("SYSLOG_IDENTIFIER", name) for name in query.identifiers]
        parameters += [("CONTAINER_NAME", name) for name in query.containers]
        if query.boot_id is not None:
            parameters.append(("_BOOT_ID", query.boot_id))
        if query.epoch is not None:
            parameters.append(("CONTAINER_LOG_EPOCH", query.epoch))
        if query.follow:
            parameters.append(("follow", ""))
        return await self._get("entries", parameters, {"Accept": EXPORT_FORMAT, "Range": _range(query.range)})

    async def _get(self, path: str, parameters: Parameters, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        with self._translated():
            async with asyncio.timeout(ANSWER_S):
                response = await self._client().get(self._base / path, params=parameters, headers=headers)
                if response.status == 400 and "Range" in headers:
                    reason = (await response.text(errors="replace")).strip()
                    response.close()
                    raise Invalid(
                        f"The system journal refused the range {headers['Range']!r} ({reason}): a cursor must be one "
                        "that a log's header X-First-Cursor named"
                    )
                if response.status != 200:
                    response.close()
                    raise JournalUnavailable(f"The system journal's gateway answered {response.status} to /{path}")
        self._open.add(response)
        return response

    @asynccontextmanager
    async def _reading(
        self, response: aiohttp.ClientResponse, stall_s: float | None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The blocks of an answer; it is closed in the end."""
        try:
            with self._translated():
                yield self._blocks(response, stall_s)
        finally:
            self.release(response)

    async def _blocks(self, response: aiohttp.ClientResponse, stall_s: float | None) -> AsyncIterator[bytes]:
        while block := await self.block(response, stall_s):
            yield block

    async def block(self, response: aiohttp.ClientResponse, stall_s: float | None) -> bytes:
        """The next block; empty at the end. Raises :class:`JournalUnavailable`."""
        with self._translated():
            async with asyncio.timeout(stall_s):
                return await response.content.readany()

    def release(self, response: aiohttp.ClientResponse) -> None:
        """Read no more of an answer."""
        self._open.discard(response)
        response.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = (
                aiohttp.UnixConnector(self._socket, limit=0)
                if self._socket is not None
                else aiohttp.TCPConnector(limit=0)
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None),
                read_bufsize=BLOCK_BYTES,
                auto_decompress=False,
            )
        return self._session

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise JournalUnavailable(
                f"The system journal's gateway at {self.url} did not answer in time; it may be overloaded or stuck"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise JournalUnavailable(
                f"The system journal can't be read: its gateway at {self.url} does not answer ({_reason(error)}). "
                "On a host with systemd, 'systemctl enable --now systemd-journal-gatewayd.socket' starts it; Debian "
                "and Ubuntu have it in the package systemd-journal-remote"
            ) from error


class _Entries:
    """An answer, as text."""

    def __init__(
        self, gateway: Gateway, response: aiohttp.ClientResponse, query: JournalQuery, form: Form, *, colors: bool
    ) -> None:
        self.first_cursor: str | None = None
        self._gateway = gateway
        self._response = response
        self._reader = ExportReader()
        self._cut = _cut(query.range)
        self._form = form
        self._colors = colors
        self._follow = query.follow
        self._endless = query.follow and query.range.count in {None, MOST_ENTRIES}

    async def text(self) -> AsyncGenerator[bytes]:
        """It, in pieces as they come."""
        try:
            while block := await self._block():
                pieces = [*self._cut(self._reader.feed(block))]
                if self.first_cursor is None and pieces:
                    self.first_cursor = cursor_in(pieces[0])
                if text := readable(self._form(iter(pieces)), colors=self._colors):
                    yield text
                if self._cut.is_over:
                    return
            if self._endless:
                yield b"[the system journal's gateway went away: follow the log again]\n"
        finally:
            self.release()

    def release(self) -> None:
        self._gateway.release(self._response)

    async def _block(self) -> bytes:
        try:
            return await self._gateway.block(self._response, None if self._follow else STALL_S)
        except JournalUnavailable:
            if not self._follow:
                raise
            self._endless = True
            return b""


def _cut(range: JournalRange) -> Cut:
    """What a gateway can't be told: versions before 255 know no times, and none ends before the cursor."""
    goes_back = range.cursor and range.count is not None and range.skip + range.count <= 0
    return Cut(until=range.until, cursor=range.cursor if goes_back else None)


def _range(range: JournalRange) -> str:
    count = MOST_ENTRIES if range.count is None else min(range.count, MOST_ENTRIES)
    cursor = range.cursor
    if (time := range.since or (range.until if range.skip < 0 and not cursor else None)) is not None:
        cursor = f"t={microseconds(time):x}"  # a cursor need not have more, and then the next entry is taken
    return f"entries={cursor}:{max(-LARGEST_SKIP, min(range.skip, LARGEST_SKIP))}:{count}"


def _reason(error: BaseException) -> str:
    """What the operating system says, in its words."""
    inner = getattr(error, "os_error", error)
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(error) or type(error).__name__

"""The newest version of the operating system, from the version file of the channel that the user is on.

The file is JSON: ``hassos`` has the newest version by board, ``hassos-upgrade`` the last release inside a major one
through which the way to the next leads, ``ota`` the address of a bundle as a template with ``{version}``, ``{board}``
and ``{os_name}``. What was read is kept until the next reading works; without a network nothing is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp
import orjson
import structlog
from attrs import field, frozen
from yarl import URL

from rooftree import Unavailable
from rooftree_machine.home_assistant_os import major_of, newer

log = structlog.get_logger(__name__)

ANSWER_S: Final = 8.0
"""Seconds that reading the file may take, waiting for a reading before it included; less than a hook has."""
LARGEST_BYTES: Final = 1024 * 1024


class VersionsUnknown(Unavailable):
    """The version file could not be read."""

    error_key = "os_versions_unknown_error"


@frozen(kw_only=True)
class Versions:
    """What the file says."""

    newest: Mapping[str, str] = field(factory=dict)
    """By board."""
    last_of_major: Mapping[str, str] = field(factory=dict)
    ota: str = ""

    @classmethod
    def read(cls, text: bytes, channel: str | None) -> Versions:
        """Understand the file; raises ``ValueError`` for what is none, or is another channel's."""
        raw = orjson.loads(text)
        if not isinstance(raw, dict):
            raise ValueError("it is no JSON object")
        if channel is not None and raw.get("channel") != channel:
            raise ValueError(f"its channel is {raw.get('channel')!r}, not {channel!r}")
        ota = raw.get("ota", "")
        if not isinstance(ota, str):
            raise ValueError("ota: must be text")
        return cls(newest=_texts(raw, "hassos"), last_of_major=_texts(raw, "hassos-upgrade"), ota=ota)

    def next_after(self, current: str, board: str) -> str | None:
        """The version to go to: the newest, unless the way there leads through others."""
        newest = self.newest.get(board)
        if newest is None:
            return None
        major = major_of(current)
        if major is None or not self.last_of_major:
            return newest
        last = self.last_of_major.get(str(major))
        if last is not None and newer(last, current):
            return last
        return self.last_of_major.get(str(major + 1), newest) if newer(newest, current) else newest

    def bundle(self, version: str, board: str) -> URL:
        """Where that version's bundle is; raises :class:`VersionsUnknown` where the file does not say."""
        name = "haos" if (major_of(version) or 0) >= 6 else "hassos"
        text = self.ota
        for word, value in {"version": version, "board": board, "os_name": name}.items():
            text = text.replace(f"{{{word}}}", value)
        try:
            url = URL(text)
        except ValueError:
            url = URL()
        if url.scheme not in {"http", "https"} or not url.host:
            raise VersionsUnknown(f"The version file does not say where bundles are: its ota is {self.ota!r}")
        return url


class VersionFile:
    """Reads the file, and keeps what it said.

    :param address: of the file; ``{channel}`` in it is the user's channel
    :param channel: asked at each reading
    """

    def __init__(self, address: str, channel: Callable[[], str]) -> None:
        self._template = address
        self._channel = channel
        self._known: Versions | None = None
        self._of = ""
        self._reading = asyncio.Lock()

    @property
    def address(self) -> str:
        """Where the file of the user's channel is."""
        return self._template.replace("{channel}", self._channel())

    @property
    def known(self) -> Versions | None:
        """What the file said last, of the channel that is the user's now."""
        return self._known if self._of == self.address else None

    def newest(self, board: str) -> str | None:
        """The newest version for a board; ``None`` while it is not known."""
        return self.known.newest.get(board) if self.known is not None else None

    def next_after(self, current: str, board: str) -> str | None:
        """The version that would be installed next; ``None`` while it is not known."""
        return self.known.next_after(current, board) if self.known is not None else None

    async def needed(self) -> Versions:
        """What the file says; read now, unless it was. Raises :class:`VersionsUnknown`."""
        return self.known or await self.read()

    async def read(self) -> Versions:
        """Read it anew; raises :class:`VersionsUnknown`, and keeps what was known."""
        where = self.address
        channel = self._channel() if "{channel}" in self._template else None
        try:
            async with asyncio.timeout(ANSWER_S), self._reading:
                versions = Versions.read(await _fetched(where), channel)
                self._known, self._of = versions, where
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            what = f"did not come within {ANSWER_S:g} s" if isinstance(error, TimeoutError) else str(error)
            raise VersionsUnknown(f"The version file {where} can't be read: {what or type(error).__name__}") from error
        log.info("versions_read", address=where, boards=len(versions.newest))
        return versions


async def _fetched(address: str) -> bytes:
    headers = {"User-Agent": "rooftree", "Accept": "application/json"}
    async with (
        aiohttp.ClientSession(trust_env=True, headers=headers, raise_for_status=True) as session,
        session.get(address) as answer,
    ):
        text = bytearray()
        async for chunk in answer.content.iter_chunked(65536):
            text += chunk
            if len(text) > LARGEST_BYTES:
                raise ValueError(f"it is longer than {LARGEST_BYTES} bytes")
        return bytes(text)


def _texts(raw: Mapping[str, Any], key: str) -> dict[str, str]:
    table = raw.get(key, {})
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise ValueError(f"{key}: must be an object whose values are text")
    return dict(table)

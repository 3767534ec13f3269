"""Which releases of the operating system there are, and how the way leads to the newest: from the version feed, which
another domain reads."""

from __future__ import annotations

from typing import Final

from yarl import URL

from rooftree import Kernel
from rooftree.interfaces import versions
from rooftree.interfaces.versions import VERSION_FEED, VersionFeed
from rooftree_machine.home_assistant_os import major_of, newer

_NO_FEED: Final = "Nobody reads the version feed: the plugin supervisor, which does, is not running"


class VersionsUnknown(versions.VersionsUnknown):
    """Which versions of the operating system there are is not known."""

    error_key = "os_versions_unknown_error"


class Releases:
    """What the feed says of the operating system; whoever asks has the feed kept fresh from then on.

    :param address: where the operator says in the settings of this domain that the version file is
    """

    def __init__(self, kernel: Kernel, address: str | None) -> None:
        self._kernel = kernel
        self._address = address

    @property
    def _feed(self) -> VersionFeed | None:
        feed = self._kernel.find(VERSION_FEED)
        if feed is not None:
            feed.keep_fresh(self._address)
        return feed

    def newest(self, board: str) -> str | None:
        """The newest version for a board; ``None`` while it is not known."""
        feed = self._feed
        return feed.newest_os(board) if feed is not None else None

    def next_after(self, current: str, board: str) -> str | None:
        """The version to go to: the newest, unless the way there leads through others; ``None`` while nobody knows."""
        feed = self._feed
        newest = self.newest(board)
        major = major_of(current)
        if feed is None or newest is None or major is None:
            return newest
        last = feed.last_os_of_major(major)
        if last is not None and newer(last, current):
            return last
        return (feed.last_os_of_major(major + 1) or newest) if newer(newest, current) else newest

    async def needed(self) -> None:
        """Have the feed read, unless it was; raises :class:`VersionsUnknown`."""
        feed = self._feed
        if feed is None:
            raise VersionsUnknown(_NO_FEED)
        if feed.os_bundle is None:
            try:
                await feed.read()
            except versions.VersionsUnknown as error:
                raise VersionsUnknown(error.message) from error

    def bundle(self, version: str, board: str) -> str:
        """The address of that version's bundle; raises :class:`VersionsUnknown` where the feed does not say."""
        feed = self._feed
        name = "haos" if (major_of(version) or 0) >= 6 else "hassos"
        text = (feed.os_bundle if feed is not None else None) or ""
        for word, value in {"version": version, "board": board, "os_name": name}.items():
            text = text.replace(f"{{{word}}}", value)
        try:
            url = URL(text)
        except ValueError:
            url = URL()
        if not url.host:
            raise VersionsUnknown("The version file does not say where bundles are (its key ota)")
        return str(url)

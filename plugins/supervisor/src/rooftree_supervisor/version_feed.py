"""The version feed: the file of the user's channel, read once for all domains, kept, and read anew in time.

Nobody is asked over the network before a domain says that it goes by the versions (:meth:`OwnVersionFeed.keep_fresh`).
From then on it is read at once, daily, when the channel changes, when the network is back, and when a user says so;
while it can't be read, what was read last stays in force, over a restart too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import aiohttp
import structlog
from attrs import field, frozen

from rooftree import Collection, Kernel, document
from rooftree.interfaces.network import InternetChanged
from rooftree.interfaces.preferences import PreferencesChanged
from rooftree.interfaces.versions import VersionsChanged, VersionsUnknown
from rooftree_supervisor.version_file import Versions, changed_parts, fetched, understood

log = structlog.get_logger(__name__)

OFFICIAL: Final = "https://version.home-assistant.io/{channel}.json"
OFF: Final = "off"
"""In place of an address: nothing is read."""
ANSWER_S: Final = 8.0
"""Seconds that a reading may take, waiting for another before it included; less than a hook has."""
READ_EVERY: Final = timedelta(days=1)
READ_AGAIN: Final = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=15))
"""After a reading that failed; the last is repeated."""
_OTHER_NAMES: Final = {"generic-aarch64": "qemuarm-64"}
"""Machines that use another's image, where the feed does not know them by their own name."""
_KEY: Final = "last"
_NOTHING: Final = Versions()


@document("supervisor.versions", version=1)
@frozen(kw_only=True)
class ReadVersions:
    """What was read last, and where."""

    address: str
    versions: Versions = field(factory=Versions)


class OwnVersionFeed:
    """Implements :class:`~rooftree.interfaces.versions.VersionFeed`.

    :param address: where the operator says that the file is, :data:`OFF` for nowhere; ``None``: where nobody says so
    :param channel: asked at each use
    """

    def __init__(
        self, kernel: Kernel, stored: Collection[ReadVersions], address: str | None, channel: Callable[[], str]
    ) -> None:
        self._kernel = kernel
        self._stored = stored
        self._template = address
        self._other_template: str | None = None
        self._channel = channel
        self._reading = asyncio.Lock()
        self._readings = 0
        """That worked."""
        self._failures = 0
        """In a row, of the readings that nobody asked for."""
        self._is_wanted = asyncio.Event()
        self._is_due = asyncio.Event()

    @property
    def channel(self) -> str:
        return self._channel()

    @property
    def address(self) -> str:
        """Where the file of the user's channel is, or :data:`OFF`."""
        return self._template_in_use.replace("{channel}", self._channel())

    @property
    def _template_in_use(self) -> str:
        return self._template or self._other_template or OFFICIAL

    @property
    def _known(self) -> Versions:
        kept = self._stored.get(_KEY)
        return kept.versions if kept is not None and kept.address == self.address else _NOTHING

    def newest_core(self, machine: str | None) -> str | None:
        """The newest Core for a machine."""
        core = self._known.core
        return core.get("default") if machine is None else core.get(self._core_machine(machine))

    def _core_machine(self, machine: str) -> str:
        return machine if machine in self._known.core else _OTHER_NAMES.get(machine, machine)

    def newest_os(self, board: str) -> str | None:
        """The newest operating system for a board."""
        return self._known.os.get(board)

    def last_os_of_major(self, major: int) -> str | None:
        """The last release within a major version."""
        return self._known.last_of_major.get(str(major))

    @property
    def os_bundle(self) -> str | None:
        """The address of a bundle."""
        return self._known.os_bundle

    def newest_service(self, name: str) -> str | None:
        """The newest version of a base service."""
        return self._known.services.get(name)

    def image(self, name: str, *, machine: str | None = None, arch: str | None = None) -> str | None:
        """An image without a tag."""
        image = self._known.images.get(name)
        if image is None:
            return None
        if machine is not None:
            image = image.replace("{machine}", self._core_machine(machine) if name == "core" else machine)
        if arch is not None:
            image = image.replace("{arch}", arch)
        return None if "{" in image else image

    def keep_fresh(self, address: str | None = None) -> None:
        """Read the file from now on."""
        if address is not None and address != self._other_template:
            self._other_template = address
            self._is_due.set()
        self._is_wanted.set()

    async def reload(self) -> VersionsUnknown | None:
        """Read the file for a user who wants it read, where a domain goes by it; what went wrong, if anything did."""
        if self._is_wanted.is_set():
            try:
                await self.read()
            except VersionsUnknown as error:
                return error
        return None

    async def read(self) -> None:
        """Read the file anew; who waited for another's reading that worked has it read."""
        self._is_wanted.set()
        channel, where, readings = self._channel(), self.address, self._readings
        if where == OFF:
            raise VersionsUnknown(
                f"Versions are not read: version_file in [plugins.supervisor] is {OFF}; name the version that you want"
            )
        try:
            async with asyncio.timeout(ANSWER_S), self._reading:
                if self._readings == readings or self._known is _NOTHING:
                    await self._read(where, channel if "{channel}" in self._template_in_use else None)
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            what = f"did not come within {ANSWER_S:g} s" if isinstance(error, TimeoutError) else str(error)
            raise VersionsUnknown(f"The version file {where} can't be read: {what or type(error).__name__}") from error

    async def _read(self, where: str, channel: str | None) -> None:
        versions = understood(await fetched(where), channel)
        before = self._known
        kept = ReadVersions(address=where, versions=versions)
        if self._stored.get(_KEY) != kept:
            await self._kernel.commit(self._stored.put(_KEY, kept))
        self._readings += 1
        changed = changed_parts(before, versions)
        log.info("versions_read", address=where, changed=changed)
        if changed:
            self._kernel.publish(VersionsChanged(changed))

    @property
    def is_off(self) -> bool:
        """Whether the operator wants nothing to be read."""
        return self._template == OFF

    def note_preferences(self, _: PreferencesChanged) -> None:
        """Let the file be read soon where the channel is another one than what was read is of."""
        kept = self._stored.get(_KEY)
        if kept is None or kept.address != self.address:
            self._is_due.set()

    def note_internet(self, change: InternetChanged) -> None:
        """Let the file be read soon where it could not be read before."""
        if change.reached and self._failures:
            self._is_due.set()

    async def run(self) -> None:
        """Read it whenever it is due, once a domain goes by it; ends when it is cancelled."""
        await self._is_wanted.wait()
        while True:
            self._is_due.clear()
            try:
                await self.read()
                self._failures, pause = 0, READ_EVERY
            except VersionsUnknown as error:
                pause = READ_AGAIN[min(self._failures, len(READ_AGAIN) - 1)]
                self._failures += 1
                log.warning("versions_not_read", reason=error.message)
            await self._kernel.clock.wait(self._is_due, self._kernel.clock.spread(pause.total_seconds()))

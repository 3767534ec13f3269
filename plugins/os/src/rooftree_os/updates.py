"""Updates of the operating system: a bundle is fetched, and rauc writes it to the slot that does not run.

The new version runs after the next reboot, which is the user's to choose. Until then the slot that runs can be made the
next one again, so an update that fails, or is cancelled, changes nothing but the slot that nobody uses.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

import aiohttp
import structlog

from rooftree import Conflict, Failed, Invalid, Kernel, Lock, Run, Service, Step, Steps, job, step
from rooftree.interfaces.bus import SystemBus
from rooftree_os.bus_objects import COMPLETED, IDLE, INSTALL_BUNDLE, INSTALLER
from rooftree_os.models import OsVersion
from rooftree_os.operating_system import OperatingSystem
from rooftree_os.reboot import RequireReboot
from rooftree_os.slots import BOOTED, mark, operation

log = structlog.get_logger(__name__)

SILENCE_S: Final = 60.0
"""Seconds that a server may send nothing of a bundle."""
LOOK_S: Final = 0.5
"""Seconds between looks at rauc's progress."""
STALLED_S: Final = 900.0
"""Seconds after which an installation that makes no progress is given up."""
_CHUNK: Final = 1024 * 1024
UPDATE: Final = Lock("os", "system")
"""What an update, and whatever else changes what is booted, holds."""


class AlreadyInstalled(Invalid):
    """That version runs. ``extra_fields``: ``version``."""

    error_key = "hassos_update_already_installed_error"


class PendingReboot(Invalid):
    """That version is installed and waits for the reboot. ``extra_fields``: ``version``."""

    error_key = "hassos_update_pending_reboot_error"


class NoUpdate(Invalid):
    """There is no version to update to."""

    error_key = "os_no_update_available_error"


class BundleNotFetched(Failed):
    """The bundle could not be fetched. ``extra_fields``: ``url``."""

    error_key = "os_bundle_not_fetched_error"


class InstallationFailed(Failed):
    """rauc could not install the bundle. ``extra_fields``: ``version``, ``reason``."""

    error_key = "os_installation_failed_error"


class Bundles:
    """Where bundles are while they are installed.

    :param data_on_host: the data folder as the host's rauc sees it; ``None``: as we do
    """

    def __init__(self, kernel: Kernel, data_on_host: str | None) -> None:
        self._data = kernel.data.path
        self._on_host = data_on_host

    def file(self, version: str) -> Path:
        """The file of a version's bundle."""
        return self._data / "tmp" / f"hassos-{version}.raucb"

    def seen_by_rauc(self, version: str) -> str:
        """The same, as the host calls it."""
        if self._on_host is None:
            return str(self.file(version))
        return str(PurePosixPath(self._on_host) / self.file(version).relative_to(self._data))


BUNDLES = Service[Bundles]("os.bundles/1")


@step("os.download_bundle/1")
class DownloadBundle(Step):
    """Fetch the bundle of a version."""

    version: OsVersion
    url: str

    weight = 4
    interruptible = True

    async def fetch_bytes(self) -> int | None:
        """What the server says that it is long."""
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with (
                asyncio.timeout(5),
                _session() as session,
                session.head(self.url, allow_redirects=True) as answer,
            ):
                return answer.content_length if answer.status == 200 else None
        return None

    async def do(self, run: Run, bundles: Bundles) -> None:
        """Fetch it anew, whatever is there of it."""
        file = bundles.file(self.version)
        try:
            async with _session() as session, session.get(self.url) as answer:
                if answer.status != 200:
                    raise self._failed(f"the server answers {answer.status} {answer.reason}")
                await self._write(run, file, answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._failed(str(error) or type(error).__name__) from error

    async def _write(self, run: Run, file: Path, answer: aiohttp.ClientResponse) -> None:
        length = answer.content_length
        await asyncio.to_thread(
            file.parent.mkdir, parents=True, exist_ok=True
        )  # ours: tmp in the data folder, in no container
        if length is not None:
            free = (await asyncio.to_thread(shutil.disk_usage, file.parent)).free
            if free < length:
                raise self._failed(f"it has {length} bytes, and {free} are free on the data disk")
        done = 0
        partial = file.with_suffix(".part")
        with await asyncio.to_thread(partial.open, "wb") as target:
            async for chunk in _chunks(answer):
                await asyncio.to_thread(target.write, chunk)
                done += len(chunk)
                run.progress(done, length or 0)
        await asyncio.to_thread(partial.replace, file)

    def _failed(self, reason: str) -> BundleNotFetched:
        return BundleNotFetched(f"The bundle {self.url} was not fetched: {reason}", url=self.url)

    async def undo(self, _: None, bundles: Bundles) -> None:
        await _remove(bundles, self.version)


async def _chunks(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async for chunk in answer.content.iter_chunked(_CHUNK):
        yield chunk


def _session() -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=None, connect=SILENCE_S, sock_read=SILENCE_S)
    return aiohttp.ClientSession(trust_env=True, timeout=timeout, headers={"User-Agent": "rooftree"})


async def _remove(bundles: Bundles, version: str) -> None:
    file = bundles.file(version)
    for path in (file, file.with_suffix(".part")):
        await asyncio.to_thread(path.unlink, missing_ok=True)  # ours: tmp in the data folder, in no container


@step("os.install_bundle/1")
class InstallBundle(Step):
    """Let rauc write the bundle to the slot that does not run, and boot from it next time."""

    version: OsVersion

    weight = 6

    async def do(self, run: Run, bus: SystemBus, system: OperatingSystem, bundles: Bundles) -> None:
        """Install, or wait for the installation that a killed run of this began."""
        if await self._is_installed(system):
            return
        async with bus.listening(INSTALLER, COMPLETED) as completions:
            if (await operation(bus)).operation in {IDLE, None}:
                if await self._is_installed(system):  # it ended between the two looks
                    return
                await bus.call(INSTALLER, INSTALL_BUNDLE, bundles.seen_by_rauc(self.version), {})
            result = await self._completed(run, bus, completions)
        if result != 0:
            reason = (await operation(bus)).last_error or f"it ended with {result}"
            raise self._failed(reason)
        if not await self._is_installed(system):
            raise self._failed("rauc reports success, but another version would be booted")

    async def _completed(self, run: Run, bus: SystemBus, completions: AsyncIterator[tuple[Any, ...]]) -> int:
        """The result of the installation under way."""
        loop = asyncio.get_running_loop()
        completed: asyncio.Future[tuple[Any, ...]] = asyncio.ensure_future(anext(completions))
        shown, moved = None, loop.time()
        try:
            while not (await asyncio.wait({completed}, timeout=LOOK_S))[0]:
                progress = (await operation(bus)).progress
                if progress != shown:
                    shown, moved = progress, loop.time()
                    if progress is not None and isinstance(progress[0], int):
                        run.progress(progress[0], 100)
                elif loop.time() - moved > STALLED_S:
                    raise self._failed(f"rauc has made no progress for {STALLED_S:g} s")
            return int(completed.result()[0])
        finally:
            completed.cancel()

    async def _is_installed(self, system: OperatingSystem) -> bool:
        home_assistant_os = await system.home_assistant_os()
        if home_assistant_os is not None and home_assistant_os.version == self.version:
            return True
        pending = (await system.slots()).pending
        return pending is not None and pending.version == self.version

    def _failed(self, reason: str) -> InstallationFailed:
        sentence = f"Home Assistant OS {self.version} was not installed: {reason}"
        return InstallationFailed(sentence, version=self.version, reason=reason)

    async def undo(self, _: None, bus: SystemBus, system: OperatingSystem) -> None:
        """Let what runs now be booted next time too; the slot that was written to is nobody's."""
        if (await system.slots()).pending is not None:
            await mark(bus, "active", BOOTED)


@step("os.remove_bundle/1")
class RemoveBundle(Step):
    """Remove the file of the bundle, which is installed."""

    version: OsVersion

    tidies = True

    async def do(self, bundles: Bundles) -> None:
        await _remove(bundles, self.version)


@job(
    "os_manager_update",
    locks=lambda version: [UPDATE],
    conditions=("healthy", "running", "internet_system", "haos", "supervisor_updated"),
    recovery="forward",
    when_busy="refuse",
)
async def update_os(bus: SystemBus, system: OperatingSystem, version: OsVersion | None) -> Steps:
    """Update the operating system; it runs after the next reboot."""
    now = await system.required()
    releases = system.releases
    await releases.needed()
    wanted = version or releases.next_after(now.version, now.board)
    if wanted is None:
        raise NoUpdate(f"The version feed knows no version for the board {now.board}: name the version that you want")
    if wanted == now.version:
        raise AlreadyInstalled(f"Home Assistant OS {wanted} runs already", version=wanted)
    pending = (await system.slots()).pending
    if pending is not None and pending.version == wanted:
        raise PendingReboot(f"Home Assistant OS {wanted} is installed; reboot to use it", version=wanted)
    if (doing := (await operation(bus)).operation) not in {IDLE, None}:
        raise Conflict(f"rauc is busy ({doing}); try again when that has ended")
    wanted = OsVersion(wanted)
    return [
        DownloadBundle(wanted, releases.bundle(wanted, now.board)),
        InstallBundle(wanted),
        RemoveBundle(wanted),
        RequireReboot(f"Home Assistant OS {wanted} is installed and runs after a reboot"),
    ]

"""The first install of Core: its version from the feed, its image, a container that runs.

It begins by itself where Core is wanted, and goes on until Core is there: whatever fails is tried again, for a machine
that is set up may get its network, its clock or room on its disk only while this is under way. Who wants something else
cancels the job; then nothing begins by itself before the next start. Who calls it by hand is told what fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import structlog

from rooftree import (
    Failed,
    JobBusy,
    JobCancelled,
    JobChanged,
    JobError,
    JobInfo,
    Kernel,
    NotReady,
    RooftreeError,
    Run,
    Step,
    Steps,
    Stopping,
    Task,
    step,
)
from rooftree.clock import boot_id
from rooftree.interfaces.containers import CONTAINER_ENGINE, ContainerEngine
from rooftree.interfaces.containers import Progress as FetchedBytes
from rooftree.interfaces.versions import VERSION_FEED, VersionsUnknown
from rooftree_containers import ImageVersion
from rooftree_containers.observation import runs
from rooftree_containers.steps import fetch, told_wait_s
from rooftree_homeassistant.core_domain import version_shown
from rooftree_homeassistant.core_health import NotAwaited
from rooftree_homeassistant.core_jobs import AlreadyInstalled, forward
from rooftree_homeassistant.core_steps import AwaitCore, CoreImageStep, LetStart, image_not_fetched, is_here
from rooftree_homeassistant.home_assistant import CONTAINER, NAME, CoreContainer, HomeAssistant
from rooftree_homeassistant.installation import (
    INSTALLATION,
    Installation,
    NoCoreForMachine,
    PrivilegesPerhapsRefused,
    Stage,
)
from rooftree_homeassistant.landing_page import LANDING_PAGE, LandingPage

log = structlog.get_logger(__name__)

AGAIN_S: Final = 30.0
"""Seconds until what failed is tried again."""
LONGEST_PAUSE_S: Final = 3600.0
"""Seconds for which a registry that wants a pause has it, at most."""
JOB: Final = "home_assistant_core_install"
RESTORE: Final = "backup_restore_homeassistant"
"""The job by which Core comes from a backup."""


@step("homeassistant.fetch_core/1")
class FetchCore(CoreImageStep):
    """Fetch Core's image from its registry."""

    image: str
    version: str
    patient: bool
    """Whether what fails is tried again, for as long as it takes."""

    async def do(self, run: Run, engine: ContainerEngine, installation: Installation) -> None:
        """Fetch it, unless it is there."""
        installation.enter(Stage.FETCHING, self.version)
        while True:
            try:
                if not await is_here(engine, self.image):
                    await fetch(run, self.image, partial(_pull, engine, installation, self.image))
                return
            except RooftreeError as error:
                if not self.patient:
                    raise image_not_fetched(self.version, error) from error
                installation.note(error)
                pause_s = max(AGAIN_S, min(told_wait_s(error) or 0.0, LONGEST_PAUSE_S))
            await run.wait(pause_s)


async def _pull(engine: ContainerEngine, installation: Installation, image: str) -> AsyncIterator[FetchedBytes]:
    async for progress in engine.pull(image):
        installation.fetched(progress.done, progress.total)
        yield progress


@step("homeassistant.put_core/1")
class PutCore(Step):
    """Note that Core is installed, and is to run. It stays so even if it can't be started: that is tried again then."""

    version: str
    image: str

    async def do(self, core: HomeAssistant) -> None:
        if core.installed is None:
            await core.put(CoreContainer(version=self.version, image=self.image, boot_id=await boot_id()))


@step("homeassistant.hand_over_port/1")
class HandOverPort(Step):
    """Leave Core's port to it, which the landing page had."""

    tidies = True

    async def before(self, page: LandingPage) -> bool:
        """Whether it was shown."""
        return page.is_open

    async def do(self, page: LandingPage, installation: Installation, core: HomeAssistant) -> None:
        """Listen there no longer."""
        installation.enter(Stage.STARTING, core.installed.version if core.installed else None)
        await page.hand_over()

    async def undo(self, was_shown: bool | None, page: LandingPage, installation: Installation) -> None:
        """Show it again; older journals say nothing of it."""
        if was_shown:
            installation.enter(Stage.STOPPED)
            page.open()


@forward(JOB, when_busy="refuse")
async def install_core(
    core: HomeAssistant, installation: Installation, version: str | None = None, patient: bool = False
) -> Steps:
    """Install Core, in a version or the newest, and start it.

    :param patient: whether what fails is tried again, for as long as it takes
    """
    if core.installed is not None:
        raise AlreadyInstalled(
            f"Home Assistant Core {core.installed.version} is installed already", version=core.installed.version
        )
    target = await _target(core, installation, version, patient=patient)
    steps = core.containers.steps
    return [
        FetchCore(target.image, target.version, patient),
        PutCore(target.version, target.image),
        steps.create(NAME, True),
        HandOverPort(),
        steps.start(NAME, False),
        LetStart(CONTAINER),
        AwaitCore(CONTAINER),
    ]


async def _target(
    core: HomeAssistant, installation: Installation, version: str | None, *, patient: bool
) -> ImageVersion:
    """What is to be installed; waits until that can be told, and the engine is there. A Core that runs here, though
    nobody knows of it (any more), is what is installed."""
    engine = core.kernel.service(CONTAINER_ENGINE)
    while True:
        try:
            installation.enter(Stage.WAITING)
            await engine.info()
            shown = await engine.container(CONTAINER)
            running = version_shown(shown) if shown is not None and runs(shown) else None
            if running is not None and version is None:
                return running
            installation.enter(Stage.LOOKING)
            newest = await _newest(core) if version is None else version
            await learn_image(core)
            return ImageVersion(newest, core.image_of(newest))
        except RooftreeError as error:
            if not patient:
                raise
            installation.note(error)
        await core.kernel.clock.sleep(AGAIN_S)


async def learn_image(core: HomeAssistant) -> None:
    """Have the feed read that names Core's image, where it was not; without it the image has its usual name."""
    feed = core.kernel.find(VERSION_FEED)
    if feed is not None and core.options.image is None and feed.image("core", machine=core.machine) is None:
        with suppress(VersionsUnknown):
            await feed.read()


async def _newest(core: HomeAssistant) -> str:
    """The newest version; raises :class:`VersionsUnknown`, :class:`NoCoreForMachine`."""
    feed = core.kernel.find(VERSION_FEED)
    if feed is None:
        raise VersionsUnknown("Nobody reads the version feed: the plugin supervisor, which does, is not running")
    feed.keep_fresh()
    if core.newest is None:
        await feed.read()
    if core.newest is None:
        raise NoCoreForMachine(
            f"The version feed has no Home Assistant Core for this machine, which is a {core.machine}"
        )
    return core.newest


_RAISED: Final[dict[str, type[RooftreeError]]] = {
    kind.__name__: kind for kind in (JobCancelled, NotAwaited, PrivilegesPerhapsRefused)
}
"""Of what a job may end with, what makes a difference here, by its name in the jobs API."""


class FirstInstall:
    """Has Core installed, where it is wanted, with the landing page meanwhile."""

    def __init__(self, kernel: Kernel, core: HomeAssistant, *, is_wanted: bool) -> None:
        self._kernel = kernel
        self._core = core
        self._is_wanted = is_wanted
        self._installation = Installation(kernel)
        self._page = LandingPage(kernel, core, self._installation)
        kernel.provide(INSTALLATION, self._installation)
        kernel.provide(LANDING_PAGE, self._page)
        self._ended = asyncio.Event()
        self._errors: Sequence[JobError] = ()
        """What the job that ended last ended with."""
        kernel.on(JobChanged, self._note_job)

    def tasks(self) -> Iterable[Task]:
        """Install Core, and show how far that is; nothing where it is not wanted."""
        if self._is_wanted:
            yield Task("first install", self.run)
            yield Task("landing page", self._page.run)

    def _note_job(self, event: JobChanged) -> None:
        if event.job.name == JOB and event.job.done:
            self._errors = event.job.errors
            self._ended.set()

    async def run(self) -> None:
        """Install it, unless it is; ends when it is there. Where somebody cancelled that, it is theirs to go on."""
        by_itself = True
        while not self._is_there() or self._is_under_way():
            if self._core.installed is None:
                self._page.open()
            try:
                await self._install(by_itself=by_itself)
            except JobCancelled:
                by_itself = False
            except (JobBusy, AlreadyInstalled):  # a restore brings it, or has
                await self._kernel.clock.sleep(AGAIN_S)
            except (NotAwaited, Stopping):  # somebody ends it again; or the next start goes on
                return
            except RooftreeError as error:
                if self._core.installed is not None:
                    self._note_not_started(self._core.installed.version, error)
                    return
                if not isinstance(error, NotReady):
                    self._installation.note(error)
                await self._kernel.clock.sleep(AGAIN_S)

    def _note_not_started(self, version: str, error: RooftreeError) -> None:
        """Core did not come up; the watchdog goes on from here, also where there is no container to begin with."""
        self._installation.note_not_started(version, error)
        watchdog = self._core.containers.watchdog
        watchdog.report_failure(NAME, "started", error.message)
        if not self._core.containers.observation.runs(NAME):
            self._page.open()
            watchdog.failed(NAME)

    async def _install(self, *, by_itself: bool) -> None:
        """Install it, or wait until a job has done so that a kill interrupted, or that somebody called; raises what
        such a job ended with."""
        self._ended.clear()
        if by_itself and not self._is_under_way():
            await self._kernel.jobs.run(install_core(version=None, patient=True))
            return
        if not self._is_under_way():
            self._installation.enter(Stage.STOPPED)
        await self._ended.wait()
        for error in self._errors:
            raise _RAISED.get(error.type, Failed)(error.message)

    def _is_there(self) -> bool:
        """Whether it is installed, and stays so: a restore that has brought it may be taken back."""
        return self._core.installed is not None and not any(map(_restores, self._kernel.jobs.listing()))

    def _is_under_way(self) -> bool:
        return open_install(self._kernel) is not None


def open_install(kernel: Kernel) -> str | None:
    """The id of the job that installs Core; ``None`` where none does."""
    return next((job.uuid for job in kernel.jobs.listing() if job.name == JOB and not job.done), None)


def _restores(job: JobInfo) -> bool:
    """Whether it puts Core back, and is not through."""
    return not job.done and (job.name == RESTORE or any(map(_restores, job.child_jobs)))

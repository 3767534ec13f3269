"""The steps with Core that are more than those with any container."""

from __future__ import annotations

import asyncio
from typing import Final

from rooftree import Failed, RooftreeError, Run, Step, step
from rooftree.interfaces.containers import (
    ContainerEngine,
    ImageForOtherPlatform,
    ImageNotFound,
    PullFailed,
)
from rooftree_containers.steps import PullImage
from rooftree_containers.update_steps import ChangeVersion
from rooftree_files import Folder
from rooftree_homeassistant.core_container import CONFIG
from rooftree_homeassistant.core_health import CoreHealth
from rooftree_homeassistant.home_assistant import HomeAssistant
from rooftree_workers import to_thread_whole

_GO_ARCHITECTURES: Final = {"aarch64": "arm64", "armhf": "arm", "armv7": "arm", "i386": "386"}
"""What images call architectures, by the words of the API."""
SAFE_MODE: Final = "safe-mode"
"""The file in Core's configuration by which it knows at its start; Core takes it away."""


ENDING: Final = frozenset(
    f"home_assistant_core_{verb}" for verb in ("stop", "restart", "rebuild", "update", "roll_back")
)
"""The jobs that people ask for to end Core. They wait for who starts it, and that may take very long."""


class CoreNotStarted(Failed):
    """Core's container was started, and Core did not come up in it."""

    status = 400


class CoreImageNotFetched(Failed):
    """Core's image could not be fetched. ``extra_fields``: ``version``."""

    status = 400
    error_key = "homeassistant_update_image_error"


def image_not_fetched(version: str, error: RooftreeError) -> RooftreeError:
    """What to raise in an error's place where an image was to be fetched; what has a key of its own stays."""
    if not isinstance(error, ImageNotFound | ImageForOtherPlatform | PullFailed):
        return error
    sentence = f"The image of Home Assistant Core {version} could not be fetched: {error.message}"
    return CoreImageNotFetched(sentence, version=version)


async def is_here(engine: ContainerEngine, image: str) -> bool:
    """Whether the engine has an image that runs here: a version of Core never becomes another one, so no registry is
    asked for it then. One that is made for other machines is for the registry to replace, or to refuse."""
    shown = await engine.image(image)
    if shown is None:
        return False
    architecture = (await engine.info()).architecture
    return shown.architecture in {"", _GO_ARCHITECTURES.get(architecture, architecture)}


@step("homeassistant.enter_safe_mode/1")
class EnterSafeMode(Step):
    """Let Core leave out, at its next start, what its user has added to it."""

    file: str = f"{CONFIG.path}/{SAFE_MODE}"
    """Relative to the data folder."""

    async def before(self, core: HomeAssistant) -> bool:
        """Whether that is so already."""

        def look() -> bool:
            with Folder.open(core.kernel.data.path) as root:
                return root.status(self.file) is not None

        return await asyncio.to_thread(look)

    async def do(self, core: HomeAssistant) -> None:

        def write() -> None:
            with Folder.open(core.kernel.data.path) as root, root.make(CONFIG.path) as config:
                config.write(SAFE_MODE, b"", 0o644)

        await to_thread_whole(write)

    async def undo(self, was_there: bool, core: HomeAssistant) -> None:
        """Take it away, if this brought it."""

        def remove() -> None:
            with Folder.open(core.kernel.data.path) as root, root.make(CONFIG.path) as config:
                config.remove(SAFE_MODE)

        if not was_there:
            await to_thread_whole(remove)


@step("homeassistant.let_start/1")
class LetStart(Step):
    """Leave Core to itself: its container runs, and what becomes of Core in it is no reason to take that back."""

    container: str

    async def do(self) -> None:
        """Nothing is to be done: what was done so far stays, because this can't be taken back."""


@step("homeassistant.await_core/1")
class AwaitCore(Step):
    """Wait until Core has started."""

    container: str
    weight = 10
    interruptible = True

    async def do(self, health: CoreHealth, core: HomeAssistant) -> None:
        """Wait, unless somebody wants Core to end again; raises :class:`CoreNotStarted`, and
        :class:`~rooftree_homeassistant.core_health.NotAwaited`."""

        def is_to_end() -> bool:
            return any(job.name in ENDING and job.done is None for job in core.kernel.jobs.listing())

        complaint = await health.until_up(is_to_end)
        if complaint is not None:
            raise CoreNotStarted(
                f"Home Assistant Core was started, but {complaint}. Its log says why; started in safe mode, it leaves "
                "out what was added to it"
            )


@step("homeassistant.change_version/1")
class ChangeCoreVersion(ChangeVersion):
    """Let Core be another version."""

    async def notes(self, core: HomeAssistant) -> list[str]:
        """How long Core is away meanwhile."""
        if core.installed is None or not core.containers.observation.runs(self.name):
            return []
        took_s = core.installed.start_took_s
        known = "" if took_s is None else f", which took {took_s:.0f} s the last time"
        return [f"Home Assistant Core is away while its configuration is copied, and until it has come up again{known}"]


class CoreImageStep(Step):
    """What steps are that fetch Core's image, each in its own way."""

    image: str
    """Name and tag."""
    stage = "pull_image"
    weight = 50
    interruptible = True

    async def before(self, engine: ContainerEngine) -> str | None:
        """The image's id if the engine had it."""
        return await PullImage(self.image).before(engine)

    async def fetch_bytes(self, engine: ContainerEngine) -> int | None:
        """The whole image, of which the engine may have parts already; nothing where it is there."""
        return 0 if await is_here(engine, self.image) else await engine.size_of_pull(self.image)

    async def undo(self, image_before: str | None, engine: ContainerEngine) -> None:
        """Take it away, if this brought it."""
        await PullImage(self.image).undo(image_before, engine)


@step("homeassistant.pull_image/1")
class PullCoreImage(CoreImageStep):
    """Fetch the image of a version of Core from its registry."""

    image: str
    version: str

    async def do(self, run: Run, engine: ContainerEngine) -> None:
        """Fetch it, with progress in bytes, unless it is there; raises :class:`CoreImageNotFetched`, and what has a key
        of its own: a registry that wants a login, or has enough of us, and a full disk."""
        try:
            if not await is_here(engine, self.image):
                await PullImage(self.image).do(run, engine)
        except RooftreeError as error:
            raise image_not_fetched(self.version, error) from error

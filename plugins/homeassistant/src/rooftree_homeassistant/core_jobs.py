"""What can be done with Core: the plans of its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from attrs import frozen

from rooftree import Invalid, JobCall, Lock, NotFound, Step, Steps, Unavailable, job
from rooftree.interfaces.backups import BACKUPS, BackupRequest
from rooftree_containers import ContainerJobs, ImageVersion, plans
from rooftree_containers.container_jobs import WATCHDOG_RATE
from rooftree_containers.container_steps import StartContainer
from rooftree_containers.update_steps import BeginProbation
from rooftree_homeassistant.core_container import NAMES, PLUGIN
from rooftree_homeassistant.core_health import CoreHealth
from rooftree_homeassistant.core_steps import AwaitCore, ChangeCoreVersion, EnterSafeMode, LetStart, PullCoreImage
from rooftree_homeassistant.home_assistant import CONTAINER, NAME, CoreContainer, HomeAssistant

LOCK = Lock(NAMES.context, NAME)
"""What every job holds that changes Core."""


class NoVersion(Invalid):
    """Nobody says which version there is to go to."""

    error_key = "homeassistant_update_error"


class AlreadyInstalled(Invalid):
    """Core is that version. ``extra_fields``: ``version``."""

    error_key = "homeassistant_update_already_installed_error"


class CoreNotInstalled(NotFound):
    """Core is not there (yet)."""


@frozen(kw_only=True)
class StartMode:
    """How Core is ended and started."""

    force: bool = False
    """Whether it is ended even while it changes its database."""
    safe_mode: bool = False
    """Whether it leaves out what its user has added."""


def _locks(**_: object) -> Sequence[Lock]:
    return [LOCK]


core_job = partial(job, locks=_locks)
forward = partial(core_job, recovery="forward")


def refuse_not_installed(core: HomeAssistant) -> CoreContainer:
    """What is kept of Core; raises :class:`CoreNotInstalled`."""
    if core.installed is None:
        refuse_unwanted(core)
        raise CoreNotInstalled("Home Assistant Core is not installed yet. Its page, and /jobs/info, tell how far it is")
    return core.installed


def refuse_unwanted(core: HomeAssistant) -> None:
    """Raise :class:`CoreNotInstalled` where the operator wants no Core on this machine."""
    if not core.container_settings.install:
        raise CoreNotInstalled(
            "Home Assistant Core is not installed, and is not to be: [plugins.homeassistant] in rooftree.toml says "
            "install = false. Set that to true, and restart Rooftree"
        )


def awaited(steps: Steps) -> list[Step | JobCall[None]]:
    """The same with the wait for Core behind them, where they start it."""
    begins = any(isinstance(planned, StartContainer) for planned in steps)
    return [*steps, *([LetStart(CONTAINER), AwaitCore(CONTAINER)] if begins else [])]


@forward("home_assistant_core_start")
async def start(core: HomeAssistant) -> Steps:
    """Run Core; nothing to do while it runs."""
    refuse_not_installed(core)
    return awaited(await plans.start(core.containers, NAME))


@forward("home_assistant_core_stop", makes_room=True)
async def stop(core: HomeAssistant, health: CoreHealth, force: bool) -> Steps:
    """End Core."""
    refuse_not_installed(core)
    if not force:
        await health.refuse_migration()
    return await plans.stop(core.containers, NAME)


@forward("home_assistant_core_restart")
async def restart(core: HomeAssistant, health: CoreHealth, mode: StartMode) -> Steps:
    """End Core and run it again: in the same container, unless a new one would be made otherwise."""
    refuse_not_installed(core)
    if not mode.force:
        await health.refuse_migration()
    return awaited(_in_mode(mode, await plans.restart(core.containers, NAME)))


@forward("home_assistant_core_rebuild")
async def rebuild(core: HomeAssistant, health: CoreHealth, mode: StartMode) -> Steps:
    """End Core and run it in a fresh container; where its user has chosen another image, in that, as an update is."""
    installed = refuse_not_installed(core)
    if not mode.force:
        await health.refuse_migration()
    if core.image_of(installed.version) != installed.image:
        return _in_mode(mode, await _replace(core, installed, installed.version))
    return awaited(_in_mode(mode, await plans.rebuild(core.containers, NAME)))


def _in_mode(mode: StartMode, steps: Steps) -> Steps:
    return [*([EnterSafeMode()] if mode.safe_mode else []), *steps]


# --- updates ----------------------------------------------------------------------------------------------------------


@core_job(
    "home_assistant_core_update", conditions=("free_space", "internet_host", "plugins_updated", "supervisor_updated")
)
async def update(core: HomeAssistant, health: CoreHealth, version: str | None, backup: bool = False) -> Steps:
    """Go to a version, the newest unless one is named; when that does not work, the one before comes back.

    An unhealthy system can't be kept from it, which may be what cures it.

    :param backup: whether Core is backed up before; without a backup there is no update then
    """
    installed = refuse_not_installed(core)
    wanted = version or core.newest
    if wanted is None:
        raise NoVersion("The version feed was not read yet, or has no version for this machine; name the one you want")
    if (wanted, core.image_of(wanted)) == (installed.version, installed.image):
        raise AlreadyInstalled(f"Home Assistant Core {wanted} is installed already", version=wanted)
    await health.refuse_migration()
    first = [_backup(core, installed)] if backup else []
    return [*first, *await _replace(core, installed, wanted)]


def _backup(core: HomeAssistant, installed: CoreContainer) -> JobCall[None]:
    backups = core.kernel.find(BACKUPS)
    if backups is None:
        raise Unavailable("No enabled plugin makes backups; update without backup, or enable one")
    return backups.create(BackupRequest(name=f"core_{installed.version}", core=True))


async def _replace(core: HomeAssistant, installed: CoreContainer, version: str) -> Steps:
    wanted = ImageVersion(version, core.image_of(version))
    was = ImageVersion(installed.version, installed.image)
    return await plans.replace(
        core.containers,
        NAME,
        wanted,
        PullCoreImage(wanted.image, version),
        [ChangeCoreVersion(NAME, PLUGIN, wanted)],
        lambda kept: BeginProbation(NAME, PLUGIN, version, was, kept),
    )


@forward("home_assistant_core_roll_back", makes_room=True)
async def roll_back(core: HomeAssistant, update: str, reason: str) -> Steps:
    """Put the version before an update back, with the configuration it had."""
    return awaited(await plans.roll_back(core.containers, NAME, update, reason))


@forward("home_assistant_core_keep_update", makes_room=True)
async def keep_update(core: HomeAssistant, update: str) -> Steps:
    """Give up what an update replaced."""
    return await plans.keep_update(core.containers, NAME, update)


# --- what the library runs by itself (see ContainerJobs) --------------------------------------------------------------


@forward("home_assistant_core_start")
async def start_if_desired(core: HomeAssistant) -> Steps:
    """Run Core, unless it is to be stopped by now."""
    return awaited(await plans.start_if_desired(core.containers, NAME))


@forward("home_assistant_core_stop", makes_room=True)
async def stop_if_desired(core: HomeAssistant) -> Steps:
    """End Core, unless it is to run by now."""
    return await plans.stop_if_desired(core.containers, NAME)


@forward("home_assistant_core_stop", makes_room=True)
async def end_with_system(core: HomeAssistant) -> Steps:
    """End Core because the system ends; it is to run again with it."""
    return await plans.end(core.containers, NAME)


@forward("home_assistant_core_restart_after_problem", at_most=WATCHDOG_RATE)
async def revive(core: HomeAssistant, health: CoreHealth, fresh: bool) -> Steps:
    """End Core and run it again, unless it is to be stopped by now; in a fresh container where that alone has not
    helped, and in the end without what its user has added."""
    containers, mode = core.containers, StartMode(safe_mode=health.wants_safe_mode)
    if fresh or mode.safe_mode:
        steps = await plans.rebuild_if_desired(containers, NAME)
    else:
        steps = await plans.restart_if_desired(containers, NAME)
    return awaited(_in_mode(mode, steps) if steps else [])


OWN = ContainerJobs(
    start=lambda _: start_if_desired(),
    stop=lambda _: stop_if_desired(),
    restart=lambda _: revive(fresh=False),
    renew=lambda _: revive(fresh=True),
    end=lambda _: end_with_system(),
    roll_back=lambda _, update, reason: roll_back(update=update, reason=reason),
    keep_update=lambda _, update: keep_update(update=update),
)
"""Core's jobs that the library runs by itself."""

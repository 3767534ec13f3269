"""The routes of Core. Each has its older spelling, ``/homeassistant/…``."""

from __future__ import annotations

from functools import partial

from rooftree import JobCall, JobStarted, NotFound, Role, Routes, role
from rooftree.interfaces.callers import OBSERVER
from rooftree.interfaces.containers import CONTAINER_ENGINE, ContainerNotFound, ContainerNotRunning
from rooftree_containers import ProbationState, plans
from rooftree_containers.container_log import ContainerLog
from rooftree_containers.log_routes import log_routes
from rooftree_containers.stats import Stats
from rooftree_containers.update_steps import BY_HAND
from rooftree_homeassistant import core_jobs
from rooftree_homeassistant.api_proxy_routes import routes as api_proxy
from rooftree_homeassistant.auth_routes import routes as auth
from rooftree_homeassistant.core_check import check_configuration
from rooftree_homeassistant.core_jobs import StartMode, refuse_not_installed
from rooftree_homeassistant.core_options import CoreOptionsChange
from rooftree_homeassistant.home_assistant import CONTAINER, NAME, CoreNotRunning, HomeAssistant
from rooftree_homeassistant.install import install_core
from rooftree_homeassistant.models import CoreInfo, RestartRequest, StopRequest, UpdateRequest

routes = Routes()
routes.include(auth)
routes.include(api_proxy)
ANY_ROLE = role(Role.DEFAULT)
HOMEASSISTANT = role(Role.HOMEASSISTANT)


@routes.get("/core/info", access=ANY_ROLE | OBSERVER, aliases=("/homeassistant/info",))
def info(core: HomeAssistant) -> CoreInfo:
    """What Core is, and how it is set up."""
    return CoreInfo.of(core)


@routes.post("/core/options", access=HOMEASSISTANT, aliases=("/homeassistant/options",))
async def set_options(core: HomeAssistant, body: CoreOptionsChange) -> None:
    """Set Core up; what is absent stays, what is null goes back to its default."""
    await core.set_options(body)


@routes.get("/core/stats", access=HOMEASSISTANT, aliases=("/homeassistant/stats",))
async def stats(core: HomeAssistant) -> Stats:
    """What Core uses of the machine."""
    try:
        return Stats.of(await core.kernel.service(CONTAINER_ENGINE).stats(CONTAINER))
    except (ContainerNotFound, ContainerNotRunning):
        raise CoreNotRunning("Home Assistant Core does not run. Start it first.") from None


def core_log(core: HomeAssistant) -> ContainerLog:
    """Core's log."""
    engine, lines = core.kernel.service(CONTAINER_ENGINE), core.containers.crash_logs.lines
    return ContainerLog(core.kernel, engine, CONTAINER, earlier=partial(lines, NAME))


for path in ("/core/logs", "/homeassistant/logs"):
    routes.include(log_routes(path, core_log, access=HOMEASSISTANT, refuses=(NotFound,)))


# --- verbs ------------------------------------------------------------------------------------------------------------


@routes.post("/core/start", access=HOMEASSISTANT, aliases=("/homeassistant/start",), refuses=(NotFound,))
def start(core: HomeAssistant) -> JobCall[None]:
    """Start Core, and wait until it has come up."""
    refuse_not_installed(core)  # at once: the job would wait for an install under way
    return core_jobs.start()


@routes.post("/core/stop", access=HOMEASSISTANT, aliases=("/homeassistant/stop",), refuses=(NotFound,))
def stop(core: HomeAssistant, body: StopRequest) -> JobCall[None]:
    """Stop Core."""
    refuse_not_installed(core)  # at once: the job would wait for an install under way
    return core_jobs.stop(force=body.force)


@routes.post("/core/restart", access=HOMEASSISTANT, aliases=("/homeassistant/restart",), refuses=(NotFound,))
def restart(core: HomeAssistant, body: RestartRequest) -> JobCall[None]:
    """Stop Core and start it again, and wait until it has come up."""
    refuse_not_installed(core)  # at once: the job would wait for an install under way
    return core_jobs.restart(mode=StartMode(force=body.force, safe_mode=body.safe_mode))


@routes.post("/core/rebuild", access=HOMEASSISTANT, aliases=("/homeassistant/rebuild",), refuses=(NotFound,))
def rebuild(core: HomeAssistant, body: RestartRequest) -> JobCall[None]:
    """Stop Core and start it in a fresh container, and wait until it has come up."""
    refuse_not_installed(core)  # at once: the job would wait for an install under way
    return core_jobs.rebuild(mode=StartMode(force=body.force, safe_mode=body.safe_mode))


@routes.post("/core/check", access=HOMEASSISTANT, aliases=("/homeassistant/check",), refuses=(NotFound,))
def check() -> JobCall[None]:
    """Check Core's configuration, with the version that is installed; what is wrong with it is the answer's message."""
    return check_configuration()


@routes.post("/core/update", access=HOMEASSISTANT, aliases=("/homeassistant/update",))
def update(core: HomeAssistant, body: UpdateRequest) -> JobCall[JobStarted | None]:
    """Bring Core to another version, the newest unless one is named; the one before comes back if that fails. Core that
    is not installed is installed in that version."""
    if core.installed is None:
        return install_core(version=body.version, patient=False).in_background(body.background)
    return core_jobs.update(version=body.version, backup=body.backup).in_background(body.background)


@routes.get("/kernel/v1/core/probation", access=HOMEASSISTANT, refuses=(NotFound,))
def probation(core: HomeAssistant) -> ProbationState:
    """Whether Core's version still has to prove itself, and what can be gone back to."""
    installed = refuse_not_installed(core)
    return ProbationState.of(installed.version, installed.probation, installed.failed_version)


@routes.post("/kernel/v1/core/roll-back", access=HOMEASSISTANT, refuses=(NotFound,))
def roll_back(core: HomeAssistant) -> JobCall[None]:
    """Put the version before the last update back, with the configuration it had, while that is kept."""
    refuse_not_installed(core)
    return core_jobs.roll_back(update=plans.probation_of(core.containers, NAME).kept.folder, reason=BY_HAND)

"""The routes of Supervisor, Root and Jobs, and what is asked of the kernel below ``/kernel/v1``."""

from __future__ import annotations

from typing import Annotated

from rooftree import (
    PUBLIC,
    AuditLog,
    Conditions,
    Forbidden,
    Header,
    Invalid,
    JobCall,
    JobInfo,
    Jobs,
    Media,
    Principal,
    Role,
    Routes,
    Socket,
    StateChange,
    Stream,
    Text,
    Unset,
    role,
)
from rooftree.interfaces.callers import ADDON, ANY_ADDON, OBSERVER
from rooftree.process import System
from rooftree.state import PAGE as LARGEST_PAGE
from rooftree_containers.log_routes import log_routes
from rooftree_containers.stats import Stats
from rooftree_supervisor.api_documents.routes import routes as api_documents
from rooftree_supervisor.condition_names import CONDITION_NAMES
from rooftree_supervisor.event_feed import AskedPosition, AskedTypes, event_feed
from rooftree_supervisor.event_stream import EventStream
from rooftree_supervisor.metrics import CONTENT_TYPE as METRICS_FORMAT
from rooftree_supervisor.metrics import Scrape
from rooftree_supervisor.models import (
    AuditPage,
    AvailableUpdates,
    Info,
    JobId,
    JobOptionsChange,
    JobsInfo,
    OptionsChange,
    SupervisorInfo,
    SupervisorUpdate,
    TokenId,
    TokenList,
    TokenMade,
    TokenRequest,
)
from rooftree_supervisor.named_tokens import NamedTokens
from rooftree_supervisor.overview import Overview
from rooftree_supervisor.own_log import OwnLog
from rooftree_supervisor.own_use import OwnUse
from rooftree_supervisor.preferences import Preferences

routes = Routes()
routes.include(api_documents)

ADMIN = role(Role.ADMIN)
MANAGER = role(Role.MANAGER)
ANY_ROLE = role(Role.DEFAULT)


# --- supervisor ---------------------------------------------------------------------------------------------------


@routes.get("/supervisor/ping", access=PUBLIC)
def ping() -> None:
    """Tell that we answer."""


@routes.get("/supervisor/info", access=ANY_ROLE | OBSERVER)
async def supervisor_info(overview: Overview) -> SupervisorInfo:
    """How Rooftree is, and how it is set."""
    return await overview.supervisor_info()


@routes.post("/supervisor/options", access=MANAGER)
async def set_options(preferences: Preferences, body: OptionsChange) -> JobCall[None] | StateChange:
    """Change options; what is absent stays."""
    return await preferences.change(body)


@routes.get("/supervisor/stats", access=MANAGER)
async def supervisor_stats(use: OwnUse) -> Stats:
    """What our own process uses of the machine."""
    return Stats.of(await use.read())


@routes.post("/supervisor/update", access=MANAGER)
def update_supervisor(overview: Overview, body: SupervisorUpdate) -> None:
    """Refused: Rooftree is updated by what installed it."""
    raise overview.no_update(body.version)


def supervisor_log(log: OwnLog) -> OwnLog:
    return log


routes.include(log_routes("/supervisor/logs", supervisor_log, access=MANAGER))


# --- root ---------------------------------------------------------------------------------------------------------


@routes.get("/info", access=ANY_ROLE | ANY_ADDON)
async def info(overview: Overview, system: System) -> Info:
    """Facts about the whole installation."""
    return await overview.info(system.state_now)


@routes.get("/available_updates", access=MANAGER)
async def available_updates(overview: Overview) -> AvailableUpdates:
    """Everything that has an update waiting."""
    return await overview.available_updates()


@routes.post("/reload_updates", access=ADMIN)
async def reload_updates(overview: Overview) -> None:
    """Ask anew which versions there are of what has updates; repositories are not fetched."""
    await overview.reload_updates()


# --- jobs ---------------------------------------------------------------------------------------------------------


@routes.get("/jobs/info", access=ANY_ROLE | OBSERVER)
def jobs_info(jobs: Jobs, conditions: Conditions) -> JobsInfo:
    """The jobs under way, and those whose outcome nobody has waited for."""
    return JobsInfo(ignore_conditions=list(conditions.ignored), jobs=jobs.listing())


@routes.post("/jobs/options", access=MANAGER)
async def set_job_options(conditions: Conditions, body: JobOptionsChange) -> None:
    """Say which conditions of jobs are not looked at."""
    if not isinstance(body.ignore_conditions, Unset):
        await conditions.ignore(body.ignore_conditions, CONDITION_NAMES)


@routes.post("/jobs/reset", access=MANAGER)
async def reset_job_options(conditions: Conditions) -> None:
    """Look at every condition again."""
    await conditions.ignore([])


@routes.get("/jobs/{job_id}", access=MANAGER)
async def job(jobs: Jobs, job_id: JobId) -> JobInfo:
    """One job."""
    return await jobs.get(job_id)


@routes.delete("/jobs/{job_id}", access=MANAGER)
async def forget_job(jobs: Jobs, job_id: JobId) -> None:
    """Take a job that is done off the list."""
    await jobs.forget(job_id)


# --- the kernel ---------------------------------------------------------------------------------------------------


@routes.post("/kernel/v1/jobs/{job_id}/cancel", access=MANAGER)
async def cancel_job(jobs: Jobs, job_id: JobId) -> None:
    """Let a job end before its time; what it has done is taken back. Answers when that has begun."""
    await jobs.cancel(job_id)


@routes.get("/kernel/v1/audit", access=ADMIN)
async def audit(
    log: AuditLog, before: int | None = None, limit: int = 100, who: str | None = None, job: str | None = None
) -> AuditPage:
    """Who did what, when, and how it went."""
    if not 1 <= limit <= LARGEST_PAGE:
        raise Invalid(f"limit: must be from 1 to {LARGEST_PAGE}, not {limit}")
    entries = await log.page(before=before, limit=limit, who=who, job=job)
    return AuditPage(entries, entries[-1].sequence if len(entries) == limit else None)


@routes.get("/kernel/v1/events", access=MANAGER)
def events(
    stream: EventStream,
    since: AskedPosition,
    types: AskedTypes,
    upgrade: Annotated[str | None, Header("Upgrade")],
) -> Annotated[Stream, Media("text/event-stream")] | Socket:
    """What happens, as it happens: server-sent events, or a WebSocket where one is asked for."""
    return event_feed(stream, since, types, as_socket=(upgrade or "").lower() == "websocket")


@routes.get("/kernel/v1/metrics", access=MANAGER)
async def metrics(scrape: Scrape) -> Text:
    """How Rooftree is, in numbers, for Prometheus."""
    return Text(await scrape.text(), METRICS_FORMAT)


@routes.get("/kernel/v1/tokens", access=ADMIN)
def tokens(tokens: NamedTokens) -> TokenList:
    """The tokens that are valid; not the tokens themselves, which nobody has kept."""
    return TokenList(tokens.listing())


@routes.post("/kernel/v1/tokens", access=ADMIN)
async def make_token(tokens: NamedTokens, body: TokenRequest, caller: Principal) -> TokenMade:
    """Make a token for a program; it is shown in this answer and never again. Not for add-ons, whatever their role: it
    would outlive them."""
    if caller.kind == ADDON.name:
        raise Forbidden("An add-on's own token ends with it, and it can't make others; an administrator can")
    return await tokens.make(body.name, body.role)


@routes.delete("/kernel/v1/tokens/{token_id}", access=ADMIN)
async def revoke_token(tokens: NamedTokens, token_id: TokenId) -> None:
    """End a token at once."""
    await tokens.revoke(token_id)

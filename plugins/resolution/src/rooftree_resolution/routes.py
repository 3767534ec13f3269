"""The routes of Resolution."""

from __future__ import annotations

from rooftree import Invalid, JobCall, Role, Routes, Unset, role
from rooftree.interfaces.callers import OBSERVER
from rooftree_resolution.applying import apply_suggestion
from rooftree_resolution.health import Health
from rooftree_resolution.models import (
    CheckName,
    CheckOptions,
    IssueId,
    ResolutionInfo,
    SuggestionId,
    SuggestionList,
)
from rooftree_resolution.resolution import Resolution

routes = Routes()
MANAGER = role(Role.MANAGER)


@routes.get("/resolution/info", access=role(Role.DEFAULT) | OBSERVER)
async def info(resolution: Resolution, health: Health) -> ResolutionInfo:
    """What is wrong, what could be done about it, and what is looked at."""
    return ResolutionInfo(
        unsupported=resolution.reasons("unsupported"),
        unhealthy=resolution.reasons("unhealthy"),
        suggestions=resolution.suggestions(),
        issues=resolution.issues(),
        checks=await health.listing(),
    )


@routes.post("/resolution/suggestion/{suggestion}", access=MANAGER)
def apply(suggestion: SuggestionId) -> JobCall[None]:
    """Do what is suggested."""
    return apply_suggestion(suggestion=suggestion)


@routes.delete("/resolution/suggestion/{suggestion}", access=MANAGER)
async def dismiss_suggestion(resolution: Resolution, suggestion: SuggestionId) -> None:
    """Suggest it no more."""
    await resolution.dismiss_suggestion(suggestion)


@routes.get("/resolution/issue/{issue}/suggestions", access=MANAGER)
def suggestions(resolution: Resolution, issue: IssueId) -> SuggestionList:
    """What could be done about an issue."""
    return SuggestionList(resolution.suggestions(issue))


@routes.delete("/resolution/issue/{issue}", access=MANAGER)
async def dismiss_issue(resolution: Resolution, issue: IssueId) -> None:
    """Show an issue no more, for as long as it stays the same."""
    await resolution.dismiss_issue(issue)


@routes.post("/resolution/healthcheck", access=MANAGER)
async def check_health(health: Health) -> None:
    """Run every check that is enabled, and answer when they are done."""
    await health.check_all()


@routes.post("/resolution/check/{check}/options", access=MANAGER)
async def set_check_options(health: Health, check: CheckName, body: CheckOptions) -> None:
    """Switch a check on or off; off, it runs only when it is asked for by name."""
    if isinstance(body.enabled, Unset):
        raise Invalid("The body has no option in it; give enabled")
    await health.enable(check, body.enabled)


@routes.post("/resolution/check/{check}/run", access=MANAGER)
async def run_check(health: Health, check: CheckName) -> None:
    """Run one check, and answer when it is done."""
    await health.check(check)

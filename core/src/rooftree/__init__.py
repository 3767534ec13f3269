"""Rooftree: the microkernel. Everything a plugin author needs is importable from here.

The names are loaded on first use, so that ``rooftree --help`` does not pay for a web server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rooftree.access import (
        ANY_ADDON,
        CORE_ONLY,
        KNOWN,
        OBSERVER,
        PUBLIC,
        Access,
        Principal,
        Role,
        Tokens,
        grant,
        itself,
        role,
    )
    from rooftree.conversion import UNSET, ParsedString, Unset, converter, structure, unstructure
    from rooftree.errors import (
        Conflict,
        Failed,
        Forbidden,
        Invalid,
        NotFound,
        NotReady,
        RateLimited,
        RooftreeError,
        TooLarge,
        Unavailable,
    )
    from rooftree.events import Event
    from rooftree.hooks import hookimpl, hookspec
    from rooftree.http.answers import Binary, Stream, Text
    from rooftree.http.routes import From, Header, RawBody, Routes
    from rooftree.jobs import JOBS, JobChanged, JobError, JobInfo, Jobs, JobStarted, job
    from rooftree.locks import Lock
    from rooftree.plugin import Kernel, Plugin
    from rooftree.plugins import PLUGINS, PluginHealthChanged, PluginInfo, Plugins
    from rooftree.problems import PROBLEMS, Problem, ProblemCleared, ProblemReported, Problems
    from rooftree.services import Service
    from rooftree.state import Collection, document
    from rooftree.steps import Run, Step, Steps, step
    from rooftree.tasks import Task

_HOMES = {
    "access": "ANY_ADDON CORE_ONLY KNOWN OBSERVER PUBLIC Access Principal Role Tokens grant itself role",
    "conversion": "UNSET ParsedString Unset converter structure unstructure",
    "errors": "Conflict Failed Forbidden Invalid NotFound NotReady RateLimited RooftreeError TooLarge Unavailable",
    "events": "Event",
    "hooks": "hookimpl hookspec",
    "http.answers": "Binary Stream Text",
    "http.routes": "From Header RawBody Routes",
    "jobs": "JOBS JobChanged JobError JobInfo JobStarted Jobs job",
    "locks": "Lock",
    "plugin": "Kernel Plugin",
    "plugins": "PLUGINS PluginHealthChanged PluginInfo Plugins",
    "problems": "PROBLEMS Problem ProblemCleared ProblemReported Problems",
    "services": "Service",
    "state": "Collection document",
    "steps": "Run Step Steps step",
    "tasks": "Task",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "ANY_ADDON",
    "CORE_ONLY",
    "JOBS",
    "KNOWN",
    "OBSERVER",
    "PLUGINS",
    "PROBLEMS",
    "PUBLIC",
    "UNSET",
    "Access",
    "Binary",
    "Collection",
    "Conflict",
    "Event",
    "Failed",
    "Forbidden",
    "From",
    "Header",
    "Invalid",
    "JobChanged",
    "JobError",
    "JobInfo",
    "JobStarted",
    "Jobs",
    "Kernel",
    "Lock",
    "NotFound",
    "NotReady",
    "ParsedString",
    "Plugin",
    "PluginHealthChanged",
    "PluginInfo",
    "Plugins",
    "Principal",
    "Problem",
    "ProblemCleared",
    "ProblemReported",
    "Problems",
    "RateLimited",
    "RawBody",
    "Role",
    "RooftreeError",
    "Routes",
    "Run",
    "Service",
    "Step",
    "Steps",
    "Stream",
    "Task",
    "Text",
    "Tokens",
    "TooLarge",
    "Unavailable",
    "Unset",
    "converter",
    "document",
    "grant",
    "hookimpl",
    "hookspec",
    "itself",
    "job",
    "role",
    "step",
    "structure",
    "unstructure",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'rooftree' has no attribute {name!r}")
    value = getattr(import_module(f"rooftree.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

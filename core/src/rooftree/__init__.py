"""Rooftree: the microkernel. Everything a plugin author needs is importable from here.

The names are loaded on first use, so that ``rooftree --help`` does not pay for a web server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rooftree.access import ANY_ADDON, CORE_ONLY, KNOWN, NOBODY, OBSERVER, PUBLIC, Access, grant, itself, role
    from rooftree.audit import AUDIT, AuditEntry, AuditLog
    from rooftree.clock import Clock
    from rooftree.conditions import CONDITIONS, ConditionNotMet, Conditions
    from rooftree.context import only_looks
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
    from rooftree.event_stream import EVENTS, EventStream
    from rooftree.events import Event
    from rooftree.hooks import hookimpl, hookspec
    from rooftree.http.answers import Binary, Media, Socket, StateChange, Stream, Text
    from rooftree.http.paths import Tail
    from rooftree.http.routes import From, Header, RawBody, Routes
    from rooftree.job_kinds import JobCall, JobStarted, Steps, job
    from rooftree.jobs import JOBS, JobBusy, JobChanged, Jobs
    from rooftree.kernel import Kernel
    from rooftree.locks import Lock
    from rooftree.plans import Plan, PlannedStep
    from rooftree.plugin import Plugin
    from rooftree.plugin_life import PluginHealthChanged, PluginInfo
    from rooftree.plugin_remains import LeftBehind
    from rooftree.plugins import PLUGINS, Plugins
    from rooftree.principal import Principal, Role
    from rooftree.problems import PROBLEMS, Problem, ProblemCleared, ProblemReported, Problems
    from rooftree.rates import Rate
    from rooftree.running_job import JobCancelled, JobError, JobInfo
    from rooftree.secret import Secret, SecretLocked
    from rooftree.services import Service
    from rooftree.state import Collection, document
    from rooftree.steps import Run, Step, step
    from rooftree.tasks import Task
    from rooftree.tokens import Tokens

_HOMES = {
    "access": "ANY_ADDON CORE_ONLY KNOWN NOBODY OBSERVER PUBLIC Access grant itself role",
    "tokens": "Tokens",
    "audit": "AUDIT AuditEntry AuditLog",
    "clock": "Clock",
    "conditions": "CONDITIONS ConditionNotMet Conditions",
    "context": "only_looks",
    "conversion": "UNSET ParsedString Unset converter structure unstructure",
    "errors": "Conflict Failed Forbidden Invalid NotFound NotReady RateLimited RooftreeError TooLarge Unavailable",
    "event_stream": "EVENTS EventStream",
    "events": "Event",
    "hooks": "hookimpl hookspec",
    "http.answers": "Binary Media Socket StateChange Stream Text",
    "http.paths": "Tail",
    "http.routes": "From Header RawBody Routes",
    "job_kinds": "JobCall JobStarted Steps job",
    "jobs": "JOBS JobBusy JobChanged Jobs",
    "locks": "Lock",
    "plans": "Plan PlannedStep",
    "kernel": "Kernel",
    "plugin": "Plugin",
    "plugin_life": "PluginHealthChanged PluginInfo",
    "plugin_remains": "LeftBehind",
    "plugins": "PLUGINS Plugins",
    "principal": "Principal Role",
    "problems": "PROBLEMS Problem ProblemCleared ProblemReported Problems",
    "rates": "Rate",
    "running_job": "JobCancelled JobError JobInfo",
    "secret": "Secret SecretLocked",
    "services": "Service",
    "state": "Collection document",
    "steps": "Run Step step",
    "tasks": "Task",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "ANY_ADDON",
    "AUDIT",
    "CONDITIONS",
    "CORE_ONLY",
    "EVENTS",
    "JOBS",
    "KNOWN",
    "NOBODY",
    "OBSERVER",
    "PLUGINS",
    "PROBLEMS",
    "PUBLIC",
    "UNSET",
    "Access",
    "AuditEntry",
    "AuditLog",
    "Binary",
    "Clock",
    "Collection",
    "ConditionNotMet",
    "Conditions",
    "Conflict",
    "Event",
    "EventStream",
    "Failed",
    "Forbidden",
    "From",
    "Header",
    "Invalid",
    "JobBusy",
    "JobCall",
    "JobCancelled",
    "JobChanged",
    "JobError",
    "JobInfo",
    "JobStarted",
    "Jobs",
    "Kernel",
    "LeftBehind",
    "Lock",
    "Media",
    "NotFound",
    "NotReady",
    "ParsedString",
    "Plan",
    "PlannedStep",
    "Plugin",
    "PluginHealthChanged",
    "PluginInfo",
    "Plugins",
    "Principal",
    "Problem",
    "ProblemCleared",
    "ProblemReported",
    "Problems",
    "Rate",
    "RateLimited",
    "RawBody",
    "Role",
    "RooftreeError",
    "Routes",
    "Run",
    "Secret",
    "SecretLocked",
    "Service",
    "Socket",
    "StateChange",
    "Step",
    "Steps",
    "Stream",
    "Tail",
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
    "only_looks",
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

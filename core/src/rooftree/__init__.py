"""Rooftree: the microkernel. Everything a plugin author needs is importable from here.

The names are loaded on first use, so that ``rooftree --help`` does not pay for a web server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rooftree.access import (
        KNOWN,
        NOBODY,
        PUBLIC,
        Access,
        Tokens,
        grant,
        itself,
        of_kind,
        role,
    )
    from rooftree.clock import Clock
    from rooftree.context import only_looks
    from rooftree.errors import (
        CodingUnsupported,
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
    from rooftree.events import (
        PROBLEMS,
        Event,
        Problem,
        ProblemCleared,
        ProblemReported,
        Problems,
        Task,
    )
    from rooftree.http import Binary, From, Header, Media, RawBody, Routes, Socket, StateChange, Stream, Tail, Text
    from rooftree.jobs import (
        CONDITIONS,
        JOBS,
        ConditionNotMet,
        Conditions,
        JobBusy,
        JobCall,
        JobCancelled,
        JobChanged,
        JobError,
        JobInfo,
        Jobs,
        JobStarted,
        Lock,
        Plan,
        PlannedStep,
        Run,
        Step,
        Steps,
        job,
        step,
    )
    from rooftree.model import UNSET, ParsedString, Rate, Secret, SecretLocked, Unset, converter, structure, unstructure
    from rooftree.plugins import (
        PLUGINS,
        Counter,
        Gauge,
        InstallationFolder,
        Kernel,
        LeftBehind,
        Plugin,
        PluginHealthChanged,
        PluginInfo,
        PluginMetrics,
        Plugins,
        hookimpl,
        hookspec,
    )
    from rooftree.principal import CallerKind, Principal, Role
    from rooftree.services import Service
    from rooftree.state import AUDIT, AuditEntry, AuditLog, Collection, document

_HOMES = {
    "access": "Access KNOWN NOBODY PUBLIC Tokens grant itself of_kind role",
    "clock": "Clock",
    "context": "only_looks",
    "errors": (
        "CodingUnsupported Conflict Failed Forbidden Invalid NotFound "
        "NotReady RateLimited RooftreeError TooLarge Unavailable"
    ),
    "events": "Event PROBLEMS Problem ProblemCleared ProblemReported Problems Task",
    "http": "Binary From Header Media RawBody Routes Socket StateChange Stream Tail Text",
    "jobs": (
        "CONDITIONS ConditionNotMet Conditions JOBS JobBusy JobCall JobCancelled JobChanged JobError "
        "JobInfo JobStarted Jobs Lock Plan PlannedStep Run Step Steps job step"
    ),
    "model": "ParsedString Rate Secret SecretLocked UNSET Unset converter structure unstructure",
    "plugins": (
        "Counter Gauge InstallationFolder Kernel LeftBehind PLUGINS Plugin PluginHealthChanged PluginInfo "
        "PluginMetrics Plugins hookimpl hookspec"
    ),
    "principal": "CallerKind Principal Role",
    "services": "Service",
    "state": "AUDIT AuditEntry AuditLog Collection document",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AUDIT",
    "CONDITIONS",
    "JOBS",
    "KNOWN",
    "NOBODY",
    "PLUGINS",
    "PROBLEMS",
    "PUBLIC",
    "UNSET",
    "Access",
    "AuditEntry",
    "AuditLog",
    "Binary",
    "CallerKind",
    "Clock",
    "CodingUnsupported",
    "Collection",
    "ConditionNotMet",
    "Conditions",
    "Conflict",
    "Counter",
    "Event",
    "Failed",
    "Forbidden",
    "From",
    "Gauge",
    "Header",
    "InstallationFolder",
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
    "PluginMetrics",
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
    "of_kind",
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

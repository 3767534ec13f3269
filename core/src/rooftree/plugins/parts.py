"""The parts of the kernel that plugins use, by themselves or through what they see of the kernel, as one object."""

from __future__ import annotations

from attrs import frozen

from rooftree.access import Tokens
from rooftree.clock import Clock
from rooftree.events import EventBus, Problems, TaskSupervisor
from rooftree.http import HttpServer
from rooftree.jobs import Conditions, Jobs
from rooftree.plugins.hooks import Hooks
from rooftree.plugins.metrics import Metrics
from rooftree.services import ServiceDirectory
from rooftree.settings import Settings
from rooftree.state import DataFolder, State


@frozen(kw_only=True, eq=False)
class KernelParts:
    """What is there before the first plugin is loaded, and after the last one has stopped."""

    settings: Settings
    clock: Clock
    data: DataFolder
    state: State
    bus: EventBus
    services: ServiceDirectory
    problems: Problems
    tasks: TaskSupervisor
    tokens: Tokens
    conditions: Conditions
    hooks: Hooks
    metrics: Metrics
    jobs: Jobs
    server: HttpServer

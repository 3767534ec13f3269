"""The parts of the kernel that plugins use, by themselves or through what they see of the kernel, as one object."""

from __future__ import annotations

from attrs import frozen

from rooftree.clock import Clock
from rooftree.conditions import Conditions
from rooftree.data_folder import DataFolder
from rooftree.events import EventBus
from rooftree.hooks import Hooks
from rooftree.http.server import HttpServer
from rooftree.jobs import Jobs
from rooftree.problems import Problems
from rooftree.services import ServiceDirectory
from rooftree.settings import Settings
from rooftree.state import State
from rooftree.tasks import TaskSupervisor
from rooftree.tokens import Tokens


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
    jobs: Jobs
    server: HttpServer

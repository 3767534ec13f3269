"""Facts that are told once, things that are wrong until they are right, work in the background."""

from rooftree.events.bus import Event, EventBus, Listener
from rooftree.events.problems import PROBLEMS, Problem, ProblemCleared, ProblemReported, Problems
from rooftree.events.stream import EVENTS, HELLO, LOST, EventStream, Position, event_type, event_types
from rooftree.events.tasks import Task, TaskSupervisor, TaskWatch

__all__ = [
    "EVENTS",
    "HELLO",
    "LOST",
    "PROBLEMS",
    "Event",
    "EventBus",
    "EventStream",
    "Listener",
    "Position",
    "Problem",
    "ProblemCleared",
    "ProblemReported",
    "Problems",
    "Task",
    "TaskSupervisor",
    "TaskWatch",
    "event_type",
    "event_types",
]

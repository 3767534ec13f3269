"""Facts that are told once, things that are wrong until they are right, work in the background."""

from rooftree.events.bus import Event, EventBus, Listener
from rooftree.events.cron import zone_called
from rooftree.events.problems import PROBLEMS, Problem, ProblemCleared, ProblemFacts, ProblemReported, Problems
from rooftree.events.tasks import Task, TaskSupervisor, TaskWatch

__all__ = [
    "PROBLEMS",
    "Event",
    "EventBus",
    "Listener",
    "Problem",
    "ProblemCleared",
    "ProblemFacts",
    "ProblemReported",
    "Problems",
    "Task",
    "TaskSupervisor",
    "TaskWatch",
    "zone_called",
]

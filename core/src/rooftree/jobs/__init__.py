"""Jobs: their kinds, plans and steps; how they are run, taken back, journaled and recovered."""

from rooftree.jobs.call_memory import CallMemory
from rooftree.jobs.conditions import CONDITIONS, Check, ConditionNotMet, Conditions
from rooftree.jobs.job_info import JobError, JobInfo
from rooftree.jobs.jobs import JOBS, JobBusy, JobChanged, Jobs
from rooftree.jobs.journal import Journal
from rooftree.jobs.kinds import JobCall, JobStarted, Steps, job
from rooftree.jobs.locks import Lock
from rooftree.jobs.plans import Plan, PlannedStep
from rooftree.jobs.running import JobCancelled
from rooftree.jobs.steps import Run, Step, Verbs, forget_steps, step

__all__ = [
    "CONDITIONS",
    "JOBS",
    "CallMemory",
    "Check",
    "ConditionNotMet",
    "Conditions",
    "JobBusy",
    "JobCall",
    "JobCancelled",
    "JobChanged",
    "JobError",
    "JobInfo",
    "JobStarted",
    "Jobs",
    "Journal",
    "Lock",
    "Plan",
    "PlannedStep",
    "Run",
    "Step",
    "Steps",
    "Verbs",
    "forget_steps",
    "job",
    "step",
]

"""Tasks that fail again and again, told: as a problem each, and as the reason why their plugin is degraded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from rooftree.problems import Problem

if TYPE_CHECKING:
    from rooftree.system import System

PROBLEM = "task_failing"


@define
class TaskProblems:
    """Reports them, and takes that back when they succeed."""

    _system: System
    _reasons: dict[tuple[str, str], str] = field(factory=dict)

    def failing(self, owner: str, task: str, failures: int, error: BaseException) -> None:
        """A task has failed that often in a row."""
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        reason = f"its task {task!r} fails: {said}"
        self._reasons[owner, task] = reason
        self._system.problems.report(
            Problem(
                PROBLEM,
                "plugin",
                f"{owner}/{task}",
                f"The task {task!r} of {owner} has failed {failures} times in a row, last with {said}. "
                "The log says more",
                plugin=owner,
            )
        )
        record = self._system.plugins.record(owner)
        if record is not None:
            record.degrade(reason)

    def well(self, owner: str, task: str) -> None:
        """It has done its work, or is no more."""
        reason = self._reasons.pop((owner, task), None)
        self._system.problems.clear(PROBLEM, "plugin", f"{owner}/{task}")
        record = self._system.plugins.record(owner)
        if record is None or record.reason != reason:
            return
        others = [other for (whose, _), other in self._reasons.items() if whose == owner]
        if others:
            record.degrade(others[0])
        else:
            record.recover()

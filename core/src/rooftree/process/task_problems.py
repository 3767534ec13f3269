"""Tasks that fail again and again, told: as a problem each, and as the reason why their plugin is degraded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field

from rooftree.events import Problem, Problems
from rooftree.plugins import PluginLife

PROBLEM = "task_failing"
FAILING_AFTER: Final = 3
"""Failures in a row after which a task is a problem."""


@define
class TaskProblems:
    """Reports them, and takes that back when they succeed."""

    _problems: Problems
    _life: Callable[[str], PluginLife | None]
    _reasons: dict[tuple[str, str], str] = field(factory=dict)

    def failed(self, owner: str, task: str, failures: int, error: BaseException) -> None:
        """A task has failed that often in a row."""
        if failures < FAILING_AFTER:
            return
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        reason = f"its task {task!r} fails: {said}"
        self._reasons[owner, task] = reason
        self._problems.report(
            Problem(
                PROBLEM,
                "plugin",
                f"{owner}/{task}",
                f"The task {task!r} of {owner} has failed {failures} times in a row, last with {said}. "
                "The log says more",
                plugin=owner,
            )
        )
        life = self._life(owner)
        if life is not None:
            life.degrade(reason)

    def well(self, owner: str, task: str) -> None:
        """It has done its work, or is no more."""
        reason = self._reasons.pop((owner, task), None)
        if reason is None:
            return
        self._problems.clear(PROBLEM, "plugin", f"{owner}/{task}")
        life = self._life(owner)
        if life is None or life.reason != reason:
            return
        others = [other for (whose, _), other in self._reasons.items() if whose == owner]
        if others:
            life.degrade(others[0])
        else:
            life.recover()

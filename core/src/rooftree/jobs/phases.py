"""The phases of a job, and which may follow which: the diagram in ``docs/architecture.md`` ("A job") as a table."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class Phase(enum.StrEnum):
    """Where a job is. The journal keeps ``RUNNING``, ``UNDOING``, ``DONE`` and ``FAILED``, by these values."""

    WAITING = "waiting"
    """For its turn and its plan; nothing was changed."""
    REFUSED = "refused"
    """It was never accepted: the plan says no, somebody cancelled it, or nothing is begun any more."""
    RUNNING = "running"
    """Its plan is in the journal, or on its way there; its steps are done, one after the other."""
    CANCELLING = "cancelling"
    """Somebody cancelled it, and its step is not over yet."""
    UNDOING = "undoing"
    RECOVERING = "recovering"
    """It was found open in the journal, and waits until its plugin runs and the code of its steps is there."""
    SUSPENDED = "suspended"
    """Its plugin or Rooftree stopped amid it. The journal has it; it is taken up again from there."""
    DONE = "done"
    FAILED = "failed"
    """It was taken back, as far as that could be."""

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return not FOLLOWING[self]

    @property
    def done(self) -> bool | None:
        """As the jobs API has it: ``None`` before it has started, ``False`` while it runs."""
        return None if self is Phase.WAITING else self in {Phase.DONE, Phase.FAILED}


FIRST: Final = frozenset({Phase.WAITING, Phase.RECOVERING})
"""In which a job begins, or is taken up."""

FOLLOWING: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.WAITING: frozenset({Phase.RUNNING, Phase.REFUSED}),
    Phase.RUNNING: frozenset({Phase.DONE, Phase.UNDOING, Phase.CANCELLING, Phase.SUSPENDED, Phase.REFUSED}),
    Phase.CANCELLING: frozenset({Phase.UNDOING, Phase.SUSPENDED, Phase.REFUSED}),
    Phase.UNDOING: frozenset({Phase.FAILED, Phase.SUSPENDED}),
    Phase.RECOVERING: frozenset({Phase.RUNNING, Phase.UNDOING, Phase.FAILED, Phase.SUSPENDED}),
    Phase.REFUSED: frozenset(),
    Phase.SUSPENDED: frozenset(),
    Phase.DONE: frozenset(),
    Phase.FAILED: frozenset(),
}
"""What may follow each phase."""


class ForbiddenTransition(RuntimeError):
    """A job was to enter a phase that cannot follow the one that it is in: a fault of ours."""

    def __init__(self, phase: Phase, following: Phase) -> None:
        super().__init__(f"a job that is {phase} can't become {following}")

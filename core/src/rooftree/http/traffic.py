"""What was asked of us: answers counted by route and status, with how long they took."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen, mutable

from rooftree.services import Service

BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, in seconds, of the groups into which answers are counted by how long they took."""


@frozen
class RouteOutcome:
    """One route, asked for by one method and answered with one status."""

    method: str
    route: str
    """The path as declared, with its parts' names; empty where there is no such route."""
    status: int


@mutable(eq=False)
class Answers:
    """How many answers, and how long they took."""

    count: int = 0
    seconds: float = 0.0
    """In all."""
    by_duration: list[int] = field(factory=lambda: [0] * (len(BOUNDS_S) + 1))
    """How many took at most each of :data:`BOUNDS_S` and more than the one before, and how many longer."""


class Traffic:
    """Counts answers. What clients choose freely makes no places of its own: unusual methods share one, and so do the
    paths that lead nowhere."""

    METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, int], Answers] = {}

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """An answer was given."""
        outcome = (method if method in self.METHODS else "other", route, status)
        answers = self._answers.get(outcome)
        if answers is None:
            answers = self._answers[outcome] = Answers()
        answers.count += 1
        answers.seconds += seconds
        answers.by_duration[bisect_left(BOUNDS_S, seconds)] += 1

    def answers(self) -> Mapping[RouteOutcome, Answers]:
        """All that was counted since the start."""
        return {RouteOutcome(*outcome): answers for outcome, answers in self._answers.items()}


TRAFFIC = Service[Traffic]("traffic/1")

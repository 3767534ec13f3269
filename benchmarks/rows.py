"""The lines of the table, and what those who measure them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from addon_repositories import lay_out
from attrs import frozen
from servers import Installation

TIMES = " \N{MULTIPLICATION SIGN}"


@frozen
class Pace:
    """How long everything is measured."""

    rounds: int
    seconds: float
    idle_s: float
    """How long the daemon is left alone before its memory is read."""


THOROUGH = Pace(rounds=5, seconds=2.0, idle_s=5.0)
QUICK = Pace(rounds=1, seconds=0.3, idle_s=1.0)


@frozen
class Row:
    """One line of the table."""

    what: str
    figures: Sequence[float]
    """One for each round, in ``unit``; their median counts."""
    unit: str
    gate: float
    at_least: bool
    against: str
    raw: Any

    @property
    def result(self) -> float:
        """What is compared with the gate."""
        return median(self.figures)

    @property
    def ok(self) -> bool:
        """Whether the gate is met."""
        return self.result >= self.gate if self.at_least else self.result <= self.gate

    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        return (
            self.what,
            self._shown(self.result),
            f"{'≥' if self.at_least else '≤'} {self.gate:g}{self.unit}",
            f"{self._shown(min(self.figures))} to {self._shown(max(self.figures))}",
            self.against,
            "[green]ok[/]" if self.ok else "[bold red]missed[/]",
        )

    def _shown(self, value: float) -> str:
        return f"{value:.3g}{self.unit}"


class Skipped(Exception):
    """What a row needs is not here; the message says what."""


class Bench:
    """What the rows share: a folder, the pace, and a daemon that runs for as long as rows ask it."""

    def __init__(self, folder: Path, pace: Pace) -> None:
        self.folder = folder
        self.pace = pace

    @cached_property
    def installation(self) -> Installation:
        """The 400 add-ons; no container engine."""
        return self.settled("no-engine", addons=True)

    @cached_property
    def with_hung_engine(self) -> Installation:
        """The same with an engine that hangs."""
        return self.settled("hung-engine", addons=True, hung_engine=True)

    @cached_property
    def with_all_installed(self) -> Installation:
        """The 400 add-ons, all installed; no container engine."""
        made = self.settled("all-installed", addons=True)
        made.install_all()
        return made

    def settled(self, name: str, *, addons: bool = False, **options: Any) -> Installation:
        """An installation in a folder of its own, with the 400 add-ons or none, that has been started once: the first
        start makes the database and compiles what is not compiled yet. ``options`` are those of ``Installation``."""
        folder = self.folder / name
        folder.mkdir()
        made = Installation(folder, repositories=lay_out(folder / "data") if addons else (), **options)
        with made.running():
            pass
        return made

    def rounds(self) -> Iterator[bool]:
        """Whether the round counts; the first doesn't, which a quick run leaves out."""
        if self.pace is not QUICK:
            yield False
        for _ in range(self.pace.rounds):
            yield True


type Measure = Callable[[Bench], Iterator[Row]]
"""Measures some rows. Raises :class:`Skipped` where that can't be done."""

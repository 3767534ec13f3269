"""Trying a step as failures and kills do: after none of ``do``, after each part of it, and after all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from functools import partial
from inspect import isawaitable
from itertools import count
from typing import Any

from attrs import define, field

from rooftree.context import is_cancelled
from rooftree.errors import RooftreeError
from rooftree.jobs import Run, Step, Verbs
from rooftree.process import System

MOST_WAITS = 1_000
"""At how many places ``do`` may wait: more would take a test too long."""


async def check_step(
    system: System,
    step: Step,
    look: Callable[[], Any | Awaitable[Any]],
    *,
    results: Mapping[type[Step], object] | None = None,
) -> Any:
    """Do a step and take it back: after none of ``do``, cancelled at each place where it waits, one after another, and
    after all of it; each time twice, as a kill may have it. In the end the step is done twice over, and stays so.
    Returns what ``do`` gave. A step without ``undo`` is only done twice.

    Raises ``AssertionError`` where what ``look`` sees after ``undo`` is not what it saw before, or where doing it again
    changes something. What the step itself raises is raised, also out of ``undo``.

    :param system: a system in which its services are
    :param look: plain or async: a picture, compared with ``==``, of everything that the step changes
    :param results: what earlier steps of its job gave, for ``run.result``
    """
    trial = _Trial(Verbs(step, system.services), dict(results or {}))
    if type(step).reversible():
        for waits in count():
            if waits > MOST_WAITS:
                raise AssertionError(f"{step.kind}: do waits at more than {MOST_WAITS} places")
            picture = await _seen(look)
            await trial.begin()
            finished = await trial.do_until(waits)
            where = "all of do" if finished else f"do up to its wait number {waits}" if waits else "none of do"
            for again in ("", ", twice"):
                await trial.verbs.undo(trial.begun_with)
                seen = await _seen(look)
                if seen != picture:
                    raise AssertionError(f"{step.kind}: undo after {where}{again}: {picture!r} has become {seen!r}")
            if finished:
                break
    await trial.begin()
    result = await trial.verbs.do(trial.run)
    picture = await _seen(look)
    await trial.verbs.do(trial.run)
    seen = await _seen(look)
    if seen != picture:
        raise AssertionError(f"{step.kind}: do is not safe to repeat: {picture!r} has become {seen!r}")
    return result


@define
class _Trial:
    """A step under trial, and what the journal would know."""

    verbs: Verbs
    results: Mapping[type[Step], object]
    id: str = "trial"
    begun_with: Any = field(default=None, init=False)

    @property
    def run(self) -> Run:
        return Run(self, 0)

    async def begin(self) -> None:
        self.begun_with = await self.verbs.before()

    async def do_until(self, waits: int) -> bool:
        """Do it, and cancel it where it waits for that many-th time; whether it came to its end."""
        cut = _Cut(self.verbs.do(self.run), waits)
        await cut
        return cut.finished

    def before_of(self, number: int) -> Any:
        return self.begun_with

    def advance(self, number: int, fraction: float) -> None:
        """Nobody looks."""

    def note(self, number: int, error: RooftreeError) -> None:
        """Nobody looks."""

    async def wait(self, seconds: float) -> None:
        """What it waits for comes at once, and it can be cancelled here."""
        await asyncio.sleep(0)

    def result_of(self, kind: type[Step], before: int) -> Any:
        return self.results[kind]


@define
class _Cut:
    """Something that is awaited up to a wait of its own, and cancelled there."""

    work: Coroutine[Any, Any, Any]
    waits: int
    was_cut: bool = False
    finished: bool = False

    def __await__(self) -> Generator[Any, Any]:
        if self.waits == 0:
            self.work.close()
            return
        go_on = partial(self.work.send, None)
        try:
            for number in count(1):
                pending = go_on()
                if number == self.waits:
                    self.was_cut = True
                    pending = self.work.throw(asyncio.CancelledError())
                try:
                    go_on = partial(self.work.send, (yield pending))
                except BaseException as error:
                    go_on = partial(self.work.throw, error)
        except StopIteration:
            self.finished = not self.was_cut
        except asyncio.CancelledError:
            if is_cancelled():
                raise


async def _seen(look: Callable[[], Any | Awaitable[Any]]) -> Any:
    seen = look()
    return await seen if isawaitable(seen) else seen

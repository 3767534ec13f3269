"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.005, 0.05


def _pauses() -> Iterator[float]:
    """Between looks: what is waited for comes soon, or takes a while."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def wait_until(condition: Callable[[], bool], *, within_s: float, what: str) -> None:
    """Return as soon as ``condition`` holds. Raises :class:`TimeoutError` that says ``what`` did not come."""
    deadline, pauses = time.monotonic() + within_s, _pauses()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {within_s} s")
        time.sleep(next(pauses))


async def until[T](condition: Callable[[], Awaitable[T]], *, within_s: float, what: str) -> T:
    """The first true answer of ``condition``. Raises :class:`TimeoutError` that says ``what`` did not come."""
    deadline, pauses = time.monotonic() + within_s, _pauses()
    while not (answer := await condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {within_s} s; the last answer was {answer!r}")
        await asyncio.sleep(next(pauses))
    return answer

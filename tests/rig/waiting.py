"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

PAUSE_S = 0.05


def wait_until(condition: Callable[[], bool], *, within_s: float, what: str) -> None:
    """Return as soon as ``condition`` holds. Raises :class:`TimeoutError` that says ``what`` did not come."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {within_s} s")
        time.sleep(PAUSE_S)


async def until[T](condition: Callable[[], Awaitable[T]], *, within_s: float, what: str) -> T:
    """The first true answer of ``condition``. Raises :class:`TimeoutError` that says ``what`` did not come."""
    deadline = time.monotonic() + within_s
    while not (answer := await condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {within_s} s; the last answer was {answer!r}")
        await asyncio.sleep(PAUSE_S)
    return answer

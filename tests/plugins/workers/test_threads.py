"""Work in threads that somebody waits for, until nobody does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from rooftree_workers import to_thread_stoppable


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """One thread."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def test_its_result_and_its_errors_are_handed_on_and_the_log_keeps_its_context(
    executor: ThreadPoolExecutor,
) -> None:
    def work(stop: Callable[[], bool], number: int) -> tuple[bool, int, object]:
        if number < 0:
            raise ValueError("negative")
        return stop(), number, get_contextvars().get("job")

    with bound_contextvars(job="x"):
        assert await to_thread_stoppable(executor, work, 5) == (False, 5, "x")
    with pytest.raises(ValueError, match="negative"):
        await to_thread_stoppable(executor, work, -1)


async def test_cancelled_work_is_told_to_stop_and_has_ended_when_the_cancellation_arrives(
    executor: ThreadPoolExecutor,
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(stop: Callable[[], bool]) -> None:
        begun.set()
        while not stop():
            time.sleep(0.001)
        ended.set()
        raise RuntimeError("nobody hears this")

    task = asyncio.create_task(to_thread_stoppable(executor, work))
    await asyncio.to_thread(begun.wait)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_cancelled_work_that_has_no_thread_yet_is_not_begun_and_not_waited_for(
    executor: ThreadPoolExecutor,
) -> None:
    free, begun = threading.Event(), threading.Event()
    executor.submit(free.wait)
    task = asyncio.create_task(to_thread_stoppable(executor, lambda _: begun.set()))
    await asyncio.sleep(0)
    task.cancel()

    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await task
    free.set()
    await asyncio.to_thread(executor.shutdown)
    assert not begun.is_set()

"""Work that is woken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from rooftree_workers import WokenWork


@asynccontextmanager
async def followed(work: WokenWork) -> AsyncIterator[asyncio.Task[None]]:
    following = asyncio.create_task(work.follow())
    try:
        yield following
    finally:
        following.cancel()
        await asyncio.wait({following})


async def test_work_is_done_at_the_start_and_again_when_it_is_woken() -> None:
    done: asyncio.Queue[int] = asyncio.Queue()
    work = WokenWork(lambda: done.put(1))

    async with followed(work), asyncio.timeout(5):
        await done.get()
        work.wake()
        await done.get()
        await work.again()
        await done.get()


async def test_what_wakes_it_while_it_is_done_has_it_done_once_more_and_not_beside_itself() -> None:
    begun, may_end = asyncio.Queue[None](), asyncio.Queue[None]()
    side_by_side = 0

    async def once() -> None:
        nonlocal side_by_side
        side_by_side += 1
        assert side_by_side == 1
        begun.put_nowait(None)
        await may_end.get()
        side_by_side -= 1

    work = WokenWork(once)
    async with followed(work) as following, asyncio.timeout(5):
        await begun.get()
        for _ in range(3):
            work.wake()
        may_end.put_nowait(None)
        await begun.get()  # the second time
        may_end.put_nowait(None)
        while side_by_side:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)

        assert begun.empty()
        assert not following.done()


async def test_what_the_work_raises_reaches_who_follows_it_and_nothing_is_lost() -> None:
    outcomes = [RuntimeError("the engine is away"), None]
    done = asyncio.Event()

    async def once() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        done.set()

    work = WokenWork(once)
    with pytest.raises(RuntimeError, match="the engine is away"):
        await work.follow()
    async with followed(work), asyncio.timeout(5):
        await done.wait()

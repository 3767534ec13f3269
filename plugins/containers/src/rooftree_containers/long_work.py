"""Work in a thread that takes as long as a tree is large, and ends when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable


async def in_thread[T](work: Callable[[Callable[[], bool]], T], within_s: float | None = None) -> T:
    """What ``work`` makes in a thread. It is given a function that says when to stop: the caller was cancelled, or the
    time is over. A cancelled caller waits until the thread has stopped, so that nothing goes on behind its back."""
    cancelled = threading.Event()
    end = None if within_s is None else time.monotonic() + within_s

    def stop() -> bool:
        return cancelled.is_set() or (end is not None and time.monotonic() > end)

    working = asyncio.create_task(asyncio.to_thread(work, stop), name="long work in a thread")
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        cancelled.set()
        await asyncio.wait({working})
        working.exception()  # how it ended, nobody needs to hear
        raise

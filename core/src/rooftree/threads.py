"""Threads and cancellation: a thread goes on when the ``await`` for it is cancelled, whatever it is doing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def to_thread_whole[**P, R](function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call ``function`` in a thread, and wait for its end also when cancelled; the cancellation comes after.

    For what must not go on beside whatever follows, such as the taking back of a step.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        raise

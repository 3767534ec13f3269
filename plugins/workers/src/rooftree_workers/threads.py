"""Threads and cancellation: a thread goes on when the ``await`` for it is cancelled, whatever it is doing."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Concatenate


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


async def to_thread_stoppable[**P, R](
    executor: Executor,
    function: Callable[Concatenate[Callable[[], bool], P], R],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Call ``function`` in a thread of ``executor``, with a question to ask from time to time: whether it should stop.

    When this is cancelled the answer becomes yes, and the end of the call is waited for: nobody wants its result, and
    nothing of it may go on behind everybody's back. A call that had no thread yet is not begun.
    """
    stopping = threading.Event()
    context = contextvars.copy_context()
    call = executor.submit(context.run, partial(function, stopping.is_set, *args, **kwargs))
    work = asyncio.wrap_future(call)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stopping.set()
        if not call.cancel():
            await asyncio.wait({work})
            if not work.cancelled():
                work.exception()  # taken note of
        raise

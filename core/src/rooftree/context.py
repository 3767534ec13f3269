"""What is true for the call under way: who called, whose code runs, and in which job."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rooftree.principal import Principal

caller: ContextVar[Principal | None] = ContextVar("caller", default=None)
"""The principal whose request is being answered, or whose request began the job under way."""
plugin_under_way: ContextVar[str | None] = ContextVar("plugin_under_way", default=None)
"""The plugin whose code runs; it is on every line that is logged there."""
job_under_way: ContextVar[str | None] = ContextVar("job_under_way", default=None)
"""The id of the job that the code runs in."""


looking: ContextVar[bool] = ContextVar("looking", default=False)
"""Whether a request is answered that only shows how things are (GET)."""


def only_looks() -> bool:
    """Whether a request is answered that only shows how things are (GET). People wait for it: what lies outside, and
    has stopped answering, is not to be waited for."""
    return looking.get()


def is_cancelled() -> bool:
    """Whether the task under way itself was asked to end, rather than something that its code waited for."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


@contextmanager
def code_of(plugin: str) -> Iterator[None]:
    """What runs in this block is that plugin's."""
    token = plugin_under_way.set(plugin)
    try:
        yield
    finally:
        plugin_under_way.reset(token)

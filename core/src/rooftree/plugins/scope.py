"""What one plugin has taken through the kernel, given back in the reverse order when it stops or its setup fails."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from attrs import define, field

from rooftree.context import code_of, is_cancelled

log = structlog.get_logger(__name__)

STOP_S = 10.0
"""Seconds that one thing may take to be given back."""

type GiveBack = Callable[[], Coroutine[Any, Any, None] | None]


@define
class Scope:
    """The scope of one plugin. What hangs or raises while it is given back holds up nothing else."""

    owner: str
    _taken: list[tuple[str, GiveBack]] = field(factory=list)

    def push(self, what: str, give_back: GiveBack) -> None:
        """Note how something is given back, and what it is, for the log."""
        self._taken.append((what, give_back))

    def has(self, what: str) -> bool:
        """Whether such a thing is to be given back."""
        return any(taken == what for taken, _ in self._taken)

    def drop(self, what: str) -> bool:
        """It was given back already; whether there was such a thing."""
        had = self.has(what)
        self._taken = [entry for entry in self._taken if entry[0] != what]
        return had

    async def close(self) -> None:
        """Give everything back, the last taken first; safe to call twice."""
        while self._taken:
            what, give_back = self._taken.pop()
            await self._give_back(what, give_back)

    async def _give_back(self, what: str, give_back: GiveBack) -> None:
        try:
            async with asyncio.timeout(STOP_S):
                with code_of(self.owner):
                    pending = give_back()
                    if inspect.isawaitable(pending):
                        await pending
        except TimeoutError:
            log.error("plugin_stop_timed_out", plugin=self.owner, what=what)
        except (Exception, asyncio.CancelledError, SystemExit):
            if is_cancelled():
                raise
            log.exception("plugin_stop_failed", plugin=self.owner, what=what)

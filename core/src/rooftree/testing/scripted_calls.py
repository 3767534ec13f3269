"""What a test has in store for the calls of :class:`~rooftree.testing.containers.FakeContainerEngine`: they fail, wait
until they are let go on, or find that the engine has gone away."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal

from rooftree.interfaces.containers import EngineUnavailable

type Verb = Literal[
    "info", "network", "pull", "build", "image", "tag_image", "remove_image", "export_image", "import_image",
    "containers", "container", "create",
    "start", "stop", "remove", "set_aside", "put_back", "drop_aside", "execute", "write_stdin", "logs", "stats",
]  # fmt: skip
"""The engine's calls, by name."""


class Hold:
    """A call that waits inside the engine until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        """Set when the call has come in."""
        self._go = asyncio.Event()

    def release(self) -> None:
        """Let it go on."""
        self._go.set()

    async def wait(self) -> None:
        """Called by the engine."""
        self.reached.set()
        await self._go.wait()


class ScriptedCalls:
    """The calls that came in, and what happens to the next ones."""

    def __init__(self) -> None:
        self.made: list[tuple[Verb, str]] = []
        """Every call that came in and what it was about, in order."""
        self.gone: str | None = None
        """Why the engine does not answer; ``None`` while it does."""
        self._failures: dict[Verb, deque[Exception]] = {}
        self._holds: dict[Verb, deque[Hold]] = {}

    def fail(self, verb: Verb, error: Exception, times: int) -> None:
        """Let the next ``times`` calls of ``verb`` raise ``error``."""
        self._failures.setdefault(verb, deque()).extend([error] * times)

    def hold(self, verb: Verb) -> Hold:
        """Let the next call of ``verb`` wait until it is released."""
        hold = Hold()
        self._holds.setdefault(verb, deque()).append(hold)
        return hold

    async def enter(self, verb: Verb, about: str = "") -> None:
        """A call comes in, and meets what is in store for it."""
        self.answer(verb, about)
        await self.hinder(verb)

    def answer(self, verb: Verb, about: str) -> None:
        """A call comes in. Raises :class:`EngineUnavailable`."""
        self.made.append((verb, about))
        self.refuse_if_gone()

    async def hinder(self, verb: Verb) -> None:
        """A call meets what is in store for it."""
        if holds := self._holds.get(verb):
            await holds.popleft().wait()
            self.refuse_if_gone()
        if failures := self._failures.get(verb):
            raise failures.popleft()

    def refuse_if_gone(self) -> None:
        """Raises :class:`EngineUnavailable` while the engine does not answer."""
        if self.gone is not None:
            raise EngineUnavailable(f"The container engine does not answer: {self.gone}. Start it")

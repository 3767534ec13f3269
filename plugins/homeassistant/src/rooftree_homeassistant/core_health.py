"""Whether Core is well: whether it has started, whether a new version works, whether its API is still there.

What is wrong is the rest of a sentence about Core ("it ended with exit code 1").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rooftree import Conflict, Service, Unavailable
from rooftree.interfaces.core import CoreUnavailable
from rooftree_containers.observation import runs
from rooftree_homeassistant.core_client import CoreClient
from rooftree_homeassistant.core_page import page_complaint
from rooftree_homeassistant.core_state import CoreState
from rooftree_homeassistant.home_assistant import NAME, HomeAssistant

FIRST_ANSWER_S: Final = 600.0
"""Seconds that Core may take to its first answer: it installs what its integrations need before."""
START_S: Final = 900.0
"""Seconds from that to the end of its start; a migration of its database takes as long as it takes."""
ASK_EVERY_S: Final = 2.0
NEEDED: Final = ("http", "frontend", "websocket_api")
"""What Core can't be used without."""
MOST_REVIVALS: Final = 5
"""After so many restarts that led to nothing, Core is started once without what its user has added."""


class CoreMigrates(Unavailable):
    """Core changes its database and must not be stopped meanwhile."""


class NotAwaited(Conflict):
    """Somebody wants something else of Core before it has started."""


class CoreHealth:
    """Asks how Core is."""

    def __init__(self, core: HomeAssistant, core_client: CoreClient) -> None:
        self._core = core
        self._core_client = core_client
        self._awaited = 0
        self._failed_revivals = 0

    # --- its start ---------------------------------------------------------------------------------------------------

    async def until_up(self, is_given_up: Callable[[], bool] = lambda: False) -> str | None:
        """Wait until Core has started; what keeps it from that, or ``None``. Raises
        :class:`~rooftree.errors.Unavailable` where the engine is gone meanwhile.

        :param is_given_up: whether nobody is to wait any longer; :class:`NotAwaited` then
        """
        with self._awaiting():
            complaint = await self._until_up(is_given_up)
        self._failed_revivals = 0 if complaint is None else self._failed_revivals + 1
        return complaint

    async def _until_up(self, is_given_up: Callable[[], bool]) -> str | None:
        clock, observation = self._core.kernel.clock, self._core.containers.observation
        began = clock.monotonic()
        deadline, last_answer = began + FIRST_ANSWER_S, None
        while True:
            shown = await observation.look(NAME)
            if shown is None:
                return "its container is gone"
            if not runs(shown):
                return f"it ended with exit code {shown.exit_code}"
            state = await self._state()
            now = clock.monotonic()
            if state is not None:
                if state.runs and not state.migrating_offline:
                    await self._core.note_start(now - began)
                    return None
                if last_answer is None or state.migrating_offline:
                    deadline = now + START_S
                last_answer = state
            if now >= deadline:
                if last_answer is None:
                    return f"its API was not there within {FIRST_ANSWER_S / 60:g} minutes"
                return f"it was still {last_answer.state} after {START_S / 60:g} minutes"
            if is_given_up():
                raise NotAwaited("Home Assistant Core was started, and is to be ended again before it has come up")
            await clock.sleep(ASK_EVERY_S)

    async def _state(self) -> CoreState | None:
        try:
            return await self._core_client.state()
        except CoreUnavailable:
            return None

    @contextmanager
    def _awaiting(self) -> Iterator[None]:
        self._awaited += 1
        try:
            yield
        finally:
            self._awaited -= 1

    # --- a new version -----------------------------------------------------------------------------------------------

    async def works(self) -> str | None:
        """Wait until Core has started; what is wrong with it as a home's users would see it, or ``None``."""
        complaint = await self.until_up()
        if complaint is not None:
            return complaint
        try:
            config = await self._core_client.config()
            http = await self._core_client.http_config()
        except CoreUnavailable as error:
            return f"its API was there and went again: {error.message}"
        components = config.get("components") or ()
        missing = [name for name in NEEDED if name not in components]
        if missing:
            return f"it started without {' and '.join(missing)}"
        if config.get("recovery_mode") is True:
            return "it started in recovery mode, because it can't use its configuration"
        return await page_complaint(self._core.ip_address, self._core.options, http)

    # --- as it goes on -----------------------------------------------------------------------------------------------

    async def complaint(self) -> str | None:
        """What the watchdog is to know; nothing while somebody waits for Core's start, and nothing any more once
        everything was tried."""
        if self._awaited:
            return None
        state = await self._state()
        if state is not None:
            self._failed_revivals = 0
            return None
        return "its API does not answer" if self._failed_revivals <= MOST_REVIVALS else None

    @property
    def wants_safe_mode(self) -> bool:
        """Whether restarts have led to nothing so often that what its user has added must be left out."""
        return self._failed_revivals >= MOST_REVIVALS

    async def refuse_migration(self) -> None:
        """Raise :class:`CoreMigrates` while Core changes its database."""
        if await self.migrates():
            raise CoreMigrates(
                "Home Assistant Core changes its database and answers little else until that is done; to stop it now "
                "can cost its history. Wait, or force it"
            )

    async def migrates(self) -> bool:
        """Whether Core changes its database just now."""
        state = await self._state() if self._core.containers.observation.runs(NAME) else None
        return state is not None and state.migrating_offline


CORE_HEALTH = Service[CoreHealth]("homeassistant.health/1")

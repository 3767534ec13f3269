"""Who may not log in to Core any more: what such a user had open ends with them (:class:`UserLoggedOut`).

Core tells when a user is removed or changed while we listen. What happened while one of us was away is found by looking
at who may log in now, and who could when that was last looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import structlog
from attrs import frozen

from rooftree import Collection, Kernel, document
from rooftree.interfaces.core import CoreReached, CoreRefused, CoreUnavailable, UserLoggedOut
from rooftree_homeassistant.core_client import CoreClient

log = structlog.get_logger(__name__)

REMOVED: Final = "user_removed"
UPDATED: Final = "user_updated"
_KEY: Final = "core"


@document("homeassistant.active_users", version=1)
@frozen
class ActiveUsers:
    """The ids of those who could log in to Core when that was last looked at."""

    ids: tuple[str, ...] = ()


class UserWatch:
    """Tells of users who are logged out."""

    def __init__(self, kernel: Kernel, core_client: CoreClient, known: Collection[ActiveUsers]) -> None:
        self._kernel = kernel
        self._core_client = core_client
        self._known = known
        self._changed = asyncio.Event()
        core_client.listen(REMOVED, self._removed)
        core_client.listen(UPDATED, self._updated)
        kernel.on(CoreReached, self._reached)

    async def run(self) -> None:
        """Look who may log in whenever that may have changed; for a task of the plugin."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._compare()
            except (CoreUnavailable, CoreRefused) as error:  # the next time that Core is reached it is looked at again
                log.info("core_users_unknown", reason=error.message)

    def _removed(self, data: Mapping[str, Any]) -> None:
        self._kernel.publish(UserLoggedOut(str(data.get("user_id", ""))))
        self._changed.set()

    def _updated(self, _: Mapping[str, Any]) -> None:
        self._changed.set()

    def _reached(self, _: CoreReached) -> None:
        self._changed.set()

    async def _compare(self) -> None:
        active = {user.id for user in await self._core_client.users() if user.is_active}
        before = self._known.get(_KEY, ActiveUsers())
        for user_id in set(before.ids) - active:
            log.info("core_user_logged_out", user=user_id)
            self._kernel.publish(UserLoggedOut(user_id))
        now = ActiveUsers(tuple(sorted(active)))
        if now != before:
            await self._kernel.commit(self._known.put(_KEY, now))

"""What Core has to be told of discovery messages: that there is one, that it says something else, that it is gone.

That Core is to be told is kept together with the change itself, and given up when Core has taken it; so nothing is lost
while Core is away, or when we are ended. Of one message the latest is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final
from uuid import uuid4

import structlog
from attrs import field, frozen

from rooftree import Collection, Kernel, document
from rooftree.interfaces.core import CORE, Core, CoreLost, CoreReached, CoreUnavailable
from rooftree.state import Change
from rooftree_workers import WokenWork

log = structlog.get_logger(__name__)

AGAIN_EVERY: Final = timedelta(minutes=5)
"""How often what Core did not take is tried again."""
WITHIN_S: Final = 10.0
"""Seconds that Core has to take one."""


@document("discovery.pushes", version=1)
@frozen(kw_only=True)
class DuePush:
    """Core has not heard yet what became of a message; the key is the message's id."""

    addon: str
    service: str
    change: str = field(factory=lambda: uuid4().hex)
    """Tells a later change of the same message from this one."""


class Pushes:
    """Tells Core.

    :param is_there: whether there is a message of that id
    """

    def __init__(self, kernel: Kernel, due: Collection[DuePush], is_there: Callable[[str], bool]) -> None:
        self._kernel = kernel
        self._due = due
        self._is_there = is_there
        self._told: set[str] = set()
        """The messages that Core has heard of since it answers, as they are."""
        self.telling = WokenWork(self._tell_what_is_due)
        """Tells Core what is due, whenever something is and Core answers."""
        kernel.on(CoreReached, self.telling.wake)
        kernel.on(CoreLost, self._core_lost)

    def of(self, uuid: str, addon: str, service: str) -> Change:
        """Note that Core has to hear of a change, for the transaction that makes it; wake :attr:`telling` behind it."""
        self._told.discard(uuid)
        return self._due.put(uuid, DuePush(addon=addon, service=service))

    def is_missing(self, uuid: str) -> bool:
        """Whether Core may not know of a message, and is not about to be told."""
        return uuid not in self._told and uuid not in self._due

    def note_told(self, uuids: Iterable[str]) -> None:
        """Core has read these."""
        self._told.update(uuids)

    async def _tell_what_is_due(self) -> None:
        core = self._kernel.find(CORE)
        if core is None:
            return
        for uuid in list(self._due):
            push = self._due[uuid]
            try:
                taken = await _push(core, "POST" if self._is_there(uuid) else "DELETE", uuid, push)
            except CoreUnavailable as error:
                log.info("core_not_told", due=len(self._due), reason=error.message)
                return
            if taken:
                await self._taken(uuid, push)

    async def _taken(self, uuid: str, push: DuePush) -> None:
        await self._kernel.commit(self._due.update(uuid, lambda due: None if due == push else due))
        if uuid not in self._due:
            self._told.add(uuid)

    def _core_lost(self, _: CoreLost) -> None:
        self._told.clear()


async def _push(core: Core, method: str, uuid: str, push: DuePush) -> bool:
    """Tell Core of one message; whether it took that."""
    content = {"addon": push.addon, "service": push.service, "uuid": uuid}
    answer = await core.request(method, f"api/hassio_push/discovery/{uuid}", content=content, within_s=WITHIN_S)
    if not answer.ok:
        log.warning("core_refused_discovery", uuid=uuid, method=method, status=answer.status)
    return answer.ok

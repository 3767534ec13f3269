"""Sessions: whose the pages are that a browser opens.

Core opens one for a user, whose browser sends it in a cookie. It ends when it was not used for a while, when it is old,
or when its user is logged out; what it had open ends with it. What is kept of one is its SHA-256. How long it lasts is
counted on the monotonic clock, so that no change of the time makes one longer; the time of day counts only across
restarts. When it was used last is written once a minute, and at the end.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Final

import structlog
from attrs import frozen, mutable

from rooftree import CallerKind, Collection, Kernel, Principal, Unauthenticated, document, session
from rooftree.interfaces.core import CORE, CoreRefused, CoreUnavailable, UserLoggedOut

log = structlog.get_logger(__name__)

KIND: Final = CallerKind("ingress", noun="ingress session", id_noun="digest")
COOKIE: Final = "ingress_session"
BY_SESSION: Final = session(COOKIE, KIND)
"""Whoever has a session."""
SESSION_BYTES: Final = 64
"""Random bytes in a session; written as 128 hex digits, the form that clients of this API expect."""
IDLE: Final = timedelta(minutes=15)
"""How long a session lasts that is not used."""
LONGEST: Final = timedelta(hours=24)
"""How long one lasts however it is used; the frontend opens another one by itself then."""
_IDLE_S, _LONGEST_S = IDLE.total_seconds(), LONGEST.total_seconds()


@frozen
class SessionUser:
    """A user of Home Assistant, as an add-on's page is told of them."""

    id: str
    name: str | None = None
    username: str | None = None


@document("ingress.sessions", version=1)
@frozen(kw_only=True)
class StoredSession:
    """A session; its collection is keyed by the SHA-256 (hex) of its text."""

    user: SessionUser | None = None
    opened: datetime
    used: datetime
    """When it was used last, to the minute."""


@mutable(eq=False)
class _Open:
    """A session that may be used; the times are those of the monotonic clock."""

    principal: Principal
    user: SessionUser | None
    opened: float
    used: float
    written: float
    """The last use that was written."""

    def is_over(self, now: float) -> bool:
        return now - self.used > _IDLE_S or now - self.opened > _LONGEST_S


def digest(text: str) -> str:
    """What is kept of a session's text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Sessions:
    """The sessions."""

    def __init__(self, kernel: Kernel, stored: Collection[StoredSession]) -> None:
        self._kernel = kernel
        self._stored = stored
        self._open: dict[str, _Open] = {}
        now, time = kernel.clock.monotonic(), kernel.clock.now()
        for key, kept in stored.items():
            opened, used = (now - max(0.0, (time - then).total_seconds()) for then in (kept.opened, kept.used))
            self._open[key] = _Open(Principal(KIND.name, key), kept.user, opened, used, used)
        kernel.on(UserLoggedOut, self._user_logged_out)

    async def open(self, user_id: str | None) -> str:
        """Open a session, for a user or for nobody in particular; its text."""
        text = secrets.token_hex(SESSION_BYTES)
        key = digest(text)
        user = await self._user(user_id) if user_id is not None else None
        now, time = self._kernel.clock.monotonic(), self._kernel.clock.now()
        await self._kernel.commit(self._stored.put(key, StoredSession(user=user, opened=time, used=time)))
        self._open[key] = _Open(Principal(KIND.name, key), user, now, now, now)
        return text

    def holder(self, text: str) -> Principal | None:
        """Whose session it is; ``None`` for one that is over or never was."""
        kept = self._open.get(digest(text))
        return kept.principal if kept is not None and not kept.is_over(self._kernel.clock.monotonic()) else None

    def use(self, holder: Principal) -> SessionUser | None:
        """The session is used, and so lasts longer; its user."""
        kept = self._open.get(holder.id)
        if kept is None:
            return None
        kept.used = self._kernel.clock.monotonic()
        return kept.user

    def validate(self, text: str) -> None:
        """Use a session; raises :class:`~rooftree.Unauthenticated` for one that is over or never was."""
        holder = self.holder(text)
        if holder is None:
            raise Unauthenticated("The session is over, or there never was one: open another one")
        self.use(holder)

    async def tidy(self) -> None:
        """Forget the sessions that are over, and write which were used."""
        now = self._kernel.clock.monotonic()
        over = [key for key, kept in self._open.items() if kept.is_over(now)]
        await self._end(over)
        await self.write()

    async def write(self) -> None:
        """Write when the sessions were used last."""
        now, time = self._kernel.clock.monotonic(), self._kernel.clock.now()
        changes = []
        for key, kept in self._open.items():
            if kept.used > kept.written:
                opened, used = (time - timedelta(seconds=now - then) for then in (kept.opened, kept.used))
                changes.append(self._stored.put(key, StoredSession(user=kept.user, opened=opened, used=used)))
                kept.written = kept.used
        if changes:
            await self._kernel.commit(*changes)

    async def _end(self, keys: list[str]) -> None:
        for key in keys:
            self._open.pop(key, None)
        if keys:
            await self._kernel.commit(*(self._stored.delete(key) for key in keys))

    async def _user_logged_out(self, event: UserLoggedOut) -> None:
        keys = [key for key, kept in self._open.items() if kept.user is not None and kept.user.id == event.user_id]
        if keys:
            log.info("sessions_ended_with_logout", count=len(keys))
        await self._end(keys)

    async def _user(self, user_id: str) -> SessionUser | None:
        """The user of that id as Core knows them; ``None`` for one that it does not know."""
        core = self._kernel.find(CORE)
        try:
            users = await core.users() if core is not None else ()
        except (CoreUnavailable, CoreRefused) as error:  # Core has said who it is; the names are an extra
            log.info("user_not_looked_up", reason=error.message)
            return SessionUser(user_id)
        if core is None:
            return SessionUser(user_id)
        user = next((user for user in users if user.id == user_id), None)
        return SessionUser(user.id, user.name, user.username) if user is not None else None

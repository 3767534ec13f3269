"""People who log in to add-ons with the name and password that they have in Core.

Core decides. Its yes holds for some seconds (a page of an add-on asks for each of its pictures), by a hash that only
this process can make; while Core is away, those are let in whom it let in lately (:mod:`login_cache`). A password that
is not the one of the last yes is always asked about, so that a new one works at once, and the old one not for long.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections import OrderedDict, defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from functools import partial
from typing import ClassVar, Final

import structlog
from attrs import field, frozen

from rooftree import Failed, Forbidden, Invalid, Kernel, RateLimited, Secret, Service, Unauthenticated, Unavailable
from rooftree.interfaces.core import Core, CoreRefused, CoreUnavailable, CoreUser, UserLoggedOut
from rooftree_homeassistant.credentials import CHALLENGE, Credentials
from rooftree_homeassistant.login_cache import LoginCache
from rooftree_homeassistant.login_limits import LoginLimits

log = structlog.get_logger(__name__)

FRESH_S: Final = 10.0
"""Seconds for which a yes of Core's holds without asking again."""
_ASKED_AT_ONCE: Final = 4
"""Logins through one add-on that are asked about at the same time; each counts as wrong until it is known, and others
wait for that."""
_MOST_REMEMBERED: Final = 500
_MOST_TO_NOTE: Final = 100
_LIST_COMMAND: Final = "ha auth list"


class LoginRefused(Unauthenticated):
    """The name or the password is wrong."""


class LoginRefusedToBrowser(LoginRefused):
    """As :class:`LoginRefused`; a browser that sent them asks for others."""

    challenge: ClassVar[str | None] = CHALLENGE


class LoginsHeldBack(Forbidden):
    """Too many wrong ones came. A proxy shows 403 to its user, and takes 429 for a fault of ours."""


class LoginNotChecked(Failed):
    """Core was asked, and could not tell."""

    error_key = "auth_home_assistant_api_validation_error"


class PasswordNotReset(Invalid):
    """Core did not change the password. ``extra_fields``: ``user``, and ``auth_list_command``, which lists users."""

    error_key = "auth_password_reset_error"


class UsersNotListed(Failed):
    """Core did not say who its users are."""

    error_key = "auth_list_users_error"


class UsersOutOfReach(Unavailable):
    """Core is away, and nobody else knows its users. The key is that of :class:`UsersNotListed`: clients go by it, and
    know no other."""

    error_key = UsersNotListed.error_key


@frozen
class _Yes:
    """That Core let somebody in."""

    digest: bytes = field(repr=False)
    at: float


@frozen
class _Try:
    """Somebody who wants in."""

    username: str
    """As it is compared."""
    given: Credentials
    digest: bytes = field(repr=False)
    addon: str
    is_known: bool
    """Whether Core let in just these last."""


@frozen
class _Note:
    """What is to be noted for while Core is away."""

    username: str
    password: str = field(repr=False)
    is_right: bool


class Logins:
    """Lets people in. Everything is asked of Core; see the module's text for what is remembered."""

    def __init__(self, kernel: Kernel, core: Core, cache: LoginCache) -> None:
        self._core = core
        self._clock = kernel.clock
        self._cache = cache
        self._limits = LoginLimits(kernel.clock)
        self._key = os.urandom(32)
        self._yes: OrderedDict[str, _Yes] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[bool]] = {}
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_ASKED_AT_ONCE))
        self._notes: deque[_Note] = deque(maxlen=_MOST_TO_NOTE)
        self._something_to_note = asyncio.Event()
        self._noting = asyncio.Lock()
        kernel.on(UserLoggedOut, self._user_logged_out)

    async def check(self, given: Credentials, addon: str) -> None:
        """Whether somebody may log in to an add-on.

        Raises :class:`LoginRefused`, :class:`LoginNotChecked`, and where too many wrong ones came
        :class:`~rooftree.errors.RateLimited`, or :class:`LoginsHeldBack` for those of a header.
        """
        username = given.username.strip().casefold()  # as Core compares names
        digest = self._digest(username, given.password)
        known = self._yes.get(username)
        is_known = known is not None and hmac.compare_digest(known.digest, digest)
        if known is not None and is_known and self._clock.monotonic() - known.at < FRESH_S:
            return
        try:
            is_right = await self._is_right(_Try(username, given, digest, addon, is_known))
        except RateLimited as error:
            if given.by_header:
                raise LoginsHeldBack(error.message, **error.extra_fields) from error
            raise
        if not is_right:
            log.info("login_refused", addon=addon)
            refusal = LoginRefusedToBrowser if given.by_header else LoginRefused
            raise refusal("The name or the password is wrong")

    async def reset_password(self, username: str, password: Secret) -> None:
        """Have Core give a user a new password; raises :class:`PasswordNotReset`, while Core is away too: clients know
        that word alone."""
        content = {"username": username, "password": password.reveal()}
        named = {"user": username, "auth_list_command": _LIST_COMMAND}
        try:
            answer = await self._core.request("POST", "api/hassio_auth/password_reset", content=content)
        except CoreUnavailable as error:
            raise PasswordNotReset(f"No new password for {username}: {error.message}", **named) from error
        if not answer.ok:
            raise PasswordNotReset(
                f"Core did not set a new password for {username} (status {answer.status}): is that the name of a user "
                f"who logs in with a password? {_LIST_COMMAND} lists them",
                **named,
            )
        log.info("password_reset", user=username)
        name = username.strip().casefold()
        async with self._nothing_to_note():
            self._yes.pop(name, None)
            await self._cache.drop(name)

    async def users(self) -> Sequence[CoreUser]:
        """Those who log in with a password; raises :class:`UsersNotListed`, and :class:`UsersOutOfReach`."""
        try:
            return [user for user in await self._core.users() if user.username]
        except CoreUnavailable as error:
            raise UsersOutOfReach(f"Core can't list its users: {error.message}") from error
        except CoreRefused as error:
            raise UsersNotListed(f"Core did not list its users: {error.message}") from error

    async def forget(self) -> None:
        """Remember nobody who was let in."""
        async with self._nothing_to_note():
            self._yes.clear()
            await self._cache.clear()

    async def run(self) -> None:
        """Note what Core said, for while it is away; for a task of the plugin."""
        while True:
            await self._something_to_note.wait()
            self._something_to_note.clear()
            async with self._noting:
                while self._notes:
                    note = self._notes.popleft()
                    if note.is_right:
                        await self._cache.keep(note.username, note.password)
                    else:
                        await self._cache.drop(note.username, note.password)

    @asynccontextmanager
    async def _nothing_to_note(self) -> AsyncIterator[None]:
        """What Core said before is not noted any more, and what is just being noted has been."""
        self._notes.clear()
        async with self._noting:
            yield

    async def _is_right(self, attempt: _Try) -> bool:
        asking = self._asking.get(attempt.digest)
        if asking is None:
            loop = asyncio.get_running_loop()  # for all who ask the same meanwhile, and counted once
            asking = loop.create_task(self._count(attempt), name="ask about a login", context=Context())
            self._asking[attempt.digest] = asking
            asking.add_done_callback(partial(self._asked, attempt.digest))
        return await asyncio.shield(asking)

    def _asked(self, digest: bytes, asking: asyncio.Task[bool]) -> None:
        del self._asking[digest]
        if not asking.cancelled():
            asking.exception()  # they may all have gone who wanted to know

    async def _count(self, attempt: _Try) -> bool:
        if attempt.is_known:
            return await self._ask(attempt)
        async with self._turns[attempt.addon]:
            self._limits.begin(attempt.addon, attempt.username)
            is_wrong = False
            try:
                is_wrong = not await self._ask(attempt)
            finally:
                if not is_wrong:
                    self._limits.was_right(attempt.addon, attempt.username)
            return not is_wrong

    async def _ask(self, attempt: _Try) -> bool:
        username, given, digest = attempt.username, attempt.given, attempt.digest
        if not self._core.answers:
            return await self._cache.has(username, given.password)
        content = {"username": given.username, "password": given.password, "addon": attempt.addon}
        try:
            answer = await self._core.request("POST", "api/hassio_auth", content=content)
        except CoreUnavailable as error:
            if await self._cache.has(username, given.password):
                return True
            raise LoginNotChecked(f"Core could not be asked about a login: {error.message}") from error
        if answer.status >= 500:
            raise LoginNotChecked(f"Core could not tell whether a login is right (status {answer.status})")
        if answer.ok:
            self._yes[username] = _Yes(digest, self._clock.monotonic())
            self._yes.move_to_end(username)
            if len(self._yes) > _MOST_REMEMBERED:
                self._yes.popitem(last=False)
        elif (known := self._yes.get(username)) is not None and hmac.compare_digest(known.digest, digest):
            del self._yes[username]
        self._notes.append(_Note(username, given.password, answer.ok))
        self._something_to_note.set()
        return answer.ok

    def _user_logged_out(self, _: UserLoggedOut) -> None:
        """Which name that was is not told: ask Core about each the next time."""
        self._yes.clear()

    def _digest(self, username: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{username}\0{password}".encode(), "sha256")


LOGINS = Service[Logins]("homeassistant.logins/1")

"""Who sends a request: by a token in its head or behind it, by a session in a cookie, or by the unix socket's peer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NoReturn

from aiohttp import web
from multidict import istr

from rooftree.access import Misplaced, SessionCookie, Tokens, WrongTokens
from rooftree.clock import Clock
from rooftree.context import caller
from rooftree.errors import Forbidden, Unauthenticated
from rooftree.http.binding import Call
from rooftree.http.bodies import connection_of
from rooftree.http.credentials import AUTHORIZATION, COOKIE, sent_token
from rooftree.http.sockets import administrator
from rooftree.principal import Principal

MAX_TOKEN: Final = 1024
"""Characters of a token that are looked at; a longer one is nobody's."""


class Senders:
    """Tells who sends requests.

    :param tokens: tells whom a token stands for
    """

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._wrong_tokens = WrongTokens(clock)
        self._headers_of: dict[str, tuple[istr, ...]] = {}
        self._token_headers: tuple[istr, ...] = (AUTHORIZATION,)
        self._session_holders: dict[str, Callable[[str], Principal | None]] = {}

    def accept_tokens_in(self, headers: Iterable[str], owner: str) -> None:
        """Take tokens from these headers too, for as long as ``owner`` says so: no headers end it. Where several are
        sent they must agree."""
        self._headers_of[owner] = tuple(map(istr, headers))
        others = dict.fromkeys(header for headers in self._headers_of.values() for header in headers)
        self._token_headers = (*others, AUTHORIZATION)

    def has_sessions(self, kind: str) -> bool:
        """Whether somebody says whose the sessions of that kind are."""
        return kind in self._session_holders

    def accept_sessions(self, kind: str, holder: Callable[[str], Principal | None] | None) -> None:
        """Let sessions of that kind stand for ``holder(text)``, until that is ``None``."""
        if holder is None:
            self._session_holders.pop(kind, None)
        else:
            self._session_holders[kind] = holder

    def close(self) -> None:
        """Write what is to be logged of wrong tokens."""
        self._wrong_tokens.close()

    async def of(self, request: web.BaseRequest) -> Principal | None:
        """Whom the request's token stands for, if that one is there; on the unix socket, without a token, the peer."""
        token = sent_token(request, self._token_headers)
        if token is not None:
            return await self._holder(request, token)
        return administrator(request) if connection_of(request).address is None else None

    def of_session(self, request: web.BaseRequest, session: SessionCookie) -> Principal | None:
        """Whose session is in the request's cookie. Where several are sent, a page may have added one of its own:
        then it is nobody's."""
        holder_of = self._session_holders.get(session.kind.name)
        texts = session.values(request.headers.getall(COOKIE, ()))
        if holder_of is None or len(texts) != 1:
            return None
        return holder_of(texts.pop())

    def of_session_alone(self, request: web.BaseRequest, session: SessionCookie) -> Principal | None:
        """The same, where nothing else is sent that says who calls; raises
        :class:`~rooftree.errors.Unauthenticated`."""
        if connection_of(request).address is None or sent_token(request, self._token_headers) is not None:
            return None
        return self.of_session(request, session)

    async def introduce(self, call: Call, token: str) -> Principal:
        """Make a call that of whom a token stands for; see :class:`~rooftree.http.handler_inputs.Introduction`."""
        principal = await self._holder(call.request, token)
        if principal is None:
            self._refuse_wrong_token(call.request)
        connection = connection_of(call.request)
        call.introduced_by = connection.digest_of(token)
        call.principal = connection.caller = principal
        caller.set(principal)
        return principal

    def now_of(self, call: Call) -> Principal | None:
        """Whom a call's token, or session, stands for now; where it came from was looked at when it came."""
        request = call.request
        if call.introduced_by is not None:
            return self._tokens.holder(call.introduced_by)
        if call.access.session is not None:
            return self.of_session(request, call.access.session)
        token = sent_token(request, self._token_headers)
        if token is None:
            return administrator(request)
        return self._tokens.holder(connection_of(request).digest_of(token)) if len(token) <= MAX_TOKEN else None

    def refuse_stranger(self, principal: Principal | None, request: web.BaseRequest) -> None:
        """Raise when nobody vouches for the caller: 401 without a token; with one that is nobody's 403, and 429 when
        its sender has sent many."""
        if principal is not None:
            return
        if any(request.headers.get(name, "").strip() for name in self._token_headers):
            self._refuse_wrong_token(request)
        others = "".join(f", or {name}" for name in self._token_headers[:1] if name != AUTHORIZATION)
        raise Unauthenticated(f"Send a token: Authorization: Bearer …{others}")

    async def _holder(self, request: web.BaseRequest, token: str) -> Principal | None:
        """Whom a token stands for that came with or behind a request.

        On the unix socket an administrator may use whatever token, which is less than that one may do without it.
        """
        if len(token) > MAX_TOKEN:
            return None
        connection = connection_of(request)
        key = connection.digest_of(token)
        if connection.address is None and administrator(request) is not None:
            return self._tokens.holder(key)
        principal = self._tokens.caller(key, connection.address)
        return await self._tokens.look_again(principal) if isinstance(principal, Misplaced) else principal

    def _refuse_wrong_token(self, request: web.BaseRequest) -> NoReturn:
        """Raise for a token that is nobody's."""
        self._wrong_tokens.note(connection_of(request).address)
        raise Forbidden("The token is not known, or no longer valid")

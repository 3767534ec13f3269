"""Tokens: whom they stand for. What is kept of one is its SHA-256; its text is its owner's alone."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from attrs import field, frozen

from rooftree.access.whereabouts import Alarm, Looks, Misplaced, Whereabouts
from rooftree.errors import NotFound
from rooftree.events import Event
from rooftree.principal import CallerKind, Principal, Role
from rooftree.state import Change, Collection, State, document

TOKEN_BYTES = 56
"""Random bytes in a token; written as 112 hex digits, the form that clients of this API expect."""


@document("kernel.token", version=1)
@frozen
class Token:
    """What is kept of a token; its collection is keyed by the SHA-256 (hex) of the text, which is kept nowhere."""

    id: str
    kind: str
    subject: str
    created: datetime
    role: Role | None = None


@frozen
class NewToken:
    """A token that was just made: ``text`` for its owner, ``digest`` to find it again, ``change`` to commit."""

    text: str = field(repr=False)
    digest: str
    change: Change


@lru_cache(maxsize=64)
def _holder_of_named(name: str, role: Role | None) -> Principal:
    """Kept, because clients that hold such a token ask often."""
    return Principal("token", name, role)


def digest(text: str) -> str:
    """What is stored of a token, in our state and in a container's label."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@frozen
class _Registered:
    """A kind of callers whose plugin runs."""

    kind: CallerKind
    principal: Callable[[str], Principal | None]
    whereabouts: Whereabouts | None


class Tokens:
    """Issues, recognises and revokes tokens. Lookup is by hash, so its time says nothing about a token.

    :param publish: told of tokens that are used where their holder is not
    """

    def __init__(self, tokens: Collection[Token], state: State, publish: Callable[[Event], None]) -> None:
        self._tokens = tokens
        self._state = state
        self._kinds: dict[str, _Registered] = {}
        self._looks = Looks()
        self._alarm = Alarm(publish)

    @classmethod
    async def load(cls, state: State, publish: Callable[[Event], None]) -> Tokens:
        """Read the tokens that are known."""
        return cls(await state.collection(Token), state, publish)

    def register_kind(
        self, kind: CallerKind, principal: Callable[[str], Principal | None], whereabouts: Whereabouts | None = None
    ) -> None:
        """Let tokens of ``kind`` stand for ``principal(subject)``; ``None`` from it means: not (any more).

        :param whereabouts: where they may be used; anywhere unless told
        """
        self._kinds[kind.name] = _Registered(kind, principal, whereabouts)

    def has_kind(self, name: str) -> bool:
        """Whether somebody has registered a kind of that name, or it is our own."""
        return name in self._kinds or name in {"token", "local"}

    def kind(self, name: str) -> CallerKind | None:
        """The kind that is registered under that name."""
        registered = self._kinds.get(name)
        return registered.kind if registered else None

    def forget_kind(self, name: str) -> None:
        """The plugin that owns the kind has gone; its tokens are kept, and refused until it is back."""
        self._kinds.pop(name, None)

    def new(self, kind: str, subject: str, role: Role | None = None) -> NewToken:
        """A fresh token. It is valid once its ``change`` is committed."""
        text = secrets.token_hex(TOKEN_BYTES)
        key = digest(text)
        token = Token(secrets.token_hex(16), kind, subject, datetime.now(UTC), role)
        return NewToken(text, key, self._tokens.put(key, token))

    def known(self, kind: str | None = None, subject: str | None = None) -> Mapping[str, Token]:
        """Tokens by digest, all or those of a kind and subject."""
        return {
            key: token
            for key, token in self._tokens.items()
            if kind in {None, token.kind} and subject in {None, token.subject}
        }

    def restored(self, key: str, kind: str, subject: str) -> Change:
        """The change that makes a token valid again of which only the digest is known, from its container's label."""
        return self._tokens.put(key, Token(secrets.token_hex(16), kind, subject, datetime.now(UTC)))

    def revocation(self, key: str) -> Change:
        """The change that ends the token of that digest."""
        return self._tokens.delete(key)

    async def revoke(self, token_id: str) -> None:
        """End the token with that id at once; raises :class:`NotFound`."""
        for key, token in self._tokens.items():
            if token.id == token_id:
                await self._state.commit(self._tokens.delete(key))
                return
        raise NotFound(f"There is no token with the id {token_id}; `rooftree token list` shows those there are")

    def principal(self, text: str) -> Principal | None:
        """Whom a token's text stands for, or ``None``."""
        return self.holder(digest(text))

    def holder(self, key: str) -> Principal | None:
        """Whom the token of that digest stands for, or ``None``."""
        token = self._tokens.get(key)
        if token is None:
            return None
        if token.kind == "token":
            return _holder_of_named(token.subject, token.role)
        registered = self._kinds.get(token.kind)
        return registered.principal(token.subject) if registered else None

    def caller(self, key: str, address: str | None) -> Principal | Misplaced | None:
        """Who calls with the token of that digest from that address (``None`` on a unix socket).

        :class:`Misplaced` where its holder is not known to be there: :meth:`look_again` tells who it is then.
        """
        principal = self.holder(key)
        token = self._tokens.get(key)
        if principal is None or token is None:
            return None
        whereabouts = self._whereabouts(token.kind)
        if whereabouts is None or whereabouts.admits(token.subject, address):
            return principal
        return Misplaced(key, token.kind, token.subject, address)

    async def look_again(self, misplaced: Misplaced) -> Principal | None:
        """Who calls, once it was looked where the token's holder is; ``None`` where that is elsewhere.

        Raises :class:`~rooftree.errors.Unavailable` while that can't be told.
        """
        whereabouts = self._whereabouts(misplaced.kind)
        if whereabouts is not None:
            await self._looks.look(misplaced.kind, misplaced.subject, whereabouts)
        caller = self.caller(misplaced.key, misplaced.address)
        if isinstance(caller, Misplaced):
            self._alarm.tell(caller)
            return None
        return caller

    def _whereabouts(self, kind: str) -> Whereabouts | None:
        registered = self._kinds.get(kind)
        return registered.whereabouts if registered else None

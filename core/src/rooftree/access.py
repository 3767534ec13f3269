"""Who calls, and who may.

Everything is denied by default: a route names its :class:`Access`, a value from a small closed set, so that the whole
can be printed as a table. The kernel knows principals, roles and tokens; what kinds of callers exist (an add-on, Home
Assistant Core) is registered by the plugins that own them.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from attrs import field, frozen

from rooftree.database import Change
from rooftree.errors import NotFound
from rooftree.events import Event
from rooftree.principal import INCLUDES, Principal, Role
from rooftree.state import Collection, State, document
from rooftree.whereabouts import Alarm, Looks, Misplaced, Whereabouts

TOKEN_BYTES = 56
"""Random bytes in a token; written as 112 hex digits, the form that clients of this API expect."""


class Access:
    """Who may call a route; combine with ``|``."""

    def allows(self, principal: Principal | None, parts: Mapping[str, str]) -> bool:
        """Whether ``principal`` may call the route with these path parts."""
        raise NotImplementedError

    def __or__(self, other: Access) -> Access:
        return _Either(self, other)

    def self_parts(self) -> frozenset[str]:
        """The path parts in which the word ``self`` stands for the calling add-on."""
        return frozenset()

    def named_parts(self) -> frozenset[str]:
        """The path parts that the decision looks at; a route without one of them is refused when it is bound."""
        return self.self_parts()


@frozen
class _Either(Access):
    left: Access
    right: Access

    def allows(self, principal: Principal | None, parts: Mapping[str, str]) -> bool:
        return self.left.allows(principal, parts) or self.right.allows(principal, parts)

    def self_parts(self) -> frozenset[str]:
        return self.left.self_parts() | self.right.self_parts()

    def named_parts(self) -> frozenset[str]:
        return self.left.named_parts() | self.right.named_parts()

    def __str__(self) -> str:
        return f"{self.left} or {self.right}"


@frozen
class _Public(Access):
    def allows(self, principal: Principal | None, parts: Mapping[str, str]) -> bool:
        return True

    def __str__(self) -> str:
        return "public"


@frozen
class _Nobody(Access):
    def allows(self, principal: Principal | None, parts: Mapping[str, str]) -> bool:
        return False

    def __str__(self) -> str:
        return "nobody"


@frozen
class _Known(Access):
    def allows(self, principal: Principal | None, parts: Mapping[str, str]) -> bool:
        return principal is not None

    def __str__(self) -> str:
        return "anybody known"


@frozen
class _HasRole(Access):
    role: Role
    not_on: str | None

    def allows(self, principal: Principal | None, parts: Mapping[str, str]) -> bool:
        if principal is None or principal.role not in INCLUDES[self.role]:
            return False
        return self.not_on is None or principal.kind != "addon" or parts.get(self.not_on) not in {"self", principal.id}

    def named_parts(self) -> frozenset[str]:
        return frozenset({self.not_on} if self.not_on else ())

    def __str__(self) -> str:
        return f"role {self.role}" + (f", not on itself ({self.not_on})" if self.not_on else "")


@frozen
class _Itself(Access):
    part: str

    def allows(self, principal: Principal | None, parts: Mapping[str, str]) -> bool:
        return principal is not None and principal.kind == "addon" and parts.get(self.part) == principal.id

    def self_parts(self) -> frozenset[str]:
        return frozenset({self.part})

    def __str__(self) -> str:
        return f"itself ({self.part})"


@frozen
class _OfKind(Access):
    kind: str

    def allows(self, principal: Principal | None, parts: Mapping[str, str]) -> bool:
        return principal is not None and principal.kind == self.kind

    def __str__(self) -> str:
        return f"{self.kind} only"


@frozen
class _HasGrant(Access):
    name: str

    def allows(self, principal: Principal | None, parts: Mapping[str, str]) -> bool:
        return principal is not None and self.name in principal.grants

    def __str__(self) -> str:
        return f"grant {self.name}"


PUBLIC: Access = _Public()
"""No token needed."""
NOBODY: Access = _Nobody()
"""Closed for everybody, Core and administrators too, whatever the method: a path that a proxied tail beside it would
otherwise reach."""
KNOWN: Access = _Known()
"""Anybody with a valid token."""
OBSERVER: Access = _OfKind("observer")
"""The observer's base service."""
CORE_ONLY: Access = _OfKind("core")
"""Home Assistant Core and nobody else, not even an administrator."""
ANY_ADDON: Access = _OfKind("addon")
"""Every add-on, with or without a role."""


def role(minimum: Role, *, not_on: str | None = None) -> Access:
    """Whoever has the role or one that includes it; ``not_on`` names the path part on which an add-on may not be
    itself (it can't update or unprotect itself)."""
    return _HasRole(minimum, not_on)


def itself(part: str) -> Access:
    """An add-on, on itself: by its own slug or the word ``self`` in path part ``part``."""
    return _Itself(part)


def grant(name: str) -> Access:
    """Whoever was given this single permission."""
    return _HasGrant(name)


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


class Tokens:
    """Issues, recognises and revokes tokens. Lookup is by hash, so its time says nothing about a token.

    :param publish: told of tokens that are used where their holder is not
    """

    def __init__(self, tokens: Collection[Token], state: State, publish: Callable[[Event], None]) -> None:
        self._tokens = tokens
        self._state = state
        self._kinds: dict[str, Callable[[str], Principal | None]] = {}
        self._whereabouts: dict[str, Whereabouts] = {}
        self._looks = Looks()
        self._alarm = Alarm(publish)

    @classmethod
    async def load(cls, state: State, publish: Callable[[Event], None]) -> Tokens:
        """Read the tokens that are known."""
        return cls(await state.collection(Token), state, publish)

    def register_kind(
        self, kind: str, principal: Callable[[str], Principal | None], whereabouts: Whereabouts | None = None
    ) -> None:
        """Let tokens of ``kind`` stand for ``principal(subject)``; ``None`` from it means: not (any more).

        :param whereabouts: where they may be used; anywhere unless told
        """
        self._kinds[kind] = principal
        self._whereabouts.pop(kind, None)
        if whereabouts is not None:
            self._whereabouts[kind] = whereabouts

    def has_kind(self, kind: str) -> bool:
        """Whether somebody has registered ``kind``, or it is our own."""
        return kind in self._kinds or kind in {"token", "local"}

    def forget_kind(self, kind: str) -> None:
        """The plugin that owns ``kind`` has gone; its tokens are kept, and refused until it is back."""
        self._kinds.pop(kind, None)
        self._whereabouts.pop(kind, None)

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
        resolve = self._kinds.get(token.kind)
        return resolve(token.subject) if resolve else None

    def caller(self, key: str, address: str | None) -> Principal | Misplaced | None:
        """Who calls with the token of that digest from that address (``None`` on a unix socket).

        :class:`Misplaced` where its holder is not known to be there: :meth:`look_again` tells who it is then.
        """
        principal = self.holder(key)
        token = self._tokens.get(key)
        if principal is None or token is None:
            return None
        whereabouts = self._whereabouts.get(token.kind)
        if whereabouts is None or whereabouts.admits(token.subject, address):
            return principal
        return Misplaced(key, token.kind, token.subject, address)

    async def look_again(self, misplaced: Misplaced) -> Principal | None:
        """Who calls, once it was looked where the token's holder is; ``None`` where that is elsewhere.

        Raises :class:`~rooftree.errors.Unavailable` while that can't be told.
        """
        whereabouts = self._whereabouts.get(misplaced.kind)
        if whereabouts is not None:
            await self._looks.look(misplaced.kind, misplaced.subject, whereabouts)
        caller = self.caller(misplaced.key, misplaced.address)
        if isinstance(caller, Misplaced):
            self._alarm.tell(caller)
            return None
        return caller

"""Who calls, and who may.

Everything is denied by default: a route names its :class:`Access`, a value from a small closed set, so that the whole
can be printed as a table. The kernel knows principals, roles and tokens; which kinds of callers there are is registered
by the plugins that own them.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from rooftree.principal import INCLUDES, CallerKind, Principal, Role


class Access:
    """Who may call a route; combine with ``|``."""

    def allows(self, principal: Principal | None, parts: Mapping[str, str]) -> bool:
        """Whether ``principal`` may call the route with these path parts."""
        raise NotImplementedError

    def __or__(self, other: Access) -> Access:
        return _Either(self, other)

    def self_parts(self) -> Mapping[str, tuple[CallerKind, ...]]:
        """The path parts in which the word ``self`` stands for who calls, with the kinds of those who may use it."""
        return {}

    def named_parts(self) -> frozenset[str]:
        """The path parts that the decision looks at; a route without one of them is refused when it is bound."""
        return frozenset(self.self_parts())


@frozen
class _Either(Access):
    left: Access
    right: Access

    def allows(self, principal: Principal | None, parts: Mapping[str, str]) -> bool:
        return self.left.allows(principal, parts) or self.right.allows(principal, parts)

    def self_parts(self) -> Mapping[str, tuple[CallerKind, ...]]:
        left, right = self.left.self_parts(), self.right.self_parts()
        return {part: left.get(part, ()) + right.get(part, ()) for part in {**left, **right}}

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
    not_on: Access | None

    def allows(self, principal: Principal | None, parts: Mapping[str, str]) -> bool:
        if principal is None or principal.role not in INCLUDES[self.role]:
            return False
        return self.not_on is None or not self.not_on.allows(principal, parts)

    def named_parts(self) -> frozenset[str]:
        return self.not_on.named_parts() if self.not_on else frozenset()

    def __str__(self) -> str:
        return f"role {self.role}" + (f", not on {self.not_on}" if self.not_on else "")


@frozen
class _Itself(Access):
    part: str
    kind: CallerKind

    def allows(self, principal: Principal | None, parts: Mapping[str, str]) -> bool:
        return (
            principal is not None
            and principal.kind == self.kind.name
            and parts.get(self.part) in {"self", principal.id}
        )

    def self_parts(self) -> Mapping[str, tuple[CallerKind, ...]]:
        return {self.part: (self.kind,)}

    def __str__(self) -> str:
        return f"itself ({self.part})"


@frozen
class _OfKind(Access):
    kind: CallerKind

    def allows(self, principal: Principal | None, parts: Mapping[str, str]) -> bool:
        return principal is not None and principal.kind == self.kind.name

    def __str__(self) -> str:
        return f"{self.kind.name} only"


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
"""Closed for everybody, administrators too, whatever the method: a path that a proxied tail beside it would otherwise
reach."""
KNOWN: Access = _Known()
"""Anybody with a valid token."""


def role(minimum: Role, *, not_on: Access | None = None) -> Access:
    """Whoever has the role or one that includes it, but those whom ``not_on`` allows: ``not_on=itself("slug", kind)``
    for what nobody of that kind may do to itself."""
    return _HasRole(minimum, not_on)


def itself(part: str, kind: CallerKind) -> Access:
    """Callers of that kind, on themselves: by their own id or the word ``self`` in path part ``part``."""
    return _Itself(part, kind)


def of_kind(kind: CallerKind) -> Access:
    """All callers of that kind, with or without a role, and nobody else, not even an administrator."""
    return _OfKind(kind)


def grant(name: str) -> Access:
    """Whoever was given this single permission."""
    return _HasGrant(name)

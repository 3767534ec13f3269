"""Who calls, and who may.

Everything is denied by default: a route names its :class:`Access`, a value from a small closed set, so that the whole
can be printed as a table. The kernel knows principals, roles and tokens; what kinds of callers exist (an add-on, Home
Assistant Core) is registered by the plugins that own them.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from rooftree.principal import INCLUDES, Principal, Role


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

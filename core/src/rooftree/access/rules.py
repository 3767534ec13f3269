"""Who calls, and who may.

Everything is denied by default: a route names its :class:`Access`, a value from a small closed set, so that the whole
can be printed as a table. The kernel knows principals, roles and tokens; which kinds of callers there are is registered
by the plugins that own them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import field, frozen

from rooftree.principal import INCLUDES, CallerKind, Principal, Role

type Decision = Callable[[Principal | None, Mapping[str, str]], bool]
"""Whether somebody may call a route with these parts of its path."""


@frozen
class SessionCookie:
    """The cookie that a session of some kind is in."""

    cookie: str
    kind: CallerKind

    def values(self, headers: Sequence[str]) -> set[str]:
        """What the ``Cookie`` headers of a request have under that name. Blanks are those of HTTP: a name with another
        sign in it is another name, and would not be known by who takes the cookie out for somebody else."""
        values = set()
        for header in headers:
            for pair in header.split(";"):
                name, _, value = pair.partition("=")
                if name.strip(" \t") == self.cookie:
                    values.add(value.strip(' \t"'))
        return values


@frozen(eq=False)
class Access:
    """Who may call a route; combine with ``|``. Made by what follows: the set of them is closed."""

    name: str
    """As a table shows it."""
    allows: Decision = field(repr=False)
    self_parts: Mapping[str, tuple[CallerKind, ...]] = field(factory=dict)
    """The path parts in which the word ``self`` stands for who calls, with the kinds of those who may use it."""
    named_parts: frozenset[str] = frozenset()
    """The path parts that the decision looks at; a route without one of them is refused when it is bound."""

    session: SessionCookie | None = None
    """The cookie that says who calls, in place of a token."""

    def __or__(self, other: Access) -> Access:
        if self.session is not None or other.session is not None:
            raise TypeError("who calls is told by a session or by a token: such accesses can't be combined")
        selves = {
            part: self.self_parts.get(part, ()) + other.self_parts.get(part, ())
            for part in {**self.self_parts, **other.self_parts}
        }
        return Access(
            f"{self} or {other}",
            lambda who, parts: self.allows(who, parts) or other.allows(who, parts),
            selves,
            self.named_parts | other.named_parts,
        )

    def __str__(self) -> str:
        return self.name


PUBLIC = Access("public", lambda who, parts: True)
"""No token needed."""
NOBODY = Access("nobody", lambda who, parts: False)
"""Closed for everybody, administrators too, whatever the method: a path that a proxied tail beside it would otherwise
reach."""
KNOWN = Access("anybody known", lambda who, parts: who is not None)
"""Anybody with a valid token."""


def role(minimum: Role, *, not_on: Access | None = None) -> Access:
    """Whoever has the role or one that includes it, but those whom ``not_on`` allows: ``not_on=itself("slug", kind)``
    for what nobody of that kind may do to itself."""
    sufficient = INCLUDES[minimum]
    if not_on is None:
        return Access(f"role {minimum}", lambda who, parts: who is not None and who.role in sufficient)
    return Access(
        f"role {minimum}, not on {not_on}",
        lambda who, parts: who is not None and who.role in sufficient and not not_on.allows(who, parts),
        named_parts=not_on.named_parts,
    )


def itself(part: str, kind: CallerKind) -> Access:
    """Callers of that kind, on themselves: by their own id or the word ``self`` in path part ``part``."""
    return Access(
        f"itself ({part})",
        lambda who, parts: who is not None and who.kind == kind.name and parts.get(part) in {"self", who.id},
        {part: (kind,)},
        frozenset({part}),
    )


def of_kind(kind: CallerKind) -> Access:
    """All callers of that kind, with or without a role, and nobody else, not even an administrator."""
    return Access(f"{kind.name} only", lambda who, parts: who is not None and who.kind == kind.name)


def session(cookie: str, kind: CallerKind) -> Access:
    """Whoever has a session of that kind, told by the cookie that it is in, and nobody else: tokens don't count. The
    plugin that makes such sessions says whose each is (:meth:`rooftree.Kernel.register_sessions`)."""
    return Access(
        f"session (cookie {cookie})",
        lambda who, parts: who is not None and who.kind == kind.name,
        session=SessionCookie(cookie, kind),
    )


def grant(name: str) -> Access:
    """Whoever was given this single permission."""
    return Access(f"grant {name}", lambda who, parts: who is not None and name in who.grants)

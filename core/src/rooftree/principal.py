"""Who calls, as the kernel knows callers: a kind, a name of that kind, a role, single permissions."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from attrs import frozen


class Role(enum.StrEnum):
    """What a caller may do beyond itself."""

    DEFAULT = "default"
    HOMEASSISTANT = "homeassistant"
    BACKUP = "backup"
    MANAGER = "manager"
    ADMIN = "admin"


INCLUDES: Mapping[Role, frozenset[Role]] = {
    Role.DEFAULT: frozenset(Role),
    Role.HOMEASSISTANT: frozenset({Role.HOMEASSISTANT, Role.MANAGER, Role.ADMIN}),
    Role.BACKUP: frozenset({Role.BACKUP, Role.MANAGER, Role.ADMIN}),
    Role.MANAGER: frozenset({Role.MANAGER, Role.ADMIN}),
    Role.ADMIN: frozenset({Role.ADMIN}),
}
"""For each role, the roles that may do what it may."""


@frozen
class CallerKind:
    """A kind of callers, as the domain that knows them describes it and its plugin registers it. The kernel has two of
    its own: ``token``, whose names an administrator chooses, and ``local``, the users of the unix socket."""

    name: str
    """For :attr:`Principal.kind`, unique among all kinds."""
    noun: str = "caller"
    """What one of them is called in a sentence."""
    id_noun: str = "name"
    """What tells one of them from the others, in a sentence."""
    admins_are_counted: bool = False
    """Whether the changes of those with the role ``admin`` count for the change rate too: they are programs, and no
    people wait for what they do. Everybody else's count anyhow."""


@frozen
class Principal:
    """Somebody a token, or a socket's peer credentials, vouches for."""

    kind: str
    """``token``, ``local``, or the name of a kind that a plugin has registered."""
    id: str
    """Which one of its kind, such as a token's name."""
    role: Role | None = None
    grants: frozenset[str] = frozenset()
    """Single permissions beside the role, such as ``auth_api``."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"

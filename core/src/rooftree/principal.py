"""Who calls, as the kernel knows callers: a kind, a name of that kind, a role, single permissions."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from attrs import frozen


class Role(enum.StrEnum):
    """What an add-on or a named token may do beyond itself."""

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
class Principal:
    """Somebody a token, or a socket's peer credentials, vouches for."""

    kind: str
    """``addon``, ``core``, ``token``, ``local`` (the unix socket) … as registered."""
    id: str
    """Which one of its kind: an add-on's slug, a token's name."""
    role: Role | None = None
    grants: frozenset[str] = frozenset()
    """Single permissions beside the role, such as ``auth_api``."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"

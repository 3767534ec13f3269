"""The routes below ``/auth``: logins of add-ons' users, and the way back in for who forgot a password."""

from __future__ import annotations

from typing import Self

from attrs import field, frozen

from rooftree import Failed, Principal, RawBody, Role, Routes, Secret, grant, role
from rooftree.interfaces.core import CoreUser
from rooftree_homeassistant.credentials import AuthorizationHeader, credentials
from rooftree_homeassistant.logins import Logins

routes = Routes()

LOGS_PEOPLE_IN = grant("auth_api")
MAX_CREDENTIALS = 16 * 1024
"""Bytes of a body with a name and password."""


@frozen
class PasswordReset:
    """Whose password, and which."""

    username: str
    password: Secret


@frozen(kw_only=True)
class UserRow:
    """A user of Core's who logs in with a password."""

    username: str
    name: str | None
    is_owner: bool
    is_active: bool
    local_only: bool
    group_ids: list[str] = field(factory=list)

    @classmethod
    def of(cls, user: CoreUser) -> Self:
        """The user as the API shows them."""
        return cls(
            username=user.username or "",
            name=user.name,
            is_owner=user.is_owner,
            is_active=user.is_active,
            local_only=user.local_only,
            group_ids=list(user.group_ids),
        )


@frozen
class UserList:
    """Core's users."""

    users: list[UserRow]


@routes.route("GET", "/auth", access=LOGS_PEOPLE_IN, max_body=MAX_CREDENTIALS, refuses=(Failed,))
async def check_header(logins: Logins, caller: Principal, authorization: AuthorizationHeader, body: RawBody) -> None:
    """Whether somebody may log in, by the header that their browser sent."""
    await logins.check(await credentials(authorization, body), caller.id)


@routes.post("/auth", access=LOGS_PEOPLE_IN, max_body=MAX_CREDENTIALS, refuses=(Failed,))
async def check(logins: Logins, caller: Principal, authorization: AuthorizationHeader, body: RawBody) -> None:
    """Whether somebody may log in, by the header, or by a body of JSON or a form."""
    await logins.check(await credentials(authorization, body), caller.id)


@routes.post("/auth/reset", access=role(Role.ADMIN))
async def reset_password(logins: Logins, body: PasswordReset) -> None:
    """Give a user of Core's a new password."""
    await logins.reset_password(body.username, body.password)


@routes.delete("/auth/cache", access=role(Role.MANAGER))
async def forget_logins(logins: Logins) -> None:
    """Forget who was let in: from now on Core is asked about each."""
    await logins.forget()


@routes.route("GET", "/auth/list", access=role(Role.ADMIN), refuses=(Failed,))
async def users(logins: Logins) -> UserList:
    """Core's users who log in with a password."""
    return UserList([UserRow.of(user) for user in await logins.users()])

"""Who may call what: the route that a path leads to, and whether its sender is one of those for whom it is."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from rooftree.access import NOBODY, Access
from rooftree.errors import (
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    NotReady,
    RooftreeError,
    Unauthenticated,
    Unavailable,
)
from rooftree.http.binding import Endpoint
from rooftree.http.senders import Senders
from rooftree.http.table import Entry, Match, RouteTable
from rooftree.principal import Principal

CLOSED = "This path is closed to everybody"

type Gate = Callable[[str], RooftreeError | None]
"""Why the plugin that owns a route cannot answer now, or ``None``."""


class Admission:
    """Finds what answers a request.

    :param senders: tells who sends requests
    """

    def __init__(self, senders: Senders, gate: Gate) -> None:
        self.table = RouteTable()
        self._senders = senders
        self._gate = gate

    def route_of(self, request: web.BaseRequest, principal: Principal | None) -> tuple[Entry, dict[str, str]]:
        """The route of the request, and the parts of its path."""
        match = self.table.match(request.raw_path.partition("?")[0])
        offered = match and match.offered(request.method)
        if not match or not offered:
            raise self._why_nothing(match, request, principal)
        entry, names = offered
        return entry, dict(zip(names, match.values, strict=True)) if names else {}

    def _why_nothing(self, match: Match | None, request: web.BaseRequest, principal: Principal | None) -> RooftreeError:
        """Why no route is for the request's method and path."""
        if match and any(entry.route.access is NOBODY for entry, _ in match.methods.values()):
            return Forbidden(CLOSED)
        if not self.table.is_whole:  # nobody knows yet whose path it will be, nor for whom
            return NotReady(
                f"Rooftree is starting, and does not know yet what is at {request.path}; try again in a moment"
            )
        self._senders.refuse_stranger(principal, request)
        return NotOffered(request.method, match) if match else NotFound(f"There is nothing at {request.path}")

    def endpoint(
        self, entry: Entry, request: web.BaseRequest, principal: Principal | None, parts: dict[str, str]
    ) -> Endpoint:
        """What answers the request, once its sender may be answered and the route's owner can."""
        self._check_access(entry.route.access, principal, parts, request)
        refusal = self._gate(entry.owner)
        if refusal is not None:
            raise refusal
        endpoint: Endpoint | None = entry.endpoint
        if endpoint is None:
            raise Unavailable(f"Plugin {entry.owner}, which owns this route, does not run")
        return endpoint

    def _check_access(
        self, access: Access, principal: Principal | None, parts: dict[str, str], request: web.BaseRequest
    ) -> None:
        if access is NOBODY:
            raise Forbidden(CLOSED)
        if principal is not None and "self" in parts.values():
            _resolve_self(access, principal, parts)
        if not access.allows(principal, parts):
            if access.session is not None:
                cookie = access.session.cookie
                raise Unauthenticated(f"This needs a session: the cookie {cookie} is missing, or its session is over")
            self._senders.refuse_stranger(principal, request)
            raise Forbidden(f"{principal} may not do this; it is for: {access}")


def _resolve_self(access: Access, principal: Principal, parts: dict[str, str]) -> None:
    """Put the caller's id in the place of ``self``; raises :class:`Invalid` where it means callers of another kind."""
    for part, kinds in access.self_parts.items():
        if parts.get(part) == "self":
            if principal.kind not in {kind.name for kind in kinds}:
                who = " or ".join(f"the {kind.noun}" for kind in kinds)
                ids = " or ".join(f"the {kind.noun}'s {kind.id_noun}" for kind in kinds)
                raise Invalid(f"self stands for {who} that calls; write {ids}")
            parts[part] = principal.id


class NotOffered(MethodNotAllowed):
    """The path is there, but not for that method."""

    def __init__(self, method: str, match: Match) -> None:
        methods = match.methods.keys() | ({"HEAD"} if "GET" in match.methods else set())
        self.allowed = ", ".join(sorted(methods))
        super().__init__(f"{method} is not offered here; allowed are {self.allowed}")

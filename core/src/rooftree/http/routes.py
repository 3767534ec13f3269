"""How a domain declares its routes.

A route is a plain function whose signature says everything: services by their type, path parts by name, the body by
its model, query values as parameters with a default (a list for what may come several times), headers as
``Annotated[str | None, Header("Range")]``, the caller as ``Principal``. What it returns says what is answered: an attrs
class (or list or dict) as JSON in the envelope, ``None`` as an empty object, the call of a job
(:class:`~rooftree.jobs.kinds.JobCall`) as what comes of the job, or with ``?plan=1`` as what it would do;
:class:`Text`, :class:`Binary` or :class:`Stream` as they are (with :class:`~rooftree.http.answers.Media` where they are
of another type than usual), and :class:`~rooftree.http.exchanges.Proxied` as whom it was got from has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen

from rooftree.access import Access
from rooftree.errors import Invalid, RooftreeError
from rooftree.http.paths import segments

_PART = re.compile(r"(?<=/)\{([a-z_]+)\}(?=/|$)")
_TAIL = re.compile(r"\{([a-z_]+)\.\.\.\}$")

ANY_METHOD = "*"
"""The method of a route that answers whatever no other route on its path does."""
MAX_BODY = 1024 * 1024
"""Bytes a request body may have unless its route says otherwise."""


def shape(path: str) -> str:
    """A declared path without the names of its parts: two routes of one shape and method exclude each other."""
    return _TAIL.sub("{...}", _PART.sub("{}", path))


@frozen
class Route:
    """One method on one path, as declared."""

    method: str
    path: str
    handler: Callable[..., Any]
    access: Access
    max_body: int = MAX_BODY
    revision: Callable[..., str] | None = None
    aliases: tuple[str, ...] = ()
    refuses: tuple[type[RooftreeError], ...] = ()

    def __attrs_post_init__(self) -> None:
        """Raise ``ValueError`` for a path that no canonical request could match, ``TypeError`` for an access that is
        none."""
        if not isinstance(self.access, Access):
            raise TypeError(
                f"{self.method} {self.path}: access must be made of role(Role.ADMIN), itself(…), grant(…), PUBLIC and "
                f"their like, not {self.access!r}"
            )
        for path in self.paths:
            try:
                segments(shape(path).replace("{}", "part").replace("{...}", "part"))
            except Invalid as error:
                raise ValueError(f"{self.method} {path}: {error.message}") from None

    @property
    def paths(self) -> tuple[str, ...]:
        """The path and its aliases."""
        return (self.path, *self.aliases)

    def parts(self, path: str) -> set[str]:
        """The names of the parts of one of the paths, its tail's among them."""
        return {*_PART.findall(path), *_TAIL.findall(path)}

    def tail(self, path: str) -> str | None:
        """The name of one path's tail: what ``{name...}`` at its end stands for."""
        match = _TAIL.search(path)
        return match[1] if match else None


class Routes:
    """The routes of one plugin; usually a module-level ``routes = Routes()`` whose methods are used as decorators."""

    def __init__(self) -> None:
        self._routes: list[Route] = []

    def route[F: Callable[..., Any]](
        self,
        method: str,
        path: str,
        *,
        access: Access,
        max_body: int = MAX_BODY,
        revision: Callable[..., str] | None = None,
        aliases: tuple[str, ...] = (),
        refuses: tuple[type[RooftreeError], ...] = (),
    ) -> Callable[[F], F]:
        """Declare a route.

        :param method: ``"*"`` for any, which is for proxies (:class:`~rooftree.http.exchanges.Proxied`)
        :param path: literal segments and parts, ``/notes/{slug}``. For a proxy it may end in a tail, ``{path...}``, for
            a parameter of type :class:`~rooftree.http.paths.Tail`: all that follows, as the client spelt it. More exact
            routes beside it win, in every spelling. ``/api/inner{path...}`` takes all that begins so, and is how a part
            of a proxied tree is closed, with ``NOBODY``.
        :param access: who may call it; there is no default
        :param max_body: bytes the body may have, counted while it streams in
        :param revision: for a large answer that rarely changes, on a path without parts: a function (its parameters
            filled like a handler's) whose text changes whenever the answer does. The encoded answer and its ETag are
            kept until then.
        :param aliases: older spellings of the path that lead to the same handler
        :param refuses: for the API's document: errors it may answer that do not follow from what is declared here, such
            as :class:`~rooftree.errors.NotFound` on a path without parts
        """
        if revision is not None and "{" in path:
            raise ValueError(f"{path}: a route with path parts cannot have a revision")

        def declare(handler: F) -> F:
            self._routes.append(Route(method, path, handler, access, max_body, revision, aliases, refuses))
            return handler

        return declare

    def get[F: Callable[..., Any]](
        self,
        path: str,
        *,
        access: Access,
        revision: Callable[..., str] | None = None,
        aliases: tuple[str, ...] = (),
        refuses: tuple[type[RooftreeError], ...] = (),
    ) -> Callable[[F], F]:
        """Declare a GET (and with it HEAD)."""
        return self.route("GET", path, access=access, revision=revision, aliases=aliases, refuses=refuses)

    def post[F: Callable[..., Any]](
        self,
        path: str,
        *,
        access: Access,
        max_body: int = MAX_BODY,
        aliases: tuple[str, ...] = (),
        refuses: tuple[type[RooftreeError], ...] = (),
    ) -> Callable[[F], F]:
        """Declare a POST."""
        return self.route("POST", path, access=access, max_body=max_body, aliases=aliases, refuses=refuses)

    def delete[F: Callable[..., Any]](
        self, path: str, *, access: Access, aliases: tuple[str, ...] = ()
    ) -> Callable[[F], F]:
        """Declare a DELETE."""
        return self.route("DELETE", path, access=access, aliases=aliases)

    def include(self, other: Routes) -> None:
        """Take over everything another set declares."""
        self._routes.extend(other)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def __len__(self) -> int:
        return len(self._routes)

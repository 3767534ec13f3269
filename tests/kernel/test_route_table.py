"""Which route a path leads to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rooftree import FreeText, Invalid
from rooftree.access.rules import PUBLIC, itself, role
from rooftree.http.answers import Stream
from rooftree.http.binding import Endpoint
from rooftree.http.routes import Route, Routes
from rooftree.http.table import DuplicateRoute, Entry, RouteTable
from rooftree.interfaces.callers import ADDON
from rooftree.principal import Role
from rooftree.services.directory import ServiceDirectory


def handler() -> None: ...


def entry(method: str, path: str, *aliases: str, owner: str = "one") -> Entry:
    return Entry(Route(method, path, handler, PUBLIC, aliases=aliases), owner, None)


def of_free_texts(method: str, path: str, *names: str) -> Entry:
    return Entry(Route(method, path, handler, PUBLIC), "one", None, frozenset(names))


def found(table: RouteTable, path: str, method: str = "GET") -> tuple[str, dict[str, str]] | None:
    match = table.match(path)
    if match is None:
        return None
    matched, names = match.methods[method]
    return matched.route.path, dict(zip(names, match.values, strict=True))


TABLE = RouteTable(
    [
        entry("GET", "/"),
        entry("GET", "/addons"),
        entry("POST", "/addons"),
        entry("GET", "/addons/{slug}"),
        entry("GET", "/addons/reload"),
        entry("GET", "/addons/{slug}/logs"),
        entry("GET", "/addons/{slug}/logs/{boot}"),
        entry("GET", "/addons/self/{page}/{line}"),
        entry("POST", "/addons/{addon}/stop", "/apps/{addon}/stop"),
    ]
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", ("/", {})),
        ("/addons", ("/addons", {})),
        ("/addons/reload", ("/addons/reload", {})),
        ("/addons/hello", ("/addons/{slug}", {"slug": "hello"})),
        ("/addons/reload/logs", ("/addons/{slug}/logs", {"slug": "reload"})),
        ("/addons/self/logs", ("/addons/{slug}/logs", {"slug": "self"})),
        ("/addons/self/logs/2", ("/addons/self/{page}/{line}", {"page": "logs", "line": "2"})),
        ("/addons/hello/logs/2", ("/addons/{slug}/logs/{boot}", {"slug": "hello", "boot": "2"})),
        ("/addons/%C3%A4", ("/addons/{slug}", {"slug": "ä"})),
        ("/nothing", None),
        ("/addons/hello/nothing", None),
        ("/addons/hello/logs/2/3", None),
        ("/Addons", None),
    ],
)
def test_literal_segments_win_over_parts(path: str, expected: tuple[str, dict[str, str]] | None) -> None:
    assert found(TABLE, path) == expected


NAMES = RouteTable(
    [
        of_free_texts("GET", "/logs/{name}", "name"),
        of_free_texts("GET", "/logs/{name}/follow", "name"),
        entry("GET", "/logs/boots"),
        entry("GET", "/logs/{page}/lines"),
        entry("GET", "/pages/{page}"),
    ]
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/logs/sshd", ("/logs/{name}", {"name": "sshd"})),
        ("/logs/weird%2Fname", ("/logs/{name}", {"name": "weird/name"})),
        ("/logs/weird%2fname/follow", ("/logs/{name}/follow", {"name": "weird/name"})),
        ("/logs/a%5Cb%40c%3A1", ("/logs/{name}", {"name": r"a\b@c:1"})),
        ("/logs/%252F", ("/logs/{name}", {"name": "%2F"})),
        ("/logs/%2E%2E%2Fboots", ("/logs/{name}", {"name": "../boots"})),
        ("/logs/%C3%A4", ("/logs/{name}", {"name": "ä"})),
        ("/logs/boots", ("/logs/boots", {})),
        ("/logs/%62oots", ("/logs/{name}", {"name": "boots"})),
        ("/logs/boots%2Ffollow", ("/logs/{name}", {"name": "boots/follow"})),
        ("/logs/2/lines", ("/logs/{page}/lines", {"page": "2"})),
        ("/logs/2/follow", ("/logs/{name}/follow", {"name": "2"})),
    ],
)
def test_free_text_is_read_once_however_it_is_spelt(path: str, expected: tuple[str, dict[str, str]]) -> None:
    assert found(NAMES, path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/logs/%2E%2E", "/logs/.%2e", "/logs/..", "/logs/", "/logs//follow", "/logs/%FF", "/logs/%4", "/logs/a b",
        "/%6Cogs/sshd", "/logs/sshd/%66ollow", "/logs/%32/lines", "/pages/a%2Fb", "/pages/%40", "logs/sshd",
    ],
)  # fmt: skip
def test_nothing_beside_a_free_text_may_be_spelt_otherwise(path: str) -> None:
    with pytest.raises(Invalid):
        NAMES.match(path)


def test_who_may_call_a_route_does_not_depend_on_a_free_text() -> None:
    def of_addon(addon: FreeText) -> None: ...

    route = Route("GET", "/addons/{addon}", of_addon, itself("addon", ADDON))

    with pytest.raises(TypeError, match="can't depend on addon, a free text"):
        Endpoint(route, ServiceDirectory())


@pytest.mark.parametrize("path", ["/addons/hello/stop", "/apps/hello/stop"])
def test_path_and_alias_lead_to_the_same_route(path: str) -> None:
    assert found(TABLE, path, "POST") == ("/addons/{addon}/stop", {"addon": "hello"})


def test_methods_of_one_path_are_told_apart() -> None:
    match = TABLE.match("/addons")

    assert match is not None
    assert set(match.methods) == {"GET", "POST"}


def test_parts_may_be_called_differently_by_different_methods() -> None:
    table = RouteTable([entry("GET", "/a/{x}"), entry("POST", "/a/{y}")])

    assert found(table, "/a/1") == ("/a/{x}", {"x": "1"})
    assert found(table, "/a/1", "POST") == ("/a/{y}", {"y": "1"})


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (entry("GET", "/a"), entry("GET", "/a", owner="two")),
        (entry("GET", "/a/{x}"), entry("GET", "/a/{y}", owner="two")),
        (entry("GET", "/a", "/b"), entry("GET", "/b", owner="two")),
    ],
)
def test_the_same_route_twice_is_refused_naming_both_owners(one: Entry, two: Entry) -> None:
    with pytest.raises(DuplicateRoute, match=r"plugin two .* plugin one"):
        RouteTable([one, two])


def with_slug(slug: str) -> None: ...


def with_principal_less(thing) -> None:  # type: ignore[no-untyped-def]  # the mistake under test
    ...


def without_answer():  # type: ignore[no-untyped-def]  # the mistake under test
    ...


def with_generic(items: list[str]) -> None: ...


def declared(path: str, handler: Callable[..., object], aliases: tuple[str, ...] = ()) -> Route:
    routes = Routes()
    routes.get(path, access=PUBLIC, aliases=aliases)(handler)
    return next(iter(routes))


@pytest.mark.parametrize(
    ("route", "sentence"),
    [
        (declared("/a/{slug}", handler), "takes no slug"),
        (declared("/a/{slug}", with_slug, aliases=("/b",)), "/b: the path has no part slug"),
        (declared("/a", with_principal_less), "needs a type"),
        (declared("/a", without_answer), "GET /a: without_answer does not say what it answers: write -> and its type"),
        (declared("/a", with_generic), "is no service interface"),
        (Route("GET", "/a/{name}", lambda: None, itself("slug", ADDON)), "takes no name"),
        (Route("GET", "/a", handler, itself("slug", ADDON)), "the path has no part slug"),
        (Route("GET", "/a", handler, role(Role.ADMIN, not_on=itself("slug", ADDON))), "the path has no part slug"),
        (
            Route("GET", "/a", handler, role(Role.ADMIN, not_on=itself("slug", ADDON)) | PUBLIC),
            "the path has no part slug",
        ),
    ],
)
def test_a_route_that_cannot_be_bound_is_refused_when_its_plugin_is_loaded(route: Route, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        Endpoint(route, ServiceDirectory())


def test_a_kept_answer_with_path_parts_is_refused_at_declaration() -> None:
    with pytest.raises(ValueError, match="cannot have a revision"):
        Routes().get("/a/{slug}", access=PUBLIC, revision=lambda: "1")


def test_sets_of_routes_can_be_joined() -> None:
    one, two = Routes(), Routes()
    one.get("/a", access=PUBLIC)(handler)
    two.post("/b", access=PUBLIC)(handler)

    one.include(two)

    assert [(route.method, route.path) for route in one] == [("GET", "/a"), ("POST", "/b")]
    assert len(one) == 2


def with_query(page: int = 1) -> dict[str, int]:
    return {"page": page}


def with_body(body: dict[str, Any]) -> dict[str, Any]:
    return body


def with_stream() -> Stream:
    raise NotImplementedError


@pytest.mark.parametrize("handler", [with_query, with_body, with_stream])
def test_answer_that_depends_on_the_call_cannot_be_kept(handler: Any) -> None:
    own = Routes()
    own.get("/kept", access=PUBLIC, revision=lambda: "1")(handler)

    with pytest.raises(TypeError, match="a kept answer takes only services"):
        Endpoint(next(iter(own)), ServiceDirectory())

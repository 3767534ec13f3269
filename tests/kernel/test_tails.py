"""Proxied paths: passed on as they are spelt, and never to a place that is closed."""

from __future__ import annotations

import posixpath
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rooftree import KNOWN, NOBODY, PUBLIC, Kernel, Plugin, Principal, Role, Routes, Tail, role
from rooftree.errors import Invalid
from rooftree.http.binding import Endpoint
from rooftree.http.paths import MAX_ESCAPED
from rooftree.http.table import Entry, Match, RouteTable
from rooftree.interfaces.callers import CORE_ONLY, TOKEN_HEADERS
from rooftree.process.system import System
from rooftree.services.directory import ServiceDirectory
from rooftree.testing import running_system, token_for
from tests.kernel.raw_http import send

routes = Routes()


@routes.get("/core/api/{path...}", access=PUBLIC, aliases=("/homeassistant/api/{path...}",))
def proxied(path: Tail) -> dict[str, str]:
    return {"route": "core", "path": path}


@routes.post("/core/api/{path...}", access=PUBLIC)
def proxied_post(path: Tail) -> dict[str, str]:
    return {"route": "core, POST", "path": path}


@routes.get("/core/api/hassio{path...}", access=NOBODY, aliases=("/homeassistant/api/hassio{path...}",))
def closed(path: Tail) -> None:
    raise AssertionError("nobody gets here")


@routes.get("/core/api/secret/{path...}", access=NOBODY)
def closed_folder(path: Tail) -> None:
    raise AssertionError("nobody gets here")


@routes.get("/core/api/websocket", access=role(Role.ADMIN))
def websocket() -> dict[str, str]:
    return {"route": "websocket"}


@routes.get("/ingress/{token}/{path...}", access=PUBLIC)
def ingress(token: str, path: Tail) -> dict[str, str]:
    return {"route": "ingress", "token": token, "path": path}


@routes.get("/ingress/{token}", access=KNOWN)
def ingress_info(token: str) -> dict[str, str]:
    return {"route": "ingress info", "token": token}


@routes.get("/ingress/session", access=CORE_ONLY)
def session() -> dict[str, str]:
    return {"route": "session"}


@routes.get("/plain", access=PUBLIC)
def plain() -> None: ...


class Proxies(Plugin):
    name = "proxies"

    async def setup(self, kernel: Kernel) -> None:
        kernel.accept_tokens_in(*TOKEN_HEADERS)

    def routes(self) -> Routes:
        return routes


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[Proxies]) as system:
        yield system


TABLE = RouteTable(Entry(route, "proxies", Endpoint(route, ServiceDirectory())) for route in routes)


def found(path: str) -> tuple[Callable[..., object], dict[str, str]] | None:
    """The handler of GET that a path leads to, and the values of its parts; ``None`` where it leads nowhere."""
    match = TABLE.match(path)
    return None if match is None else chosen(match)


def chosen(match: Match) -> tuple[Callable[..., object], dict[str, str]]:
    entry, names = match.methods["GET"]
    return entry.route.handler, dict(zip(names, match.values, strict=True))


@pytest.mark.parametrize(
    ("path", "handler", "parts"),
    [
        ("/core/api/", proxied, {"path": ""}),
        ("/core/api/states", proxied, {"path": "states"}),
        ("/core/api/states/", proxied, {"path": "states/"}),
        ("/core/api/states/sensor.x", proxied, {"path": "states/sensor.x"}),
        ("/core/api/a/b/c/d/e", proxied, {"path": "a/b/c/d/e"}),
        ("/core/api/%41%c3%a4%20b", proxied, {"path": "%41%c3%a4%20b"}),
        ("/core/api/a;b=c/[x]|^", proxied, {"path": "a;b=c/[x]|^"}),
        ("/core/api/100%25", proxied, {"path": "100%25"}),
        ("/core/api/...", proxied, {"path": "..."}),
        ("/core/api/websocket/x", proxied, {"path": "websocket/x"}),
        ("/core/api/websockets", proxied, {"path": "websockets"}),
        ("/core/api/secrets", proxied, {"path": "secrets"}),
        ("/core/api/xhassio", proxied, {"path": "xhassio"}),
        ("/homeassistant/api/states", proxied, {"path": "states"}),
        ("/core/api/websocket", websocket, {}),
        ("/core/api/hassio", closed, {"path": ""}),
        ("/core/api/hassio/", closed, {"path": "/"}),
        ("/core/api/hassio/x/y", closed, {"path": "/x/y"}),
        ("/core/api/hassio_auth/x", closed, {"path": "_auth/x"}),
        ("/homeassistant/api/hassio/x", closed, {"path": "/x"}),
        ("/core/api/secret/", closed_folder, {"path": ""}),
        ("/core/api/secret/x", closed_folder, {"path": "x"}),
        ("/ingress/a%20b/c%2ed/", ingress, {"token": "a b", "path": "c%2ed/"}),
        ("/ingress/abc/", ingress, {"token": "abc", "path": ""}),
        ("/ingress/session/x", ingress, {"token": "session", "path": "x"}),
        ("/ingress/abc", ingress_info, {"token": "abc"}),
        ("/ingress/session", session, {}),
    ],
)
def test_most_exact_route_wins(path: str, handler: Callable[..., object], parts: dict[str, str]) -> None:
    assert found(path) == (handler, parts)


@pytest.mark.parametrize("path", ["/core", "/core/api", "/core/apix", "/ingress", "/plain/x"])
def test_tail_needs_its_prefix(path: str) -> None:
    assert found(path) is None


REFUSED = [
    "/core/api//x",
    "/core/api/x//y",
    "/core/api/x//",
    "/core/api/.",
    "/core/api/..",
    "/core/api/../x",
    "/core/api/x/..",
    "/core/api/x/../../y",
    "/core/api/%2e%2e/x",
    "/core/api/.%2E/x",
    "/core/api/%252e%252e/x",
    "/core/api/%25252e./x",
    "/core/api/%25%32%65./x",
    "/core/api/..;/x",
    "/core/api/..%3bx/x",
    "/core/api/a%2Fb",
    "/core/api/a%2fb",
    "/core/api/a%252fb",
    "/core/api/a\\b",
    "/core/api/a%5Cb",
    "/core/api/a%255cb",
    "/core/api/a%00",
    "/core/api/a%2500",
    "/core/api/a%0a",
    "/core/api/a%09b",
    "/core/api/a%7F",
    "/core/api/a b",
    "/core/api/a\tb",
    "/core/api/a\x00",
    "/core/api/a#b",
    "/core/api/a\xff",
    "/core/api/ä",
    "/core/api/%C0%AE%C0%AE/x",
    "/core/api/%25C0%25AE/x",
    "/core/api/%FF",
    "/core/api/%4",
    "/core/api/%zz",
    "/core/api/%u002e/x",
    "/core/api/" + "%" + "25" * (MAX_ESCAPED + 1) + "41",
    "/CORE/../core/api/x",
    "/%63ore/api/x",
    "/core/%61pi/x",
    "/core/api%2Fx",
    "//core/api/x",
    "/./core/api/x",
    "core/api/x",
    "http://rooftree/core/api/x",
    "/plain/",
    "/plain//x",
]


@pytest.mark.parametrize("path", REFUSED)
def test_tail_that_could_lead_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(Invalid):
        TABLE.match(path)


@pytest.mark.parametrize(
    "path",
    [
        "/core/api/%68assio/x",
        "/core/api/h%61ssio_auth",
        "/core/api/%2568assio/x",
        "/core/api/HASSIO/x",
        "/core/api/Hassio_auth",
        "/core/api/%48assio",
        "/core/api/secret;x/y",
        "/core/api/secre%74/y",
        "/core/api/secret%3Bx/y",
        "/core/api/web%73ocket",
        "/core/api/WebSocket",
        "/core/api/websocket;x",
        "/homeassistant/api/%68assio",
    ],
)
def test_other_spelling_of_a_more_exact_route_is_refused(path: str) -> None:
    with pytest.raises(Invalid, match="read as another"):
        TABLE.match(path)


def plainest(path: str) -> str:
    """``path`` as the most forgiving of programs might read it."""
    while (read := unquote_to_bytes(path).decode("latin-1")) != path:
        path = read
    path = re.sub(r"[\x00-\x20\x7f]", "", path.replace("\\", "/").casefold())
    path = "/".join(segment.partition(";")[0] for segment in path.split("/"))
    return posixpath.normpath("/" + path.lstrip("/"))


CLOSED = ["/core/api/hassio/x", "/core/api/hassio_auth", "/core/api/secret/x/y", "/homeassistant/api/hassio"]
INSERTS = ["/", "//", "/.", "/./", "/../", "/x/../", "%2e", "%2E%2e/", "%252e", "%2F", "%5c", "\\", ";", ";x=y", "%00",
           "%09", "\x00", "\t", "%", "%25", "%C0%AF", "..", ".", "#", "%3b"]  # fmt: skip


@st.composite
def other_spellings(draw: st.DrawFn) -> str:
    """A closed path, with letters escaped over and over or in the other case, and with things put between."""
    spelt = ""
    for letter in draw(st.sampled_from(CLOSED)):
        change = draw(st.integers(0, 11))
        if change == 0:
            spelt += draw(st.sampled_from(INSERTS))
        if change == 1:
            spelt += letter.swapcase()
        elif change in {2, 3}:
            spelt += (
                "%" + "25" * draw(st.integers(0, MAX_ESCAPED + 1)) + f"{ord(letter):02{draw(st.sampled_from('xX'))}}"
            )
        else:
            spelt += letter
    return spelt


@given(other_spellings())
@example("/core/api/%68assio/x")
@example("/core/api/x/..%2fhassio/x")
def test_no_spelling_of_a_closed_path_reaches_the_open_route(path: str) -> None:
    try:
        reached = found(path)
    except Invalid:
        return
    if reached is None or reached[0] is not proxied:
        return

    read = plainest(path)
    assert not read.startswith(("/core/api/hassio", "/homeassistant/api/hassio", "/core/api/secret/"))


@given(st.text(st.sampled_from("aZ0/.%25eEfFcC;:\\ \x00\t~[é"), max_size=20))
def test_tail_that_is_taken_is_what_was_sent_and_stays_below_its_prefix(tail: str) -> None:
    try:
        reached = found(f"/ingress/abc/{tail}")
    except Invalid:
        return

    assert reached == (ingress, {"token": "abc", "path": tail})
    read = tail
    for _ in range(MAX_ESCAPED + 2):
        assert posixpath.normpath(f"/abc/{read}/").startswith("/abc")
        assert read.count("/") == tail.count("/")
        assert not set(read) & {"\\", *map(chr, range(0x20))}
        read = unquote(read)


async def test_closed_path_is_closed_for_everybody_and_every_method(system: System) -> None:
    everybody = [None, Principal("addon", "x", Role.ADMIN), Principal("core", "core", Role.ADMIN)]
    for principal in everybody:
        headers = [("X-Supervisor-Token", await token_for(system, principal))] if principal else []
        for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "PURGE"):
            for path in (b"/core/api/hassio/x", b"/core/api/hassio_auth", b"/core/api/secret/x"):
                if method == "HEAD":
                    continue  # its answer has no body to read; it is decided as GET
                answer = await send(system, path, method=method, headers=headers)

                assert (answer.status, answer.message) == (403, "This path is closed to everybody")


async def test_wrong_token_does_not_open_a_closed_path(system: System) -> None:
    assert (await send(system, b"/core/api/hassio/x", headers=[("X-Supervisor-Token", "x")])).status == 403


async def test_tail_reaches_the_handler_as_it_was_spelt_on_the_wire(system: System) -> None:
    answers = {
        target: (await send(system, b"/core/api/" + target)).data["path"].encode()
        for target in (b"", b"a%2eb/", b"%7Euser", b"x;y/[z]", b"%c3%a4")
    }
    with_query = await send(system, b"/core/api/a?b=/../c")

    assert answers == {target: target for target in answers}
    assert with_query.data["path"] == "a"
    assert (await send(system, b"/core/api/a", method="POST")).data["route"] == "core, POST"


@pytest.mark.parametrize(
    ("tail", "words"),
    [("x//y", "empty segment"), ("%2e%2e/x", "dot segment"), ("%4", "cut short"), ("%FF", "not UTF-8")],
)
def test_refusal_of_a_tail_says_what_is_wrong(tail: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        TABLE.match(f"/core/api/{tail}")


def test_thousands_of_escapes_and_segments_are_soon_refused_or_taken() -> None:
    assert found("/core/api/" + "%25" * 4000) is not None
    with pytest.raises(Invalid):
        TABLE.match("/core/api/%" + "25" * 10_000)
    assert found("/core/api" + "/a" * 10_000) is not None


def bound(path: str, handler: Callable[..., object], access: object = PUBLIC) -> Endpoint:
    own = Routes()
    own.get(path, access=access)(handler)  # type: ignore[arg-type]  # an Access, whichever
    return Endpoint(next(iter(own)), ServiceDirectory())


def takes_text(path: str) -> None: ...


def takes_tail(path: Tail) -> None: ...


@pytest.mark.parametrize(
    ("path", "handler", "sentence"),
    [
        ("/a/{path...}", takes_text, "only that, is a Tail"),
        ("/a/{path}", takes_tail, "only that, is a Tail"),
        ("/a/b{path...}", takes_tail, "for NOBODY only"),
        ("/a/{path...}", plain, "takes no path"),
    ],
)
def test_tail_that_cannot_be_bound_is_refused_when_its_plugin_is_loaded(
    path: str, handler: Callable[..., object], sentence: str
) -> None:
    with pytest.raises(TypeError, match=sentence):
        bound(path, handler)


@pytest.mark.parametrize(
    "path", ["/a/{path...}/b", "/{path...}/{x}", "/a/{Path...}", "/a/{path....}", "/a/{x}{path...}"]
)
def test_tail_must_come_last(path: str) -> None:
    with pytest.raises(ValueError, match="GET"):
        Routes().get(path, access=PUBLIC)(takes_tail)


async def test_closed_path_stays_unreachable_while_its_plugin_is_disabled(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[Proxies]):
        pass

    async with running_system(tmp_path, plugins=[Proxies], settings={"plugins.disabled": ["proxies"]}) as system:
        headers = [("Authorization", await token_for(system, Principal("core", "core", Role.ADMIN)))]
        answers = [await send(system, path, headers=headers) for path in (b"/core/api/hassio/x", b"/core/api/states")]

    assert [answer.status for answer in answers] == [503, 503]

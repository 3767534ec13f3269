"""Clients that try to be somebody else to an add-on's page, or to get at what is not theirs; each on one connection, so
that nothing of a request before can be taken for this one's.
"""

from __future__ import annotations

from typing import Any

import pytest

from rooftree import Principal, Role
from rooftree.interfaces.core import UserLoggedOut
from rooftree.testing import token_for
from tests.plugins.ingress.conftest import PAULUS, IngressHouse
from tests.plugins.ingress.test_pages import connected
from tests.rig.backends import Backend, Line

OK = b"HTTP/1.1 200 OK"


async def ask(line: Line, path: str, *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    """The head of the answer; the backend's usual body behind it is taken."""
    lines = [
        f"{method} {path} HTTP/1.1",
        *(fields if any("host:" in f.lower() for f in fields) else ("Host: h", *fields)),
    ]
    line.send("\r\n".join((*lines, "", "")).encode("latin-1") + body)
    head = await line.head()
    if head.startswith(OK) and method != "HEAD":
        await line.take(2)
    return head


def seen(request: dict[str, Any], name: str) -> list[str]:
    return [value for field, value in request["fields"] if field.lower().replace("_", "-") == name]


async def test_each_request_is_its_own_users_whoever_asked_before_on_the_connection(
    here: IngressHouse, backend: Backend
) -> None:
    pages = [await here.run(name, backend.port) for name in ("one", "other")]
    sessions = [await here.open(), await here.open(None)]
    asked = [(page, session) for _ in range(3) for page in pages for session in sessions]
    async with connected(here) as line:
        for page, session in asked:
            assert (await ask(line, f"{page}/x", f"Cookie: ingress_session={session}")).startswith(OK)

    for (page, session), request in zip(asked, backend.requests(), strict=True):
        assert seen(request, "x-remote-user-id") == ([PAULUS.id] if session == sessions[0] else [])
        assert seen(request, "x-ingress-path") == [f"/api/hassio_ingress/{page.rpartition('/')[2]}"]


async def test_claims_are_dropped_in_each_spelling_also_when_the_request_before_made_none(
    here: IngressHouse, backend: Backend
) -> None:
    page, session = await here.run("hello", backend.port), await here.open()
    cookie = f"Cookie: ingress_session={session}"
    claims = ("X_Remote_User_Id", "x-remote_user-name", "X_INGRESS_PATH", "X_Forwarded-For", "X_Hass_Source", "COOKIE_")
    async with connected(here) as line:
        for claim in ("", *claims, ""):
            assert (await ask(line, f"{page}/x", cookie, *([f"{claim}: spoofed"] if claim else []))).startswith(OK)

    first, *others = backend.requests()
    assert [request["fields"] for request in others if "COOKIE_" not in str(request)] == [first["fields"]] * len(claims)


@pytest.mark.parametrize(
    ("cookies", "gets_in"),
    [
        (["ingress_session=MINE"], True),
        (['ingress_session="MINE"; a=b'], True),
        (["a=b", "ingress_session=MINE; c=d"], True),
        (["ingress_session=MINE", "ingress_session=MINE"], True),
        (["ingress_session=MINE; ingress_session=x"], False),
        (["ingress_session=x", "ingress_session=MINE"], False),
        (["INGRESS_SESSION=MINE"], False),
        (["a=ingress_session=MINE"], False),
        (["ingress_session=MINE, a=b"], False),
    ],
)
async def test_session_is_told_by_one_cookie_that_no_page_sees(
    here: IngressHouse, backend: Backend, cookies: list[str], gets_in: bool
) -> None:
    page, session = await here.run("hello", backend.port), await here.open()
    fields = [f"Cookie: {cookie.replace('MINE', session)}" for cookie in cookies]
    async with connected(here) as line:
        heads = [await ask(line, f"{page}/x", f"Cookie: ingress_session={session}")]
        heads += [await ask(line, f"{page}/x", *fields) for _ in range(1 if not gets_in else 2)]

    assert [head.split()[1] for head in heads] == [b"200", *([b"200"] * 2 if gets_in else [b"401"])]
    assert session not in str(backend.facts())


@pytest.mark.parametrize("host", ["hOsT: home.example", "HOST: home.example:8123"])
async def test_host_comes_once_in_its_own_spelling(here: IngressHouse, backend: Backend, host: str) -> None:
    page, cookie = await here.run("hello", backend.port), f"Cookie: ingress_session={await here.open()}"
    async with connected(here) as line:
        for _ in range(3):
            assert (await ask(line, f"{page}/x", host, cookie)).startswith(OK)
    async with connected(here) as line:
        assert (await ask(line, f"{page}/x", host, "Host: other.example", cookie)).split()[1] == b"400"

    assert [seen(request, "host") for request in backend.requests()] == [[host.partition(": ")[2]]] * 3


async def test_part_of_a_page_may_be_asked_for_without_its_body(here: IngressHouse, backend: Backend) -> None:
    page, cookie = await here.run("hello", backend.port), f"Cookie: ingress_session={await here.open()}"
    answer = "HTTP/1.1%20206%20Part%0D%0AContent-Range:%20bytes%200-1/9%0D%0AContent-Length:%202%0D%0A%0D%0A"
    async with connected(here) as line:
        assert (await ask(line, f"{page}/x", cookie)).startswith(OK)
        for _ in range(2):
            head = await ask(line, f"{page}/x?answer={answer}", cookie, "Range: bytes=0-1", method="HEAD")
            assert head == b"HTTP/1.1 206 Part\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\n"
        assert (await ask(line, f"{page}/x", cookie)).startswith(OK)

    assert [seen(request, "range") for request in backend.requests()] == [[], ["bytes=0-1"], ["bytes=0-1"], []]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_body_with_two_lengths_goes_nowhere(here: IngressHouse, backend: Backend, method: str) -> None:
    page, cookie = await here.run("hello", backend.port), f"Cookie: ingress_session={await here.open()}"
    smuggled = f"0\r\n\r\nGET {page}/smuggled HTTP/1.1\r\nHost: h\r\n{cookie}\r\n\r\n".encode()
    async with connected(here) as line:
        assert (await ask(line, f"{page}/x", cookie)).startswith(OK)
        fields = (cookie, f"Content-Length: {len(smuggled)}", "Transfer-Encoding: chunked")
        assert (await ask(line, f"{page}/x", *fields, method=method, body=smuggled)).split()[1] == b"400"
        assert await line.rest() is not None

    assert [request["target"] for request in backend.requests()] == ["/x"]


async def test_session_that_is_over_gets_nowhere_on_a_connection_that_it_has_used(
    here: IngressHouse, backend: Backend
) -> None:
    pages = [await here.run(name, backend.port) for name in ("one", "other")]
    cookie = f"Cookie: ingress_session={await here.open()}"
    async with connected(here) as line:
        for page in pages * 2:
            assert (await ask(line, f"{page}/x", cookie)).startswith(OK)
        here.system.bus.publish(UserLoggedOut(PAULUS.id))
        await here.core.get("/ingress/panels")  # by now everybody has heard it
        for page in pages:
            async with connected(here) as other:
                assert (await ask(other, f"{page}/x", cookie)).startswith(b"HTTP/1.1 401 ")
        assert (await ask(line, f"{pages[0]}/x", cookie)).startswith(b"HTTP/1.1 401 ")

    assert len(backend.requests()) == 4


async def test_token_of_ours_never_reaches_a_page_that_was_asked_for_without_one(
    here: IngressHouse, backend: Backend
) -> None:
    page, cookie = await here.run("hello", backend.port), f"Cookie: ingress_session={await here.open()}"
    token = await token_for(here.system, Principal("core", "homeassistant", Role.ADMIN))
    async with connected(here) as line:
        for fields in (
            (cookie,),
            (cookie,),
            (cookie, f"Authorization: Bearer {token}"),
            (cookie, "Authorization: Basic x"),
        ):
            assert (await ask(line, f"{page}/x", *fields)).startswith(OK)

    assert token not in str(backend.facts())
    assert [seen(request, "authorization") for request in backend.requests()] == [[], [], [], ["Basic x"]]


async def test_more_websockets_than_a_page_may_have_are_refused(
    here: IngressHouse, websocket_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, cookie = await here.run("hello", websocket_port), f"Cookie: ingress_session={await here.open()}"
    monkeypatch.setattr(here.pages._sockets, "_most", 1)
    upgrade = (
        cookie, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )  # fmt: skip
    async with connected(here) as first, connected(here) as second:
        assert (await ask(first, f"{page}/echo", *upgrade)).startswith(b"HTTP/1.1 101 ")
        assert (await ask(second, f"{page}/echo", *upgrade)).startswith(b"HTTP/1.1 503 ")

"""From a request to a handler's parameters, and what is said where that fails."""

from __future__ import annotations

import asyncio
import enum
import gzip
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, Protocol

import pytest
import pytest_asyncio
from attrs import frozen

from rooftree import (
    UNSET,
    From,
    Header,
    Invalid,
    Kernel,
    ParsedString,
    Plugin,
    Principal,
    RawBody,
    Role,
    Routes,
    Service,
    Unset,
)
from rooftree.access.rules import PUBLIC
from rooftree.http.binding import Endpoint
from rooftree.http.routes import Route
from rooftree.process.system import System
from rooftree.services.directory import ServiceDirectory
from rooftree.testing import Client, running_system, token_for
from tests.kernel.raw_http import exchange

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one system serves all: nothing here changes it

routes = Routes()
LIMIT = 1000


class Colour(enum.StrEnum):
    RED = "red"
    GREEN = "green"


class Slug(ParsedString):
    __slots__ = ()

    @classmethod
    def check(cls, text: str) -> None:
        if not text.isidentifier():
            raise ValueError("a slug is letters, digits and underscores")


@frozen
class Options:
    count: int
    name: str | Unset | None = UNSET


@routes.post("/body", access=PUBLIC, max_body=LIMIT)
def with_body(body: Options) -> dict[str, Any]:
    return {"count": body.count, "name": "absent" if isinstance(body.name, Unset) else body.name}


@routes.post("/any", access=PUBLIC)
async def with_any(body: dict[str, Any]) -> dict[str, Any]:
    return body


@routes.post("/raw", access=PUBLIC, max_body=LIMIT)
async def with_raw(body: RawBody) -> dict[str, Any]:
    return {"bytes": len(await body.read()), "type": body.content_type}


@routes.get("/query", access=PUBLIC)
def with_query(
    text: str = "none",
    number: int = 0,
    limit: int | None = None,
    flag: bool = False,
    colour: Colour = Colour.RED,
    which: Literal["a", "b"] = "a",
    slug: Slug | None = None,
    ratio: float = 0.5,
    numbers: list[int] | None = None,
) -> dict[str, Any]:
    return {
        "text": text,
        "number": number,
        "limit": limit,
        "flag": flag,
        "colour": colour,
        "which": which,
        "slug": slug,
        "ratio": ratio,
        "numbers": numbers,
    }


@routes.get("/headers", access=PUBLIC)
def with_headers(
    span: Annotated[str | None, Header("Range")], accept: Annotated[str | None, Header("X-Thing")] = None
) -> dict[str, Any]:
    return {"span": span, "accept": accept}


@frozen
class Span:
    begin: int
    unit: str | None


def asked_span(begin: int = 1, unit: Annotated[str | None, Header("X-Unit")] = None) -> Span:
    if begin < 1:
        raise Invalid("begin: must be 1 or more")
    return Span(begin, unit)


@routes.get("/together", access=PUBLIC)
def with_values_made_into_one(span: Annotated[Span, From(asked_span)]) -> dict[str, Any]:
    return {"begin": span.begin, "unit": span.unit}


def span_since(clock: Clock, begin: int) -> Span:
    return Span(begin, clock.now())


@routes.get("/made/{begin}", access=PUBLIC)
def with_a_service_and_a_part_made_into_one(span: Annotated[Span, From(span_since)]) -> dict[str, Any]:
    return {"begin": span.begin, "unit": span.unit}


@routes.get("/caller", access=PUBLIC)
def with_caller(caller: Principal | None) -> dict[str, str]:
    return {"who": str(caller)}


@routes.get("/parts/{slug}/{number}", access=PUBLIC)
def with_parts(slug: Slug, number: int) -> dict[str, Any]:
    return {"slug": slug, "type": type(slug).__name__, "number": number}


class Clock(Protocol):
    def now(self) -> str: ...


class Missing(Protocol):
    def never(self) -> str: ...


class OurClock:
    def now(self) -> str:
        return "noon"


CLOCK = Service[Clock]("clock/1")


@routes.get("/clock", access=PUBLIC)
def with_service(clock: Clock) -> dict[str, str]:
    return {"now": clock.now()}


@routes.get("/missing", access=PUBLIC)
def with_missing_service(thing: Missing) -> dict[str, str]:
    return {"now": thing.never()}


class Binding(Plugin):
    name = "binding"
    provides = (CLOCK,)

    def routes(self) -> Routes:
        return routes

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(CLOCK, OurClock())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with running_system(tmp_path_factory.mktemp("binding"), plugins=[Binding]) as system:
        yield system


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(system: System) -> AsyncIterator[Client]:
    async with Client.over_tcp(system) as client:
        yield client


async def in_chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"count": 1}, {"count": 1, "name": "absent"}),
        ({"count": 1, "name": None}, {"count": 1, "name": None}),
        ({"count": 1, "name": "x"}, {"count": 1, "name": "x"}),
    ],
)
async def test_body_becomes_its_model(client: Client, sent: object, expected: object) -> None:
    assert (await client.post("/body", json=sent)).data == expected


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "The body is not JSON"),
        (b"{'count': 1}", "The body is not JSON"),
        (b'{"count": NaN}', "The body is not JSON"),
        (b'{"count": 1} x', "The body is not JSON"),
        (b'\xff\xfe{"count": 1}', "The body is not JSON"),
        (b'{"count": "\xff"}', "The body is not JSON"),
        (b'{"name": "\\ud800", "count": 1}', "The body is not JSON"),
        (b"[" * 900, "The body is not JSON"),
        (b"", "count: is required"),
        (b"  ", "count: is required"),
        (b"{}", "count: is required"),
        (b"[]", "must be an object"),
        (b"null", "must be an object"),
        (b'{"count": "1"}', "count: must be a whole number"),
        (b'{"count": 1.0}', "count: must be a whole number"),
        (b'{"count": 123456789012345678901234567890}', "count: must be a whole number"),
        (b'{"count": 1, "colour": 2}', "colour: is not known here; allowed are count, name"),
    ],
)
async def test_body_that_does_not_fit_is_refused_with_a_sentence(client: Client, body: bytes, sentence: str) -> None:
    answer = await client.post("/body", body=body)

    assert answer.status == 400
    assert sentence in answer.message


async def test_body_of_ten_thousand_levels_is_refused(client: Client) -> None:
    depth = 10_000

    answer = await client.post("/any", body=b'{"a":' * depth + b"1" + b"}" * depth)

    assert answer.status == 400
    assert "The body is not JSON" in answer.message


@pytest.mark.parametrize("path", ["/body", "/raw"])
@pytest.mark.parametrize("announced", [True, False])
async def test_body_beyond_the_limit_is_refused_and_the_next_request_served(
    client: Client, path: str, announced: bool
) -> None:
    large = b'{"name": "' + b"x" * LIMIT + b'", "count": 1}'

    answer = await client.post(path, body=large if announced else in_chunks(large[:600], large[600:]))

    assert answer.status == 413
    assert str(LIMIT) in answer.message
    assert (await client.post("/body", json={"count": 1})).status == 200


async def test_body_as_long_as_the_limit_is_taken(client: Client) -> None:
    assert (await client.post("/raw", body=b"x" * LIMIT)).data["bytes"] == LIMIT


async def test_announced_length_beyond_the_limit_is_refused_before_the_body_comes(system: System) -> None:
    answer = await exchange(
        system, b"POST /raw HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 99999999\r\n\r\n"
    )

    assert answer.status == 413


WHOLE = b'{"name": "abc", "count": 1}'


async def test_body_as_it_is_may_say_so(client: Client) -> None:
    answer = await client.post("/body", body=WHOLE, headers={"Content-Encoding": "identity"})

    assert answer.data["name"] == "abc"


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", "deflate", "br", "gzip, gzip", "identity, gzip"])
@pytest.mark.parametrize("path", ["/body", "/raw"])
async def test_body_in_a_content_coding_is_refused(client: Client, coding: str, path: str) -> None:
    answer = await client.post(path, body=gzip.compress(WHOLE), headers={"Content-Encoding": coding})

    assert (answer.status, answer.message) == (
        415,
        f"Content-Encoding: {coding!r} is not taken; send the body as it is",
    )


async def test_raw_body_keeps_its_type(client: Client) -> None:
    answer = await client.post("/raw", body=b"abc", headers={"Content-Type": "application/x-tar"})

    assert answer.data == {"bytes": 3, "type": "application/x-tar"}


@pytest.mark.parametrize(
    "body",
    [b"zz\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"-1\r\na\r\n0\r\n\r\n"],
)
async def test_body_that_breaks_the_chunk_syntax_is_refused_with_400(system: System, body: bytes) -> None:
    head = b"POST /raw HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"

    answer = await exchange(system, head + body)

    assert answer.status == 400
    assert answer.message


async def test_query_values_that_are_absent_have_their_defaults(client: Client) -> None:
    assert (await client.get("/query")).data == {
        "text": "none",
        "number": 0,
        "limit": None,
        "flag": False,
        "colour": "red",
        "which": "a",
        "slug": None,
        "ratio": 0.5,
        "numbers": None,
    }


@pytest.mark.parametrize(
    ("query", "name", "expected"),
    [
        ("text=a%20b", "text", "a b"),
        ("text=", "text", ""),
        ("text=%C3%A4", "text", "ä"),
        ("number=-5", "number", -5),
        ("limit=7", "limit", 7),
        ("flag", "flag", True),
        ("flag=1", "flag", True),
        ("flag=Yes", "flag", True),
        ("flag=off", "flag", False),
        ("colour=green", "colour", "green"),
        ("which=b", "which", "b"),
        ("slug=a_b", "slug", "a_b"),
        ("ratio=1.25", "ratio", 1.25),
        ("ratio=2", "ratio", 2.0),
        ("unknown=5", "text", "none"),
        ("numbers=5", "numbers", [5]),
        ("numbers=5&text=a&numbers=6&numbers=5", "numbers", [5, 6, 5]),
    ],
)
async def test_query_value_is_read_as_its_parameter_says(
    client: Client, query: str, name: str, expected: object
) -> None:
    assert (await client.get(f"/query?{query}")).data[name] == expected


@pytest.mark.parametrize(
    "query",
    [
        "number=x",
        "number=1.5",
        "number=1_000",
        "number=%20%31",
        "number=%D9%A1",
        "number=",
        "number=" + "9" * 5000,
        "limit=x",
        "flag=maybe",
        "colour=RED",
        "which=c",
        "slug=a-b",
        "ratio=nan",
        "ratio=1e999",
        "numbers=5&numbers=x",
        "ratio=x",
    ],
)
async def test_query_value_that_does_not_fit_is_refused_naming_it(client: Client, query: str) -> None:
    answer = await client.get(f"/query?{query}")

    assert answer.status == 400
    assert answer.message.startswith(query.partition("=")[0] + ": must be") or "a slug is" in answer.message


async def test_header_is_filled_in_or_none(client: Client) -> None:
    assert (await client.get("/headers", headers={"Range": "entries=:-5:"})).data == {
        "span": "entries=:-5:",
        "accept": None,
    }


async def test_handler_learns_who_calls(system: System, client: Client) -> None:
    token = await token_for(system, Principal("addon", "hello", Role.DEFAULT))

    assert (await client.get("/caller", token=token)).data == {"who": "addon:hello"}
    assert (await client.get("/caller")).data == {"who": "None"}


async def test_path_parts_are_parsed_by_their_types(client: Client) -> None:
    assert (await client.get("/parts/a_b/5")).data == {"slug": "a_b", "type": "Slug", "number": 5}


@pytest.mark.parametrize("path", ["/parts/a-b/5", "/parts/a/x", "/parts/a/1.5"])
async def test_path_part_that_cannot_be_a_name_is_not_found(client: Client, path: str) -> None:
    answer = await client.get(path)

    assert answer.status == 404
    assert answer.envelope["extra_fields"]["part"] in {"slug", "number"}


async def test_services_are_filled_in_by_type(client: Client) -> None:
    assert (await client.get("/clock")).data == {"now": "noon"}


async def test_service_that_nobody_provides_is_503_naming_it(client: Client) -> None:
    answer = await client.get("/missing")

    assert answer.status == 503
    assert "Missing" in answer.message
    assert answer.headers["Retry-After"]


async def test_client_that_hangs_up_while_sending_leaves_the_server_working(system: System, client: Client) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", system.port)
    writer.write(b"POST /raw HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nabc")
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    assert (await client.get("/clock")).status == 200


async def test_several_values_of_a_request_are_made_into_one_parameter(client: Client) -> None:
    assert (await client.get("/together")).data == {"begin": 1, "unit": None}
    assert (await client.get("/together?begin=3", headers={"X-Unit": "s"})).data == {"begin": 3, "unit": "s"}


async def test_function_that_makes_a_parameter_may_refuse(client: Client) -> None:
    answer = await client.get("/together?begin=0")

    assert (answer.status, answer.message) == (400, "begin: must be 1 or more")


async def test_parts_of_the_path_and_services_are_among_what_makes_a_parameter(client: Client) -> None:
    answer = await client.get("/made/7")

    assert answer.data == {"begin": 7, "unit": "noon"}


def needs_a_number(number: int) -> Span:
    return Span(number, None)


def asks_for_a_number(span: Annotated[Span, From(needs_a_number)]) -> None: ...


async def test_parameter_made_of_something_else_than_the_request_is_refused_when_declared() -> None:
    with pytest.raises(TypeError, match="number needs a default"):
        Endpoint(Route("GET", "/x", asks_for_a_number, PUBLIC), ServiceDirectory())

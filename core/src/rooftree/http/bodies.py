"""Request bodies: read piece by piece, each with its limit, and counted as they come in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import orjson
from aiohttp import web

from rooftree.errors import CodingUnsupported, Invalid, TooLarge
from rooftree.http.connection import Connection
from rooftree.http.handler_inputs import RawBody, whole
from rooftree.http.in_flight import SMALL_BYTES
from rooftree.model import DEEPEST, is_deeper

UNPACKED = 8
"""What a large JSON body holds when it is taken apart, in its own lengths."""
MOST_VALUES: Final = 20_000
"""How many values a JSON body may have, about: as many as a large configuration. To take them apart, and what handlers
do with each, keeps everybody else waiting, so that the length is not all that must be bounded."""
_BEGINS_VALUE: Final = (b",", b"[", b"{")
_TEXTS: Final = re.compile(rb'(?s)"(?:[^"\\]++|\\.)*+"?')


async def _read(request: web.BaseRequest, limit: int) -> AsyncIterator[bytes]:
    length = request.content_length
    if length is not None and length > limit:
        raise TooLarge(f"The body has {length} bytes; at most {limit} are accepted here")
    connection = connection_of(request)
    if length is None or length > SMALL_BYTES:
        connection.expect_body(request)
    coding = ", ".join(request.headers.getall("Content-Encoding", ())).strip()
    if coding.lower() not in {"", "identity"}:
        raise CodingUnsupported(f"Content-Encoding: {coding[:60]!r} is not taken; send the body as it is")
    received = 0
    async for chunk in request.content.iter_any():
        received += len(chunk)
        if received > limit:
            raise TooLarge(f"The body has more than the {limit} bytes that are accepted here")
        yield chunk
        if received > SMALL_BYTES:
            await connection.wait_for_turn()


def connection_of(request: web.BaseRequest) -> Connection:
    """The connection that a request came on."""
    connection = request.protocol
    assert isinstance(connection, Connection)
    return connection


def raw_body(request: web.BaseRequest, limit: int) -> RawBody:
    """The body as it comes in, at most ``limit`` bytes of it."""
    announced = min(request.content_length or 0, limit)
    return RawBody(_read(request, limit), request.content_type, connection_of(request).hold, announced)


async def json_body(request: web.BaseRequest, limit: int) -> Any:
    """What the body says; an empty object where there is none. Raises :class:`~rooftree.errors.Invalid`."""
    if not request.body_exists:
        return {}
    hold = connection_of(request).hold
    content = await whole(_read(request, limit), hold, min(request.content_length or 0, limit))
    if not content.strip():
        return {}
    if len(content) > SMALL_BYTES:
        hold(len(content) * UNPACKED)
    if _has_too_many_values(content):
        raise Invalid(f"The body has too many values: about {MOST_VALUES} are accepted")
    try:
        data = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"The body is not JSON: {error}") from None
    if content.count(b"[") + content.count(b"{") > DEEPEST and is_deeper(data):
        raise Invalid(f"The body nests deeper than {DEEPEST} levels")
    return data


def _has_too_many_values(content: bytes) -> bool:
    """Whether JSON has more values than are accepted, before anything is made of them."""
    if _values(content) <= MOST_VALUES:
        return False
    # it may be long texts; they are left out where that is not work itself
    return content.count(b'"') > 4 * MOST_VALUES or _values(_TEXTS.sub(b"", content)) > MOST_VALUES


def _values(content: bytes) -> int:
    """How many values JSON has at most, where no text has a comma or a bracket."""
    return sum(map(content.count, _BEGINS_VALUE)) + 1

"""What a route can answer besides JSON, and how everything is put into bytes.

JSON answers travel in the envelope ``{"result": "ok", "data": …}``; errors as ``{"result": "error", "message": …}``
with ``error_key``, ``extra_fields`` and ``job_id`` where there is something to say.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web
from attrs import field, frozen

from rooftree.errors import RooftreeError, Unauthenticated

JSON = "application/json"


@frozen
class Text:
    """An answer of plain text."""

    body: str
    content_type: str = "text/plain"


@frozen
class Binary:
    """An answer of bytes."""

    body: bytes = field(repr=False)
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(factory=dict)


@frozen
class Stream:
    """An answer that is sent as it comes. The iterator is closed when the client goes."""

    chunks: AsyncIterator[bytes]
    content_type: str = "text/plain"
    headers: dict[str, str] = field(factory=dict)


@frozen(init=False)
class Media:
    """Says in a handler's signature of which types its answer is, where they are not those that the class has by
    itself: ``-> Annotated[Binary, Media("image/png")]``. It is for the API's document; what is sent says it itself."""

    types: tuple[str, ...]

    def __init__(self, *types: str) -> None:
        self.__attrs_init__(types)


@frozen
class Socket:
    """An answer that is a WebSocket: ``serve`` gets the open one, which is closed when it returns."""

    serve: Callable[[web.WebSocketResponse], Awaitable[None]]


@frozen
class StateChange:
    """A change of documents alone, which takes no job: made once the route has answered with it, and not at all where
    only the plan of the call is asked for. For routes that start a job in some cases, and in others need none."""

    make: Callable[[], Awaitable[None]]


LONGEST_REFUSAL = 1_500
"""Characters of a sentence that says what a client did wrong: more of it is what the client sent."""
LONGEST_FAILURE = 8_000
"""Characters of one that says what went wrong here: it may end with what a program said."""

EMPTY = b'{"result":"ok","data":{}}'


def envelope(data: Any) -> bytes:
    """Plain data as the body of a good answer."""
    return b'{"result":"ok","data":' + orjson.dumps(data) + b"}"


def json_response(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A response with an encoded JSON body."""
    return web.Response(body=body, status=status, headers=headers, content_type=JSON)


def error_body(error: RooftreeError) -> bytes:
    """An error in the envelope."""
    content: dict[str, object] = {"result": "error", "message": _message(error)}
    if error.job_id:
        content["job_id"] = error.job_id
    if error.error_key:
        content["error_key"] = error.error_key
    if error.extra_fields:
        content["extra_fields"] = {name: _short(value, error) for name, value in error.extra_fields.items()}
    try:
        return orjson.dumps(content, default=str)
    except TypeError:  # a file name or header that is no UTF-8, quoted in the sentence
        return json.dumps(content, default=str, ensure_ascii=False).encode("utf-8", "replace")


def _message(error: RooftreeError) -> str:
    return str(_short(error.message, error))


def _short(value: object, error: RooftreeError) -> object:
    """A text in an error, cut where it is longer than what people read; anything else as it is."""
    longest = LONGEST_REFUSAL if error.status < 500 else LONGEST_FAILURE
    return f"{value[: longest - 1]}…" if isinstance(value, str) and len(value) > longest else value


def _headers(error: RooftreeError) -> dict[str, str]:
    if isinstance(error, Unauthenticated) and error.challenge is not None:
        return {"WWW-Authenticate": error.challenge}
    wait_s = error.extra_fields.get("wait_s")
    if isinstance(wait_s, int | float):
        return {"Retry-After": str(max(1, math.ceil(wait_s)))}
    return {"Retry-After": "5"} if error.status == 503 else {}


def error_response(error: RooftreeError, *, text: bool = False) -> web.Response:
    """An error as a response: in the envelope, or its bare sentence where the route answers text or a picture."""
    headers = _headers(error)
    if text:
        return web.Response(text=_message(error), status=error.status, headers=headers)
    return json_response(error_body(error), error.status, headers)

"""From a handler's signature to a function that takes a request: worked out once, when its plugin starts."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from types import UnionType
from typing import Any, Union, get_args, get_origin

import structlog
from aiohttp import WSCloseCode, web
from attrs import mutable
from multidict import MultiMapping

from rooftree.access import NOBODY, PUBLIC, Access
from rooftree.errors import Invalid, NotFound, RooftreeError
from rooftree.fault_places import with_place
from rooftree.http.answer_types import check_of
from rooftree.http.answers import EMPTY, Binary, Socket, StateChange, Stream, Text, envelope, json_response
from rooftree.http.bodies import connection_of, json_body, raw_body
from rooftree.http.connection import Connection
from rooftree.http.exchanges import Proxied, answer_proxied
from rooftree.http.handler_inputs import Introduction
from rooftree.http.in_flight import SMALL_BYTES, TooMuchInFlight
from rooftree.http.paths import FreeText, Tail
from rooftree.http.pieces import PIECE_BYTES, SMALLEST_BYTES, LargeBody
from rooftree.http.routes import Route
from rooftree.http.signature import SWITCH, Input, Source, answer_of, inputs, is_download, unmarked, without_none
from rooftree.jobs import JOBS, JobCall, Plan
from rooftree.model import converter, structure
from rooftree.principal import Principal
from rooftree.services import Injector, Parameter, ServiceDirectory, parameters, type_hints

log = structlog.get_logger(__name__)


@mutable(eq=False)  # one is made for each request, and a frozen one costs three times as much
class Call:
    """What a handler may be bound to: the request, who sent it, and the parts of its path."""

    request: web.BaseRequest
    principal: Principal | None
    parts: Mapping[str, str]
    introduce: Callable[[Call, str], Awaitable[Principal]]
    """Makes it the call of whom a token stands for."""
    access: Access = PUBLIC
    """What was asked of its sender."""
    introduced_by: str | None = None
    """The digest of the token with which its sender said who they are, where that came later than the request."""


HEARTBEAT_S = 30.0
"""Seconds between pings on a WebSocket; one that does not answer is closed."""
GOODBYE_S = 1.0
"""Seconds that a WebSocket's client may take to answer our goodbye."""
FIRST_CHUNK_S = 1.0
"""Seconds a stream's first chunk may take before its headers are sent without it."""
SOCKET_BYTES = 16 * 1024
"""Bytes of a WebSocket's messages that wait for its client, about, before who sends them waits too."""

type _Reader = Callable[[Call], Any]


class Endpoint:
    """A bound handler: awaits a :class:`Call`, gives a response."""

    def __init__(self, route: Route, directory: ServiceDirectory) -> None:
        self.route = route
        self._handler = route.handler
        self._is_async = inspect.iscoroutinefunction(route.handler)
        self._readers: list[tuple[str, _Reader]] = []
        self._body: Parameter | None = None
        services: dict[str, Any] = {}
        names = route.parts(route.path)
        taken = inputs(route)
        for wanted in taken:
            match wanted.source:
                case Source.BODY:
                    self._body = wanted.parameter
                case Source.SERVICE:
                    services[wanted.parameter.name] = wanted.parameter.kind
                case _:
                    self._readers.append((wanted.parameter.name, _reader(wanted, route.max_body, directory)))
        unused = names - {value.name for wanted in taken for value in wanted.values if value.source is Source.PATH}
        if unused:
            raise TypeError(f"{route.method} {route.path}: the handler takes no {', '.join(sorted(unused))}")
        for path in route.paths:
            lacking = (names | route.access.named_parts) - route.parts(path)
            if lacking:
                raise TypeError(f"{route.method} {path}: the path has no part {', '.join(sorted(lacking))}")
            tail = route.tail(path)
            if tail is not None and route.access is not NOBODY and not path.endswith(f"/{{{tail}...}}"):
                raise TypeError(f"{route.method} {path}: a tail that begins within a name is for NOBODY only")
            for parameter in (wanted.parameter for wanted in taken):
                if (parameter.kind is Tail) != (parameter.name == tail):
                    raise TypeError(f"{route.method} {path}: {parameter.name}: a path's tail, and only that, is a Tail")
        self.free_texts = frozenset(
            value.name
            for taken_input in taken
            for value in taken_input.values
            if value.source is Source.PATH
            and isinstance(value.parameter.kind, type)
            and issubclass(value.parameter.kind, FreeText)
        )
        if compared := self.free_texts & route.access.named_parts:
            raise TypeError(
                f"{route.method} {route.path}: who may call it can't depend on {', '.join(compared)}, a free text"
            )
        self._services = Injector(directory, services)
        self._directory = directory
        self.starts_job, marked = answer_of(route)
        answer = unmarked(marked)
        self.streams = not {Stream, Socket, Proxied}.isdisjoint(get_args(answer) or (answer,))
        self.may_begin = answer is Proxied and not self._is_async and self._body is None
        """Whether nothing has to be waited for before what it answers is there: :attr:`Proxied.begin` may be asked."""
        is_json, self._encode = _encoder(answer)
        self.answers_text = not is_json and not is_download(marked)
        """Whether its errors are the bare sentence."""
        hints = type_hints(route.handler)
        if "return" not in hints:
            raise TypeError(
                f"{route.method} {route.path}: {route.handler.__qualname__} does not say what it answers: write "
                "-> and its type, such as -> JobCall[None], or -> None"
            )
        self._declared = hints["return"]
        self._is_declared = check_of(self._declared)
        self._takes_services_only = not self._readers and self._body is None
        self._revision = (
            (route.revision, Injector(directory, {p.name: p.kind for p in parameters(route.revision)}))
            if route.revision
            else None
        )
        if route.revision is not None and (self._body or self._readers or self.streams or self.starts_job):
            raise TypeError(f"{route.method} {route.path}: a kept answer takes only services, and is no stream")
        self._kept: tuple[str, web.Response] | None = None

    async def __call__(self, call: Call, boot_id: str) -> web.StreamResponse:
        """Answer the call; raises :class:`~rooftree.errors.RooftreeError`."""
        if self._revision is None:
            return await self._response(call)
        revise, services = self._revision
        tag = f'"{boot_id}-{revise(**services.resolve())}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if tag in call.request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        if self._kept is None or self._kept[0] != tag:
            response = await self._response(call)
            assert isinstance(response, web.Response)
            if isinstance(response.body, bytes) and len(response.body) > PIECE_BYTES:
                response.body = LargeBody(response.body, is_shared=True)
            self._kept = (tag, response)
        kept = self._kept[1]
        return web.Response(body=kept.body, headers={**kept.headers, **headers})

    async def _began(self, answer: Any, request: web.BaseRequest) -> Any:
        """What comes of the job whose call a handler returned: its own answer, or, where that was asked, its plan."""
        if not _asked_for_plan(request):
            if isinstance(answer, StateChange):
                return await answer.make()
            return await self._directory.get(JOBS).run(answer) if isinstance(answer, JobCall) else answer
        plan = await self._directory.get(JOBS).preview(answer) if isinstance(answer, JobCall) else Plan.empty()
        return plan.needing(str(self.route.access))

    async def _response(self, call: Call) -> web.StreamResponse:
        arguments = self._services.resolve() if self._takes_services_only else await self._arguments(call)
        answer = self._handler(**arguments)
        if self._is_async:
            answer = await answer
        if not self._is_declared(answer):
            declared = self._declared.__name__ if isinstance(self._declared, type) else self._declared
            wrong = f"declares that it returns {declared}, and returned {type(answer).__name__}"
            sentence = f"{self.route.method} {self.route.path}: {self._handler.__qualname__} {wrong}"
            raise TypeError(with_place(sentence, self._handler))
        if self.starts_job:
            answer = await self._began(answer, call.request)
            if isinstance(answer, Plan):
                return json_response(envelope(converter.unstructure(answer)))
        response = self._encode(answer, call.request)
        return response if isinstance(response, web.Response) else await response

    def proxied(self, call: Call) -> Proxied:
        """What the handler answers, where it :attr:`may_begin`."""
        proxied: Proxied = self._handler(**self._small_arguments(call))
        return proxied

    def _small_arguments(self, call: Call) -> dict[str, Any]:
        """All but the body."""
        arguments = self._services.resolve()
        for name, read in self._readers:
            arguments[name] = read(call)
        return arguments

    async def _arguments(self, call: Call) -> dict[str, Any]:
        arguments = self._small_arguments(call)
        if self._body is not None:
            arguments["body"] = structure(await json_body(call.request, self.route.max_body), self._body.kind)
        return arguments


def _reader(wanted: Input, max_body: int, directory: ServiceDirectory) -> _Reader:
    """How a value is read from the call."""
    parameter, name = wanted.parameter, wanted.name
    match wanted.source:
        case Source.PATH if parameter.kind in {str, Tail}:  # these are what the table gives
            return lambda call: call.parts[name]
        case Source.PATH:
            return lambda call: _part(name, call.parts[name], parameter.kind)
        case Source.CALLER:
            return lambda call: call.principal
        case Source.INTRODUCTION:
            return lambda call: Introduction(partial(call.introduce, call))
        case Source.ENDS:
            return lambda call: connection_of(call.request).ends
        case Source.HEADER:
            return lambda call: call.request.headers.get(name)
        case Source.RAW_BODY:
            return lambda call: raw_body(call.request, max_body)
        case Source.SERVICE:
            services = Injector(directory, {parameter.name: parameter.kind})
            return lambda _: services.resolve()[parameter.name]
        case Source.TOGETHER:
            assert wanted.make is not None
            make = wanted.make
            readers = {inner.parameter.name: _reader(inner, max_body, directory) for inner in wanted.inner}
            return lambda call: make(**{name: read(call) for name, read in readers.items()})
        case _:
            return lambda call: _query_value(call.request.query, parameter)


def _part(name: str, text: str, kind: Any) -> Any:
    """A part of the path; one that cannot be the name of anything names nothing that is there."""
    try:
        return _text_value(text, kind)
    except ValueError as error:
        raise NotFound(f"There is nothing called {text!r}: {error}", part=name) from None


def _text_value(text: str, kind: Any) -> Any:
    """A value that travels as text; raises ``ValueError``."""
    if kind is int and not _WHOLE.fullmatch(text):
        raise ValueError(f"must be a whole number, not {text!r}")
    if kind is float and not _DECIMAL.fullmatch(text):
        raise ValueError(f"must be a number, not {text!r}")
    return kind(text) if kind in {int, float} else converter.structure(text, kind)


_WHOLE = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")


def _asked_for_plan(request: web.BaseRequest) -> bool:
    return bool(_query_value(request.query, Parameter("plan", bool, False)))


def _query_value(query: Mapping[str, str], parameter: Parameter) -> Any:
    text = query.get(parameter.name)
    if text is None:
        return parameter.default
    kinds = without_none(parameter.kind)
    if bool in kinds:
        if text.lower() in SWITCH:
            return SWITCH[text.lower()]
        raise Invalid(f"{parameter.name}: must be true or false, not {text!r}")
    try:
        if get_origin(kinds[0]) is list and isinstance(query, MultiMapping):
            return [_text_value(value, get_args(kinds[0])[0]) for value in query.getall(parameter.name)]
        return _text_value(text, kinds[0])
    except ValueError as error:
        raise Invalid(f"{parameter.name}: {error}") from None


type _Encoder = Callable[[Any, web.BaseRequest], web.Response | Awaitable[web.StreamResponse]]
"""Makes a response of an answer; what is sent as it comes is sent while it is awaited."""


def _encoder(kind: Any) -> tuple[bool, _Encoder]:
    """Whether an answer of the declared type is JSON, and how it becomes a response."""
    if kind is type(None):
        return True, _answer_nothing
    if kind in _ENCODERS:
        return False, _ENCODERS[kind]
    if get_origin(kind) in {Union, UnionType} and _ENCODERS.keys() >= set(get_args(kind)):
        return False, lambda answer, request: _ENCODERS[type(answer)](answer, request)
    unstructure = converter.get_unstructure_hook(kind)

    def answer_json(answer: Any, request: web.BaseRequest) -> web.Response:
        if answer is None:
            return json_response(EMPTY)
        return json_response(envelope(unstructure(answer)))

    return True, answer_json


def _answer_nothing(answer: None, request: web.BaseRequest) -> web.Response:
    return json_response(EMPTY)


def _answer_text(answer: Text, request: web.BaseRequest) -> web.Response:
    return web.Response(text=answer.body, content_type=answer.content_type, charset="utf-8")


def _answer_binary(answer: Binary, request: web.BaseRequest) -> web.Response:
    return web.Response(body=answer.body, content_type=answer.content_type, headers=answer.headers)


async def _answer_stream(answer: Stream, request: web.BaseRequest) -> web.StreamResponse:
    """Send chunks as they come. The first is waited for a little, so that an early error is still a proper answer."""
    chunks = answer.chunks
    connection = connection_of(request)
    reserved = PIECE_BYTES if connection.caller is None else 0  # strangers are refused before anything is made for them
    connection.hold(reserved)
    # Taken out of its list when it is sent: a stream holds no more than one chunk.
    first: list[asyncio.Future[bytes | None]] = [asyncio.ensure_future(_next(chunks))]
    try:
        await asyncio.wait(first, timeout=FIRST_CHUNK_S)
        connection.let_go_of(reserved)
        if first[0].done():
            _refuse_without_room(connection, first)
        response = web.StreamResponse(headers={"Content-Type": answer.content_type, **answer.headers})
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            await _send(request, response, first, chunks)
        except ConnectionError:
            raise
        except Exception as error:
            # Too late for an error answer. A body that breaks off tells the client that it is not whole.
            if isinstance(error, TooMuchInFlight):  # its reader does not read; of these a count is logged
                connection_of(request).let_go()
                raise ConnectionAbortedError(error.message) from None
            log.warning("stream_broke_off", path=request.path, exc_info=not isinstance(error, RooftreeError),
                        error=str(error))  # fmt: skip
            if request.transport is not None:
                request.transport.close()
            raise ConnectionAbortedError(str(error)) from error
        await response.write_eof()
        return response
    finally:
        for task in first:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


def _refuse_without_room(connection: Connection, first: list[asyncio.Future[bytes | None]]) -> None:
    """Raise :class:`~rooftree.http.in_flight.TooMuchInFlight` before anything is sent, if there is no room for it."""
    size = len(first[0].result() or b"")
    if size <= SMALL_BYTES:
        return
    try:
        connection.hold(2 * size)
    except TooMuchInFlight:
        first.clear()  # or the error would keep it, until somebody looks for what refers to itself
        raise
    connection.let_go_of(2 * size)


async def _send(
    request: web.BaseRequest,
    response: web.StreamResponse,
    first: list[asyncio.Future[bytes | None]],
    others: AsyncIterator[bytes],
) -> None:
    """Send chunk by chunk, each when what came before has left; others have their turn meanwhile."""
    chunk = await first[0]
    first.clear()
    connection = connection_of(request)
    work = 0
    while chunk is not None:
        for begin in range(0, len(chunk), PIECE_BYTES):
            piece = chunk[begin : begin + PIECE_BYTES] if len(chunk) > PIECE_BYTES else chunk
            held = len(chunk) - begin + len(piece) if len(piece) > SMALL_BYTES else 0  # aiohttp makes a copy of it
            if held:
                try:
                    connection.hold(held)
                except TooMuchInFlight:
                    chunk, piece = None, b""  # as above
                    raise
            await response.write(piece)
            await connection.all_sent()
            if held:
                connection.let_go_of(held)
            work += max(len(piece), SMALLEST_BYTES)
            if work >= PIECE_BYTES:
                work = 0
                await connection.wait_for_turn()
        chunk = await _next(others)


async def _answer_socket(answer: Socket, request: web.BaseRequest) -> web.StreamResponse:
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, compress=False, writer_limit=SOCKET_BYTES)
    key = request.headers.get("Sec-WebSocket-Key", "")  # aiohttp fails on one that is no text
    if not key.isascii() or not socket.can_prepare(request).ok:
        raise Invalid("This is a WebSocket: send the headers that open one (RFC 6455)")
    await socket.prepare(request)
    code = WSCloseCode.GOING_AWAY
    try:
        await answer.serve(socket)
        code = WSCloseCode.OK
    finally:
        try:
            async with asyncio.timeout(GOODBYE_S):
                await socket.close(code=code)
        except TimeoutError:
            connection_of(request).let_go()  # what is left would wait for a client that takes nothing
    return socket


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


_ENCODERS: Mapping[Any, _Encoder] = {
    Text: _answer_text,
    Binary: _answer_binary,
    Stream: _answer_stream,
    Socket: _answer_socket,
    Proxied: answer_proxied,
}
"""How answers are encoded that are no JSON; a handler may choose between them."""

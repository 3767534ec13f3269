"""The server: one catch-all handler in aiohttp, our own route table, every listener.

In this order, for each request: match the canonical path, tell who calls, decide, ask whether the owner of the route is
ready, bind, run, encode. Everything that goes wrong on the way becomes an answer in the envelope.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from rooftree.access import Tokens
from rooftree.clock import MACHINE, Clock
from rooftree.context import caller, is_cancelled, looking, plugin_under_way
from rooftree.errors import (
    Conflict,
    NotReady,
    RooftreeError,
)
from rooftree.http.admission import Admission, Gate, NotOffered
from rooftree.http.answers import error_response
from rooftree.http.binding import Call, Endpoint
from rooftree.http.brief import BriefCalls
from rooftree.http.connection import IDLE_S, Connection
from rooftree.http.connections import Connections
from rooftree.http.in_flight import InFlight, TooMuchInFlight
from rooftree.http.pieces import PIECE_BYTES, LargeBody
from rooftree.http.revocation import Revocation
from rooftree.http.senders import Senders
from rooftree.http.sockets import ACCEPTED_PER_TURN, BACKLOG, bound_unix, bound_unsent, miss_the_lost, stop_taking
from rooftree.http.table import Entry, RouteTable
from rooftree.http.traffic import Traffic
from rooftree.state import explained

log = structlog.get_logger(__name__)

STOP_S = 5.0
"""Seconds that open requests get when the server stops."""
DRAIN_LOOK_S = 0.01
"""Seconds between looks whether the calls of a plugin that stops have ended."""
CUT_OFF_S = 1.0
"""Seconds that a call gets to end when it is cut off."""


class HttpServer:
    """Answers requests on every listener.

    :param tokens: tells whom a token stands for
    :param gate: why the plugin that owns a route cannot answer now, or ``None``
    :param boot_id: changes at every start, so that no ETag outlives the process
    :param in_flight_bytes: how many bytes of bodies and answers may be in memory at once
    """

    def __init__(
        self, tokens: Tokens, gate: Gate, boot_id: str, clock: Clock = MACHINE, in_flight_bytes: int = 64 * 1024 * 1024
    ) -> None:
        self.traffic = Traffic()
        self.senders = Senders(tokens, clock)
        self._admission = Admission(self.senders, gate)
        self._brief_calls = BriefCalls(self._admission, self.senders, self.traffic)
        self._boot_id = boot_id
        self.on_crash: Callable[[str, str, Exception], None] = _only_logged
        """Told whose handler failed in a way it did not foresee, on which route, and how."""
        self._runner: web.ServerRunner | None = None
        self._in_flight = InFlight(in_flight_bytes)
        self._revocation = Revocation(self.senders.now_of)
        self._lookers: list[asyncio.Task[None]] = []
        self._sites: dict[str, tuple[web.BaseSite, socket.socket]] = {}
        self._calls: dict[str, set[asyncio.Task[Any]]] = defaultdict(set)
        self._streams: dict[str, set[asyncio.Task[Any]]] = defaultdict(set)
        self._cut_off: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Get ready to listen; the listeners are opened one by one."""
        connections = Connections(
            self._handle,
            self._in_flight,
            self._brief_calls.begin,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=IDLE_S,
            auto_decompress=False,  # bodies in a coding are refused: a few bytes can become very many
        )
        self._runner = web.ServerRunner(connections, handle_signals=False, shutdown_timeout=STOP_S)
        await self._runner.setup()
        self._lookers = [
            asyncio.create_task(connections.let_slow_ones_go(), name="let slow clients go"),
            asyncio.create_task(self._brief_calls.let_long_ones_wait(), name="let those wait that are not brief"),
            asyncio.create_task(self._revocation.watch(), name="end what outlives its token"),
        ]

    async def listen_tcp(self, host: str, port: int) -> int:
        """Listen on an address; the port that was really taken (0 asks for any free one)."""
        try:
            bound = socket.create_server(
                (host, port), backlog=1024, family=socket.AF_INET6 if ":" in host else socket.AF_INET
            )
        except OSError as error:
            raise Conflict(
                f"Cannot listen on {host} port {port}: {error.strerror or error}. "
                "Stop what listens there, or set kernel.host and kernel.port"
            ) from error
        await self.listen_socket("tcp", bound)
        return int(bound.getsockname()[1])

    async def listen_unix(self, path: Path) -> None:
        """Listen on a unix socket whose peer credentials make root and our own user administrators."""
        try:
            bound = await asyncio.to_thread(bound_unix, path)
        except OSError as error:
            raise Conflict(
                f"Cannot listen on the unix socket {path}: {error.strerror or error}. Set kernel.socket"
            ) from error
        await self.listen_socket("unix", bound)

    async def listen_socket(self, name: str, bound: socket.socket) -> None:
        """Serve a socket that listens already; an earlier one of that name is closed."""
        assert self._runner is not None
        await self.close_listener(name)
        bound.setblocking(False)
        bound_unsent(bound)
        miss_the_lost(bound)
        site = web.SockSite(self._runner, bound, backlog=ACCEPTED_PER_TURN)
        await site.start()
        bound.listen(BACKLOG)  # asyncio takes one number for both
        self._sites[name] = site, bound

    async def close_listener(self, name: str) -> None:
        """Stop listening there; open connections go on."""
        if name in self._sites:
            site, bound = self._sites.pop(name)
            await stop_taking([bound])
            await site.stop()

    @property
    def table(self) -> RouteTable:
        """All routes; swapped when plugins come and go."""
        return self._admission.table

    @table.setter
    def table(self, table: RouteTable) -> None:
        self._admission.table = table

    @property
    def listeners(self) -> Mapping[str, str]:
        """The open listeners by name, with where they listen."""
        return {name: site.name for name, (site, _) in self._sites.items()}

    def end_streams(self) -> None:
        """End the answers that would never end by themselves, such as a log that is followed."""
        for owner in {*self._streams, *self._brief_calls.owners}:
            self._end_streams_of(owner)

    def _end_streams_of(self, owner: str) -> None:
        for task in self._streams[owner]:
            task.cancel()
        self._brief_calls.end_those_of(owner)

    async def drain(self, owner: str, grace_s: float, asker: asyncio.Task[Any] | None = None) -> None:
        """Wait until no call of a plugin is under way but the one that asked for this. Its streams are ended at once,
        and what is not done after ``grace_s`` seconds is cut off, and answered 503. The gate must be closed, so that
        none comes."""
        self._end_streams_of(owner)
        clock = asyncio.get_running_loop().time
        until = clock() + grace_s
        while under_way := (self._calls[owner] | self._streams[owner]) - {asker}:
            if clock() >= until:
                log.warning("calls_cut_off", plugin=owner, count=len(under_way))
                self._cut_off |= self._calls[owner] & under_way
                for task in under_way:
                    task.cancel()
                await asyncio.wait(under_way, timeout=CUT_OFF_S)
                break
            await asyncio.sleep(DRAIN_LOOK_S)

    async def stop(self) -> None:
        """Close the listeners, end what streams, let other requests end for :data:`STOP_S`, close the rest."""
        self.end_streams()
        while self._lookers:
            self._lookers.pop().cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._sites.clear()
        self.senders.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        began = time.perf_counter()
        entry: Entry | None = None
        plugin_under_way.set(None)  # until it is known whose the route is
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.caller = None
        try:
            if connection.unsent:  # of an answer before
                await connection.all_sent()
            try:
                principal = connection.caller = await self.senders.of(request)
            finally:
                if not connection.turns.is_free:
                    await connection.turns.wait(connection.account)
            entry, parts = self._admission.route_of(request, principal)
            access = entry.route.access
            if access.session is not None:
                principal = connection.caller = self.senders.of_session(request, access.session)
            endpoint = self._admission.endpoint(entry, request, principal, parts)
            response = await self._run(
                entry.owner, endpoint, Call(request, principal, parts, self.senders.introduce, access)
            )
            body = response.body if type(response) is web.Response else None
            if isinstance(body, bytes) and len(body) > PIECE_BYTES:
                connection.hold(len(body))
                response.body = LargeBody(body)  # type: ignore[attr-defined]  # it is a Response
        except RooftreeError as error:
            response = _refused(error, request, entry)
        except web.HTTPException:
            raise
        except Exception as error:
            response = self._crashed(error, request, entry)
        route = entry.route.path if entry is not None else ""
        self.traffic.note(request.method, route, response.status, time.perf_counter() - began)
        return response

    def _crashed(self, error: Exception, request: web.BaseRequest, entry: Entry | None) -> web.Response:
        """The answer where a handler failed in a way it did not foresee; raises the error where nobody hears it."""
        if isinstance(error, ConnectionError) and _is_gone(request):
            raise error
        refusal = explained(error)
        if refusal is not None:
            log.warning("request_failed", method=request.method, path=request.path, error=str(error))
            return error_response(refusal, text=_answers_text(entry))
        log.exception("request_crashed", method=request.method, path=request.path)
        owner, path = (entry.owner, entry.route.path) if entry is not None else ("kernel", request.path)
        self.on_crash(owner, f"{request.method} {path}", error)
        return error_response(RooftreeError("Rooftree failed on this request; its log (/supervisor/logs) says where"))

    async def _run(self, owner: str, endpoint: Endpoint, call: Call) -> web.StreamResponse:
        caller.set(call.principal)
        looking.set(call.request.method in {"GET", "HEAD"})
        plugin_under_way.set(owner)
        task = asyncio.current_task()
        assert task is not None
        under_way = (self._streams if endpoint.streams else self._calls)[owner]
        under_way.add(task)
        goes_on = endpoint.streams or not call.request.content.is_eof()
        watched = self._revocation.watches(call, task, streams=endpoint.streams) if goes_on else None
        try:
            return await endpoint(call, self._boot_id)
        except asyncio.CancelledError:
            if is_cancelled() and task not in self._cut_off:
                raise
            raise self._cut_off_by(task, owner) from None
        except SystemExit as error:  # in a handler it must not end the daemon
            raise RuntimeError(f"a handler ended with {error!r}") from error
        finally:
            under_way.discard(task)
            if watched is not None:
                watched.end()
            self._cut_off.discard(task)  # not before: it may take longer to end than it is waited for

    def _cut_off_by(self, task: asyncio.Task[Any], owner: str) -> Exception:
        """What a call is answered that was cancelled though its client waits: by a drain, or by what it waited for."""
        if task not in self._cut_off:
            return RuntimeError("something that the handler waited for was cancelled")
        return NotReady(f"Plugin {owner} was stopped before this call had ended")


def _answers_text(entry: Entry | None) -> bool:
    return entry is not None and entry.endpoint is not None and entry.endpoint.answers_text


def _refused(error: RooftreeError, request: web.BaseRequest, entry: Entry | None) -> web.Response:
    """The answer to what can't be done."""
    if error.status >= 500 and not isinstance(error, TooMuchInFlight):  # of these a count is logged
        log.warning("request_failed", method=request.method, path=request.path, error=error.message)
    response = error_response(error, text=_answers_text(entry))
    if isinstance(error, TooMuchInFlight):
        response.force_close()  # there is no room for what it would send next either
    if isinstance(error, NotOffered):
        response.headers["Allow"] = error.allowed
    return response


def _only_logged(owner: str, route: str, error: Exception) -> None:
    """What a handler raised is in the log, and nobody else asks."""


def _is_gone(request: web.BaseRequest) -> bool:
    """Whether the client hung up: then nobody is there to be answered."""
    return request.transport is None or request.transport.is_closing()

"""Requests passed on without a task: those whose answer comes whole and at once. See ``rooftree.Proxied.begin``."""

from __future__ import annotations

from functools import partial

from rooftree import Ending, Exchange
from rooftree_proxying.requests import ForwardedRequest, request_head
from rooftree_proxying.response_heads import end_of_head, parse_head
from rooftree_proxying.upstreams import Address, UpstreamConnection, Upstreams


class BegunForward:
    """A request that was sent to its upstream, and waits for the whole answer."""

    def __init__(
        self, exchange: Exchange, ending: Ending, upstreams: Upstreams, request: ForwardedRequest, head: bytes
    ) -> None:
        self._exchange = exchange
        self._ending = ending
        self._upstreams = upstreams
        self._request = request
        self._head = head
        self._connection: UpstreamConnection
        self._waits = True

    def send_on(self, connection: UpstreamConnection) -> None:
        """Send it there."""
        self._connection = connection
        self._ending.send(partial(connection.transport.write, self._head))
        connection.tell(partial(self._ending.handle, self._look))

    def is_of(self, address: Address, head: bytes) -> bool:
        """Whether this was sent there."""
        return self._request.address == address and self._head == head

    def hand_over(self) -> UpstreamConnection:
        """The connection, for who goes on."""
        self._stop_waiting()
        return self._connection

    def abort(self) -> None:
        """Nobody waits for the answer any more."""
        self._stop_waiting()
        self._connection.transport.abort()

    def _stop_waiting(self) -> None:
        self._waits = False
        self._connection.tell(None)

    def _look(self) -> None:
        """Answer with what came, where it is the whole answer."""
        if not self._waits:  # it was told of twice, or it is somebody else's by now
            return
        self._stop_waiting()
        connection = self._connection
        data = connection.take()
        if not self._answers_with(data):
            connection.give_back(data)
            self._ending.take_long_way()

    def _answers_with(self, data: bytes) -> bool:
        try:
            end = end_of_head(data)
            head = parse_head(data[:end], self._exchange.method)
            if not head.is_all_with(len(data) - end):
                return False
            fields = self._request.answer_fields(head.fields)
            self._ending.answer(head.status, head.reason, fields, head.length, data[end:])
        except ValueError:  # it is told where it is read again
            return False
        self._upstreams.keep(self._request.address, self._connection)
        return True


def begin_forward(
    exchange: Exchange, ending: Ending, upstreams: Upstreams, request: ForwardedRequest
) -> BegunForward | None:
    """Begin to pass a request on, where a connection was kept for it."""
    head = request_head(exchange, request)
    connection = upstreams.kept(request.address)
    if connection is None:
        return None
    begun = BegunForward(exchange, ending, upstreams, request, head)
    begun.send_on(connection)
    return begun

"""What an upstream is sent of a request: its head, written anew.

It is made of what was understood of the client's request, so that the two can't disagree on where it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Self

from attrs import field, frozen, mutable

from rooftree import Exchange, Field, Invalid
from rooftree_proxying.header_fields import options, values
from rooftree_proxying.upstreams import Address

_OF_TARGET = bytes({*range(0x21, 0x7F), *range(0x80, 0x100)} - {ord("#")})


def _as_they_are(fields: Sequence[Field]) -> Iterable[Field]:
    return fields


@frozen
class Written:
    """Header fields as they are sent, for who sends the same ones again."""

    lines: bytes = field(repr=False)
    names_host: bool
    """Whether ``Host`` is among them."""

    @classmethod
    def of(cls, fields: Sequence[Field]) -> Self:
        """Write them; raises :class:`~rooftree.Invalid` for more than one ``Host``."""
        hosts = len(values(fields, b"host"))
        if hosts > 1:
            raise Invalid("The header Host was sent more than once")
        return cls(b"".join([b"%b: %b\r\n" % field for field in fields]), bool(hosts))


@mutable(eq=False)  # one is made for each request, and a frozen one costs three times as much
class ForwardedRequest:
    """What the upstream is sent."""

    address: Address
    target: str
    """Path and query, as they are to be on the wire; made of a :class:`~rooftree.Tail` and :attr:`Exchange.query`."""
    fields: Sequence[Field] | Written = field(repr=False)
    """The header fields, :func:`~rooftree_proxying.end_to_end` ones: what frames the message is added."""
    answer_fields: Callable[[Sequence[Field]], Iterable[Field]] = field(default=_as_they_are, repr=False)
    """What becomes of the fields of the answer, and of those behind its body; it gets the end-to-end ones. Those of
    interim answers, too."""
    on_answer: Callable[[], None] = field(default=lambda: None, repr=False)
    """Called when the answer itself begins."""


def request_head(exchange: Exchange, request: ForwardedRequest) -> bytes:
    """The head; raises :class:`~rooftree.Invalid` for what can't be one."""
    target = request.target.encode("utf-8", "surrogateescape")
    if not target.startswith(b"/") or target.translate(None, _OF_TARGET):
        raise Invalid("The request target has a character that must be percent-encoded")
    written = request.fields if isinstance(request.fields, Written) else Written.of(request.fields)
    lines = [b"%b %b HTTP/1.1\r\n" % (exchange.method.encode(), target), written.lines]
    if not written.names_host:
        address = request.address
        lines.append(f"Host: {address.host or 'localhost'}:{address.port or 80}\r\n".encode())
    if exchange.length is not None:
        lines.append(b"Content-Length: %d\r\n" % exchange.length)
    elif exchange.has_body:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    if exchange.offers_upgrade:
        lines.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    elif exchange.has_field("TE") and b"trailers" in options(exchange.fields, b"te"):
        lines.append(b"Connection: TE\r\nTE: trailers\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)

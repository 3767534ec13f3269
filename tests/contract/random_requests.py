"""Requests at random, byte by byte, for every route there is: from nearly right to not HTTP at all.

What a route declares (path, query parameters, body) is read from it, so that many requests get as far as its handler.
The same seed and the same table give the same requests.
"""

from __future__ import annotations

import gzip
import inspect
import json
import re
import zlib
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any, get_type_hints
from urllib.parse import quote_from_bytes

import attrs
from attrs import frozen

from rooftree.http.table import Entry

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "BREW")
LITERALS = ("NaN", "-Infinity", "1e400", "-0", "0.1e-400", str(10**400), str(2**64), str(-(2**63) - 1), r'"\ud800"')
"""JSON, or nearly, that Python would not write."""
TEXTS = (
    "", " ", "x", "self", "local_hello", "local_nothing", "true", "null", "0", "-1", "1.5", "x" * 5_000, "\0", "a\0b",
    "\u202e\u0000\uffff", "\N{PILE OF POO}", "../../etc/passwd", "a/b", "%2e%2e", "' OR 1=1 --", "${x}", "{{x}}",
    "\r\nX: y", "stable", "info", "manager", "admin", "Europe/Berlin", "CH", "free_space", "1.0", "\\", "a:b",
    "http://127.0.0.1:9/x",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 7, 60, 255, 65_536, 2**31, 2**53 + 1, 2**63, -(2**31), 0.5, -0.0, 1e308)
HEADERS = (
    ("Range", "entries=:-99:100"), ("Range", "entries=" + "9" * 30), ("Range", "bytes=0-"), ("Range", "entries=:::::"),
    ("Range", "realtime=1767225600000000:1767229200:100"), ("Range", "realtime=:1:-0:"), ("Range", "realtime=:::::"),
    ("Range", "entries=t=1;c=00000000:-9:9"), ("Range", "realtime=" + "9" * 40 + ":"),
    ("Accept", "text/x-log"), ("Accept", "*/*"), ("Accept", "image/png"), ("Accept", ";;;,,,"), ("If-None-Match", "*"),
    ("If-None-Match", 'W/"x"'), ("Expect", "100-continue"), ("Expect", "the-worst"), ("X-Forwarded-For", "127.0.0.1"),
    ("Last-Event-ID", "x-1"), ("Last-Event-ID", "00000000-99999999999999999999"), ("Cookie", "a=b; " * 200),
    ("X-Long", "y" * 7_000), ("X-Too-Long", "y" * 70_000), ("X-High", "\xe4\xff"), ("X-Empty", ""), ("Host", "twice"),
    ("Connection", "close"), ("Connection", "upgrade, x"), ("Upgrade", "h2c"), ("Accept-Encoding", "gzip, br"),
    ("Authorization", "Basic eDp5"), ("Authorization", "Bearer"), ("X-HTTP-Method-Override", "DELETE"),
    ("TE", "trailers"),
)  # fmt: skip
SOCKET = (
    ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)  # fmt: skip
TYPES = (
    "application/json", "application/json; charset=utf-16", "text/plain", "application/x-www-form-urlencoded",
    "multipart/form-data", "application/octet-stream", "image/svg+xml", "x", "\xff/\xfe", "",
)  # fmt: skip


@frozen
class RandomRequest:
    """One request, as bytes."""

    route: str
    raw: bytes
    asks_for_body: bool
    """Whether an answer with a length comes with that many bytes."""
    is_whole: bool
    """Whether it has to be answered; the server may wait for more of any other."""

    def __str__(self) -> str:
        return f"{self.route}: {self.raw[:1500]!r}{' …' if len(self.raw) > 1500 else ''}"


class RandomRequests:
    """The requests of one seed.

    :param names: by the name of a path's part, what it may well be
    :param tokens: some that are valid
    """

    def __init__(
        self, entries: Sequence[Entry], seed: int, names: dict[str, Sequence[str]], tokens: Sequence[str]
    ) -> None:
        self._chance = Random(seed)
        self._entries = sorted(entries, key=lambda entry: (entry.route.path, entry.route.method))
        self.names = names
        self.tokens = tokens
        self._number = 0

    def __next__(self) -> RandomRequest:
        """The next one; the routes take turns."""
        route = self._entries[self._number % len(self._entries)].route
        self._number += 1
        often, chance = self._often, self._chance
        path = chance.choice(list(route.paths))
        method = route.method if often(0.85) else chance.choice(METHODS)
        headers = [("Host", "rooftree")] if often(0.98) else []
        headers += self._token()
        body = self._body(route.handler) if method not in {"GET", "HEAD"} or often(0.1) else b""
        if often(0.7) and body:
            headers.append(("Content-Type", TYPES[0] if often(0.7) else chance.choice(TYPES)))
        for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
            headers.append(chance.choice(HEADERS))
        if often(0.05):
            headers += SOCKET
        coding, body = self._coding(body)
        if coding:
            headers.append(("Content-Encoding", coding))
        framing, sent, is_whole = self._framing(body)
        headers += framing
        if often(0.1):
            chance.shuffle(headers)
        lines = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in headers)
        target = self._target(path, route.handler)
        version = "HTTP/1.1" if often(0.97) else chance.choice(("HTTP/1.0", "HTTP/2.0", "HTTP/9", "http/1.1", ""))
        raw = f"{method} ".encode() + target + f" {version}\r\n".encode() + lines + b"\r\n" + sent
        if often(0.02):
            is_whole = False
            at = chance.randrange(len(raw))
            raw = raw[:at] + chance.randbytes(chance.randrange(1, 5)) + raw[at + chance.randrange(3) :]
        usual = method in METHODS[:8] and version == "HTTP/1.1" and ("Upgrade", "h2c") not in headers
        has_body = method.upper() not in {"HEAD", "CONNECT"}
        return RandomRequest(f"{route.method} {route.path}", raw, has_body, is_whole and usual)

    def _often(self, share: float) -> bool:
        return self._chance.random() < share

    def _token(self) -> list[tuple[str, str]]:
        name = self._chance.choice(("Authorization", "X-Supervisor-Token", "X-Hassio-Key"))
        prefix = "Bearer " if name == "Authorization" else ""
        good = self._chance.choice(self.tokens)
        which = self._chance.random()
        if which < 0.94:
            return [(name, prefix + good)]
        if which < 0.96:
            return []
        if which < 0.98:
            return [(name, prefix + good), (name, prefix + good[::-1])]
        return [(name, prefix + self._chance.choice(("", "f" * 112, good[:-1], good + "\xff", "x" * 6_000)))]

    def _target(self, path: str, handler: Any) -> bytes:
        def part(found: re.Match[str]) -> str:
            good = self.names.get(found[1], ("x",))
            name = self._chance.choice(good) if self._often(0.75) else self._text()
            return quote_from_bytes(name.encode("utf-8", "surrogatepass"), safe="" if self._often(0.9) else "/.")

        target = re.sub(r"\{(\w+)(?:\.\.\.)?\}", part, path).encode()
        if self._often(0.3):
            known = [*inspect.signature(handler).parameters, "plan", "lines", "verbose", "since", "types", "no_colors"]
            pairs = [
                (self._chance.choice(known) if self._often(0.9) else self._text(), self._value_text())
                for _ in range(self._chance.randrange(1, 4))
            ]
            target += b"?" + b"&".join(
                quote_from_bytes(name.encode("utf-8", "replace")).encode() + b"=" + value for name, value in pairs
            )
        return target

    def _value_text(self) -> bytes:
        if self._often(0.1):
            return self._chance.choice((b"%ff", b"%00", b"%", b"%zz", b"\xe4", b"a=b=c", b"%ed%a0%80"))
        value = self._text() if self._often(0.6) else str(self._chance.choice((*NUMBERS, 10**30)))
        return quote_from_bytes(value.encode()).encode()

    def _text(self) -> str:
        return self._chance.choice(TEXTS)

    # --- bodies -------------------------------------------------------------------------------------------------------

    def _body(self, handler: Any) -> bytes:
        kind = self._chance.random()
        if kind < 0.05:
            return b""
        if kind < 0.1:
            return self._chance.randbytes(self._chance.choice((1, 10, 1_000)))
        if kind < 0.14:
            depth = self._chance.choice((100, 1_000, 20_000))
            return self._chance.choice(
                (b"[" * depth, b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth)
            )
        text = self._object(get_type_hints(handler).get("body"))
        if kind < 0.2:
            return text.encode(self._chance.choice(("utf-16", "utf-32", "utf-8-sig", "cp037")), "replace")
        content = text.encode("utf-8", "replace")
        if kind < 0.24:
            return content.replace(b'"', b"\xff", 1) if self._often(0.5) else content[: len(content) // 2]
        if kind < 0.27:
            return b" " * self._chance.choice((1, 100_000)) + content + b"\0" * self._chance.randrange(2)
        return content

    def _object(self, model: Any) -> str:
        """A JSON object with the model's keys, some at least, and values of any type; keys may come twice."""
        known = [field.name for field in attrs.fields(model)] if model is not None and attrs.has(model) else []
        if self._often(0.06):
            return self._json(2)
        names = [name for name in known if self._often(0.5)] if known else []
        if self._often(0.15) or not known:
            names.append(self._text())
        if names and self._often(0.1):
            names.append(names[0])
        return "{" + ", ".join(f"{json.dumps(name)}: {self._json(3)}" for name in names) + "}"

    def _json(self, depth: int) -> str:
        kind = self._chance.random()
        if kind < 0.1:
            return self._chance.choice(LITERALS)
        if kind < 0.4:
            return json.dumps(self._text(), ensure_ascii=self._often(0.5))
        if kind < 0.6:
            return json.dumps(self._chance.choice(NUMBERS))
        if kind < 0.75 or not depth:
            return self._chance.choice(("true", "false", "null"))
        items = [self._json(depth - 1) for _ in range(self._chance.randrange(4))]
        if kind < 0.88:
            return "[" + ", ".join(items) + "]"
        return "{" + ", ".join(f"{json.dumps(self._text())}: {item}" for item in items) + "}"

    def _coding(self, body: bytes) -> tuple[str, bytes]:
        kind = self._chance.random()
        if kind > 0.12:
            return "", body
        packed = gzip.compress(body)
        return self._chance.choice(
            (
                ("gzip", packed),
                ("deflate", zlib.compress(body)),
                ("gzip", packed[: self._chance.randrange(len(packed))]),
                ("gzip", packed + b"more"),
                ("gzip", body),
                ("gzip", _bomb()),
                ("br", body),
                ("gzip, gzip", gzip.compress(packed)),
                ("identity", body),
            )
        )

    def _framing(self, body: bytes) -> tuple[list[tuple[str, str]], bytes, bool]:
        """How the body's length is told, what is sent, and whether that is all; mostly as it should be."""
        kind = self._chance.random()
        length = str(len(body))
        if kind < 0.72:
            return ([("Content-Length", length)] if body or self._often(0.5) else []), body, True
        if kind < 0.86:
            return [("Transfer-Encoding", "chunked")], self._chunked(body), True
        headers, sent = self._chance.choice(
            (
                ([("Content-Length", str(len(body) + 10))], body),
                ([("Content-Length", str(max(0, len(body) - 3)))], body),
                ([("Content-Length", "-1")], body),
                ([("Content-Length", "1_0")], body),
                ([("Content-Length", "9" * 25)], body),
                ([("Content-Length", length), ("Content-Length", length)], body),
                ([("Content-Length", length), ("Content-Length", "0")], body),
                ([("Content-Length", length), ("Transfer-Encoding", "chunked")], self._chunked(body)),
                ([("Transfer-Encoding", "chunked, gzip")], body),
                ([("Transfer-Encoding", "xchunked")], body),
                ([("Transfer-Encoding", "chunked")], body),
                ([("Transfer-Encoding", "chunked")], self._chunked(body)[:-3]),
                ([("Transfer-Encoding", "chunked")], b"ffffffffffffffffff\r\n" + body),
            )
        )
        return headers, sent, False

    def _chunked(self, body: bytes) -> bytes:
        sent = b""
        size = self._chance.choice((1, 3, 100, 10_000))
        for start in range(0, min(len(body), size * 50), size):
            last = start + size * 2 > size * 50
            piece = body[start:] if last else body[start : start + size]
            extension = b";x=y" if self._often(0.05) else b""
            sent += b"%X" % len(piece) + extension + b"\r\n" + piece + b"\r\n"
            if last:
                break
        return sent + b"0\r\n" + (b"X-Trailer: y\r\n" if self._often(0.1) else b"") + b"\r\n"


@cache
def _bomb() -> bytes:
    """Little that unfolds into 20 MB; packed once: it keeps whoever packs it from all else."""
    return gzip.compress(b" " * 20_000_000, 1)

"""Which messages of an add-on may go to Core through the proxied WebSocket.

Core takes us for its supervisor, and would do for an add-on what it does for us. So every message is read here, and
what is not understood without a doubt does not go on: text that is no JSON, an object that says one thing twice, bytes
that somebody could take for text.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from attrs import frozen

OURS: Final = ("supervisor/", "hassio/")
"""How the types of commands begin that are between Core and its supervisor alone."""

_IN_A_THREAD_CHARACTERS: Final = 64 * 1024
"""Texts that are longer are read in a thread: the longest would hold the event loop for a while."""
_IN_FRONT_OF_TEXT: Final = b"\xef\xbb\xbf\xfe\xff\x00 \t\r\n"
"""What bytes may begin with that are text all the same: byte order marks, blanks, zeros of wide characters."""
_BLANKS: Final = frozenset({b"\t", b"\n", b"\r", b" "})
"""What a number that Core gives may look like, and text may begin with."""
_REFUSED_AS = {
    "unauthorized": "Commands of the supervisor are not for add-ons",
    "invalid_format": "A command has an id, which is a whole number, and a type, which is a text",
}

type Message = dict[str, Any]


class MessageRefused(Exception):
    """A message that can't be understood; the connection has to end. Its text says why, in a few words."""


@frozen
class Sifted:
    """What becomes of a message."""

    forwarded: str | None
    """What Core is sent of it."""
    answers: tuple[Message, ...] = ()
    """What its sender is answered in Core's place."""


class _Twice(dict[str, Any]):
    """An object in which a key stands more than once."""


async def sifted(text: str) -> Sifted:
    """What becomes of a text message; raises :class:`MessageRefused`."""
    return await asyncio.to_thread(sift, text) if len(text) > _IN_A_THREAD_CHARACTERS else sift(text)


def sift(text: str) -> Sifted:
    """The same, at once."""
    content = _read(text)
    if not isinstance(content, list):
        answer = _answer(content)
        return Sifted(text) if answer is None else Sifted(None, (answer,))
    commands, answers = [], []
    for command in content:
        answer = _answer(command)
        if answer is None:
            commands.append(command)
        else:
            answers.append(answer)
    if answers:
        text = json.dumps(commands)
    return Sifted(text if commands else None, tuple(answers))


def read_object(text: str) -> Message:
    """An object that says nothing twice; raises :class:`MessageRefused`."""
    content = _read(text)
    if not isinstance(content, dict) or isinstance(content, _Twice):
        raise MessageRefused("is no JSON object, or has a key twice")
    return content


def refuse_bytes(data: bytes) -> None:
    """Raise :class:`MessageRefused` for a binary message that somebody could read as text. Sound and pictures, which
    Core takes from where it has asked for them, begin with a number that Core has given; it may be that of a blank."""
    begin = data.lstrip(_IN_FRONT_OF_TEXT)[:1]
    if begin in {b"", b"{", b"["} and (data[:1] not in _BLANKS or (begin and _is_text(data))):
        raise MessageRefused("send commands as text")


def _is_text(data: bytes) -> bool:
    """Whether all of it is text, in the encoding that a reader of JSON would take it for."""
    try:
        data.decode(json.detect_encoding(data), "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _read(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise MessageRefused("is no JSON") from None


def _object(pairs: list[tuple[str, Any]]) -> Message:
    content = dict(pairs)
    return content if len(content) == len(pairs) else _Twice(content)


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _answer(command: Any) -> Message | None:
    """What is answered in Core's place; ``None`` for a command that Core may have."""
    if not isinstance(command, dict) or isinstance(command, _Twice):
        raise MessageRefused("is no JSON object, or has a key twice")
    number, kind = command.get("id"), command.get("type")
    if type(number) is not int or not isinstance(kind, str):
        return _refusal(number if type(number) is int else None, "invalid_format")
    if kind.strip().casefold().startswith(OURS):
        return _refusal(number, "unauthorized")
    return None


def _refusal(number: int | None, code: str) -> Message:
    error = {"code": code, "message": _REFUSED_AS[code]}
    return {"id": number, "type": "result", "success": False, "error": error}

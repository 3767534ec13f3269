"""The engine's log stream, taken apart into lines.

Without a terminal the stream is a row of frames (a stream number, a length, the bytes), and each frame is one message:
its time, a space, and up to 16 KiB of a line. A longer line comes in several frames of which only the last ends with a
line feed. With a terminal there are no frames: times and lines simply follow each other, and a longer line has a time
in its middle every 16 KiB. Both parsers take blocks as they come and keep no more than one piece of a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

from rooftree.interfaces.containers import LogLine

LONGEST_LINE_BYTES: Final = 256 * 1024
"""A longer line is handed on in pieces of about this size, so that memory stays flat."""

_ENGINE_PIECE_BYTES: Final = 16 * 1024
_HEADER_BYTES: Final = 8
_LONGEST_TIME_BYTES: Final = len(b"2006-01-02T15:04:05.000000000+07:00 ")
_TIME: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) ")
_NO_TIME: Final = datetime.fromtimestamp(0, UTC)

type StreamName = Literal["stdout", "stderr"]


class LogParser(Protocol):
    """Turns blocks into lines."""

    def feed(self, block: bytes) -> Iterator[LogLine]:
        """The lines that ``block`` completes."""
        ...

    def end(self) -> Iterator[LogLine]:
        """What is left of lines without an end."""
        ...


class Frames:
    """Takes a stream of several streams apart into (number, bytes): 1 is the standard output, 2 the error output."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        """The frames that ``block`` completes."""
        data = self._rest + block if self._rest else block
        at, end = 0, len(data)
        while end - at >= _HEADER_BYTES:
            start = at + _HEADER_BYTES
            stop = start + int.from_bytes(data[at + 4 : start])
            if stop > end:
                break
            yield data[at], data[start:stop]
            at = stop
        self._rest = data[at:]


class _OpenLine:
    """A line whose end has not come yet."""

    __slots__ = ("size", "stream", "text", "time")

    def __init__(self, stream: StreamName) -> None:
        self.stream: StreamName = stream
        self.time = _NO_TIME
        self.text: list[bytes] = []
        self.size = 0

    def add(self, time: datetime, piece: bytes) -> None:
        if not self.text:
            self.time = time
        self.text.append(piece)
        self.size += len(piece)

    def take(self, end: bytes = b"") -> LogLine:
        line = LogLine(time=self.time, stream=self.stream, text=b"".join(self.text).removesuffix(end))
        self.text, self.size = [], 0
        return line


class FramedLog:
    """The log of a container without a terminal."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._open = {1: _OpenLine("stdout"), 2: _OpenLine("stderr")}

    def feed(self, block: bytes) -> Iterator[LogLine]:
        """The lines that ``block`` completes."""
        for number, message in self._frames.feed(block):
            time, text = _timed(message)
            line = self._open[2 if number == 2 else 1]
            if text.endswith(b"\n"):
                if line.text:
                    line.add(time, text[:-1])
                    yield line.take()
                else:
                    yield LogLine(time=time, stream=line.stream, text=text[:-1])
                continue
            line.add(time, text)
            if line.size >= LONGEST_LINE_BYTES:
                yield line.take()

    def end(self) -> Iterator[LogLine]:
        """What is left of lines without an end."""
        for line in self._open.values():
            if line.text:
                yield line.take()


class TerminalLog:
    """The log of a container with a terminal, whose two streams are one."""

    def __init__(self) -> None:
        self._rest = b""
        self._line = _OpenLine("stdout")
        self._piece_bytes = 0
        self._time: datetime | None = None

    def feed(self, block: bytes) -> Iterator[LogLine]:
        """The lines that ``block`` completes."""
        data = self._rest + block if self._rest else block
        at = 0
        while at < len(data):
            if self._time is None:
                if len(data) - at < _LONGEST_TIME_BYTES and b"\n" not in data[at:]:
                    break  # the time may still be coming
                at += self._read_time(data[at : at + _LONGEST_TIME_BYTES])
            stop = data.find(b"\n", at, at + _ENGINE_PIECE_BYTES - self._piece_bytes + 1)
            if stop >= 0:
                self._line.add(self._time or _NO_TIME, data[at:stop])
                yield self._line.take(end=b"\r")  # a terminal ends its lines with both
                at, self._time, self._piece_bytes = stop + 1, None, 0
                continue
            piece = data[at : at + _ENGINE_PIECE_BYTES - self._piece_bytes]
            self._line.add(self._time or _NO_TIME, piece)
            at += len(piece)
            self._piece_bytes += len(piece)
            if self._piece_bytes == _ENGINE_PIECE_BYTES:
                self._time, self._piece_bytes = None, 0  # the engine begins its next piece with a time
                if self._line.size >= LONGEST_LINE_BYTES:
                    yield self._line.take()
        self._rest = data[at:]

    def end(self) -> Iterator[LogLine]:
        """What is left of a line without an end."""
        if self._rest:
            time, text = _timed(self._rest)
            self._line.add(time, text)
            self._rest = b""
        if self._line.text:
            yield self._line.take()

    def _read_time(self, beginning: bytes) -> int:
        match = _TIME.match(beginning)
        if match is None:
            self._time = _NO_TIME
            return 0
        self._time = _parsed(match[1])
        return match.end()


def _timed(message: bytes) -> tuple[datetime, bytes]:
    text, space, rest = message.partition(b" ")
    if not space:
        # A message without text is only a time, and the engine may leave its space out.
        text, rest = message.rstrip(b"\n"), message[len(message.rstrip(b"\n")) :]
    try:
        return _parsed(text), rest
    except ValueError:
        return _NO_TIME, message


def _parsed(text: bytes) -> datetime:
    return datetime.fromisoformat(text.decode("ascii"))

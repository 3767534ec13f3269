"""The engine's log stream as text, for readers that need no line's own time: frames and times are taken off, and that
is all.

A frame is a line, or 16 KiB of one. Both readers hand on whole lines only; of a line that has not ended they keep
:data:`~rooftree_docker.log_stream.LONGEST_LINE_BYTES` at most, and end it there.
"""

from __future__ import annotations

from typing import Final, Protocol

from rooftree.interfaces.containers import LogLine, LogText
from rooftree_docker.log_stream import LONGEST_LINE_BYTES, NO_TIME, OpenLine, TerminalLog, parsed_time, timed

_HEADER_BYTES: Final = 8
_TIME_BYTES: Final = len("2006-01-02T15:04:05.000000000Z")
"""Docker writes all nine digits, in UTC."""
_END_OF_TIME: Final = b"Z "
_LINE_FEED: Final = ord("\n")


class TextReader(Protocol):
    """Turns blocks into text."""

    def feed(self, block: bytes) -> LogText | None:
        """The lines that ``block`` completes, if it does complete any."""
        ...

    def end(self) -> LogText | None:
        """What is left of lines without an end."""
        ...


class FramedText:
    """The text of a container without a terminal."""

    def __init__(self) -> None:
        self._rest = b""
        self._open = {1: OpenLine("stdout"), 2: OpenLine("stderr")}
        """Lines whose end has not come, by the stream's number: one stream's line may come amid the other's."""

    def feed(self, block: bytes) -> LogText | None:
        """The lines that ``block`` completes, if it does complete any."""
        data = self._rest + block if self._rest else block
        lines: list[bytes] = []
        first = NO_TIME
        at, end = 0, len(data)
        while end - at >= _HEADER_BYTES:
            start = at + _HEADER_BYTES
            stop = start + int.from_bytes(data[at + 4 : start])
            if stop > end:
                break
            waiting = self._open[2 if data[at] == 2 else 1]
            begin = start + _TIME_BYTES + 1
            if (
                begin < stop
                and data[stop - 1] == _LINE_FEED
                and data[begin - 2 : begin] == _END_OF_TIME
                and not waiting.text
            ):
                if not lines:
                    first = parsed_time(data[start : begin - 1])
                lines.append(data[begin:stop])
            elif (line := _whole(waiting, data[start:stop])) is not None:
                if not lines:
                    first = line.time
                lines += (line.text, b"\n")
            at = stop
        self._rest = data[at:]
        return LogText(first, b"".join(lines)) if lines else None

    def end(self) -> LogText | None:
        """What is left of lines without an end."""
        return _joined([waiting.take() for waiting in self._open.values() if waiting.text])


class TerminalText:
    """The text of a container with a terminal: rare, so its lines are taken one by one."""

    def __init__(self) -> None:
        self._lines = TerminalLog()

    def feed(self, block: bytes) -> LogText | None:
        """The lines that ``block`` completes, if it does complete any."""
        return _joined([*self._lines.feed(block)])

    def end(self) -> LogText | None:
        """What is left of a line without an end."""
        return _joined([*self._lines.end()])


def _whole(waiting: OpenLine, message: bytes) -> LogLine | None:
    """The line that ends with this message, or must end because it is too long."""
    time, text = timed(message)
    waiting.add(time, text)
    return waiting.take(end=b"\n") if text.endswith(b"\n") or waiting.size >= LONGEST_LINE_BYTES else None


def _joined(lines: list[LogLine]) -> LogText | None:
    return LogText(lines[0].time, b"".join([line.text + b"\n" for line in lines])) if lines else None

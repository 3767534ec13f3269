"""The engine's log stream as text, for readers that need no times: frames are taken off, and that is all.

It is asked for without times, so a frame is a line, or 16 KiB of one. Both readers hand on whole lines only; of a line
that has not ended they keep :data:`~rooftree_docker.log_stream.LONGEST_LINE_BYTES` at most, and end it there.
"""

from __future__ import annotations

from typing import Final, Protocol

from rooftree_docker.log_stream import LONGEST_LINE_BYTES

_HEADER_BYTES: Final = 8
_LINE_FEED: Final = ord("\n")


class TextReader(Protocol):
    """Turns blocks into text."""

    def feed(self, block: bytes) -> bytes:
        """The lines that ``block`` completes."""
        ...

    def end(self) -> bytes:
        """What is left of lines without an end."""
        ...


class FramedText:
    """The text of a container without a terminal."""

    def __init__(self) -> None:
        self._rest = b""
        self._open = {1: bytearray(), 2: bytearray()}
        """Lines whose end has not come, by the stream's number: one stream's line may come amid the other's."""

    def feed(self, block: bytes) -> bytes:
        """The lines that ``block`` completes."""
        data = self._rest + block if self._rest else block
        lines: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= _HEADER_BYTES:
            start = at + _HEADER_BYTES
            stop = start + int.from_bytes(data[at + 4 : start])
            if stop > end:
                break
            waiting = self._open[2 if data[at] == 2 else 1]
            if stop > start and data[stop - 1] == _LINE_FEED and not waiting:
                lines.append(data[start:stop])
            else:
                waiting += data[start:stop]
                _take_line(waiting, lines)
            at = stop
        self._rest = data[at:]
        return b"".join(lines)

    def end(self) -> bytes:
        """What is left of lines without an end."""
        unfinished = [bytes(waiting) + b"\n" for waiting in self._open.values() if waiting]
        for waiting in self._open.values():
            waiting.clear()
        return b"".join(unfinished)


class TerminalText:
    """The text of a container with a terminal, which ends its lines with a carriage return besides."""

    def __init__(self) -> None:
        self._open = bytearray()

    def feed(self, block: bytes) -> bytes:
        """The lines that ``block`` completes."""
        self._open += block
        lines: list[bytes] = []
        last = self._open.rfind(b"\n") + 1
        if last:
            lines.append(bytes(self._open[:last]).replace(b"\r\n", b"\n"))
            del self._open[:last]
        _take_line(self._open, lines)
        return b"".join(lines)

    def end(self) -> bytes:
        """What is left of a line without an end."""
        unfinished = bytes(self._open)
        self._open.clear()
        return unfinished + b"\n" if unfinished else b""


def _take_line(waiting: bytearray, lines: list[bytes]) -> None:
    """Hand a line on that has ended or must end because it is too long."""
    if waiting.endswith(b"\n"):
        lines.append(bytes(waiting))
    elif len(waiting) >= LONGEST_LINE_BYTES:
        lines.append(bytes(waiting) + b"\n")
    else:
        return
    waiting.clear()

"""Log streams become lines, whatever the blocks they come in."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from rooftree.interfaces.containers import LogLine
from rooftree_docker.log_stream import LONGEST_LINE_BYTES, FramedLog, LogParser, TerminalLog

TIME = datetime(2026, 11, 23, 4, 5, 6, 123456, UTC)
STAMP = b"2026-11-23T04:05:06.123456789Z "


def frame(text: bytes, stream: int = 1, stamp: bytes = STAMP) -> bytes:
    message = stamp + text
    return bytes([stream, 0, 0, 0]) + len(message).to_bytes(4) + message


def parse(parser: LogParser, data: bytes, block_bytes: int = 1 << 20) -> list[LogLine]:
    lines: list[LogLine] = []
    for at in range(0, len(data), block_bytes):
        lines += parser.feed(data[at : at + block_bytes])
    return [*lines, *parser.end()]


def test_frames_become_lines_with_time_and_stream() -> None:
    lines = parse(FramedLog(), frame(b"one\n") + frame(b"two\n", stream=2) + frame(b"\n"))

    assert lines == [
        LogLine(time=TIME, stream="stdout", text=b"one"),
        LogLine(time=TIME, stream="stderr", text=b"two"),
        LogLine(time=TIME, stream="stdout", text=b""),
    ]


@given(st.integers(1, 200))
def test_result_does_not_depend_on_the_blocks(block_bytes: int) -> None:
    data = frame(b"first\n") + frame(b"part ") + frame(b"err\n", stream=2) + frame(b"of one\n") + frame(b"open")

    lines = parse(FramedLog(), data, block_bytes)

    assert [line.text for line in lines] == [b"first", b"err", b"part of one", b"open"]


def test_long_line_is_put_together_without_the_times_in_its_middle() -> None:
    data = frame(b"a" * 16384) + frame(b"b" * 16384) + frame(b"c\n")

    (line,) = parse(FramedLog(), data)

    assert line.text == b"a" * 16384 + b"b" * 16384 + b"c"


def test_endless_line_comes_in_pieces() -> None:
    data = frame(b"x" * 16384) * 320 + frame(b"\n")

    lines = parse(FramedLog(), data, 65536)

    assert max(len(line.text) for line in lines) <= LONGEST_LINE_BYTES
    assert sum(len(line.text) for line in lines) == 320 * 16384


def test_binary_bytes_pass_unchanged() -> None:
    (line,) = parse(FramedLog(), frame(bytes(range(256)).replace(b"\n", b"") + b"\n"))

    assert line.text == bytes(range(256)).replace(b"\n", b"")


def test_line_without_a_time_is_kept_whole() -> None:
    (line,) = parse(FramedLog(), frame(b"no time here\n", stamp=b""))

    assert line.text == b"no time here"


@given(st.integers(1, 200))
def test_terminal_log_has_no_frames(block_bytes: int) -> None:
    data = STAMP + b"one\r\n" + STAMP + b"\r\n" + STAMP + b"2026 is a year\r\n" + STAMP + b"open"

    lines = parse(TerminalLog(), data, block_bytes)

    assert [line.text for line in lines] == [b"one", b"", b"2026 is a year", b"open"]
    assert {line.time for line in lines} == {TIME}


@given(st.integers(1000, 70_000))
def test_terminal_log_drops_the_times_in_the_middle_of_a_long_line(block_bytes: int) -> None:
    long = b"a" * 40_000
    pieces = [long[at : at + 16384] for at in range(0, len(long), 16384)]
    data = b"".join(STAMP + piece for piece in pieces) + b"\r\n" + STAMP + b"next\r\n"

    lines = parse(TerminalLog(), data, block_bytes)

    assert [line.text for line in lines] == [long, b"next"]

"""The engine's log stream as text, whatever the blocks it comes in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooftree.interfaces.containers import LogLine, LogText
from rooftree_docker.log_stream import LONGEST_LINE_BYTES, NO_TIME, FramedLog, TerminalLog
from rooftree_docker.log_text import FramedText, TerminalText, TextReader

STDOUT, STDERR = 1, 2
TIME = datetime(2026, 11, 23, 4, 5, 6, 123456, UTC)


def stamp(second: int = 0) -> bytes:
    return f"{TIME + timedelta(seconds=second):%Y-%m-%dT%H:%M:%S}.123456789Z ".encode()


def frame(stream: int, text: bytes, time: bytes | None = None) -> bytes:
    message = (stamp() if time is None else time) + text
    return bytes([stream, 0, 0, 0]) + len(message).to_bytes(4) + message


def blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read(reader: TextReader, data: bytes, block_bytes: int = 1 << 20) -> list[LogText]:
    """What is handed on, piece by piece."""
    pieces = [*(reader.feed(block) for block in blocks(data, block_bytes)), reader.end()]
    return [piece for piece in pieces if piece is not None]


def text_of(pieces: list[LogText]) -> bytes:
    return b"".join(piece.text for piece in pieces)


lines = st.lists(
    st.tuples(
        st.sampled_from([STDOUT, STDERR]),
        st.sampled_from([b"", b"one", b"\r", b"\x00\xff", b"2026-11-23T04:05:06.123456789Z ", b" ", b"x" * 40]),
        st.sampled_from([b"\n", b""]),
    ),
    max_size=12,
)


@given(lines, st.integers(1, 90))
def test_text_and_times_are_those_of_the_lines_in_blocks_of_any_size(
    written: list[tuple[int, bytes, bytes]], block_bytes: int
) -> None:
    data = b"".join(
        frame(stream, text + end, stamp(number)) for number, (stream, text, end) in enumerate(written) if text + end
    )
    one_by_one: list[LogLine] = []
    parser = FramedLog()
    for block in blocks(data, block_bytes):
        one_by_one += parser.feed(block)
    one_by_one += parser.end()

    pieces = read(FramedText(), data, block_bytes)

    assert text_of(pieces) == b"".join(line.text + b"\n" for line in one_by_one)
    assert all(piece.text.endswith(b"\n") for piece in pieces)
    count = 0
    for piece in pieces:
        assert piece.time == one_by_one[count].time
        count += piece.text.count(b"\n")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"2026-11-23T04:05:06.123456789Z\n", LogText(TIME, b"\n")),
        (b"2026-11-23T04:05:06.123456Z short\n", LogText(TIME, b"short\n")),
        (b"2026-11-23T05:05:06.123456789+01:00 east\n", LogText(TIME, b"east\n")),
        (b"no time here\n", LogText(NO_TIME, b"no time here\n")),
        (b"\n", LogText(NO_TIME, b"\n")),
    ],
)
def test_time_of_another_form_is_taken_off_too(message: bytes, expected: LogText) -> None:
    assert read(FramedText(), frame(STDOUT, message, b"")) == [expected]


def test_line_in_several_frames_is_not_torn_by_the_other_stream() -> None:
    data = frame(STDOUT, b"be") + frame(STDERR, b"error\n") + frame(STDOUT, b"gins ") + frame(STDOUT, b"here\n")

    assert text_of(read(FramedText(), data)) == b"error\nbegins here\n"


def test_lines_without_an_end_end_with_the_log() -> None:
    data = frame(STDOUT, b"one\n") + frame(STDERR, b"half") + frame(STDOUT, b"another")

    *_, end = read(FramedText(), data)

    assert end == LogText(TIME, b"another\nhalf\n")


@given(st.lists(st.sampled_from([b"one", b"", b"\x1b[31mred\x1b[0m", b"a\rb"])), st.integers(1, 20))
def test_terminals_line_ends_are_made_line_feeds(written: list[bytes], block_bytes: int) -> None:
    data = b"".join(stamp() + text + b"\r\n" for text in written)

    pieces = read(TerminalText(), data, block_bytes)

    assert text_of(pieces) == b"".join(text + b"\n" for text in written)
    assert all(piece.text.endswith(b"\n") for piece in pieces)
    assert {piece.time for piece in pieces} <= {TIME}


@pytest.mark.parametrize("terminal", [False, True])
def test_line_without_an_end_is_ended_where_it_gets_too_long(terminal: bool) -> None:
    reader: TextReader = TerminalText() if terminal else FramedText()
    part = b"x" * 16384
    data = (stamp() + part if terminal else frame(STDOUT, part)) * 40

    pieces = read(reader, data, len(data) // 40)

    assert text_of(pieces).replace(b"\n", b"") == part * 40
    assert max(len(piece.text) for piece in pieces) <= LONGEST_LINE_BYTES + len(part) + 1
    assert len(pieces) >= 2


@given(st.binary(max_size=200), st.integers(1, 50))
def test_terminal_text_is_that_of_its_lines(data: bytes, block_bytes: int) -> None:
    parser = TerminalLog()
    one_by_one = [line for block in blocks(data, block_bytes) for line in parser.feed(block)] + [*parser.end()]

    assert text_of(read(TerminalText(), data, block_bytes)) == b"".join(line.text + b"\n" for line in one_by_one)

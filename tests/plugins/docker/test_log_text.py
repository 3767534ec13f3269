"""The engine's log stream as text, whatever the blocks it comes in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooftree_docker.log_stream import LONGEST_LINE_BYTES
from rooftree_docker.log_text import FramedText, TerminalText, TextReader

STDOUT, STDERR = 1, 2


def frame(stream: int, text: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4) + text


def blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read(reader: TextReader, data: bytes, block_bytes: int = 1 << 20) -> list[bytes]:
    """What is handed on, piece by piece."""
    return [*(reader.feed(block) for block in blocks(data, block_bytes)), reader.end()]


lines = st.lists(
    st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"n")))
)


@given(lines, st.integers(1, 60))
def test_lines_are_whole_and_in_order_in_blocks_of_any_size(written: list[tuple[int, bytes]], block_bytes: int) -> None:
    data = b"".join(frame(stream, text + b"\n") for stream, text in written)

    pieces = read(FramedText(), data, block_bytes)

    assert b"".join(pieces) == b"".join(text + b"\n" for _, text in written)
    assert all(piece.endswith(b"\n") for piece in pieces if piece)


def test_line_in_several_frames_is_not_torn_by_the_other_stream() -> None:
    data = frame(STDOUT, b"be") + frame(STDERR, b"error\n") + frame(STDOUT, b"gins ") + frame(STDOUT, b"here\n")

    assert b"".join(read(FramedText(), data)) == b"error\nbegins here\n"


def test_lines_without_an_end_end_with_the_log() -> None:
    data = frame(STDOUT, b"one\n") + frame(STDERR, b"half") + frame(STDOUT, b"another")

    *_, end = read(FramedText(), data)

    assert end == b"another\nhalf\n"


@given(st.lists(st.sampled_from([b"one", b"", b"\x1b[31mred\x1b[0m", b"\r", b"a\rb"])), st.integers(1, 20))
def test_terminals_line_ends_are_made_line_feeds(written: list[bytes], block_bytes: int) -> None:
    data = b"".join(text + b"\r\n" for text in written)

    pieces = read(TerminalText(), data, block_bytes)

    assert b"".join(pieces) == b"".join(text + b"\n" for text in written)
    assert all(piece.endswith(b"\n") for piece in pieces if piece)


@pytest.mark.parametrize("terminal", [False, True])
def test_line_without_an_end_is_ended_where_it_gets_too_long(terminal: bool) -> None:
    reader: TextReader = TerminalText() if terminal else FramedText()
    part = b"x" * 16384
    data = (part if terminal else frame(STDOUT, part)) * 40

    pieces = read(reader, data, len(data) // 40)

    assert b"".join(pieces).replace(b"\n", b"") == part * 40
    assert max(map(len, pieces)) <= LONGEST_LINE_BYTES + len(part) + 1
    assert len([piece for piece in pieces if piece]) >= 2

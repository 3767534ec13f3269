"""The Journal Export Format, whatever the blocks it comes in."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooftree import Failed
from rooftree_host.export_format import LONGEST_VALUE_BYTES, Cut, ExportReader, Form, WithTime, cursor_in, plain
from tests.plugins.host.journal import NINE, entry, field


def verbose() -> Form:
    return WithTime(author=True)


def read(data: bytes, form: Callable[[], Form] = lambda: plain, block_bytes: int = 1 << 20) -> bytes:
    reader, render = ExportReader(), form()
    blocks = [data[at : at + block_bytes] for at in range(0, len(data), block_bytes)]
    return b"".join([render(reader.feed(block)) for block in blocks])


FORGED = b"one\n\n__CURSOR=s=1\n__REALTIME_TIMESTAMP=0\nMESSAGE=forged\n\n"
values = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"", b"plain", b"=", b"\n", b"\n\n", FORGED, b"\x1b[31mred\x1b[0m", b"MESSAGE\n\x05\0\0\0\0\0\0\0"]
    ),
    st.sampled_from([9, 10, 11, 61, 256, 2570, 0x3D0A]).map(lambda size: b"\0" * size),
)


def by_lines(data: bytes) -> list[dict[bytes, bytes]]:
    """What the specification says, followed word by word."""
    found: list[dict[bytes, bytes]] = []
    fields: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        line, at = data[at:end], end + 1
        name, equals, value = line.partition(b"=")
        if not line:
            found.append(fields)
            fields = {}
        elif equals:
            fields[name] = value
        else:
            size = int.from_bytes(data[at : at + 8], "little")
            fields[name] = data[at + 8 : at + 8 + size]
            at += 8 + size + 1
    return found


@given(st.lists(st.lists(values, min_size=1, max_size=3), max_size=4), st.integers(1, 80))
def test_messages_are_those_of_the_specification_in_blocks_of_any_size(
    entries: Iterable[list[bytes]], block_bytes: int
) -> None:
    data = b"".join(
        field("__CURSOR", b"s=1")
        + b"".join(field(f"X_{number}", value) for number, value in enumerate(others))
        + field("MESSAGE", message)
        + field("LAST", message)
        + b"\n"
        for message, *others in entries
    )

    messages = [found[b"MESSAGE"] for found in by_lines(data)]

    assert read(data, block_bytes=block_bytes) == b"".join(message + b"\n" for message in messages)


@given(st.lists(values, max_size=4), st.integers(1, 80))
def test_verbose_lines_have_time_host_author_and_process(messages: list[bytes], block_bytes: int) -> None:
    data = b"".join(entry(message, at=1.5, _PID="42") for message in messages)

    text = read(data, verbose, block_bytes)

    assert text == b"".join(b"2026-01-31 09:00:01.500 homebox app_x[42]: " + message + b"\n" for message in messages)


def test_line_with_its_time_has_neither_host_nor_author() -> None:
    data = entry(b"one", at=1.5, _PID="42") + entry(b"caf\xc3\xa9\ttwo", at=2)

    text = read(data, lambda: WithTime(author=False), block_bytes=7)

    assert text == b"2026-01-31 09:00:01.500 one\n2026-01-31 09:00:02.000 caf\xc3\xa9\ttwo\n"


def test_entry_of_a_program_without_an_identifier_is_its_commands() -> None:
    data = b"__REALTIME_TIMESTAMP=1700000000123456\n_COMM=udevd\nMESSAGE=found\n\n"

    assert read(data, verbose) == b"2023-11-14 22:13:20.123 - udevd: found\n"


def test_entry_without_a_message_is_left_out() -> None:
    data = entry(b"one") + b"__CURSOR=s=1\n_BOOT_ID=1\n\n" + entry(b"two")

    assert read(data) == b"one\ntwo\n"
    assert read(data, verbose).count(b"\n") == 2


@pytest.mark.parametrize("character", [b"x", b"\0"], ids=["text", "binary"])
@pytest.mark.parametrize("name", ["MESSAGE", "COREDUMP"])
def test_huge_value_is_cut_and_memory_stays_flat(name: str, character: bytes) -> None:
    size = 64 * 1024 * 1024
    head = b"__CURSOR=s=1\n" + field(name, character * 9)[: len(name) + 1]
    length = b"" if character == b"x" else size.to_bytes(8, "little")
    reader, found = ExportReader(), []

    tracemalloc.start()
    found += reader.feed(head + length)
    for _ in range(size // 65536):
        found += reader.feed(character * 65536)
    found += reader.feed(b"\n\n" + entry(b"after"))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    cut = character * LONGEST_VALUE_BYTES + b" [cut: %d bytes in all]\n" % size
    assert plain(iter(found)) == (cut if name == "MESSAGE" else b"") + b"after\n"
    assert peak_bytes < 4 * LONGEST_VALUE_BYTES


def test_value_as_long_as_may_be_is_whole() -> None:
    value = b"\0" * LONGEST_VALUE_BYTES

    assert read(entry(value), block_bytes=9999) == value + b"\n"


def test_something_else_is_refused() -> None:
    with pytest.raises(Failed, match="no journal export format"):
        list(ExportReader().feed(b"\x1f\x8b\0\0gzip, say"))


def test_cursor_is_found_where_a_gateway_puts_it() -> None:
    reader = ExportReader()

    (first,) = reader.feed(b"__CURSOR=s=1;i=2\nMESSAGE=one\n\n")

    assert cursor_in(first) == "s=1;i=2"


# --- cut short -----------------------------------------------------------------------------------------------------


def placed(second: int, message: bytes, end: bytes = b"") -> bytes:
    """An entry as a gateway sends it: its cursor comes first."""
    time_us = int((NINE + timedelta(seconds=second)).timestamp() * 1_000_000)
    return field("__CURSOR", b"s=0a;i=%x;b=0b;m=1;t=%x;x=%x" % (second, time_us, second)) + entry(
        message, at=second, **({"LAST": end.decode()} if end else {})
    )


CUTS = st.lists(
    st.sampled_from([b"plain", b"", b"\x1b[31mred", FORGED, b"\n__CURSOR=t=ffffffffffffffff\n"]), max_size=6
)


@given(CUTS, st.integers(-1, 7), st.integers(1, 400), st.sampled_from(["until", "cursor"]))
def test_cut_is_between_two_entries_in_blocks_of_any_size(
    messages: list[bytes], count: int, block_bytes: int, by: str
) -> None:
    data = b"".join(placed(number, message, b"end") for number, message in enumerate(messages))
    time_us = int((NINE + timedelta(seconds=count)).timestamp() * 1_000_000)
    if by == "until":
        cut = Cut(until=NINE + timedelta(seconds=count, microseconds=-1))
    else:
        cut = Cut(cursor=f"s=0a;i={count:x};b=0b;m=1;t={time_us:x};x={count:x}")
    reader, render, first_cursor, text = ExportReader(), WithTime(author=False), None, b""
    blocks = [data[at : at + block_bytes] for at in range(0, len(data), block_bytes)]
    for block in blocks:
        pieces = [*cut(reader.feed(block))]
        if pieces and first_cursor is None:
            first_cursor = cursor_in(pieces[0])
        text += render(iter(pieces))
        if cut.is_over:
            break

    kept = messages[: max(count, 0)] if by == "until" or count >= 0 else messages
    assert text == read(b"".join(placed(n, message) for n, message in enumerate(kept)), lambda: WithTime(author=False))
    assert cut.is_over == (len(kept) < len(messages))
    if not kept:
        assert first_cursor is None


def test_nothing_is_cut_where_nothing_is_said() -> None:
    data = placed(0, b"one") + b"__CURSOR=x\nMESSAGE=two\n\n"
    cut = Cut()

    assert plain(cut(ExportReader().feed(data))) == b"one\ntwo\n"
    assert not cut.is_over

"""Heads, fields and chunks of answers, however they come in."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooftree_proxying import end_to_end, without, without_cookie, without_set_cookie
from rooftree_proxying.chunked_coding import LINE_BYTES, Unchunker
from rooftree_proxying.memo import LONGEST, MOST, Memo
from rooftree_proxying.response_heads import HEAD_BYTES, NoResponse, end_of_head, parse_fields, parse_head

NAMES = st.from_regex(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", fullmatch=True)
VALUES = st.from_regex(rb"([\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?", fullmatch=True)
FIELDS = st.lists(st.tuples(NAMES, VALUES))


@given(FIELDS, st.booleans())
def test_fields_are_read_as_they_were_written(fields: list[tuple[bytes, bytes]], is_short: bool) -> None:
    gap = b":" if is_short else b": \t"
    assert parse_fields(b"".join(name + gap + value + b"\r\n" for name, value in fields)) == fields


@given(st.binary())
def test_what_is_read_as_fields_has_no_line_in_it(text: bytes) -> None:
    try:
        fields = parse_fields(text)
    except NoResponse:
        return
    for name, value in fields:
        assert re.fullmatch(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name)
        assert not re.search(rb"[\r\n\0]", value)


@given(st.binary(max_size=80).map(lambda junk: b"HTTP/1.1 200 OK\r\n" + junk) | st.binary(max_size=80))
def test_no_head_is_more_than_no_response(text: bytes) -> None:
    end = end_of_head(text + b"\r\n\r\n")
    assert 0 < end <= len(text) + 4
    try:
        head = parse_head((text + b"\r\n\r\n")[:end], "GET")
    except NoResponse:
        return
    assert 100 <= head.status <= 999


@pytest.mark.parametrize("ending", [b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\r\n\n"])
def test_head_ends_with_an_empty_line(ending: bytes) -> None:
    assert end_of_head(b"HTTP/1.1 200 OK\r\nX: 1" + ending + b"body\r\n\r\n") == 21 + len(ending)
    assert end_of_head(b"HTTP/1.1 200 OK\r\nX: 1" + ending[:1]) == 0


def test_head_that_never_ends_is_no_response() -> None:
    assert end_of_head(b"x" * (HEAD_BYTES - 1)) == 0
    with pytest.raises(NoResponse):
        end_of_head(b"x" * HEAD_BYTES)


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    st.lists(st.integers(1, 7), min_size=1),
    st.binary(max_size=5),
)
def test_chunks_are_put_together_however_they_are_cut(pieces: list[bytes], cuts: list[int], rest: bytes) -> None:
    sent = b"".join(b"%x;e=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nX-T: 1\r\n\r\n" + rest
    unchunker, received, at = Unchunker(), b"", 0
    while not unchunker.has_ended:
        size = cuts[at % len(cuts)]
        received += unchunker.feed(sent[:size])
        sent = sent[size:]
        at += 1
    assert received == b"".join(pieces)
    assert unchunker.trailers == [(b"X-T", b"1")]
    assert rest.startswith(unchunker.rest)
    assert unchunker.rest + sent == rest


@pytest.mark.parametrize(
    "text",
    [b"\r\n", b"g\r\n", b"-1\r\n", b"+1\r\n", b"0x1\r\n", b" 1\r\n", b"1 1\r\n", b"1\r\nab\r\n", b"1\r\na\n\r\n",
     b"1;\n\r\n",
     b"1" * 16 + b"\r\n", b"0\r\nno field\r\n\r\n", b"1" * LINE_BYTES],
)  # fmt: skip
def test_what_is_no_chunk_is_no_response(text: bytes) -> None:
    with pytest.raises(NoResponse):
        Unchunker().feed(text)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ([(b"Connection", b"close, X-A"), (b"x_a", b"1"), (b"X-B", b"2")], [(b"X-B", b"2")]),
        ([(b"Connection", b"keep-alive"), (b"Keep-Alive", b"1"), (b"close", b"2")], [(b"close", b"2")]),
        ([(b"TE", b"x"), (b"Upgrade", b"x"), (b"Proxy_Connection", b"x"), (b"Transfer_Encoding", b"x")], []),
    ],
)
def test_only_what_is_for_the_other_end_is_kept(
    fields: list[tuple[bytes, bytes]], kept: list[tuple[bytes, bytes]]
) -> None:
    assert end_to_end(fields) == kept


def test_fields_are_left_out_in_every_spelling() -> None:
    fields = [(b"X-Secret", b"1"), (b"x_secret", b"2"), (b"X-SECRET", b"3"), (b"X-Secrets", b"4")]
    assert without(fields, {b"x-secret"}) == [(b"X-Secrets", b"4")]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(b"s=1", None), (b"s=1; a=2", b"a=2"), (b"a=2;s=1;b", b"a=2; b"), (b" s =1; ss=3", b"ss=3"), (b"a=s=1", b"a=s=1"),
     (b"s", None), (b"s=1; s=2", None), (b"", b"")],
)  # fmt: skip
def test_one_cookie_is_taken_out(sent: bytes, kept: bytes | None) -> None:
    assert without_cookie([(b"COOKIE", sent)], b"s") == ([] if kept is None else [(b"COOKIE", kept)])


def test_one_cookie_is_not_set() -> None:
    fields = [(b"Set-Cookie", b"s=1; Path=/"), (b"set-cookie", b" s =2"), (b"Set-Cookie", b"ss=1; x=s")]
    assert without_set_cookie(fields, b"s") == [(b"Set-Cookie", b"ss=1; x=s")]


def test_only_so_many_short_texts_are_remembered() -> None:
    memo = Memo(len)
    long = b"x" * (LONGEST + 1)
    assert (memo[long], memo[b"short"], memo[b"short"]) == (LONGEST + 1, 5, 5)
    assert list(memo) == [b"short"]
    for number in range(3 * MOST):
        assert memo[b"%d" % number] == len(str(number))
    assert len(memo) <= MOST

"""Headers: what is written is read again, whatever it is; what is read, whatever it is, is a member or damaged."""

from __future__ import annotations

import io
import json
import tarfile
from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from rooftree_archives.byte_streams import ByteStream
from rooftree_archives.faults import Damaged
from rooftree_archives.metadata import read_metadata
from rooftree_archives.tar_headers import FILE, FOLDER, HARD_LINK, LINK, PIPE, Member, decode, encode

texts = st.binary(min_size=1, max_size=300).filter(lambda data: b"\0" not in data and not data.endswith(b"/"))
names = texts.map(lambda data: data.decode("utf-8", "surrogateescape"))
kinds = st.sampled_from([FILE, FOLDER, HARD_LINK, LINK, PIPE])
attributes = st.dictionaries(
    st.sampled_from(["user.a", "user.b c", "system.posix_acl_access"]), st.binary(max_size=100)
)


@given(
    name=names, target=names, kind=kinds, size=st.integers(0, 2**62), mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32), gid=st.integers(0, 2**32), mtime_ns=st.integers(-(2**62), 2**62),
    attributes=attributes, extended=st.booleans(),
)  # fmt: skip
@example("a", "", FILE, 0, 0, 0, 0, -1_500_000_000, {}, False)
@example("\udcff", "\udcff", LINK, 0, 0, 0, 0, 1, {}, False)
def test_what_is_written_is_read_again(
    name: str, target: str, kind: bytes, size: int, mode: int, uid: int, gid: int, mtime_ns: int,
    attributes: dict[str, bytes], extended: bool,
) -> None:  # fmt: skip
    member = Member(
        name=name, kind=kind, size=size if kind == FILE else 0, mode=mode, uid=uid, gid=gid, mtime_ns=mtime_ns,
        target=target if kind in {LINK, HARD_LINK} else "", attributes=attributes,
    )  # fmt: skip
    text = encode(member, always_extended=extended)

    assert decode(ByteStream([text]).take) == member
    if kind != FILE:  # whose bytes would have to follow
        with tarfile.open(fileobj=io.BytesIO(text + bytes(10240))) as theirs:
            (info,) = theirs.getmembers()
        assert (info.name, info.linkname, info.mode) == (name.rstrip("/"), member.target, mode)


@given(size=st.integers(0, 2**40), mtime_ns=st.integers(0, 2**61))
def test_the_length_of_an_extended_header_does_not_depend_on_what_is_known_only_afterwards(
    size: int, mtime_ns: int
) -> None:
    assert len(encode(Member(name="share.tar.gz", size=size, mtime_ns=mtime_ns), always_extended=True)) == 1536


@given(st.binary(max_size=3000))
def test_whatever_is_read_is_a_member_the_end_or_damaged(data: bytes) -> None:
    with suppress(Damaged):
        decode(ByteStream([data]).take)


@given(st.integers(0, 1535), st.integers(1, 255))
def test_a_header_with_a_byte_changed_is_damaged_or_another_member(place: int, change: int) -> None:
    text = bytearray(encode(Member(name="grüße" * 30, uid=5, mtime_ns=1_234_567_890)))
    text[place] ^= change
    with suppress(Damaged):
        decode(ByteStream([bytes(text)]).take)


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
keys = st.sampled_from(
    ["slug", "version", "name", "date", "type", "supervisor_version", "protected", "compressed", "homeassistant",
     "folders", "addons", "repositories", "extra"]
)  # fmt: skip
GOOD = {"slug": "0123abcd", "name": "", "date": "2026-11-30T12:00:00", "type": "full"}


@given(st.dictionaries(keys, documents))
@example({"addons": [{"slug": "../x", "name": "", "version": ""}]})
@example({"extra": {"rooftree": {"sizes": {"a": "x"}}}})
@example({"homeassistant": {"version": None}})
def test_whatever_backup_json_says_is_a_head_or_damaged(changes: dict[str, object]) -> None:
    try:
        head = read_metadata(json.dumps(GOOD | changes).encode())
    except Damaged:
        return
    assert set(head["folders"]) <= {"share", "addons/local", "ssl", "media"}
    assert all("/" not in addon["slug"] for addon in head["addons"])


def test_a_document_nested_without_end_is_damaged() -> None:
    for text in (b"[" * 100_000, b'{"slug":' * 10_000, b"\xff\xfe", b"", b"null"):
        try:
            read_metadata(text)
        except Damaged:
            continue
        raise AssertionError

"""One stream of gzip from pieces that are deflated side by side: whoever reads gzip reads it."""

from __future__ import annotations

import gzip
import os
import subprocess
import threading
import zlib
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st

from rooftree_archives.deflating import Deflate


def deflated(chunks: list[bytes]) -> bytes:
    with closing(Deflate()) as stage:
        return b"".join(bytes(piece) for chunk in chunks for piece in stage.take(chunk)) + b"".join(
            bytes(piece) for piece in stage.end()
        )


@given(st.lists(st.binary(max_size=300), max_size=30))
def test_what_comes_in_pieces_comes_back_whole(chunks: list[bytes]) -> None:
    assert gzip.decompress(deflated(chunks)) == b"".join(chunks)


def test_it_is_one_member_as_readers_of_streams_want_it() -> None:
    chunks = [os.urandom(256 * 1024) + bytes(256 * 1024) for _ in range(20)]
    stream = deflated(chunks)

    reader = zlib.decompressobj(wbits=31)
    assert reader.decompress(stream) == b"".join(chunks)
    assert (reader.eof, reader.unused_data) == (True, b"")
    assert subprocess.run(["gzip", "-dc"], input=stream, capture_output=True, check=True).stdout == b"".join(chunks)


def test_text_is_as_small_as_in_one_go() -> None:
    text = b"".join(b"sensor.kitchen_%d state %d\n" % (number % 97, number) for number in range(400_000))
    chunks = [text[begin : begin + 256 * 1024] for begin in range(0, len(text), 256 * 1024)]
    assert len(deflated(chunks)) < 1.03 * len(zlib.compress(text, 4))


def test_its_threads_end_with_it_also_where_the_stream_does_not() -> None:
    before = threading.active_count()
    with closing(Deflate()) as stage:
        for _ in range(20):
            list(stage.take(os.urandom(64 * 1024)))
    assert threading.active_count() == before

"""An inner archive as a stream of tar: decrypted, inflated, and held against its digest at the end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Final

from attrs import define
from isal import igzip_lib

from rooftree_archives.beginnings import GZIP, SIZE, looks_plain, password_refused, sealed_version
from rooftree_archives.byte_streams import ByteStream
from rooftree_archives.faults import Damaged
from rooftree_archives.outer_archive import InnerArchive
from rooftree_archives.pipeline import CHUNK, Chunk, Inflow

if TYPE_CHECKING:
    from rooftree_archives.sealing import Keys

DIGEST: Final = "sha256"
_AUTHENTICATED: Final = 3
"""The version of SecureTar that notices an altered bit by itself."""


@define
class PartStream:
    """A part that is being read.

    :ivar version: of its encryption; 0 for none
    """

    tar: ByteStream
    version: int
    _expected: str | None
    _hash: hashlib._Hash

    @property
    def is_authenticated(self) -> bool:
        """Whether an altered bit does not go unnoticed."""
        return self.version == _AUTHENTICATED or self._expected is not None

    def finish(self) -> None:
        """Read what follows the end of the tar archive, and hold all against the digest. Raises :class:`Damaged`."""
        if self.version == 1:
            return  # behind the tar comes padding there, in places where nothing should be
        self.tar.drain()
        if self._expected is not None and self._expected != f"{DIGEST}:{self._hash.hexdigest()}":
            raise Damaged("it is not what was written: its digest differs")


@contextmanager
def open_part(
    descriptor: int,
    inner: InnerArchive,
    keys: Keys | None,
    *,
    protected: bool,
    expected: str | None,
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[PartStream]:
    """Read an inner archive, in threads that end with the block. Raises :class:`Damaged`, ``PasswordRefused``.

    :param protected: whether the archive says that its members are encrypted: then one that is not is refused
    :param expected: its digest, where there is one
    :param progress: told how many bytes of it were read; called in another thread
    """
    version, chunks = _decrypted(descriptor, inner, keys, protected, progress)
    digest = hashlib.sha256()
    if version == _AUTHENTICATED:
        expected = None  # each piece of it, their order and its end are held against its key anyway
    with ExitStack() as threads:
        flow: Iterable[Chunk] = threads.enter_context(Inflow(chunks))
        if expected is not None:
            flow = threads.enter_context(Inflow(_hashed(flow, digest)))
        beginning = b""
        pieces = iter(flow)
        for piece in pieces:
            beginning = bytes(piece)
            break
        flow = chain((beginning,), pieces)
        if beginning[:2] == GZIP:
            flow = threads.enter_context(Inflow((_inflated_of_old if version == 1 else _inflated)(flow)))
        yield PartStream(ByteStream(flow), version, expected, digest)


def _decrypted(
    descriptor: int, inner: InnerArchive, keys: Keys | None, protected: bool, progress: Callable[[int], None]
) -> tuple[int, Iterator[Chunk]]:
    if not inner.is_regular:
        raise Damaged("it is a link, or what else no archive can be")
    if inner.is_twice:
        raise Damaged("it is there twice")
    if not inner.size:
        raise Damaged("it is empty")

    def read(begin: int, size: int) -> bytes:
        data = os.pread(descriptor, min(size, inner.size - begin), inner.offset + begin)
        if len(data) < min(size, inner.size - begin):
            raise Damaged("it ends in the middle")
        progress(begin + len(data))
        return data

    beginning = read(0, min(SIZE, inner.size))
    if not protected and not sealed_version(beginning):
        return 0, (read(at, CHUNK) for at in range(0, inner.size, CHUNK))
    if looks_plain(beginning):
        raise Damaged("it is not encrypted, though the backup says that it is")
    if keys is None:
        raise password_refused(": it is encrypted, and needs one")
    from rooftree_archives.sealing import unseal  # noqa: PLC0415  # not for archives that are not encrypted

    opened = unseal(keys, read, inner.size)
    return opened.version, opened.chunks


def _hashed(chunks: Iterable[Chunk], digest: hashlib._Hash) -> Iterator[Chunk]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _inflated(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Inflate gzip, as many times as it begins anew; nothing but zeros may follow. Raises :class:`Damaged`."""
    inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    try:
        for chunk in chunks:
            data = bytes(chunk)
            while data or not (inflater.needs_input or inflater.eof):
                if inflater.eof:
                    if not data.startswith(GZIP):
                        break
                    inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
                yield inflater.decompress(data, CHUNK)
                data = inflater.unused_data if inflater.eof else b""
            if inflater.eof and data.strip(b"\0"):
                raise Damaged("something follows its compressed part")
    except igzip_lib.IsalError as error:  # type: ignore[misc]  # the stubs have it as an object
        raise Damaged(f"its compressed part is damaged: {error}") from None
    if not inflater.eof:
        raise Damaged("its compressed part is cut off")


def _inflated_of_old(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Inflate what the first version of SecureTar encrypted: padding stands before the checksum there, so that the
    bare deflate is read, and what follows it is not."""
    inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
    pieces = iter(chunks)
    data = bytes(next(pieces))
    data = data[_gzip_header(data) :]
    try:
        while not inflater.eof:
            yield inflater.decompress(data, CHUNK)
            data = bytes(next(pieces, b"")) if inflater.needs_input else b""
            if inflater.needs_input and not data:
                raise Damaged("its compressed part is cut off")
    except igzip_lib.IsalError as error:  # type: ignore[misc]  # the stubs have it as an object
        raise Damaged(f"its compressed part is damaged: {error}") from None


def _gzip_header(data: bytes) -> int:
    """Bytes of the header that gzip begins with (RFC 1952)."""
    flags, at = data[3], 10
    if flags & 0x04:  # an extra field
        at += 2 + int.from_bytes(data[at : at + 2], "little")
    for flag in (0x08, 0x10):  # name, comment
        if flags & flag:
            at = data.index(b"\0", at) + 1
    return at + (2 if flags & 0x02 else 0)

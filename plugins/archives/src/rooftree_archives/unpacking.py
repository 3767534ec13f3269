"""An inner archive read member by member: into a folder, or only held against the rules, by what receives it.

The archive may be anybody's: what it makes of names, kinds, sizes and order is checked here and in the receiver, and
the first thing that is wrong ends it, with the member named. Nothing of it counts before its last byte was checked.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from attrs import define, field, frozen

from rooftree_archives.byte_streams import ByteStream, members
from rooftree_archives.faults import Damaged, TargetFailed
from rooftree_archives.places import Parts, Place, Places
from rooftree_archives.tar_headers import (
    BLOCK,
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    FILE,
    FOLDER,
    HARD_LINK,
    LINK,
    Member,
)

_MOST_EXTENTS: Final = 100_000
_OF_THE_ARCHIVE: Final = {errno.ENAMETOOLONG, errno.EINVAL, errno.EOVERFLOW, errno.EEXIST, errno.EFBIG, errno.EILSEQ}
"""What only a strange member leads to; all else is the disk's."""
_MOST_NAMED: Final = 100
"""So many members that are left out are told by name."""


@frozen(kw_only=True)
class UnpackLimits:
    """How much is unpacked of a part."""

    members: int = 5_000_000
    size: int = 2**44
    """Bytes of all files together, without holes."""
    ratio: int = 250
    """How many times as large as it is stored a part may be once unpacked, beyond ``ratio_from`` bytes."""
    ratio_from: int = 4 * 1024**3


@frozen
class Extent:
    """A piece of a file that is not a hole."""

    offset: int
    length: int


class Content:
    """The bytes of a file, to be read once."""

    def __init__(self, stream: ByteStream, extents: tuple[Extent, ...], length: int) -> None:
        self._stream = stream
        self.extents = extents
        self.length = length
        """Of the file, with its holes."""

    def pour(self, size: int, into: Callable[[memoryview], object]) -> None:
        """The next bytes, in pieces."""
        self._stream.pour(size, into)

    def read(self) -> bytes:
        """All of it, where it is known to be small."""
        return self._stream.take(self.length)


class Receiver(Protocol):
    """Who takes what is in an archive. Each raises :class:`Damaged` for what can't be."""

    def document(self, name: str, content: Content) -> None:
        """A small file beside the trees."""
        ...

    def image(self, content: Content) -> None:
        """The container image."""
        ...

    def folder(self, tree: str, parts: Parts, member: Member) -> None:
        """A folder of a tree, or the tree itself."""
        ...

    def file(self, tree: str, parts: Parts, member: Member, content: Content) -> None:
        """A regular file."""
        ...

    def link(self, tree: str, parts: Parts, member: Member) -> None:
        """A symbolic link."""
        ...

    def hard_link(self, tree: str, parts: Parts, target: Place) -> None:
        """Another name of a file that came before."""
        ...

    def pipe(self, tree: str, parts: Parts, member: Member) -> None:
        """A named pipe."""
        ...


@define
class Unpacked:
    """What there was in an inner archive."""

    trees: list[str] = field(factory=list)
    has_image: bool = False
    members: int = 0
    size: int = 0
    """Bytes of all files, without holes."""
    left_out: list[str] = field(factory=list)
    """Device nodes: they mean another thing on another machine, and are a way into this one."""


def unpack(stream: ByteStream, kind: str, receiver: Receiver, limits: UnpackLimits, stored: int) -> Iterator[Unpacked]:
    """Hand the members of an inner archive over, one at each step; what there was until then is yielded after each.

    Raises :class:`Damaged`.

    :param kind: whose part it is
    :param stored: bytes of the inner archive where it is stored
    """
    result = Unpacked()

    def count(size: int) -> None:
        result.size += size
        if result.size > limits.size:
            raise Damaged(f"it has more than {limits.size} bytes in its files")
        if result.size > max(limits.ratio_from, stored * limits.ratio):
            raise Damaged(f"its files are more than {limits.ratio} times as large as the archive")

    places = Places(kind)
    for member in members(stream):
        result.members += 1
        if result.members > limits.members:
            raise Damaged(f"it has more than {limits.members} members")
        place = places.of(member)
        if place is None:
            yield result
            continue
        if place.tree is not None and place.tree not in result.trees:
            result.trees.append(place.tree)
        if member.kind in {CHARACTER_DEVICE, BLOCK_DEVICE}:
            result.left_out += [member.name] if len(result.left_out) < _MOST_NAMED else []
        else:
            try:
                if member.kind == HARD_LINK:
                    _hand_over_link(places, place, member, receiver)
                else:
                    _hand_over(place, member, _content(stream, member, count), receiver)
            except OSError as error:
                if error.errno in _OF_THE_ARCHIVE:
                    raise Damaged(f"{member.name!a} can't be made: {error.strerror}") from None
                raise TargetFailed(f"{member.name!a} can't be written: {error.strerror}") from error
            except (OverflowError, ValueError) as error:
                raise Damaged(f"{member.name!a} can't be made: {error}") from None
            result.has_image |= place.is_image
        yield result


def _hand_over_link(places: Places, place: Place, member: Member, receiver: Receiver) -> None:
    assert place.tree is not None, "links beside the trees are refused"
    target = places.target(member)
    if (target.tree, target.parts) != (place.tree, place.parts):
        receiver.hard_link(place.tree, place.parts, target)


def _hand_over(place: Place, member: Member, content: Content | None, receiver: Receiver) -> None:
    if place.tree is None:
        assert content is not None, "only files are put beside the trees"
        if place.is_image:
            receiver.image(content)
        else:
            receiver.document(place.parts[0], content)
    elif member.kind == FOLDER:
        receiver.folder(place.tree, place.parts, member)
    elif not place.parts:
        raise Damaged(f"{member.name!a} has to be a folder")
    elif content is not None:
        receiver.file(place.tree, place.parts, member, content)
    elif member.kind == LINK:
        receiver.link(place.tree, place.parts, member)
    else:
        receiver.pipe(place.tree, place.parts, member)


def _content(stream: ByteStream, member: Member, count: Callable[[int], None]) -> Content | None:
    if member.kind != FILE:
        return None
    count(member.size)  # what it claims, before room is looked for
    if member.sparse_size is None:
        extents = (Extent(0, member.size),) if member.size else ()
        return Content(stream, extents, member.size)
    return Content(stream, _map(stream, member), member.sparse_size)


def _map(stream: ByteStream, member: Member) -> tuple[Extent, ...]:
    """The map that a sparse file begins with: decimal numbers in lines, filled up to a whole block. Raises
    :class:`Damaged`."""
    assert member.sparse_size is not None
    numbers = _numbers(stream, member)
    extents = tuple(Extent(numbers[at], numbers[at + 1]) for at in range(1, len(numbers), 2))
    end = 0
    for extent in extents:
        if extent.offset < end or extent.offset + extent.length > member.sparse_size:
            raise Damaged(f"{member.name!a} has a map of its holes that is none")
        end = extent.offset + extent.length
    return extents


def _numbers(stream: ByteStream, member: Member) -> list[int]:
    """How many pieces there are, and offset and length of each."""
    numbers: list[int] = []
    line, blocks = b"", 0
    while not numbers or len(numbers) < 1 + 2 * numbers[0]:
        blocks += 1
        *whole, line = (line + stream.take(BLOCK)).split(b"\n")
        for text in whole:
            if numbers and len(numbers) == 1 + 2 * numbers[0]:
                break
            if not text.isdigit() or len(text) > 19 or len(numbers) > 2 * _MOST_EXTENTS:
                raise Damaged(f"{member.name!a} has a map of its holes that is none")
            numbers.append(int(text))
        if len(line) > BLOCK or blocks * BLOCK > member.size:
            raise Damaged(f"{member.name!a} has a map of its holes that is none")
    if blocks * BLOCK + sum(numbers[2::2]) != member.size:
        raise Damaged(f"{member.name!a} has a map of its holes that is none")
    return numbers

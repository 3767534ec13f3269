"""Which of two versions of an add-on, or of Core, is the newer one, as far as that is certain.

Authors count as they like: ``1.17.1-1`` follows ``1.17.1``, ``24.08.29_3`` follows ``24.08.29_2``, a commit's hash
follows another, and one day ``2024.1.0`` is followed by ``1.0.0``. So "nobody can tell" is an answer, and only within
one way of counting is one version certainly newer or older. A version is read as words before its first number (``v``
is none), a release (numbers with dots between them) and parts behind it, each a word, a number, or both.
"""

from __future__ import annotations

import enum
import re
from itertools import zip_longest
from typing import Final, Self

from attrs import frozen

LONGEST_CHARACTERS: Final = 200
"""Of a version that is looked into; a longer one can be compared with nothing."""


class Order(enum.Enum):
    """What a version is, seen from another."""

    NEWER = enum.auto()
    OLDER = enum.auto()
    SAME = enum.auto()
    """The same, maybe in other words: ``1.0`` and ``v1.0.0``."""
    UNKNOWN = enum.auto()
    """Nobody can tell: they count differently, or do not count."""


class _Counting(enum.Enum):
    """What the first numbers of a release may stand for."""

    NUMBERS = enum.auto()
    YEAR = enum.auto()
    SHORT_YEAR = enum.auto()
    DATE = enum.auto()


type _Part = tuple[str, int | None]

_HASH: Final = re.compile(r"(?<![0-9a-z])g?(?=[0-9]*+[a-f])(?=[a-f]*+[0-9])[0-9a-f]{7,40}(?![0-9a-z])")
_LETTERS_FOR_DIGITS: Final = str.maketrans("0123456789", "ghijklmnop")
_VERSION: Final = re.compile(r"(?P<before>[^0-9]*+)(?P<release>[0-9]++(?:\.[0-9]++)*+)(?P<behind>.*+)", re.DOTALL)
_PART: Final = re.compile(r"(?P<word>[a-z]++)(?:(?<=[a-z]{2})[^0-9a-z])?(?P<count>[0-9]++)?|(?P<number>[0-9]++)")
_YEAR: Final = re.compile(r"(?:19|20)[0-9]{2}[^0-9]")
_DATE: Final = re.compile(r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])[0-3][0-9]")
_SHORT_YEAR: Final = re.compile(r"[0-9]{2}\.(?:0[1-9]|1[0-2])(?![0-9])")
_PADDED: Final = re.compile(r"(?<![0-9])0[0-9]")

_RELEASE: Final = 0
_RANKS: Final = {
    **{"dev": -4, "alpha": -3, "beta": -2, "pre": -1, "rc": -1},
    **dict.fromkeys(("fix", "hotfix", "p", "patch", "post", "r", "rev"), 1),
    "": 1,
}
"""Where words stand that lead to a release, or follow it as a bare number does."""


@frozen
class _Version:
    """A version that counts."""

    before: str
    countings: frozenset[_Counting]
    release: tuple[int, ...]
    parts: tuple[_Part, ...]

    @classmethod
    def parsed(cls, text: str) -> Self | None:
        """The version, or ``None`` for one that has no number to go by, as a commit's hash has none."""
        if len(text) > LONGEST_CHARACTERS:
            return None
        countable = _HASH.sub(lambda match: match[0].translate(_LETTERS_FOR_DIGITS), text.strip().lower())
        match = _VERSION.fullmatch(countable)
        if match is None:
            return None
        before = "".join(letter for letter in match["before"] if letter.isalpha())
        release = tuple(map(int, match["release"].split(".")))
        return cls("" if before == "v" else before, _countings(match["release"], match["behind"]), release,
                   tuple(map(_part, _PART.finditer(match["behind"]))))  # fmt: skip


def _countings(release: str, behind: str) -> frozenset[_Counting]:
    if _DATE.match(release):
        return frozenset({_Counting.DATE})
    if _YEAR.match(release + behind):
        return frozenset({_Counting.YEAR})
    if _SHORT_YEAR.match(release):  # 24.08 can be nothing else, 24.10 may be a release 24
        return frozenset({_Counting.SHORT_YEAR, *(() if _PADDED.search(release) else (_Counting.NUMBERS,))})
    return frozenset({_Counting.NUMBERS})


def _part(match: re.Match[str]) -> _Part:
    if match["number"] is not None:
        return "", int(match["number"])
    count = None if match["count"] is None else int(match["count"])
    short = {"a": "alpha", "b": "beta"} if count is not None else {}  # 1.0b1, but not 1.0b, which may follow 1.0a
    return short.get(match["word"], match["word"]), count


def order(version: str, than: str) -> Order:
    """What ``version`` is, seen from ``than``."""
    if version == than:
        return Order.SAME
    ours, other = _Version.parsed(version), _Version.parsed(than)
    if ours is None or other is None or ours.before != other.before or ours.countings.isdisjoint(other.countings):
        return Order.UNKNOWN
    for number, other_number in zip_longest(ours.release, other.release, fillvalue=0):
        if number != other_number:
            return _by(number, other_number)
    for part, other_part in zip_longest(ours.parts, other.parts):
        if part != other_part:
            return _order_of_parts(part, other_part)
    return Order.SAME


def is_update(version: str, installed: str) -> bool:
    """Whether a version is shown as an update of the one that is installed: another, and not certainly an older one."""
    return version != installed and order(version, installed) is not Order.OLDER


def is_release_of(version: str, of: str) -> bool:
    """Whether ``version`` is what the other counts on from: ``1.17.1`` of ``1.17.1-1``."""
    ours, other = _Version.parsed(version), _Version.parsed(of)
    if ours is None or other is None or ours.parts or ours.before != other.before:
        return False
    return all(number == other_number for number, other_number in zip_longest(ours.release, other.release, fillvalue=0))


def is_ordered(version: str) -> bool:
    """Whether a version has a number by which it can be compared with others of its kind."""
    return _Version.parsed(version) is not None


def _order_of_parts(part: _Part | None, other: _Part | None) -> Order:
    """The order of two parts that differ; ``None`` is the release itself, with nothing behind it."""
    if part is not None and other is not None:
        (word, count), (other_word, other_count) = part, other
        if word == other_word:
            return _by(-1 if count is None else count, -1 if other_count is None else other_count)
        if len(word) == len(other_word) == 1 and count is other_count is None:
            return _by(ord(word), ord(other_word))
    rank, other_rank = _rank(part), _rank(other)
    if rank is None or other_rank is None or rank == other_rank:
        return Order.UNKNOWN
    return _by(rank, other_rank)


def _rank(part: _Part | None) -> int | None:
    return _RELEASE if part is None else _RANKS.get(part[0])


def _by(number: int, other: int) -> Order:
    return Order.NEWER if number > other else Order.OLDER

"""The patterns of a ``.dockerignore``, by Docker's own rules, and without ever trying anything twice.

The rules are those of moby's patternmatcher: a pattern names a path or a folder above it, ``*`` and ``?`` stay within
one name, ``**`` goes over any number of them, and the last pattern that matches decides. All patterns together are one
automaton whose set of states is the bits of one number: a character of a path moves all of them at once, whatever the
patterns are (Navarro and Raffinot, "Flexible Pattern Matching in Strings", 4.3). A folder keeps its states for what is
in it, so that a path costs its own name, and not those above it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import Final, Self

from attrs import define, field, frozen

from rooftree.interfaces.containers import BuildFailed

LARGEST_FILE_BYTES: Final = 256 * 1024
"""Of a ``.dockerignore``, comments included."""
MOST_PATTERNS: Final = 1000
LONGEST_PATTERN: Final = 1024
"""Characters."""
MOST_CHARACTERS: Final = 16 * 1024
"""Of all patterns together: each character of each path costs in proportion to it."""

_MOST_REMEMBERED: Final = 1024
"""Characters whose bits are kept, once they were worked out."""


class PatternInvalid(ValueError):
    """A pattern that Docker refuses too, or that is more than we take."""


@frozen
class Place:
    """How far the patterns have come with a path."""

    states: int = field(repr=False)
    named: int = field(repr=False)
    """The patterns that have matched the path, or a folder above it: of each the bit of its last state."""
    left_out: bool
    """Whether the path stays at home."""
    is_final: bool
    """Whether that is so of everything below it: no pattern can take anything back in."""


@frozen
class IgnoreRules:
    """What stays at home when a folder is sent to the engine."""

    _automaton: _Automaton = field(repr=False)

    @classmethod
    def parse(cls, text: str, always_sent: Iterable[str] = ()) -> Self:
        """Read the text of a ``.dockerignore``; raises :class:`BuildFailed` naming the line that is wrong.

        :param always_sent: paths that are sent whatever the file says
        """
        automaton = _Automaton()
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            try:
                automaton.add_line(line)
            except PatternInvalid as error:
                raise BuildFailed(f".dockerignore, line {number}: {error}") from None
        for path in always_sent:
            automaton.add([*"/", *path], comes_back=True)
        return cls(automaton)

    @property
    def root(self) -> Place:
        """The folder itself, which is always sent."""
        return Place(self._automaton.beginnings, 0, left_out=False, is_final=False)

    def below(self, folder: Place, name: str) -> Place:
        """The place of what is called ``name`` in a folder."""
        states = folder.states
        for character in f"/{name}":
            states = self._automaton.step(states, character)
        return self._automaton.place(states, folder.named)

    def leave_out(self, path: str) -> bool:
        """Whether ``path``, relative to the folder, stays at home: by itself or with a folder above it."""
        place = self.root
        for name in path.split("/"):
            place = self.below(place, name)
        return place.left_out


@frozen
class _Single:
    """``?``: any character of a name."""


@frozen
class _Star:
    """``*``: any characters of a name."""


@frozen
class _Rest:
    """``**`` at the end: whatever comes."""


@frozen
class _Folders:
    """``**`` before something else: any number of whole names, each with its slash."""


@frozen
class _Class:
    """``[a-z]``."""

    negated: bool
    ranges: tuple[tuple[str, str], ...]

    def holds(self, character: str) -> bool:
        return self.negated != any(low <= character <= high for low, high in self.ranges)


type _Item = str | _Single | _Star | _Rest | _Folders | _Class
"""A part of a pattern; a string is a character that stands for itself."""


@define
class _Automaton:
    """All patterns, one after another: state ``n`` waits for item ``n``; behind each pattern is its last state."""

    _length: int = 0
    _patterns: int = 0
    beginnings: int = 0
    """The first states: paths begin with a slash here, so that none of them can be skipped."""
    _ends: int = 0
    _coming_back: int = 0
    """The states of patterns that begin with ``!``."""
    _stars: int = 0
    _rests: int = 0
    _folders: int = 0
    _singles: int = 0
    _literals: dict[str, int] = field(factory=dict)
    _classes: list[tuple[_Class, int]] = field(factory=list)
    _moving: dict[str, int] = field(factory=dict)

    def add_line(self, line: str) -> None:
        """A line of the file; raises :class:`PatternInvalid`."""
        pattern = line.strip()
        if line.startswith("#") or not pattern:
            return
        comes_back = pattern.startswith("!")
        pattern = pattern.removeprefix("!").strip() if comes_back else pattern
        if not pattern:
            raise PatternInvalid("there must be a pattern behind !")
        if len(pattern) > LONGEST_PATTERN:
            raise PatternInvalid(f"a pattern has at most {LONGEST_PATTERN} characters, not {len(pattern)}")
        if self._patterns == MOST_PATTERNS:
            raise PatternInvalid(f"there may be {MOST_PATTERNS} patterns and no more")
        if self._length + len(pattern) > MOST_CHARACTERS:
            raise PatternInvalid(f"all patterns together have at most {MOST_CHARACTERS} characters")
        clean = posixpath.normpath(pattern)
        self.add(["/", *_items(clean.lstrip("/") or "/")], comes_back=comes_back)

    def add(self, items: Iterable[_Item], *, comes_back: bool) -> None:
        """One more pattern, which is stronger than those before it."""
        first = self._length
        for item in items:
            bit = 1 << self._length
            match item:
                case str():
                    self._literals[item] = self._literals.get(item, 0) | bit
                case _Single():
                    self._singles |= bit
                case _Star():
                    self._stars |= bit
                case _Rest():
                    self._rests |= bit
                case _Folders():
                    self._folders |= bit
                case _Class():
                    self._classes.append((item, bit))
            self._length += 1
        self.beginnings |= 1 << first
        self._ends |= 1 << self._length
        self._length += 1
        if comes_back:
            self._coming_back |= (1 << self._length) - (1 << first)
        self._patterns += 1

    def step(self, states: int, character: str) -> int:
        """The states after one more character of the path."""
        if not states:
            return 0
        staying = states & (self._rests if character == "/" else self._rests | self._stars)
        # Whole names are gone over from slash to slash: what is within one goes on, and gets no further by that.
        return self._closed((states & self._moved_by(character)) << 1 | staying) | states & self._folders

    def place(self, states: int, named_above: int) -> Place:
        """What the states say of the path that has led to them."""
        named = named_above | states & self._ends
        deciding = named.bit_length()
        left_out = bool(named) and not self._coming_back >> (deciding - 1) & 1
        alive = states & self._coming_back & ~self._ends
        return Place(states, named, left_out, is_final=left_out and not alive >> deciding)

    def _closed(self, states: int) -> int:
        """With the states that are reached through items that may stand for nothing.

        Such items lie next to each other in runs; an addition carries from the lowest state of a run to behind it.
        """
        empty = self._stars | self._rests | self._folders
        return ((states & empty) + empty ^ empty) | states

    def _moved_by(self, character: str) -> int:
        """The states that a character leads on from."""
        moving = self._moving.get(character)
        if moving is None:
            moving = self._literals.get(character, 0) | (self._folders if character == "/" else self._singles)
            for item, bit in self._classes:
                if item.holds(character):
                    moving |= bit
            if len(self._moving) < _MOST_REMEMBERED:
                self._moving[character] = moving
        return moving


def _items(pattern: str) -> list[_Item]:
    """The items of a pattern; raises :class:`PatternInvalid` where it has no meaning."""
    if pattern.startswith("**") and not set(pattern[2:]) & set("*?[\\"):
        # Docker takes what stands behind for an ending, unless a slash does: **file is also the end of a name.
        return [_Folders(), *pattern[3:]] if pattern[2:3] == "/" else [_Rest(), *pattern[2:]]
    items: list[_Item] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if pattern.startswith("**", at - 1):
            at += 1
            at += pattern.startswith("/", at)
            items.append(_Folders() if at < len(pattern) else _Rest())
        elif character == "*":
            items.append(_Star())
        elif character == "?":
            items.append(_Single())
        elif character == "[":
            item, at = _class(pattern, at)
            items.append(item)
        elif character == "\\":
            character, at = _character(pattern, at - 1)
            items.append(character)
        else:
            items.append(character)
    return items


def _class(pattern: str, at: int) -> tuple[_Class, int]:
    """The class whose ``[`` is before ``at``, and where it ends."""
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern.startswith("]", at)):
        if pattern[at : at + 1] in {"", "-", "]"}:
            raise PatternInvalid("a [ must be followed by characters or ranges of them, and by ]")
        low, at = _character(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _character(pattern, at + 1)
        ranges.append((low, high))
    return _Class(negated, tuple(ranges)), at + 1


def _character(pattern: str, at: int) -> tuple[str, int]:
    """A character that may have a backslash before it, and where it ends."""
    escaped = pattern.startswith("\\", at)
    character = pattern[at + escaped : at + escaped + 1]
    if not character:
        raise PatternInvalid("a pattern must not end with a backslash, or within [ and ]")
    return character, at + escaped + 1

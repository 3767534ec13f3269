"""The immutable table that a path is matched against.

It is built anew and swapped in one assignment when plugins come and go. Whole literal paths are looked up first (their
canonical spelling is the key, so nothing needs checking); everything else goes segment by segment, the more exact
first: literal, tail behind a literal beginning, part, tail.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen, mutable

from rooftree.errors import Invalid
from rooftree.http.paths import Tail, readings, segments
from rooftree.http.routes import Route

_PART = re.compile(r"\{([a-z_]+)\}")
_TAIL = re.compile(r"([^{}]*)\{([a-z_]+)\.\.\.\}")


class DuplicateRoute(ValueError):
    """Two plugins, or one plugin twice, declare the same method on the same path."""


@frozen
class Entry:
    """A route with its owner and what binding it worked out."""

    route: Route
    owner: str
    endpoint: Any


@mutable(eq=False)
class _Node:
    literals: dict[str, _Node] = field(factory=dict)
    part: _Node | None = None
    tails: dict[str, _Node] = field(factory=dict)
    """By what the segment begins with; the longest first, and ``""`` for a whole segment last."""
    methods: dict[str, tuple[Entry, tuple[str, ...]]] = field(factory=dict)

    def tail(self, beginning: str) -> _Node:
        """The node of the tail behind ``beginning``, made where it is not there."""
        tail = self.tails.setdefault(beginning, _Node())
        self.tails = dict(sorted(self.tails.items(), key=lambda item: -len(item[0])))
        return tail


@frozen
class Match:
    """Where a path led: the entries by method, each with the names of the path's parts, and the parts' values."""

    methods: Mapping[str, tuple[Entry, tuple[str, ...]]]
    values: tuple[str, ...] = ()


class RouteTable:
    """Every route there is, of plugins that run and of those that don't."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._root = _Node()
        self._literal: dict[str, Match] = {}
        self._has_tails = False
        self.entries = tuple(entries)
        for entry in self.entries:
            for path in entry.route.paths:
                self._add(entry, path)

    def _add(self, entry: Entry, path: str) -> None:
        node = self._root
        names = []
        for segment in path.strip("/").split("/") if path != "/" else ():
            if match := _TAIL.fullmatch(segment):
                names.append(match[2])
                node = node.tail(match[1])
                self._has_tails = True
            elif match := _PART.fullmatch(segment):
                names.append(match[1])
                node.part = node = node.part or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        method = entry.route.method
        if method in node.methods:
            other = node.methods[method][0].owner
            raise DuplicateRoute(f"{method} {path} of plugin {entry.owner} is already declared by plugin {other}")
        node.methods[method] = (entry, tuple(names))
        if not names:
            self._literal[path] = Match(node.methods)

    def match(self, path: str) -> Match | None:
        """What ``path`` leads to, or ``None``; raises :class:`~rooftree.errors.Invalid` unless it is canonical.

        A tail may be spelt as its client likes. But where another reading of it would have led elsewhere, such as to a
        closed path beside it, the path is refused: whom it is passed on to may read it that way.
        """
        literal = self._literal.get(path)
        if literal is not None:
            return literal
        if self._has_tails:
            return self._match_with_tails(path)
        values: list[str] = []
        node = _find(self._root, segments(path), (), 0, values)
        return Match(node.methods, tuple(values)) if node is not None else None

    def _match_with_tails(self, path: str) -> Match | None:
        refusal: Invalid | None = None
        names: list[str | None] = []
        spelt = path[1:].split("/")
        try:
            names += segments(path)
        except Invalid as error:
            if not path.startswith("/"):
                raise
            refusal = error
            names = [_canonical(segment) for segment in spelt]
        values: list[str] = []
        node = _find(self._root, names, spelt, 0, values)
        if node is None:
            if refusal is not None:
                raise refusal
            return None
        if values and isinstance(values[-1], Tail):
            self._refuse_ambiguous(node, spelt)
        return Match(node.methods, tuple(values))

    def _refuse_ambiguous(self, node: _Node, spelt: Sequence[str]) -> None:
        try:
            *inner, last = (readings(segment) for segment in spelt)
            if any("" in reading for reading in inner):
                raise ValueError("the path has an empty segment: write each / once")
        except ValueError as error:
            sentence = str(error)
            raise Invalid(sentence[:1].upper() + sentence[1:]) from None
        if next(_possible_nodes(self._root, [*inner, last], spelt, 0), None) is not node:
            raise Invalid("The path could be read as another one: write it without escapes that it does not need")


def _canonical(segment: str) -> str | None:
    """What a segment says, or ``None`` for one in another spelling, which only a tail can take."""
    try:
        return segments("/" + segment)[0] if segment else None
    except Invalid:
        return None


def _find(node: _Node, names: Sequence[str | None], spelt: Sequence[str], at: int, values: list[str]) -> _Node | None:
    """The node that the segments from ``at`` lead to; the values of its parts are appended."""
    if at == len(names):
        return node if node.methods else None
    name = names[at]
    if name is not None:
        literal = node.literals.get(name)
        if literal is not None:
            target = _find(literal, names, spelt, at + 1, values)
            if target is not None:
                return target
    for beginning, tail in node.tails.items():
        if beginning and spelt[at].startswith(beginning):
            values.append(Tail("/".join(spelt[at:])[len(beginning) :]))
            return tail
    if name is not None and node.part is not None:
        values.append(name)
        target = _find(node.part, names, spelt, at + 1, values)
        if target is not None:
            return target
        values.pop()
    whole = node.tails.get("")
    if whole is not None:
        values.append(Tail("/".join(spelt[at:])))
    return whole


def _possible_nodes(node: _Node, read: Sequence[frozenset[str]], spelt: Sequence[str], at: int) -> Iterator[_Node]:
    """The nodes that the segments could lead to if each were read in any way there is, the more exact first."""
    if at == len(read):
        if node.methods:
            yield node
        return
    texts = {text.partition(";")[0].casefold() for text in read[at]}
    exact = node.literals.get(spelt[at])
    if exact is not None:
        yield from _possible_nodes(exact, read, spelt, at + 1)
    for literal, below in node.literals.items():
        if below is not exact and literal.casefold() in texts:
            yield from _possible_nodes(below, read, spelt, at + 1)
    for beginning, tail in node.tails.items():
        if beginning and any(text.startswith(beginning.casefold()) for text in texts):
            yield tail
    if node.part is not None:
        yield from _possible_nodes(node.part, read, spelt, at + 1)
    if "" in node.tails:
        yield node.tails[""]

"""The immutable table that a path is matched against.

It is built anew and swapped in one assignment when plugins come and go. Whole literal paths are looked up first (their
canonical spelling is the key, so nothing needs checking); everything else goes segment by segment, the more exact
first: literal, tail behind a literal beginning, part, free text, tail.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen, mutable

from rooftree.errors import Invalid
from rooftree.http.paths import FreeText, Tail, free_text, readings, segments
from rooftree.http.routes import ANY_METHOD, Route

_PART = re.compile(r"\{([a-z_]+)\}")
_TAIL = re.compile(r"([^{}]*)\{([a-z_]+)\.\.\.\}")


_RECENT = 512
"""How many paths are remembered with what they lead to."""
_SHORT = 256
"""Characters of a path that is."""


class DuplicateRoute(ValueError):
    """Two plugins, or one plugin twice, declare the same method on the same path."""


@frozen
class Entry:
    """A route with its owner and what binding it worked out."""

    route: Route
    owner: str
    endpoint: Any
    free_texts: frozenset[str] = frozenset()
    """The parts of its paths that are declared as :class:`~rooftree.http.paths.FreeText`."""


@mutable(eq=False)
class _Node:
    literals: dict[str, _Node] = field(factory=dict)
    part: _Node | None = None
    free_text: _Node | None = None
    tails: dict[str, _Node] = field(factory=dict)
    """By what the segment begins with; the longest first, and ``""`` for a whole segment last."""
    methods: dict[str, tuple[Entry, tuple[str, ...]]] = field(factory=dict)

    def literal(self, segment: str) -> _Node:
        """The node of a segment that is spelt so, made where it is not there."""
        node = self.literals.get(segment)
        if node is None:
            node = self.literals[segment] = _Node()
        return node

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

    def offered(self, method: str) -> tuple[Entry, tuple[str, ...]] | None:
        """What answers a method: what is declared for it, before what is declared for any."""
        return self.methods.get("GET" if method == "HEAD" else method) or self.methods.get(ANY_METHOD)


class RouteTable:
    """Every route there is, of plugins that run and of those that don't.

    :param is_whole: whether it is known of every plugin which routes it has; else there may be more
    """

    def __init__(self, entries: Iterable[Entry] = (), *, is_whole: bool = True) -> None:
        self.is_whole = is_whole
        self._root = _Node()
        self._literal: dict[str, Match] = {}
        self._recent: dict[str, Match] = {}
        self._is_lenient = False
        """Whether some segments may be spelt otherwise: tails, or free texts."""
        self.entries: tuple[Entry, ...] = ()
        self.add(entries)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take entries in, before the table is in use: all of them, or none where :class:`DuplicateRoute` is raised."""
        more = tuple(entries)
        taken: list[tuple[dict[str, tuple[Entry, tuple[str, ...]]], str]] = []
        try:
            for entry in more:
                taken.extend((self._add(entry, path), entry.route.method) for path in entry.route.paths)
        except DuplicateRoute:
            for methods, method in taken:
                del methods[method]
            raise
        self.entries += more

    def _add(self, entry: Entry, path: str) -> dict[str, tuple[Entry, tuple[str, ...]]]:
        """The methods of the path, the entry's among them."""
        node = self._root
        names = []
        for segment in path.strip("/").split("/") if path != "/" else ():
            match = _TAIL.fullmatch(segment) or _PART.fullmatch(segment) if "{" in segment else None
            if match is None:
                node = node.literal(segment)
            elif match.re is _TAIL:
                names.append(match[2])
                node = node.tail(match[1])
                self._is_lenient = True
            else:
                names.append(match[1])
                if match[1] in entry.free_texts:
                    node.free_text = node = node.free_text or _Node()
                    self._is_lenient = True
                else:
                    node.part = node = node.part or _Node()
        method = entry.route.method
        for taken, (other, _) in node.methods.items():
            if taken == method or (ANY_METHOD in {taken, method} and other.owner != entry.owner):
                raise DuplicateRoute(
                    f"{method} {path} of plugin {entry.owner} is already declared by plugin {other.owner}"
                )
        node.methods[method] = (entry, tuple(names))
        if not names:
            self._literal[path] = Match(node.methods)
        return node.methods

    def remembered(self, path: str) -> Match | None:
        """What ``path`` leads to, where it was asked for a while ago."""
        return self._recent.get(path)

    def match(self, path: str) -> Match | None:
        """What ``path`` leads to, or ``None``; raises :class:`~rooftree.errors.Invalid` unless it is canonical.

        Tails and free texts may be spelt as their client likes. But a tail of which another reading would have
        led elsewhere, such as to a closed path beside it, is refused: whom it is passed on to may read it that way.
        """
        match = self._literal.get(path) or self._recent.get(path)
        if match is not None:
            return match
        if self._is_lenient:
            match = self._match_leniently(path)
            if match is not None and len(path) <= _SHORT:
                self._remember(path, match)
            return match
        values: list[str] = []
        node = _find(self._root, segments(path), (), 0, values)
        return Match(node.methods, tuple(values)) if node is not None else None

    def _remember(self, path: str, match: Match) -> None:
        """What tails lead to is asked for again and again: a page, its pictures, what it polls."""
        if len(self._recent) >= _RECENT:
            self._recent.clear()
        self._recent[path] = match

    def _match_leniently(self, path: str) -> Match | None:
        refusal: Invalid | None = None
        names: list[str | None] = []
        spelt = path[1:].split("/")
        try:
            names += segments(path)
        except Invalid as error:
            if not path.startswith("/"):
                raise
            refusal = error
            names = [_read(segment) for segment in spelt]
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
                raise ValueError("the path has an empty segment: a name in it is empty, or a / is written twice")
        except ValueError as error:
            sentence = str(error)
            raise Invalid(sentence[:1].upper() + sentence[1:]) from None
        if next(_possible_nodes(self._root, [*inner, last], spelt, 0), None) is not node:
            raise Invalid("The path could be read as another one: write it without escapes that it does not need")


def _read(segment: str) -> str | None:
    """What a segment says: in another spelling than the canonical one as a free text, which only such a part and tails
    can take, or ``None``, which only a tail can take."""
    try:
        return segments("/" + segment)[0] if segment else None
    except Invalid:
        return free_text(segment)


def _find(node: _Node, names: Sequence[str | None], spelt: Sequence[str], at: int, values: list[str]) -> _Node | None:
    """The node that the segments from ``at`` lead to; the values of its parts are appended."""
    if at == len(names):
        return node if node.methods else None
    name = names[at]
    canonical = name is not None and not isinstance(name, FreeText)
    if canonical:
        assert name is not None
        literal = node.literals.get(name)
        if literal is not None:
            target = _find(literal, names, spelt, at + 1, values)
            if target is not None:
                return target
    for beginning, tail in node.tails.items():
        if beginning and spelt[at].startswith(beginning):
            values.append(Tail("/".join(spelt[at:])[len(beginning) :]))
            return tail
    for below in (node.part if canonical else None, node.free_text):
        if name is not None and below is not None:
            values.append(str(name))
            target = _find(below, names, spelt, at + 1, values)
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
    for any_name in (node.part, node.free_text):
        if any_name is not None:
            yield from _possible_nodes(any_name, read, spelt, at + 1)
    if "" in node.tails:
        yield node.tails[""]

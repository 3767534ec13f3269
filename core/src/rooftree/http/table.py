"""The immutable table that a path is matched against.

It is built anew and swapped in one assignment when plugins come and go. Whole literal paths are looked up first (their
canonical spelling is the key, so nothing needs checking); everything else goes segment by segment, literal before part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen, mutable

from rooftree.http.paths import segments
from rooftree.http.routes import Route

_PART = re.compile(r"\{([a-z_]+)\}")


class DuplicateRoute(ValueError):
    """Two plugins, or one plugin twice, declare the same method on the same path."""


@frozen
class Entry:
    """A route with its owner and what binding it worked out."""

    route: Route
    owner: str
    endpoint: Any


@mutable
class _Node:
    literals: dict[str, _Node] = field(factory=dict)
    part: _Node | None = None
    methods: dict[str, tuple[Entry, tuple[str, ...]]] = field(factory=dict)


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
        self.entries = tuple(entries)
        for entry in self.entries:
            for path in entry.route.paths:
                self._add(entry, path)

    def _add(self, entry: Entry, path: str) -> None:
        node = self._root
        names = []
        for segment in path.strip("/").split("/") if path != "/" else ():
            found = _PART.fullmatch(segment)
            if found:
                names.append(found[1])
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
        """What ``path`` leads to, or ``None``; raises :class:`~rooftree.errors.Invalid` unless it is canonical."""
        literal = self._literal.get(path)
        if literal is not None:
            return literal
        values: list[str] = []
        node = self._find(self._root, segments(path), values)
        return Match(node.methods, tuple(values)) if node is not None and node.methods else None

    def _find(self, node: _Node, rest: tuple[str, ...], values: list[str]) -> _Node | None:
        if not rest:
            return node if node.methods else None
        literal = node.literals.get(rest[0])
        if literal is not None:
            found = self._find(literal, rest[1:], values)
            if found is not None:
                return found
        if node.part is None:
            return None
        values.append(rest[0])
        found = self._find(node.part, rest[1:], values)
        if found is None:
            values.pop()
        return found

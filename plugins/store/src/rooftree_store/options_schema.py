"""The mini-language of an add-on's ``schema``: what options there are, read once into a small tree."""

from __future__ import annotations

import enum
import re
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from attrs import frozen

from rooftree_store.readers import MAX_DEPTH, Findings, join, shown

MAX_SHARED_CHARACTERS: Final = 256
"""Longer type strings are rare, and kept only as long as the add-on that has them."""


class Kind(enum.StrEnum):
    """The types of single values."""

    STR = "str"
    PASSWORD = "password"  # noqa: S105  # the name of a type
    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    EMAIL = "email"
    URL = "url"
    PORT = "port"
    MATCH = "match"
    LIST = "list"
    DEVICE = "device"


@frozen
class Scalar:
    """A single value. ``source`` is the type string it was parsed from."""

    source: str
    kind: Kind
    optional: bool = False
    low: float | None = None
    """The least value, or the least number of characters."""
    high: float | None = None
    pattern: str | None = None
    choices: tuple[str, ...] = ()
    subsystem: str | None = None


@frozen
class ListOf:
    """A list of any length. ``ignored`` keeps what stands after the element's type in the source, without effect."""

    element: Scalar | MapOf
    ignored: tuple[Element, ...] = ()


@frozen
class MapOf:
    """A mapping with known keys."""

    fields: Mapping[str, Element]


type Element = Scalar | ListOf | MapOf


@frozen
class OptionsSchema:
    """What options an add-on takes."""

    root: MapOf

    def source(self) -> dict[str, Any]:
        """The schema as its author wrote it."""
        return {name: _source(element) for name, element in self.root.fields.items()}


_TYPE: Final = re.compile(r"(?P<kind>[a-z]+)(?:\((?P<arguments>.*)\))?")
_ARGUMENTS: Final[Mapping[Kind, re.Pattern[str]]] = {
    Kind.STR: re.compile(r"(?P<low>[0-9]{1,9})?,(?P<high>[0-9]{1,9})?"),
    Kind.PASSWORD: re.compile(r"(?P<low>[0-9]{1,9})?,(?P<high>[0-9]{1,9})?"),
    Kind.INT: re.compile(r"(?P<low>-?[0-9]{1,18})?,(?P<high>-?[0-9]{1,18})?"),
    Kind.FLOAT: re.compile(r"(?P<low>-?[0-9]{0,18}\.?[0-9]{1,18})?,(?P<high>-?[0-9]{0,18}\.?[0-9]{1,18})?"),
    Kind.MATCH: re.compile(r"(?P<pattern>.*)"),
    Kind.LIST: re.compile(r"(?P<choices>.+)"),
    Kind.DEVICE: re.compile(r"subsystem=(?P<subsystem>[a-z0-9_-]+)"),
}
"""What may stand in parentheses; the kinds that are not here have none."""
_NEEDS_ARGUMENTS: Final = frozenset({Kind.MATCH, Kind.LIST})
_KINDS: Final[Mapping[str, Kind]] = {kind.value: kind for kind in Kind}

_TYPES: Final = (
    "str, password, int, float (each also with (min,max)), bool, email, url, port, match(REGEX), list(a|b), "
    "device or device(subsystem=x), with a ? after it when the option may be missing"
)


def parse_schema(raw: Any) -> OptionsSchema:
    """The typed form of a configuration's ``schema``; raises ``Refused`` with every finding."""
    findings = Findings()
    root = _parse_map(raw, "", 0, findings)
    findings.raise_if_any()
    return OptionsSchema(root)


def _parse_map(raw: Any, path: str, depth: int, findings: Findings) -> MapOf:
    if not isinstance(raw, Mapping):
        findings.add(path, f"must be a mapping of options to types, not {shown(raw)}")
        return MapOf({})
    fields: dict[str, Element] = {}
    for name, element in raw.items():
        if isinstance(name, str):
            fields[sys.intern(str(name))] = _parse_element(element, join(path, name[:80]), depth + 1, findings)
        else:
            findings.add(path, f"the key {shown(name)} must be a string; put it in quotes")
        if findings.are_enough:
            break
    return MapOf(fields)


def _parse_element(raw: Any, path: str, depth: int, findings: Findings) -> Element:
    if depth > MAX_DEPTH:
        findings.add(path, f"nests deeper than {MAX_DEPTH} levels")
    elif isinstance(raw, Mapping):
        return _parse_map(raw, path, depth, findings)
    elif isinstance(raw, list | tuple):
        return _parse_list(raw, path, depth, findings)
    elif isinstance(raw, str):
        scalar = parse_type(raw)
        if scalar is not None:
            return scalar
        findings.add(path, f"{shown(raw)} is no type; allowed are {_TYPES}")
    else:
        findings.add(path, f"must be a type in quotes, a list or a mapping, not {shown(raw)}")
    return _ANYTHING


def _parse_list(raw: Sequence[Any], path: str, depth: int, findings: Findings) -> Element:
    if not raw:
        findings.add(path, "must hold the type of its elements")
        return _ANYTHING
    parsed = []
    for index, element in enumerate(raw):
        step = f"{path}[{index}]"
        if isinstance(element, list | tuple):
            findings.add(step, "a list must not hold a list directly; put a mapping between them")
        else:
            parsed.append(_parse_element(element, step, depth + 1, findings))
        if findings.are_enough:
            break
    if not parsed or isinstance(parsed[0], ListOf):
        return _ANYTHING
    return ListOf(parsed[0], tuple(parsed[1:]))


_ANYTHING: Final = Scalar("str", Kind.STR)
"""Stands where a finding was noted; the whole is refused anyway."""


def parse_type(source: str) -> Scalar | None:
    """A type string such as ``int(1,10)?``, or ``None`` for what is none. One object for all equal short strings."""
    return _parse_type_once(source) if len(source) <= MAX_SHARED_CHARACTERS else _parse_type(source)


def _parse_type(source: str) -> Scalar | None:
    # A folded block in YAML ends with a line end; the reference's pattern lets one pass.
    body = source.removesuffix("\n")
    optional = body.endswith("?")
    match = _TYPE.fullmatch(body.removesuffix("?"))
    kind = _KINDS.get(match["kind"]) if match else None
    if match is None or kind is None:
        return None
    parts = _parse_arguments(kind, match["arguments"])
    if parts is None:
        return None
    return Scalar(
        sys.intern(source),
        kind,
        optional,
        _bound(parts.get("low")),
        _bound(parts.get("high")),
        parts.get("pattern"),
        tuple(map(sys.intern, (parts.get("choices") or "").split("|"))) if kind is Kind.LIST else (),
        parts.get("subsystem"),
    )


_parse_type_once: Final = lru_cache(maxsize=4096)(_parse_type)


def _parse_arguments(kind: Kind, arguments: str | None) -> Mapping[str, str | None] | None:
    """The parts of what stands in parentheses, or ``None`` when ``kind`` does not take it."""
    if arguments is None:
        return None if kind in _NEEDS_ARGUMENTS else {}
    match = _ARGUMENTS[kind].fullmatch(arguments) if kind in _ARGUMENTS else None
    return match.groupdict() if match else None


def _bound(text: str | None) -> float | None:
    return float(text) if text else None


def _source(element: Element) -> Any:
    match element:
        case Scalar():
            return element.source
        case ListOf():
            return [_source(inner) for inner in (element.element, *element.ignored)]
        case MapOf():
            return {name: _source(inner) for name, inner in element.fields.items()}

"""Readers: functions that turn what a stranger wrote into a typed value, or say what is wrong with it.

A reader takes a plain value and returns a typed one or raises :class:`Refused`. Readers of lists and mappings read
every element before they give up, so that the author of a file sees everything that is wrong with it at once.
"""

from __future__ import annotations

import enum
import math
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import field, frozen

from rooftree.errors import Invalid
from rooftree.model import likely_meant

type Reader[T] = Callable[[Any], T]

MAX_DEPTH: Final = 50
"""How deep default options may nest."""
MAX_SHOWN_FINDINGS: Final = 20
MAX_FINDINGS: Final = 50
"""When so much is wrong with something, the rest of it is not read any more."""
LONGEST_SENTENCE: Final = 800
"""Characters of what is said of all findings together."""
EMPTY: Final = "is left empty, which counts as if it were not there, and which other supervisors refuse"
_MAX_SHOWN_CHARACTERS: Final = 60
_MAX_NEAREST_CHARACTERS: Final = 40
"""No word that is known here is that long, and to compare long ones takes long."""
_MAX_PATH_CHARACTERS: Final = 300


@frozen
class Finding:
    """One thing wrong, and where: ``Finding("ports.80/tcp", "must be …")``. The path is empty for the whole."""

    path: str
    message: str

    def __str__(self) -> str:
        if not self.path:
            return self.message
        path = self.path
        if len(path) > _MAX_PATH_CHARACTERS:
            path = f"{path[: _MAX_PATH_CHARACTERS // 2]}…{path[-_MAX_PATH_CHARACTERS // 2 :]}"
        return f"{path}: {self.message}"

    def under(self, step: str) -> Finding:
        """The same finding, seen from one level further out."""
        return Finding(join(step, self.path), self.message)


def join(path: str, step: str) -> str:
    """``path`` extended by a key or by an index such as ``[2]``."""
    if not path or not step:
        return path or step
    return path + step if step.startswith("[") else f"{path}.{step}"


class Refused(Exception):
    """What a reader raises: at least one finding, with paths relative to the value it was given."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__("; ".join(map(str, findings)))
        self.findings = findings


def refused(message: str) -> Refused:
    """The exception for a value that is wrong as a whole."""
    return Refused(Finding("", message))


class ContentInvalid(Invalid):
    """A file was read, and what it says is not allowed. ``findings`` has everything that is wrong with it."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(sentence(findings))
        self.findings = list(findings)


def sentence(findings: Sequence[Finding]) -> str:
    """All findings in one line, cut after a number that people still read."""
    told: list[str] = []
    room = LONGEST_SENTENCE
    for finding in findings[:MAX_SHOWN_FINDINGS]:
        line = str(finding)
        if told and len(line) > room:
            break
        told.append(line if len(line) <= LONGEST_SENTENCE else f"{line[:LONGEST_SENTENCE]}…")
        room -= len(line) + 2
    more = len(findings) - len(told)
    if len(findings) >= MAX_FINDINGS:
        return f"{'; '.join(told)}; and many more"
    return f"{'; '.join(told)}; and {more} more" if more else "; ".join(told)


@frozen
class Findings:
    """Collects what is wrong while a whole is read part by part, up to :data:`MAX_FINDINGS`."""

    noted: list[Finding] = field(factory=list)

    @property
    def are_enough(self) -> bool:
        """Whether so much is wrong that nothing more is noted: who reads a list or a mapping may stop."""
        return len(self.noted) >= MAX_FINDINGS

    def read[T](self, step: str, reader: Reader[T], value: Any) -> T | None:
        """The part as ``reader`` gives it, or ``None`` after noting what is wrong with it."""
        try:
            return reader(value)
        except Refused as error:
            room = MAX_FINDINGS - len(self.noted)
            self.noted.extend(finding.under(step) for finding in error.findings[:room])
            return None

    def required[T](self, whole: Mapping[Any, Any], key: str, reader: Reader[T]) -> T | None:
        """The part under ``key``, which has to be there."""
        if key not in whole:
            self.add(key, "is required")
            return None
        return self.read(key, reader, whole[key])

    def optional[T](self, whole: Mapping[Any, Any], key: str, reader: Reader[T]) -> T | None:
        """The part under ``key``, or ``None`` when it is not there."""
        return self.read(key, reader, whole[key]) if key in whole else None

    def entries[T](self, path: str, value: Any, item: Callable[[str, Any], T | None]) -> dict[str, T]:
        """What of a mapping can be used; the rest is noted and left out.

        :param item: gives the value at a path, or ``None`` after noting what is wrong with it
        """
        if value is None:
            self.add(path, EMPTY)
        elif not isinstance(value, Mapping):
            self.add(path, f"must be a mapping of keys to values, not {shown(value)}")
        entries: dict[str, T] = {}
        for name, element in value.items() if isinstance(value, Mapping) else ():
            if self.are_enough:
                break
            where = join(path, step_of(name))
            if not isinstance(name, str):
                self.add(where, f"the key must be a string, not {shown(name)}; put it in quotes")
            elif (entry := item(where, element)) is not None:
                entries[sys.intern(str(name))] = entry
        return entries

    def add(self, path: str, message: str) -> None:
        if not self.are_enough:
            self.noted.append(Finding(path, message))

    def raise_if_any(self) -> None:
        """Raise :class:`Refused` with everything noted so far."""
        if self.noted:
            raise Refused(*self.noted)


def shown(value: object) -> str:
    """A value in a message, cut short. Never for options: they may be secrets."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, int) and value.bit_length() > 200:
        return "a huge number"
    text = repr(value[:_MAX_SHOWN_CHARACTERS] if isinstance(value, str) else value)
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else text[: _MAX_SHOWN_CHARACTERS - 3] + "…'"


def text(value: Any) -> str:
    """A string, and nothing that could be made into one."""
    if not isinstance(value, str):
        advice = "; put it in quotes" if _scalar(value) else ""
        raise refused(f"must be a string, not {shown(value)}{advice}")
    return value


def _scalar(value: object) -> bool:
    return isinstance(value, bool | int | float)


def filled_text(value: Any) -> str:
    """A string that is not empty."""
    if not text(value):
        raise refused("must not be empty")
    return str(value)


def scalar_text(value: Any) -> str:
    """A string, or a number or boolean in Python's spelling: versions are often written without quotes."""
    if isinstance(value, str):
        return value
    if not _scalar(value):
        raise refused(f"must be a string or a number, not {shown(value)}")
    if isinstance(value, int) and value.bit_length() > 200:
        raise refused("must not be a number of that size")
    return str(value)


_TRUE: Final = frozenset({"1", "true", "yes", "on", "enable"})
_FALSE: Final = frozenset({"0", "false", "no", "off", "disable"})


def flag(value: Any) -> bool:
    """The ecosystem's lenient boolean: certain words in any case, and the truth of anything that is not a string."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return bool(value)
    word = value.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise refused(f"must be true or false, not {shown(value)}")


def whole(low: int, high: int, *, also: Collection[int] = ()) -> Reader[int]:
    """A whole number within bounds, also written as text (``"8080"``)."""
    allowed = f"a whole number from {low} to {high}" + "".join(f" or {number}" for number in also)

    def read(value: Any) -> int:
        number = _whole(value)
        if number is None or not (low <= number <= high or number in also):
            raise refused(f"must be {allowed}, not {shown(value)}")
        return number

    return read


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return None if isinstance(value, float) and value != number else number


def one_of[E: enum.StrEnum](kind: type[E]) -> Reader[E]:
    """A member of an enumeration, by its value."""
    members = {member.value: member for member in kind}
    allowed = ", ".join(members)

    def read(value: Any) -> E:
        member = members.get(value) if isinstance(value, str) else None
        if member is None:
            raise refused(f"must be one of {allowed}, not {shown(value)}{nearest(value, members)}")
        return member

    return read


def word_of(words: Collection[str], *, elsewhere: Mapping[str, str] = {}) -> Reader[str]:
    """One of a set of words.

    :param elsewhere: how others call them: not accepted, but it is told which word was meant
    """
    known = {word: word for word in words}
    allowed = ", ".join(words)

    def read(value: Any) -> str:
        member = known.get(value) if isinstance(value, str) else None
        if member is None:
            meant = elsewhere.get(value.lower()) if isinstance(value, str) else None
            advice = f"; did you mean {meant}?" if meant else nearest(value, words)
            raise refused(f"must be one of {allowed}, not {shown(value)}{advice}")
        return member

    return read


def nearest(value: object, words: Iterable[str]) -> str:
    """``; did you mean manual?`` where one of the words is what was probably meant, else nothing."""
    if not isinstance(value, str) or len(value) > _MAX_NEAREST_CHARACTERS:
        return ""
    near = likely_meant(value, words, 0.75)
    return f"; did you mean {near}?" if near else ""


def matching(pattern: re.Pattern[str], allowed: str) -> Reader[str]:
    """A string that ``pattern`` matches as a whole; ``allowed`` says in words what that means."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise refused(f"must be {allowed}, not {shown(value)}")
        return value

    return read


def url(value: Any) -> str:
    """An address with a scheme and a host."""
    if not is_url(text(value)):
        raise refused(f"must be a URL with scheme and host, such as https://example.com/, not {shown(value)}")
    return str(value)


def is_url(value: str) -> bool:
    """Whether a string has a scheme and a host."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)


def list_of[T](item: Reader[T], *, unique: bool = False) -> Reader[tuple[T, ...]]:
    """A list whose every element ``item`` reads."""

    def read(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list | tuple):
            raise refused(f"must be a list, not {shown(value)}")
        findings = Findings()
        items = []
        for index, element in enumerate(value):
            items.append(findings.read(f"[{index}]", item, element))
            if findings.are_enough:
                break
        findings.raise_if_any()
        if unique and len(set(items)) != len(items):
            raise refused("must not name anything twice")
        return tuple(items)  # type: ignore[arg-type]  # no findings means that no element is None

    return read


def mapping_of[T](item: Reader[T], *, key: Reader[str] = text) -> Reader[dict[str, T]]:
    """A mapping from strings that ``key`` reads to values that ``item`` reads."""

    def read(value: Any) -> dict[str, T]:
        if not isinstance(value, Mapping):
            raise refused(f"must be a mapping of keys to values, not {shown(value)}")
        findings = Findings()
        items: dict[str, Any] = {}
        for name, element in value.items():
            step = step_of(name)
            name = findings.read(step, _as_key(key), name)  # noqa: PLW2901  # the key, read
            result = findings.read(step, item, element)
            if name is not None:
                items[sys.intern(str(name))] = result
            if findings.are_enough:
                break
        findings.raise_if_any()
        return items

    return read


def _as_key(key: Reader[str]) -> Reader[str]:
    def read(value: Any) -> str:
        try:
            return key(value)
        except Refused as error:
            raise Refused(*(Finding("", f"the key {finding.message}") for finding in error.findings)) from None

    return read


def step_of(name: object) -> str:
    """A key of a mapping as a step of a path, cut short."""
    label = name if isinstance(name, str) else shown(name)
    return label if len(label) <= _MAX_SHOWN_CHARACTERS else label[:_MAX_SHOWN_CHARACTERS] + "…"


def maybe[T](reader: Reader[T]) -> Reader[T | None]:
    """What ``reader`` reads, or null."""

    def read(value: Any) -> T | None:
        if value is None:
            return None
        try:
            return reader(value)
        except Refused as error:
            raise Refused(*(_or_null(finding) for finding in error.findings)) from None

    return read


def _or_null(finding: Finding) -> Finding:
    begins = "must be "
    if finding.path or not finding.message.startswith(begins):
        return finding
    return Finding("", f"{begins}null or {finding.message.removeprefix(begins)}")


def json_object(value: Any) -> dict[str, Any]:
    """A mapping that JSON can carry as it is: string keys, finite numbers of at most 64 bits, no bottomless nesting."""
    if not isinstance(value, dict):
        raise refused(f"must be a mapping of keys to values, not {shown(value)}")
    findings = Findings()
    _check_json(value, "", 0, findings)
    findings.raise_if_any()
    return value


def _check_json(value: object, path: str, depth: int, findings: Findings) -> None:
    if findings.are_enough:
        return
    if isinstance(value, dict | list) and depth > MAX_DEPTH:
        findings.add(path, f"nests deeper than {MAX_DEPTH} levels")
    elif isinstance(value, dict):
        for name, inner in value.items():
            step = join(path, step_of(name))
            if not isinstance(name, str):
                findings.add(step, f"the key {shown(name)} must be a string; put it in quotes")
            _check_json(inner, step, depth + 1, findings)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_json(inner, f"{path}[{index}]", depth + 1, findings)
    elif isinstance(value, float) and not math.isfinite(value):
        findings.add(path, "must be a finite number")
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        findings.add(path, "must fit into 64 bits")
    elif not isinstance(value, str | int | float | None):
        findings.add(path, f"must be text, a number, true, false, null, a list or a mapping, not {shown(value)}")

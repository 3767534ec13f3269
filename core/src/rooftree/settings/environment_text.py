"""The texts of environment variables, read as what the type of a setting asks for."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping
from itertools import chain, repeat
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

import attrs

from rooftree.errors import Invalid
from rooftree.model import structure

_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def parse_text(text: str, kind: Any) -> object:
    """The text of an environment variable as plain data for the declared type ``kind``.

    Lists are separated by commas, or written as JSON; objects are JSON. What does not look like ``kind`` is handed
    back as text, for the strict conversion to refuse in its own words; :class:`~rooftree.errors.Invalid` is raised
    for a list that is broken JSON.
    """
    try:
        return _parsed(text, get_origin(kind) or kind, get_args(kind))
    except ValueError:
        return text


def members(kind: Any) -> tuple[Any, ...]:
    """The members of a union; any other type is its own only member."""
    return get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)


def _parsed(text: str, kind: Any, arguments: tuple[Any, ...]) -> object:
    """Raises ``ValueError`` for what does not look like ``kind``."""
    word = text.strip()
    if kind in {Union, UnionType}:
        return _first_that_fits(text, arguments)
    if kind is bool:
        return _WORDS.get(word.lower(), text)
    if kind in {int, float}:
        return kind(word)
    if kind in {list, tuple, frozenset}:
        return _list(word, arguments)
    if kind is Literal:
        return _choice(text, arguments)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _choice(text, [member.value for member in kind])
    if attrs.has(kind) or (isinstance(kind, type) and issubclass(kind, Mapping)):
        return json.loads(word)
    return text


def _first_that_fits(text: str, kinds: tuple[Any, ...]) -> object:
    for kind in kinds:
        value = parse_text(text, kind)
        try:
            structure(value, kind)
        except Invalid:
            continue
        return value
    return text


def _choice(text: str, choices: Iterable[object]) -> object:
    return next((choice for choice in choices if str(choice).lower() == text.strip().lower()), text)


def _list(word: str, kinds: tuple[Any, ...]) -> object:
    if word.startswith("["):
        try:
            return json.loads(word)
        except ValueError as error:
            raise Invalid(f"must be a list, separated by commas or as JSON ({error})") from None
    items = [item.strip() for item in word.split(",") if item.strip()]
    has_type_for_each = len(kinds) > 1 and kinds[1] is not Ellipsis
    part_kinds = chain(kinds, repeat(str)) if has_type_for_each else repeat(kinds[0] if kinds else str)
    return [parse_text(item, kind) for item, kind in zip(items, part_kinds, strict=False)]

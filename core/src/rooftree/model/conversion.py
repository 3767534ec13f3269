"""One converter between JSON and attrs classes, strict where cattrs alone is generous.

Plain cattrs turns ``"false"`` into ``True`` and ``2.9`` into ``2``. Here a value is of the declared type or the whole
is refused with a sentence that names the field. ``Unset`` stands for a key that is absent, because ``null`` often
means "back to the default". Parsed strings (slugs, names) bring their own parser, used for bodies and paths alike.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from functools import cache
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Final, Literal, Self, Union, cast, get_args, get_origin, get_type_hints

import attrs
import cattrs
from cattrs.errors import BaseValidationError, ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.orjson import make_converter

from rooftree.errors import Invalid

MOST_PROBLEMS: Final = 20
"""That are told of one value; whoever sends more wrong things than that reads no more either."""
LONGEST_PROBLEM: Final = 800
"""Characters, of one sentence."""
LONGEST_ANSWER: Final = 1500
"""Characters, of all sentences together."""
MOST_ALLOWED: Final = 40
"""Keys that are named as allowed."""
DEEPEST: Final = 100
"""How deep JSON from outside may nest. What comes in goes through functions that call themselves for each level, into
documents and events and out again in an answer with more around it, and the encoder stops at 254."""


class Unset(enum.Enum):
    """The type of a field that may be absent: ``name: str | Unset | None = UNSET``."""

    UNSET = "unset"

    def __bool__(self) -> Literal[False]:
        """Absent is never true."""
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET


class ParsedString(str):
    """A string that was checked when it was made; subclasses say what is valid with :attr:`pattern` and
    :attr:`allowed`, or with a :meth:`check` of their own.

    The same parser serves path parts, query values, bodies and stored documents, so a value of this type is valid
    wherever it came from.
    """

    __slots__ = ()

    pattern: ClassVar[str | None] = None
    """A regular expression that the whole of every valid text matches, in the API's document too; a :meth:`check` of
    one's own may be stricter. Written so that ECMA-262 and Python read it alike."""
    allowed: ClassVar[str] = ""
    """What a valid text is, to end the sentence "must be …"."""

    @classmethod
    def check(cls, text: str) -> None:
        """Raise ``ValueError`` with a sentence that says what is allowed."""
        if cls.pattern is None:
            raise NotImplementedError(f"{cls.__name__} needs a pattern, or a check of its own")
        if re.fullmatch(cls.pattern, text) is None:
            raise ValueError(f"must be {cls.allowed}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The checked string; raises ``ValueError``."""
        cls.check(text)
        return cls(text)


_NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", bytes: "bytes"}


def _strict(kind: type) -> Any:
    """The hook for a primitive. cattrs calls it for subclasses too (StrEnum!), whatever else is registered for them."""

    def structure(value: Any, wanted: Any) -> Any:
        if issubclass(wanted, enum.Enum):
            return _structure_enum(value, wanted)
        if issubclass(wanted, ParsedString):
            return _structure_parsed(value, wanted)
        if kind is str and isinstance(value, str):
            return str(value)  # a slug or a word of an enum, handed over by another plugin
        if type(value) is not kind:
            raise ValueError(f"must be {_NAMES[kind]}, not {_shown(value)}")
        return value if wanted is kind else wanted(value)

    return structure


def _structure_none(value: Any, _: Any) -> None:
    if value is not None:
        raise ValueError(f"must be null, not {_shown(value)}")


def _structure_float(value: Any, _: Any) -> float:
    if type(value) not in {int, float}:
        raise ValueError(f"must be a number, not {_shown(value)}")
    return float(value)


def _structure_datetime(value: Any, _: Any) -> datetime:
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str):
        moment = datetime.fromisoformat(value)
    else:
        raise ValueError(f"must be a date and time in RFC 3339, not {_shown(value)}")
    if moment.tzinfo is None:
        raise ValueError("must have a time zone, such as a final Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be in the years 1 to 9999, UTC") from None


def _structure_parsed(value: Any, kind: type[ParsedString]) -> ParsedString:
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {_shown(value)}")
    return kind.parse(value)


def _structure_enum(value: Any, kind: type[enum.Enum]) -> enum.Enum:
    if isinstance(value, kind):
        return value
    for member in kind:
        if type(value) is type(member.value) and value == member.value:
            return member
    allowed = ", ".join(repr(member.value) for member in kind)
    raise ValueError(f"must be one of {allowed}, not {_shown(value)}")


def _structure_literal(value: Any, kind: Any) -> Any:
    for allowed in get_args(kind):
        if type(value) is type(allowed) and value == allowed:
            return value
    raise ValueError(f"must be one of {', '.join(map(repr, get_args(kind)))}, not {_shown(value)}")


def _of_items(collection: Callable[[list[Any]], Any]) -> Any:
    """The hook for collections whose items are of one type."""

    def structure(value: Any, kind: Any) -> Any:
        if not isinstance(value, list | tuple | frozenset | set):
            raise ValueError(f"must be a list, not {_shown(value)}")
        (item,) = get_args(kind) or (Any,)
        return collection(_converted_items(value, item))

    return structure


def _structure_tuple(value: Any, kind: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list, not {_shown(value)}")
    arguments = get_args(kind) or (Any, ...)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_converted_items(value, arguments[0]))
    if len(value) != len(arguments):
        raise ValueError(f"must have {len(arguments)} elements, not {len(value)}")
    return tuple(converter.structure(item, kind) for item, kind in zip(value, arguments, strict=True))


def _converted_items(values: Any, kind: Any) -> list[Any]:
    items = []
    for index, value in enumerate(values):
        try:
            items.append(converter.structure(value, kind))
        except Exception as error:
            raise ValueError(_prefixed(f"[{index}]", error)) from None
    return items


def _structure_mapping(value: Any, kind: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be an object, not {_shown(value)}")
    key_kind, value_kind = get_args(kind) or (Any, Any)
    items = {}
    for key, item in value.items():
        try:
            items[converter.structure(key, key_kind)] = converter.structure(item, value_kind)
        except Exception as error:
            raise ValueError(_prefixed(_cut(str(key)), error)) from None
    return items


def _is_one_of(*origins: Any) -> Callable[[Any], bool]:
    """Whether a type is one of these, with or without type arguments."""
    return lambda kind: any((get_origin(kind) or kind) is origin for origin in origins)


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in {Union, UnionType}


def _union_hook(kind: Any) -> Any:
    """Take the first member that accepts the value; ``None`` and ``UNSET`` only stand for themselves."""
    members = [member for member in get_args(kind) if member is not Unset]
    nullable = type(None) in members
    others = [member for member in members if member is not type(None)]

    def structure(value: Any, _: Any) -> Any:
        if value is UNSET and Unset in get_args(kind):
            return UNSET
        if value is None:
            if nullable:
                return None
            raise ValueError("must not be null")
        problems = []
        for member in others:
            try:
                return converter.structure(value, member)
            except Exception as error:
                problems.append(" ".join(describe(error)))
        raise ValueError(" or ".join(dict.fromkeys(problems)))

    return structure


_KEEP_NO_SOURCE: Final[Any] = {"_cattrs_use_linecache": False}
"""Of the functions that cattrs writes: a kilobyte for each class, for debuggers alone."""


def _attrs_structure(kind: type) -> Any:
    hook: Any = make_dict_structure_fn(
        kind, converter, _cattrs_forbid_extra_keys=True, _cattrs_use_alias=True, **_KEEP_NO_SOURCE
    )

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError(f"must be an object, not {_shown(value)}")
        return hook(cast("Mapping[str, Any]", value), kind)

    return structure


@cache  # cattrs forgets those of all classes with each list or mapping that it has not seen before
def _attrs_unstructure(kind: type) -> Any:
    hints = get_type_hints(kind)
    omitted: Any = {
        field.name: override(omit_if_default=True)
        for field in attrs.fields(kind)
        if Unset in get_args(hints[field.name]) and field.default is UNSET
    }
    return make_dict_unstructure_fn(kind, converter, _cattrs_use_alias=True, **_KEEP_NO_SOURCE, **omitted)


def _shown(value: object) -> str:
    """A value in a message: its JSON spelling, cut short."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…'"


converter = make_converter(detailed_validation=True, unstruct_collection_overrides={})
"""The converter of the whole house. Plugins register hooks for their own types here, never on one of their own."""

for _primitive in (str, int, bool):
    converter.register_structure_hook(_primitive, _strict(_primitive))
converter.register_structure_hook(type(None), _structure_none)
converter.register_structure_hook(float, _structure_float)
converter.register_structure_hook(datetime, _structure_datetime)
converter.register_unstructure_hook(datetime, lambda moment: moment.isoformat())
converter.register_structure_hook(Path, lambda value, _: Path(_strict(str)(value, str)))
converter.register_unstructure_hook(Path, str)
for _collection, _origins in (
    (list, (list, MutableSequence)),
    (tuple, (Sequence,)),
    (frozenset, (frozenset, AbstractSet)),
    (set, (set, MutableSet)),
):
    converter.register_structure_hook_func(_is_one_of(*_origins), _of_items(_collection))
converter.register_structure_hook_func(_is_one_of(tuple), _structure_tuple)
converter.register_structure_hook_func(_is_one_of(dict, Mapping, MutableMapping), _structure_mapping)
converter.register_structure_hook_func(_is_one_of(Literal), _structure_literal)
converter.register_structure_hook_func(
    lambda kind: isinstance(kind, type) and issubclass(kind, enum.Enum), _structure_enum
)
converter.register_unstructure_hook_func(lambda kind: isinstance(kind, type) and issubclass(kind, ParsedString), str)
converter.register_structure_hook_factory(_is_union, _union_hook)
converter.register_unstructure_hook_func(
    lambda kind: _is_union(kind) and Unset in get_args(kind), converter.unstructure
)
converter.register_structure_hook_factory(attrs.has, _attrs_structure)
converter.register_unstructure_hook_factory(attrs.has, _attrs_unstructure)


def structure[T](value: object, kind: type[T]) -> T:
    """``value`` (decoded JSON) as ``kind``, or :class:`~rooftree.errors.Invalid` naming every wrong field."""
    try:
        return converter.structure(value, kind)
    except (BaseValidationError, ValueError, TypeError, KeyError) as error:
        raise Invalid(sentence(describe(error))) from None


def unstructure(value: object) -> Any:
    """A typed value as plain JSON data; fields that are ``UNSET`` are left out."""
    return converter.unstructure(value)


def is_deeper(value: object) -> bool:
    """Whether decoded JSON has lists and objects within each other to more than :data:`DEEPEST` levels."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if type(inner) is dict or type(inner) is list
        ]
    return bool(level)


def sentence(problems: Sequence[str]) -> str:
    """Several sentences as one, cut where nobody reads on."""
    told = ""
    for count, problem in enumerate(problems):
        longer = f"{told}; {problem}" if told else problem
        if count == MOST_PROBLEMS or len(longer) > LONGEST_ANSWER:
            return f"{told}; and more" if told else f"{problem[:LONGEST_ANSWER]}…"
        told = longer
    return told


def describe(error: BaseException, where: str = "") -> list[str]:
    """Sentences of the form ``field.path: what is wrong``, one for each thing wrong in ``error``; of very many the
    first :data:`MOST_PROBLEMS` and one that says that there are more."""
    lines = [_cut(line, LONGEST_PROBLEM) for line in islice(_described(error, where), MOST_PROBLEMS + 1)]
    if len(lines) > MOST_PROBLEMS:
        lines[-1] = "and more"
    return lines


def _described(error: BaseException, where: str) -> Iterator[str]:
    if isinstance(error, ForbiddenExtraKeysError):
        yield from _unknown(error, where)
    elif isinstance(error, ClassValidationError | IterableValidationError):
        owner = error.cl if isinstance(error, ClassValidationError) else None
        for inner in error.exceptions:
            yield from _described(inner, _join(where, _noted(inner, owner)))
    elif isinstance(error, KeyError) and isinstance(error.args[0], str):
        yield f"{_join(where, error.args[0]) if not where.endswith(error.args[0]) else where}: is required"
    elif isinstance(error, Invalid):
        yield f"{where}: {error.message}" if where else error.message
    else:
        text = str(error) or type(error).__name__
        glue = ""
        if where and not text.startswith("["):
            glue = ": " if text.startswith(_PREDICATES) or not _leads_with_path(text) else "."
        yield where + glue + text


def _unknown(error: ForbiddenExtraKeysError, where: str) -> Iterator[str]:
    """What is said of keys that a class does not have; what is allowed instead is said once."""
    allowed = sorted(field.alias for field in attrs.fields(error.cl) if field.init) if attrs.has(error.cl) else []
    more = ", …" if len(allowed) > MOST_ALLOWED else ""
    hint = f"; allowed are {', '.join(allowed[:MOST_ALLOWED]) or 'no keys'}{more}"
    for key in nsmallest(MOST_PROBLEMS + 1, error.extra_fields):
        yield f"{_join(where, _cut(key))}: is not known here{hint}"
        hint = ""


def _cut(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


_PREDICATES = ("must ", "is ", "has ", "needs ")


def _leads_with_path(text: str) -> bool:
    head, colon, _ = text.partition(":")
    return bool(colon) and " " not in head


def _prefixed(where: str, error: BaseException) -> str:
    return sentence(describe(error, where))


def _join(where: str, name: str) -> str:
    if not where or not name:
        return where or name
    return f"{where}{name}" if name.startswith("[") else f"{where}.{name}"


def _noted(error: BaseException, kind: type | None) -> str:
    """The field or index that cattrs noted on an error, in the spelling of the JSON."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, cattrs.AttributeValidationNote):
            if kind is not None and attrs.has(kind):
                return next((field.alias for field in attrs.fields(kind) if field.name == note.name), note.name)
            return str(note.name)
        if isinstance(note, cattrs.IterableValidationNote):
            return f"[{note.index}]"
    return ""

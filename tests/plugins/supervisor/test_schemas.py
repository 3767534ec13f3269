"""Types as JSON Schema: what the schema lets through is what the converter takes, and what it gives fits the schema."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NotRequired, TypedDict

import orjson
import pytest
from attrs import field, frozen, validators
from jsonschema import Draft202012Validator, FormatChecker

from rooftree import UNSET, Invalid, ParsedString, Unset, structure, unstructure
from rooftree.plugins import PluginName
from rooftree.settings import between
from rooftree_store import AddonSlug, RepositorySlug
from rooftree_supervisor.api_documents.schemas import Schemas, Way
from rooftree_supervisor.api_documents.source_texts import SourceTexts, as_markdown, of_function
from rooftree_supervisor.models import JobId, Limits, TokenId, TokenName

type Free = dict[str, Any]
"""Whatever its owner likes."""


class Colour(enum.StrEnum):
    """What it looks like."""

    RED = "red"
    BLUE = "blue"


class Word(ParsedString):
    """A word in lower case."""

    __slots__ = ()

    pattern = "[a-z]+"

    @classmethod
    def check(cls, text: str) -> None:
        if not text.isalpha() or not text.islower():
            raise ValueError("must be a word")


class Page(TypedDict):
    """A page."""

    title: str
    """What stands at the top."""
    below: NotRequired[list[Page]]


@frozen
class Lamp:
    """A lamp: see :class:`Colour`."""

    name: Word
    """What people ``say``."""
    colour: Colour = Colour.RED
    level: int = field(default=1, validator=between(1, 9))
    dim: float | Unset | None = UNSET
    seen: datetime | None = None
    kind: Literal["bulb", "tube", None] = None
    key: str = field(default="", repr=False)
    extra: Free = field(factory=dict)
    inner: list[Lamp] = field(factory=list)
    pair: tuple[int, str] | None = None
    tags: frozenset[str] = frozenset()
    many: Mapping[Word, int | str] = field(factory=dict)
    pages: Sequence[Page] = ()


def schema_of(kind: Any, way: Way = Way.TAKEN) -> tuple[dict[str, Any], Schemas]:
    """A schema that stands for itself, and what made it."""
    schemas = Schemas(SourceTexts())
    schema = schemas.of(kind, way)
    return schema | {"components": {"schemas": schemas.components}}, schemas


def fits(schema: Mapping[str, Any], value: Any) -> bool:
    return bool(Draft202012Validator(schema, format_checker=FormatChecker()).is_valid(value))


LAMPS = (
    {"name": "desk"},
    {"name": "Desk"},
    {"name": 3},
    {},
    {"name": "desk", "colour": "blue"},
    {"name": "desk", "colour": "green"},
    {"name": "desk", "colour": None},
    {"name": "desk", "level": 9},
    {"name": "desk", "level": "9"},
    {"name": "desk", "level": 9.5},
    {"name": "desk", "level": True},
    {"name": "desk", "dim": None},
    {"name": "desk", "dim": 2},
    {"name": "desk", "dim": "2"},
    {"name": "desk", "seen": None},
    {"name": "desk", "seen": "2024-01-02T03:04:05Z"},
    {"name": "desk", "kind": "tube"},
    {"name": "desk", "kind": None},
    {"name": "desk", "kind": "candle"},
    {"name": "desk", "extra": {"a": [1, {"b": None}]}},
    {"name": "desk", "extra": [1]},
    {"name": "desk", "inner": [{"name": "bulb"}]},
    {"name": "desk", "inner": [{"name": "bulb", "colour": "green"}]},
    {"name": "desk", "pair": [1, "a"]},
    {"name": "desk", "pair": [1]},
    {"name": "desk", "pair": [1, 2]},
    {"name": "desk", "tags": ["a", "b"]},
    {"name": "desk", "tags": [1]},
    {"name": "desk", "many": {"a": 1, "b": "x"}},
    {"name": "desk", "many": {"A": 1}},
    {"name": "desk", "many": {"a": 1.5}},
    {"name": "desk", "pages": [{"title": "a", "below": [{"title": "b", "below": []}]}]},
    {"name": "desk", "pages": [{"title": "a"}]},
    {"name": "desk", "pages": [{"below": []}]},
    {"name": "desk", "size": 3},
    [],
    None,
)


@pytest.mark.parametrize("value", LAMPS, ids=str)
def test_schema_takes_what_the_converter_takes(value: object) -> None:
    schema, _ = schema_of(Lamp)

    try:
        structure(value, Lamp)
        taken = True
    except Invalid:
        taken = False

    assert fits(schema, value) == taken


def test_answer_fits_its_schema_and_lacks_nothing_that_is_required() -> None:
    schema, _ = schema_of(Lamp, Way.GIVEN)
    lamp = Lamp(Word("desk"), seen=datetime.now(UTC), pair=(1, "a"), tags=frozenset("a"), inner=[Lamp(Word("b"))],
                pages=[{"title": "a"}])  # fmt: skip

    given = orjson.loads(orjson.dumps(unstructure(lamp)))

    assert fits(schema, given)
    assert {"dim"} == set(schema["components"]["schemas"]["tests.Lamp"]["properties"]) - set(given)
    for key in given:
        assert not fits(schema, {name: value for name, value in given.items() if name != key}), key


def test_absent_key_and_null_are_told_apart() -> None:
    @frozen
    class Change:
        a: str | Unset = UNSET
        b: str | Unset | None = UNSET
        c: str | None = None

    taken, _ = schema_of(Change)
    given, _ = schema_of(Change, Way.GIVEN)

    assert [fits(taken, {key: None}) for key in "abc"] == [False, True, True]
    assert fits(taken, {})
    assert [schema["components"]["schemas"]["tests.Change"].get("required") for schema in (taken, given)] == [
        None,
        ["c"],
    ]


@frozen
class Limited:
    low: int = field(default=1, validator=validators.ge(1))
    both: int = field(default=1, validator=validators.and_(validators.gt(0), validators.lt(7)))
    maybe: int | None = field(default=None, validator=validators.optional(between(1, 60)))
    given: int | Unset = field(default=UNSET, validator=Limits(1, 60))
    text: str = field(default="a", validator=validators.max_len(3))
    least: str = field(default="a", validator=validators.min_len(1))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"low": 1},
        {"low": 0},
        {"both": 6},
        {"both": 7},
        {"both": 0},
        {"maybe": None},
        {"maybe": 60},
        {"maybe": 61},
        {"given": 1},
        {"given": 0},
        {"text": "abc"},
        {"text": "abcd"},
        {"least": ""},
    ],
    ids=str,
)
def test_limits_of_validators_are_those_of_the_schema(value: object) -> None:
    schema, _ = schema_of(Limited)

    try:
        structure(value, Limited)
        taken = True
    except Invalid:
        taken = False

    assert fits(schema, value) == taken


def test_components_say_in_words_what_their_source_says() -> None:
    _, schemas = schema_of(Lamp, Way.GIVEN)

    lamp = schemas.components["tests.Lamp"]
    assert lamp["description"] == "A lamp: see `Colour`."
    assert lamp["properties"]["name"] == {
        "$ref": "#/components/schemas/tests.Word",
        "description": "What people `say`.",
    }
    assert schemas.components["tests.Word"]["description"] == "A word in lower case."
    assert schemas.components["tests.Free"]["description"] == "Whatever its owner likes."
    assert schemas.components["tests.Page"]["properties"]["title"]["description"] == "What stands at the top."


def test_field_that_is_not_shown_is_described_as_a_secret() -> None:
    _, schemas = schema_of(Lamp)

    properties = schemas.components["tests.Lamp"]["properties"]
    assert {name for name, schema in properties.items() if schema.get("format") == "password"} == {"key"}


def test_class_that_is_taken_and_given_is_described_for_both() -> None:
    schemas = Schemas(SourceTexts())

    given, taken = schemas.of(list[Lamp], Way.GIVEN), schemas.of(Lamp, Way.TAKEN)

    assert given == {"type": "array", "items": {"$ref": "#/components/schemas/tests.Lamp"}}
    assert taken == {"$ref": "#/components/schemas/tests.LampBody"}
    assert schemas.components["tests.LampBody"]["required"] == ["name"]
    assert schemas.components["tests.LampBody"]["properties"]["level"]["default"] == 1
    assert schemas.components["tests.LampBody"]["properties"]["inner"]["items"] == taken
    assert "tests.ColourBody" not in schemas.components


def test_two_classes_of_one_name_are_two_components() -> None:
    def make() -> type:
        @frozen
        class Same:
            a: int

        return Same

    schemas = Schemas(SourceTexts())
    first, second = schemas.of(make(), Way.GIVEN), schemas.of(make(), Way.GIVEN)

    assert first != second
    assert len(schemas.components) == 2


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        (Any, ["here"]),
        (object, ["here"]),
        (dict[str, Any], ["here.{}"]),
        (list[dict[str, Any] | None], ["here.[].{}"]),
        (dict, ["here.{}"]),
        (list, ["here.[]"]),
        (Free, []),
        (dict[str, Free], []),
        (Lamp, []),
    ],
    ids=str,
)
def test_what_may_be_anything_is_told_unless_it_has_a_name(kind: Any, where: list[str]) -> None:
    schemas = Schemas(SourceTexts())

    with schemas.inside("here"):
        schemas.of(kind, Way.GIVEN)

    assert schemas.untyped == where


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (AddonSlug, ("local_hello", "core_a.b", "0123abcd_x", "", "hello", "local_", "local_" + "a" * 129)),
        (RepositorySlug, ("local", "core", "0123abcd", "0123ABCD", "0123abc", "")),
        (JobId, ("a" * 32, "a" * 31, "g" * 32)),
        (TokenId, ("0" * 32, "0" * 33)),
        (PluginName, ("store", "a-b_c", "-a", "A", "a" * 64, "a" * 65)),
        (TokenName, ("grafana", "A.b-c", ".a", "a" * 64, "a" * 65)),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)  # fmt: skip
def test_pattern_of_a_parsed_string_says_what_its_check_says(kind: type[ParsedString], texts: tuple[str, ...]) -> None:
    schema, _ = schema_of(kind)

    for text in texts:
        try:
            kind.parse(text)
            taken = True
        except ValueError:
            taken = False
        assert fits(schema, text) == taken, text


def test_parameters_of_a_function_are_described_where_they_are_named() -> None:
    def function(a: int, b: int) -> None:
        """Do it.

        At once.

        :param a: how often
            and how
        :param b: see ``x``
        """

    assert of_function(function) == ("Do it.\n\nAt once.", {"a": "how often and how", "b": "see `x`"})


def test_class_without_source_is_described_without_words() -> None:
    namespace: dict[str, Any] = {"__name__": "from_nowhere", "frozen": frozen}
    exec("@frozen\nclass Bare:\n    a: int\n    'unseen'", namespace)

    _, schemas = schema_of(namespace["Bare"], Way.GIVEN)

    (bare,) = schemas.components.values()
    assert bare == {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def test_roles_of_docstrings_become_plain_names() -> None:
    assert as_markdown("See :meth:`~rooftree.Jobs.run`, :data:`X` and ``y``.") == "See `run`, `X` and `y`."

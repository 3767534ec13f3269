"""The converter: strict where cattrs is generous, and telling which field is wrong."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest
from attrs import field, frozen, validators
from hypothesis import given
from hypothesis import strategies as st

from rooftree.errors import Invalid
from rooftree.model.conversion import UNSET, ParsedString, Unset, structure, unstructure


class Colour(enum.StrEnum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    ONE = 1


class Slug(ParsedString):
    __slots__ = ()

    @classmethod
    def check(cls, text: str) -> None:
        if not text.isidentifier():
            raise ValueError("must be letters, digits and underscores")


@frozen
class Inner:
    count: int
    label: str = "x"


@frozen
class Outer:
    inner: Inner
    items: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = field(factory=dict)


@frozen
class Options:
    absent: str | Unset = UNSET
    cleared: str | Unset | None = UNSET


@frozen
class Checked:
    port: int = field(validator=validators.in_(range(1, 10)))


@frozen
class Aliased:
    from_: str = field(alias="origin")


WRONG: list[tuple[Any, list[object]]] = [
    (bool, ["false", 0, 1, None, [], 1.0]),
    (int, [True, 2.9, 2.0, "2", None, []]),
    (float, [True, "1.5", None]),
    (str, [1, 1.5, True, None, [], {}, b"x"]),
    (list[str], ["abc", {"a": 1}, None, 1, ["a", 1]]),
    (list, ["abc", {"a": 1}, None]),
    (set[str], ["abc", {"a": 1}, [1]]),
    (frozenset[str], ["abc", {"a": 1}, [1]]),
    (Sequence[str], ["abc", {"a": 1}, [1]]),
    (tuple[int, ...], ["12", {"a": 1}, [1, "2"], None]),
    (tuple[int, str], [[1], [1, "a", 2], ["a", 1]]),
    (dict[str, int], [[["a", 1]], "ab", None, {"a": "1"}, {1: 1}]),
    (dict, [[["a", 1]], "ab", None]),
    (Mapping[str, int], [[["a", 1]], {"a": 1.5}]),
    (Colour, ["RED", "blue", 1, None, ["red"]]),
    (Level, [True, 1.0, "1", 2]),
    (Literal["a", 1], ["b", True, 1.0, None]),
    (Slug, ["a b", "", 5, None]),
    (datetime, ["yesterday", "2024-01-01T00:00:00", 1_700_000_000, None, "0001-01-01T00:00:00+23:59"]),
    (int | None, ["1", True, 1.5]),
    (int | str, [True, 1.5, None, []]),
    (Inner | None, ["x", [], {"count": "1"}]),
    (Path, [1, None]),
    (Inner, [[], "x", None, {}, {"count": 1, "other": 2}]),
    (type(None), [0, "", "null"]),
]
REFUSED = [(kind, value) for kind, values in WRONG for value in values]

ACCEPTED: list[tuple[Any, object, object]] = [
    (bool, False, False),
    (int, -(2**63), -(2**63)),
    (float, 2, 2.0),
    (str, "", ""),
    (list[str], ["a"], ["a"]),
    (list, ["a", 1], ["a", 1]),
    (set[str], ["a", "a"], {"a"}),
    (frozenset[str], ["a", "a"], frozenset({"a"})),
    (tuple[int, ...], [1, 2], (1, 2)),
    (tuple[int, str], [1, "a"], (1, "a")),
    (dict[str, int | None], {"a": None}, {"a": None}),
    (dict[str, Any], {"a": {"b": [1]}}, {"a": {"b": [1]}}),
    (Colour, "red", Colour.RED),
    (Level, 1, Level.ONE),
    (Literal["a", 1], 1, 1),
    (Slug, "a_b", "a_b"),
    (datetime, "2024-01-01T02:00:00+02:00", datetime(2024, 1, 1, tzinfo=UTC)),
    (datetime, "2024-01-01T00:00:00Z", datetime(2024, 1, 1, tzinfo=UTC)),
    (int | None, None, None),
    (int | str, "1", "1"),
    (str | int, 1, 1),
    (Inner | None, {"count": 1}, Inner(1)),
    (Path, "a/b", Path("a/b")),
    (type(None), None, None),
    (Aliased, {"origin": "x"}, Aliased("x")),
]


@pytest.mark.parametrize(("kind", "value"), REFUSED, ids=repr)
def test_value_of_another_type_is_refused(kind: Any, value: object) -> None:
    with pytest.raises(Invalid):
        structure(value, kind)


@pytest.mark.parametrize(("kind", "value", "expected"), ACCEPTED, ids=repr)
def test_value_of_the_declared_type_is_taken(kind: Any, value: object, expected: object) -> None:
    result = structure(value, kind)

    assert result == expected
    assert type(result) is type(expected) or isinstance(result, ParsedString)


def test_parsed_string_is_of_its_own_type_wherever_it_stands() -> None:
    assert [type(item) for item in structure(["a"], list[Slug])] == [Slug]
    assert [type(key) for key in structure({"a": 1}, dict[Slug, int])] == [Slug]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({}, Options(UNSET, UNSET)),
        ({"absent": "x"}, Options("x", UNSET)),
        ({"cleared": None}, Options(UNSET, None)),
        ({"cleared": "x"}, Options(UNSET, "x")),
    ],
)
def test_absent_null_and_given_are_told_apart(sent: dict[str, object], expected: Options) -> None:
    assert structure(sent, Options) == expected
    assert unstructure(expected) == sent


def test_null_is_refused_where_only_absence_is_allowed() -> None:
    with pytest.raises(Invalid, match=r"^absent: must not be null$"):
        structure({"absent": None}, Options)


def test_unset_cannot_be_sent_by_its_name() -> None:
    assert structure({"absent": "unset"}, Options).absent == "unset"


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        (Outer, {}, "inner: is required"),
        (Outer, {"inner": {}}, "inner.count: is required"),
        (Outer, {"inner": {"count": "1"}}, "inner.count: must be a whole number, not '1'"),
        (Outer, {"inner": 5}, "inner: must be an object, not 5"),
        (
            Outer,
            {"inner": {"count": 1, "colour": 2}},
            "inner.colour: is not known here; allowed are count, label",
        ),
        (Outer, {"inner": {"count": 1}, "items": [{"count": 1}, {}]}, "items[1].count: is required"),
        (
            Outer,
            {"inner": {"count": 1}, "items": [{"count": None}]},
            "items[0].count: must be a whole number, not null",
        ),
        (
            Outer,
            {"inner": {"count": 1}, "by_name": {"a": {"count": True}}},
            "by_name.a.count: must be a whole number, not true",
        ),
        (list[int], [1, "2"], "[1]: must be a whole number, not '2'"),
        (Colour, "blue", "must be one of 'red', 'green', not 'blue'"),
        (Slug, "a b", "must be letters, digits and underscores"),
        (Aliased, {}, "origin: is required"),
    ],
)
def test_message_names_the_field_by_its_path(kind: Any, value: object, sentence: str) -> None:
    with pytest.raises(Invalid) as refused:
        structure(value, kind)

    assert refused.value.message == sentence


def test_everything_wrong_is_named_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        structure({"inner": {"count": "1", "label": 2}, "more": 1}, Outer)

    message = refused.value.message
    assert "inner.count: must be a whole number" in message
    assert "inner.label: must be a string" in message
    assert "more: is not known here" in message


def test_what_an_attrs_validator_refuses_is_a_refusal() -> None:
    with pytest.raises(Invalid, match="port"):
        structure({"port": 99}, Checked)


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(Invalid) as refused:
        structure("x" * 100_000, int)

    assert len(refused.value.message) < 200


@frozen
class Everything:
    number: int
    real: float
    flag: bool
    text: str
    colour: Colour
    moment: datetime
    maybe: Inner | None
    absent: int | Unset | None
    items: tuple[Inner, ...]
    names: dict[str, list[str]]
    words: frozenset[str]
    pair: tuple[int, str]


texts = st.text(st.characters(codec="utf-8"), max_size=20)
inner = st.builds(Inner, st.integers(-(2**53), 2**53), texts)
everything = st.builds(
    Everything,
    number=st.integers(-(2**63), 2**63 - 1),
    real=st.floats(allow_nan=False, allow_infinity=False),
    flag=st.booleans(),
    text=texts,
    colour=st.sampled_from(Colour),
    moment=st.datetimes(timezones=st.just(UTC)),
    maybe=st.none() | inner,
    absent=st.just(UNSET) | st.none() | st.integers(-9, 9),
    items=st.lists(inner, max_size=3).map(tuple),
    names=st.dictionaries(texts, st.lists(texts, max_size=3), max_size=3),
    words=st.frozensets(texts, max_size=3),
    pair=st.tuples(st.integers(-9, 9), texts),
)


@given(everything)
def test_what_was_written_as_json_is_read_as_the_same(value: Everything) -> None:
    # A field without default, whose value is UNSET, has no JSON spelling: it is filled in here.
    written = orjson.dumps({key: item for key, item in unstructure(value).items() if item is not UNSET})
    read = orjson.loads(written)
    if value.absent is UNSET:
        read.pop("absent", None)
        with pytest.raises(Invalid, match="absent: is required"):
            structure(read, Everything)
        return

    assert structure(read, Everything) == value


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(texts, children, max_size=3),
    max_leaves=8,
)


@given(json_values, st.sampled_from([Outer, Options, Everything, list[int], dict[str, Inner], Colour, datetime, Slug]))
def test_any_json_is_either_taken_or_refused_with_a_sentence(value: Any, kind: Any) -> None:
    try:
        structure(value, kind)
    except Invalid as refused:
        assert refused.message


@frozen
class Stored:
    content: bytes
    slug: Slug
    colour: Colour


@given(st.binary(max_size=40))
def test_stored_document_with_bytes_and_parsed_strings_is_read_as_the_same(content: bytes) -> None:
    value = Stored(content, Slug("a_b"), Colour.RED)

    written = orjson.dumps(unstructure(value))

    assert structure(orjson.loads(written), Stored) == value

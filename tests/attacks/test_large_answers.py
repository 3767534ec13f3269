"""A megabyte of nonsense: the answer is short, comes at once, and is a designed one."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from attrs import field, frozen

from rooftree.errors import Invalid
from rooftree.model.conversion import DEEPEST, is_deeper, structure
from rooftree.testing.containers import FakeContainerEngine
from rooftree_store.addon_config import parse_addon_config
from rooftree_store.lint import check
from rooftree_store.lint.findings import MOST_FINDINGS
from rooftree_store.option_places import LONGEST_PLACE, secret_references
from rooftree_store.options import OptionsInvalid, validate_options
from rooftree_store.options_schema import parse_schema
from rooftree_store.readers import ContentInvalid, sentence
from rooftree_store.translations import parse_translation
from tests.plugins.addons.house import HELLO, House, house
from tests.rig.pace import on_this_machine

LONGEST = 2_000
WITHIN_S = 0.2
OPEN: dict[str, Any] = {"options": {}, "schema": False}
LISTS: dict[str, Any] = {"options": {}, "schema": {"numbers": ["int"], "texts": [{"name": "str", "size": "int"}]}}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, FakeContainerEngine()) as here:
        yield here


def nested(levels: int) -> bytes:
    return b'{"options": {"a": ' + b'{"a": ' * levels + b"1" + b"}" * levels + b"}}"


UNKNOWN = {f"key{number}": number for number in range(60_000)}


@frozen
class Inner:
    count: int
    names: Sequence[str] = ()


@frozen
class Outer:
    items: Sequence[int] = ()
    inner: Sequence[Inner] = ()
    either: int | Sequence[Inner] | None = None
    table: Mapping[str, int] = field(factory=dict)


def timed(act: Any) -> tuple[BaseException, float]:
    """What it raises, and the seconds that this took: the best of three, for other tests run too."""
    best = 1e9
    for _ in range(3):
        began = time.process_time()
        with pytest.raises(Exception) as refusal:  # which one, the caller says
            act()
        best = min(best, time.process_time() - began)
    return refusal.value, best


@pytest.mark.parametrize(
    "value",
    [
        UNKNOWN,
        {"items": ["x"] * 300_000},
        {"items": "x" * 1_000_000},
        {"inner": [{"count": "x", **UNKNOWN}]},
        {"inner": [{"x": 1}] * 100_000},
        {"either": [{"count": "x"}] * 60_000},
        {"table": UNKNOWN | {"x" * 500_000: "y"}},
        {"x" * 1_000_000: 1},
        {"\ud800" * 300_000: 1},
    ],
)
def test_kernel_refuses_a_megabyte_in_a_sentence(value: Any) -> None:
    error, seconds = timed(lambda: structure(value, Outer))

    assert isinstance(error, Invalid)
    assert len(error.message) < LONGEST
    assert seconds < on_this_machine(WITHIN_S)


@pytest.mark.parametrize(
    "options",
    [
        {"numbers": ["x"] * 300_000},
        {"numbers": [[]] * 300_000},
        {"numbers": [1], "texts": [{}] * 300_000},
        {"texts": [{"name": "a", "size": "x"}] * 40_000},
        {"texts": 7},
    ],
)
def test_options_are_refused_in_a_sentence(options: dict[str, Any]) -> None:
    schema = parse_schema(LISTS["schema"])

    error, seconds = timed(lambda: validate_options(schema, options, secrets=lambda _: None))

    assert isinstance(error, OptionsInvalid)
    assert len(error.message) < LONGEST
    assert seconds < on_this_machine(WITHIN_S)


CONFIG = {"name": "x", "version": "1", "slug": "x", "description": "x", "arch": ["amd64"]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"ports": {f"{number}/udpp": 1 for number in range(60_000)}},
        {"environment": UNKNOWN},
        {"arch": ["amd65"] * 90_000},
        {"arch": ["x" * 1_000_000]},
        {"map": [{"type": "confgi"}] * 60_000},
        {"privileged": [{}] * 90_000},
        {"services": ["x" * 20] * 40_000},
        {"schema": {f"key{number}": "strr" for number in range(40_000)}},
        {"schema": {"x": ["strr"] * 90_000}},
        {"options": {f"key{number}": float("nan") for number in range(40_000)}},
        {"webui": "http://[HOST]:[PORT:80" + "0" * 1_000_000},
        {"devices": [7] * 90_000},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_configuration_is_refused_in_a_sentence(wrong: dict[str, Any]) -> None:
    error, seconds = timed(lambda: parse_addon_config(CONFIG | wrong))

    assert isinstance(error, ContentInvalid)
    assert len(error.message) < LONGEST
    assert seconds < on_this_machine(WITHIN_S)


def test_what_a_translation_leaves_out_is_said_in_a_sentence() -> None:
    seconds = []
    for _ in range(3):
        began = time.process_time()
        translation = parse_translation({"network": UNKNOWN, "configuration": UNKNOWN})
        seconds.append(time.process_time() - began)

    assert 0 < len(sentence(translation.findings)) < LONGEST
    assert min(seconds) < on_this_machine(WITHIN_S)


def test_linter_ends_with_a_file_that_has_no_end_of_findings(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | dict.fromkeys(list(UNKNOWN)[:9_000], 1)))
    began = time.process_time()

    report = check([folder])

    assert MOST_FINDINGS <= len(report.findings) < 2 * MOST_FINDINGS
    assert any(finding.code == "too-many" for finding in report.findings)
    assert time.process_time() - began < on_this_machine(20)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("options", {"options": {"numbers": ["x"] * 250_000}}),
        ("options", UNKNOWN),
        ("options", {"x" * 1_000_000: 1}),
        ("options", {"network": {"x" * 1_000_000: 1}}),
        ("options", {"network": {"8080/tcp": "1" * 1_000_000}}),
        ("options", {"boot": "x" * 1_000_000}),
        ("options?plan=1", UNKNOWN),
    ],
)
async def test_answer_to_a_megabyte_is_short(home: House, path: str, body: dict[str, Any]) -> None:
    await home.install(config=LISTS | {"ports": {"8080/tcp": 8080}})
    content = orjson.dumps(body)
    began = time.process_time()

    answer = await home.client.request(
        "POST", f"/addons/{HELLO}/{path}", body=content, headers={"Content-Type": "application/json"}
    )

    assert answer.status == 400
    assert len(answer.text) < 2 * LONGEST  # the sentence, and once more for clients that word it themselves
    assert time.process_time() - began < on_this_machine(1)


@pytest.mark.parametrize("query", ["", "?plan=1"])
@pytest.mark.parametrize("levels", [DEEPEST, 253, 254, 500, 1020, 100_000])
async def test_options_that_nest_too_deep_are_a_designed_refusal(home: House, levels: int, query: str) -> None:
    await home.install(config=OPEN)

    answer = await home.client.request(
        "POST",
        f"/addons/{HELLO}/options{query}",
        body=nested(levels),
        headers={"Content-Type": "application/json"},
    )

    assert answer.status == 400
    assert any(words in answer.message for words in ("deeper than", "not JSON", "too many values"))
    assert home.installed().options == {}


async def test_options_that_nest_as_deep_as_they_may_go_through_everything(home: House) -> None:
    """Kept, told, planned, published, written for the container, and read back at the next start."""
    await home.install(config=OPEN)
    deepest = nested(DEEPEST - 2)
    options = orjson.loads(deepest)["options"]
    assert not is_deeper({"options": options})
    assert is_deeper({"options": {"a": options}})

    answer = await home.client.request(
        "POST", f"/addons/{HELLO}/options", body=deepest, headers={"Content-Type": "application/json"}
    )

    assert answer.status == 200, answer.text
    assert (await home.info(HELLO))["options"] == options
    assert (await home.post(HELLO, "start?plan=1")).status == 200
    assert (await home.post(HELLO, "start")).status == 200
    written = (home.data / "apps" / "data" / HELLO / "options.json").read_bytes()
    assert json.loads(written) == options
    assert (await home.post(HELLO, "options/validate", {})).data["valid"] is True


MANY = 300_000
COSTLY: list[dict[str, Any]] = [
    {"a": [[]] * MANY}, {"a": [{}] * MANY}, {"k" * 400_000: [0] * MANY}, {"a": [""] * MANY},
    {"k" * 500_000: ["!secret x"] * 19_000}, {f"!secret {number}": "!secret x" for number in range(19_000)},
]  # fmt: skip
"""Short to write, and much to go through."""


@pytest.mark.parametrize("options", COSTLY)
@pytest.mark.parametrize("path", ["options", "options/validate"])
async def test_options_that_nobody_refuses_by_their_schema_cost_little(
    home: House, path: str, options: dict[str, Any]
) -> None:
    """An add-on may have its own judged as often as it likes, while everybody else waits."""
    await home.install(config=OPEN)
    content = orjson.dumps({"options": options} if path == "options" else options)

    async def ask() -> float:
        began = time.process_time()
        answer = await home.client.request(
            "POST", f"/addons/{HELLO}/{path}", body=content, headers={"Content-Type": "application/json"}
        )
        assert answer.status in {200, 400}
        return time.process_time() - began

    assert min([await ask() for _ in range(3)]) < on_this_machine(WITHIN_S)


@pytest.mark.parametrize("item", ["!secret x", [], 0])
def test_places_of_references_take_no_copies_of_a_long_name(item: Any) -> None:
    options = {"k" * 500_000: [item] * 19_000}
    tracemalloc.start()
    try:
        assert secret_references(options) == {}
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_reference_counts_up_to_the_longest_place() -> None:
    name = "k" * (LONGEST_PLACE - 1)
    assert secret_references({name: ["!secret x"], "a": {"b": ["y", "!secret z"]}}) == {
        f"{name}[0]": "!secret x",
        "a.b[1]": "!secret z",
    }


@pytest.mark.parametrize("text", ["a, [b], {c}, " * 60_000, '"\\' * 60_000, ",\n" * 90_000])
async def test_long_text_is_one_value(home: House, text: str) -> None:
    await home.install(config=OPEN)

    answer = await home.client.post(f"/addons/{HELLO}/options/validate", json={"text": text})

    assert answer.status == 200, answer.text

"""Whatever a stranger writes, only the documented errors come out, and what was accepted stays accepted."""

import contextlib
import functools
import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooftree_store.addon_config import AddonConfig, ConfigInvalid, parse_addon_config
from rooftree_store.assessment import availability, image_reference, rating
from rooftree_store.build_file import parse_build_file
from rooftree_store.options import OptionsInvalid, validate_options
from rooftree_store.options_form import ui_schema
from rooftree_store.options_schema import parse_schema, parse_type
from rooftree_store.readers import ContentInvalid, Refused
from rooftree_store.repository_file import parse_repository_file
from rooftree_store.translations import parse_translation
from rooftree_store.yaml_files import FileInvalid, parse_document
from tests.plugins.store.corpus import CORPUS, needs_corpus, rows

WORDS = st.sampled_from(
    ["", "ssl:rw", "config", "type", "!green", "8080/tcp", "!secret x", "amd64", "mqtt:need", "a@b.cd", "http://x",
     "..", "str", "int(1,2)?", "list(a|b)", "match(^[a)", "device(subsystem=tty)", "http://[HOST]:[PORT:1]", "é\0",
     "<<", "1"]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=8)
KEYS = st.sampled_from([field.name for field in AddonConfig.__attrs_attrs__]) | WORDS | st.integers() | st.none()
YAML_LIKE = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=20
)
unhurried = settings(deadline=None, max_examples=50)
MAPPINGS = st.dictionaries(KEYS, YAML_LIKE, max_size=8)
MINIMAL = {"name": "Hello", "version": "1.0", "slug": "hello", "description": "", "arch": ["amd64"]}

ELEMENTS = st.recursive(
    st.sampled_from(
        ["str", "str?", "password(2,5)", "bool", "int", "int(0,5)?", "float(,2)", "email?", "url", "port",
         "match(^[ab]+)", "match((a+)+$)?", "list(a|1)", "device?"]
    ),
    lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3)
    | st.tuples(inner.filter(lambda element: not isinstance(element, list))).map(list),
    max_leaves=6,
)  # fmt: skip


@unhurried
@given(MAPPINGS)
def test_config_is_read_or_refused(raw):
    with contextlib.suppress(ConfigInvalid):
        parse_addon_config(raw)


@unhurried
@given(MAPPINGS)
def test_what_was_accepted_can_be_used_and_reads_back_the_same(raw):
    try:
        config = parse_addon_config(raw | MINIMAL).config
    except ConfigInvalid:
        return

    normalised = config.normalised()
    json.dumps(normalised, allow_nan=False)
    assert parse_addon_config(normalised).config == config
    assert 1 <= rating(config) <= 8
    availability(config, ["amd64"], "green", "2026.1.0")
    image_reference(config, "local", "amd64", machine="green")
    ui_schema(config.schema)


@unhurried
@given(MAPPINGS)
def test_other_files_are_read_or_refused(raw):
    for parse in (parse_repository_file, parse_build_file, parse_translation):
        with contextlib.suppress(ContentInvalid):
            parse(raw)


@unhurried
@given(st.binary(max_size=300) | st.text(alphabet="{}[]:-?&*!|>'\"%@#,\n <=~a1.0x_", max_size=60).map(str.encode))
def test_bytes_are_read_or_refused(data):
    for name in ("config.yaml", "config.json"):
        with contextlib.suppress(FileInvalid):
            parse_document(data, name)


@unhurried
@given(st.text(max_size=30) | st.text(alphabet="strinlfoamch(){}[]0123,|?=-.\\*+", max_size=30))
def test_type_strings_are_read_or_refused(source):
    scalar = parse_type(source)

    assert scalar is None or scalar.source == source


@unhurried
@given(st.text(alphabet="ab01()[]{}|*+?.^$\\,-:=!<>P", max_size=25), st.text(alphabet="ab01", max_size=30))
def test_any_pattern_ends_in_a_verdict(pattern, value):
    try:
        schema = parse_schema({"a": f"match({pattern})"})
    except Refused:
        return

    with contextlib.suppress(OptionsInvalid):
        assert validate_options(schema, {"a": value}, secrets={}.get).options == {"a": value}


@unhurried
@given(st.dictionaries(st.text(max_size=3), ELEMENTS, max_size=4), st.data())
def test_options_that_were_accepted_are_accepted_again_unchanged(raw, data):
    schema = parse_schema(raw)
    options = data.draw(st.dictionaries(st.sampled_from(sorted(raw)) if raw else st.text(), YAML_LIKE | st.sampled_from(
        ["a", "1", 1, "a@b.cd", "http://x", "aab", [], ["a"], [{}], {}])))  # fmt: skip
    try:
        accepted = validate_options(schema, options, secrets={}.get).options
    except OptionsInvalid as refusal:
        assert refusal.findings
        return

    again = validate_options(schema, accepted, secrets={}.get)
    assert again.options == accepted
    assert again.warnings == ()
    json.dumps(accepted, allow_nan=False)


@unhurried
@given(ELEMENTS)
def test_schema_keeps_its_source(element):
    assert parse_schema({"a": element}).source() == {"a": element}


# --- what real authors wrote, damaged ---------------------------------------------------------------------------------

SPLICES = [
    b"", b"\0", b"\xff", b"\t", b"&a *a", b"<<: ", b"[[[[", b"{", b"- ", b"\n", b"\r\n", b"!!python/x ", b"9" * 400,
    b"null", b"~", b"\xe2\x80\xa8", b": ", b"'", b'"', b"1e999", b"0x", b"match((((a+)+)+)+$)", b"int(,9999999999)",
]  # fmt: skip
"""What is put into a file in place of a piece of it."""


@functools.cache
def real_files() -> list[Path]:
    """Every file of the corpus that has a verdict."""
    named = [row[0] for row in rows("expected.tsv")] + [row[1] for row in rows("expected-other.tsv")]
    return [CORPUS / name for name in named]


@st.composite
def damaged_files(draw):
    """A real file with a few pieces taken out, doubled, or replaced."""
    path = draw(st.sampled_from(real_files()))
    data = bytearray(path.read_bytes())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        data[start:end] = draw(st.sampled_from([*SPLICES, bytes(data[start:end]) * 3]))
    return path.name, bytes(data)


@needs_corpus
@settings(deadline=None, max_examples=130)
@given(st.data())
def test_real_files_that_were_damaged_are_read_or_refused(data):
    name, content = data.draw(damaged_files())
    try:
        raw = parse_document(content, name).content
    except FileInvalid as refused:
        breaks = re.findall("[\n\r\x85\u2028\u2029]", content.decode(errors="replace"))
        assert refused.line is None or 1 <= refused.line <= len(breaks) + 2
        return

    for parse in (parse_repository_file, parse_build_file, parse_translation):
        with contextlib.suppress(ContentInvalid):
            parse(raw)
    try:
        config = parse_addon_config(raw).config
    except ConfigInvalid as refused:
        assert refused.findings
        return
    assert parse_addon_config(json.loads(json.dumps(config.normalised(), allow_nan=False))).config == config
    with contextlib.suppress(OptionsInvalid):
        validate_options(config.schema, dict(config.options), secrets={}.get)
    ui_schema(config.schema)
    assert 1 <= rating(config) <= 8


@pytest.mark.torture
@needs_corpus
def test_a_hundred_thousand_damaged_files_are_read_or_refused():
    chance = random.Random(25)
    for _ in range(100_000):
        path = chance.choice(real_files())
        data = bytearray(path.read_bytes())
        for _ in range(chance.randint(1, 4)):
            start = chance.randint(0, len(data))
            end = min(len(data), start + chance.randint(0, 40))
            data[start:end] = chance.choice([*SPLICES, bytes(data[start:end]) * 3, chance.randbytes(3)])
        with contextlib.suppress(FileInvalid, ContentInvalid):
            raw = parse_document(bytes(data), path.name).content
            for parse in (parse_repository_file, parse_build_file, parse_translation, parse_addon_config):
                with contextlib.suppress(ContentInvalid):
                    parse(raw)

"""Reading files of strangers: what is accepted, and that everything else is one error with its place."""

import json
import os
import time

import pytest

from rooftree_store.yaml_files import MAX_DEPTH, MAX_FILE_BYTES, FileInvalid, parse_document, read_document
from tests.rig.pace import on_this_machine


def test_yaml_scalars_have_the_types_of_yaml_1_1():
    text = b"a: yes\nb: 0x10\nc: 1.5\nd: ~\ne: '1'\nf: !!str 2\ng: !!int '3'\nh: 2024-01-02\ni: 1:30\n"

    content = parse_document(text, "config.yaml").content

    assert content == {
        "a": True, "b": 16, "c": 1.5, "d": None, "e": "1", "f": "2", "g": 3, "h": "2024-01-02", "i": 90
    }  # fmt: skip


def test_merge_keys_add_what_the_mapping_does_not_say_itself():
    text = b"""
base: &base {a: 1, b: 2}
other: &other {b: 3, c: 4}
both: {b: 5, <<: [*base, *other]}
one: {<<: *other}
"""

    content = parse_document(text, "config.yaml").content

    assert content["both"] == {"b": 5, "a": 1, "c": 4}
    assert content["one"] == {"b": 3, "c": 4}


def test_last_of_two_equal_keys_counts_and_the_second_is_reported_with_its_line():
    document = parse_document(b"uart: true\nname: x\nuart: false\n", "config.yaml")

    assert document.content == {"uart": False, "name": "x"}
    (repeated,) = document.repeated
    assert str(repeated) == "line 3: the key 'uart' is there twice"


@pytest.mark.parametrize(
    ("name", "data", "line", "reason"),
    [
        ("a.yaml", b"a: 1\nb: [1,\n", 3, "not valid YAML"),
        ("a.yaml", b"a: 1\n---\nb: 2\n", 2, "a second document"),
        ("a.yaml", b"- 1\n", None, "must hold a mapping"),
        ("a.yaml", b"a: 1\nb: \xff\n", 2, "not valid UTF-8"),
        ("a.yaml", b"\xff\xfea\x00:\x00", 1, "not valid UTF-8"),
        ("a.yaml", b"a: \x01\n", None, "not valid YAML"),
        ("a.yaml", b"a: 1\nb: !!python/object:os.system x\n", 2, "tag"),
        ("a.yaml", b"a: !!binary aGk=\n", 1, "!!binary"),
        ("a.yaml", b"a: !!int x\n", 1, "not a valid int"),
        ("a.yaml", b"a: 0b_\n", 1, "not a valid int"),
        ("a.yaml", b"? [a]\n: b\n", 1, "a key must be a plain value"),
        ("a.yaml", b"a: &a [*a]\n", 1, "alias"),
        ("a.yaml", b"a: *b\n", 1, "alias"),
        ("a.yaml", b"<<: 1\n", 1, "<< takes"),
        ("a.json", b'{"a": 1,\n"b": }', 2, "not valid JSON"),
        ("a.json", b"[1]", None, "must hold a mapping"),
        ("a.json", b'{"a": "\xff"}', 1, "not valid UTF-8"),
        ("a.txt", b"a: 1", None, "must end with one of"),
    ],
)
def test_what_cannot_be_read_is_refused_with_path_line_and_reason(name, data, line, reason):
    with pytest.raises(FileInvalid) as refusal:
        parse_document(data, name)

    assert refusal.value.path == name
    assert refusal.value.line == line
    assert reason in refusal.value.reason


def billion_laughs(merge: bool) -> bytes:
    reference = "{{<<: [{0}]}}" if merge else "[{0}]"
    lines = ["a0: &a0 {lol: 1}"]
    lines += [f"a{level}: &a{level} " + reference.format(",".join([f"*a{level - 1}"] * 9)) for level in range(1, 30)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (billion_laughs(merge=False), "aliases written out"),
        (billion_laughs(merge=True), "aliases written out"),
        (b"[" * 500_000, "nests deeper"),
        (b"- " * 500_000, "nests deeper"),
        (b"{a: " * 200_000, "nests deeper"),
        (b"? " * 500_000, "nests deeper"),
        (b"a:\n- " + b"x\n- " * 200_000, "holds more than"),
        (b"a: [" + b"x," * 200_000 + b"]", "holds more than"),
        (b"a: &a " + b"x" * 500_000 + b"\n" + b"".join(b"b%d: *a\n" % n for n in range(9_000)), "characters of text"),
        (b"a: &a {b: " + b"x" * 500_000 + b"}\nc: [*a, *a, *a]", "characters of text"),
        (b"a: &a {b: " + b"x" * 500_000 + b"}\nc: {<<: *a}\nd: {<<: [*a]}", "characters of text"),
        (b"? &a " + b"x" * 300_000 + b"\n: 1\nb: *a\nc: *a\nd: *a", "characters of text"),
    ],
)
def test_bombs_are_refused_quickly(data, reason):
    started = time.process_time()

    with pytest.raises(FileInvalid, match=reason):
        parse_document(data, "config.yaml")

    assert time.process_time() - started < on_this_machine(3)


def test_depth_counts_through_aliases():
    lines = ["a0: &a0 [1]"] + [f"a{level}: &a{level} [*a{level - 1}]" for level in range(1, MAX_DEPTH + 10)]

    with pytest.raises(FileInvalid, match="nests deeper"):
        parse_document("\n".join(lines).encode(), "config.yaml")


def test_deep_json_is_refused():
    with pytest.raises(FileInvalid, match="nests deeper"):
        parse_document(b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "config.json")


def test_json_holds_no_more_values_than_yaml():
    for data in (b'{"a": [' + b"[]," * 30_000 + b"[]]}", json.dumps({str(n): 1 for n in range(11_000)}).encode()):
        with pytest.raises(FileInvalid, match="holds more than 20000 values"):
            parse_document(data, "config.json")


@pytest.mark.parametrize("name", ["a.yaml", "a.json"])
def test_what_a_file_takes_in_memory_is_told_roughly(name):
    few = parse_document(b'{"a": "' + b"x" * 10_000 + b'"}', name).cost_bytes
    many = parse_document(json.dumps({"a": [1] * 1_000}).encode(), name).cost_bytes

    assert 10_000 < few < 11_000
    assert 100_000 < many < 120_000


def test_number_without_end_stays_text():
    content = parse_document(b"a: " + b"9" * 500_000, "config.yaml").content

    assert content["a"] == "9" * 500_000


def test_file_over_the_limit_is_refused_and_one_at_the_limit_is_read(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(b"a: 1\n#" + b"x" * (MAX_FILE_BYTES - 6))
    assert read_document(path).content == {"a": 1}

    path.write_bytes(b"a: 1\n#" + b"x" * (MAX_FILE_BYTES - 5))
    with pytest.raises(FileInvalid, match="larger than 1048576 bytes"):
        read_document(path)


def test_missing_file_folder_and_pipe_are_refused(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")

    for name, reason in [
        ("gone.yaml", "No such file"),
        ("folder.yaml", "is a folder"),
        ("pipe.yaml", "is a pipe, not a regular file"),
    ]:
        with pytest.raises(FileInvalid, match=reason):
            read_document(tmp_path / name)

"""Repository, build and translation files."""

import pytest

from rooftree.errors import Invalid
from rooftree_store.build_file import DEFAULT_BASE_IMAGE, BuildFile, parse_build_file
from rooftree_store.repository_file import RepositoryFile, RepositoryInvalid, parse_repository_file
from rooftree_store.translations import parse_translation
from rooftree_store.yaml_files import Places, parse_document


def paths(refusal):
    return [finding.path for finding in refusal.value.findings]


def test_repository_needs_a_name_only():
    assert parse_repository_file({"name": "Mine", "other": 1}) == RepositoryFile("Mine")
    with pytest.raises(RepositoryInvalid) as refusal:
        parse_repository_file({"url": "nowhere", "maintainer": 3})
    assert paths(refusal) == ["name", "url", "maintainer"]


def test_build_file_gives_the_image_for_an_architecture():
    build = parse_build_file(
        {"build_from": {"amd64": "a/b:1"}, "args": {"A": "1"}, "labels": {"l": "x"}, "squash": "yes"}
    )

    assert build == BuildFile({"amd64": "a/b:1"}, {"A": "1"}, {"l": "x"}, squash=True)
    assert build.base_image("amd64") == "a/b:1"
    with pytest.raises(Invalid, match="no base image for aarch64, only for amd64"):
        build.base_image("aarch64")
    assert parse_build_file({"build_from": "a/b"}).base_image("aarch64") == "a/b"
    assert parse_build_file({}).base_image("aarch64") == DEFAULT_BASE_IMAGE


def test_build_file_names_every_problem_and_what_is_right_is_used():
    build = parse_build_file(
        {"build_from": {"arm64": "a/b", "amd64": "a/b:1", "i386": 5}, "args": None, "labels": {"v": 0.1, "w": []}}
    )

    assert [finding.path for finding in build.findings] == [
        "build_from.arm64", "build_from.i386", "args", "labels.v", "labels.w",
    ]  # fmt: skip
    assert (build.base_image("amd64"), build.args, build.labels) == ("a/b:1", {}, {"v": "0.1"})
    with pytest.raises(Invalid, match=r"build_from\.i386: must be a string, not 5"):
        build.base_image("i386")


def test_image_that_other_supervisors_refuse_is_built_on_and_told():
    build = parse_build_file({"build_from": {"amd64": "debian:12", "aarch64": "no image"}})

    assert build.base_image("amd64") == "debian:12"
    assert "say other supervisors" in build.findings[0].message
    with pytest.raises(Invalid, match=r"build_from\.aarch64: must be an image"):
        build.base_image("aarch64")
    with pytest.raises(Invalid, match="build_from: must be"):
        parse_build_file({"build_from": ["a/b"]}).base_image("amd64")


def test_what_was_written_is_used_where_yaml_made_another_value_of_it():
    places = Places()
    raw = parse_document(b"args: {A: 1.10, B: 010, C: yes, D: 1, E: true, F: null}", "build.yaml", places).content

    build = parse_build_file(raw, places.written)

    assert build.args == {"A": "1.10", "B": "010", "C": "yes", "D": "1", "E": "true"}
    assert [finding.path for finding in build.findings] == [f"args.{name}" for name in "ABCDEF"]
    assert build.left_out == {"args.F"}


@pytest.mark.parametrize("name", ["build.yaml", "build.json"])
@pytest.mark.parametrize("text", [b"", b"\n \n", b"# build_from: a/b\n", b"---\n", b"null\n"])
def test_empty_is_empty(name, text):
    if name.endswith(".json") and text[:1] in {b"#", b"-"}:
        return
    content = parse_document(text, name).content

    assert parse_build_file(content) == BuildFile()
    assert parse_translation(content).as_json() == {"configuration": {}, "network": {}}
    with pytest.raises(RepositoryInvalid, match="name: is required"):
        parse_repository_file(content)


def test_keys_that_are_left_empty_are_not_there():
    assert parse_repository_file({"name": "Mine", "url": None, "maintainer": None}) == RepositoryFile("Mine")
    build = parse_build_file({"build_from": None, "args": None, "labels": None})
    assert (build.base_image("amd64"), build.args, build.labels) == (DEFAULT_BASE_IMAGE, {}, {})
    translation = parse_translation({"configuration": None, "network": None})
    assert translation.as_json() == {"configuration": {}, "network": {}}
    assert all("left empty" in finding.message for finding in (*build.findings, *translation.findings))


def test_translation_keeps_its_shape():
    raw = {
        "configuration": {"net": {"name": "Net", "description": "d", "fields": {"port": {"name": "Port"}}}},
        "network": {"80/tcp": "Web"},
    }

    assert parse_translation(raw | {"other": 1}).as_json() == raw


def test_translation_names_every_problem_and_the_rest_is_used():
    translation = parse_translation(
        {
            "configuration": {
                "a": {"name": "A", "fields": {"b": {"name": 1}, "d": {"name": "D"}}},
                "c": "C",
                "e": {"name": None},
                "f": {"name": "F", "description": 5, "fields": None},
                "g": {"description": "x"},
            },
            "network": {"80": {}, "81": None, "82": "Web"},
        }
    )

    assert [finding.path for finding in translation.findings] == [
        "configuration.a.fields.b.name", "configuration.c", "configuration.e.name", "configuration.f.description",
        "configuration.f.fields", "configuration.g.name", "network.80", "network.81",
    ]  # fmt: skip
    assert translation.as_json() == {
        "configuration": {"a": {"name": "A", "fields": {"d": {"name": "D"}}}, "f": {"name": "F", "fields": {}}},
        "network": {"82": "Web"},
    }

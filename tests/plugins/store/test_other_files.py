"""Repository, build and translation files."""

import pytest

from rooftree.errors import Invalid
from rooftree_store.build_file import DEFAULT_BASE_IMAGE, BuildFile, BuildFileInvalid, parse_build_file
from rooftree_store.repository_file import RepositoryFile, RepositoryInvalid, parse_repository_file
from rooftree_store.translations import TranslationInvalid, parse_translation


def paths(refusal):
    return [problem.path for problem in refusal.value.problems]


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


def test_build_file_names_every_problem():
    with pytest.raises(BuildFileInvalid) as refusal:
        parse_build_file({"build_from": {"arm64": "a/b", "amd64": "debian:12"}, "args": None, "labels": {"v": 0.1}})

    assert paths(refusal) == ["build_from.arm64", "build_from.amd64", "args", "labels.v"]


def test_translation_keeps_its_shape():
    raw = {
        "configuration": {"net": {"name": "Net", "description": "d", "fields": {"port": {"name": "Port"}}}},
        "network": {"80/tcp": "Web"},
    }

    assert parse_translation(raw | {"other": 1}).as_json() == raw


def test_translation_names_every_problem():
    with pytest.raises(TranslationInvalid) as refusal:
        parse_translation({"configuration": {"a": {"fields": {"b": {"name": 1}}}, "c": "C"}, "network": {"80": {}}})

    assert paths(refusal) == [
        "configuration.a.name", "configuration.a.fields.b.name", "configuration.c", "network.80",
    ]  # fmt: skip

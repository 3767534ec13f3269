"""Which of two versions is newer, as far as that is certain; and what of that real authors' versions come to."""

from __future__ import annotations

import re
from itertools import combinations, pairwise

import pytest

from rooftree_store.versions import LONGEST_CHARACTERS, Order, is_ordered, is_release_of, is_update, order
from rooftree_store.yaml_files import read_document
from tests.plugins.store.corpus import CORPUS, needs_corpus, rows

STEPS_FORWARD = [
    ("1.0", "1.1"),
    ("1.9", "1.10"),
    ("1.0", "1.0.1"),
    ("1.17.1", "1.17.1-1"),
    ("1.11.2-9", "1.11.2-10"),
    ("24.08.29_2", "24.08.29_3"),
    ("24.08.29_2", "24.10.11"),
    ("24.10", "25.04"),
    ("10.8.1", "10.10.3"),
    ("v0.0.18", "v0.0.18-1"),
    ("v1.0", "1.1"),
    ("version-v1.0", "version-v1.1"),
    ("1.0-ls9", "1.0-ls10"),
    ("1.0", "1.0-r1"),
    ("1.0", "1.0.post1"),
    ("1.0", "1.0+2"),
    ("1.0a", "1.0b"),
    ("1.0c", "1.0d"),
    ("1.0b", "1.0b-1"),
    ("1.0-rc1", "1.0"),
    ("1.0-rc1", "1.0-1"),
    ("1.0-beta.9", "1.0-beta.10"),
    ("1.0b9", "1.0-beta10"),
    ("1.0-alpha3", "1.0-beta1"),
    ("1.0-beta", "1.0-beta1"),
    ("2024.1.0.dev0", "2024.1.0b1"),
    ("2024.1.0b1", "2024.1.0"),
    ("2023-12-01", "2024-01-01"),
    ("20231231", "20240101"),
    ("1.2.3-4-gabc1234", "1.2.3-5-g1234abc"),
    ("1234567", "7654321"),
]


@pytest.mark.parametrize(("version", "following"), STEPS_FORWARD)
def test_step_forward_is_newer_and_the_way_back_is_older(version: str, following: str) -> None:
    assert order(following, version) is Order.NEWER
    assert order(version, following) is Order.OLDER
    assert is_update(following, version)
    assert not is_update(version, following)


@pytest.mark.parametrize(
    ("version", "following"),
    [
        ("453c962", "7b99100"),
        ("sha-453c962", "sha-7b99100"),
        ("1.0-453c962", "1.0-7b99100"),
        ("1.0-1234567", "1.0-7b99100"),
        ("dev", "1.0"),
        ("testing", "stable"),
        ("", "1.0"),
        ("2024.1.0", "1.0.0"),
        ("20240101", "1.0"),
        ("24.08.29", "1.0"),
        ("nightly-1.0", "1.0"),
        ("1.0", "1.0-ls1"),
        ("1.0-foo1", "1.0-bar2"),
        ("1.0", "1.0b"),
        ("1." + "1" * LONGEST_CHARACTERS, "1.0"),
    ],
)
def test_what_nobody_can_tell_is_an_update_in_both_directions(version: str, following: str) -> None:
    assert order(following, version) is Order.UNKNOWN
    assert order(version, following) is Order.UNKNOWN
    assert is_update(following, version)
    assert is_update(version, following)


@pytest.mark.parametrize("version", ["1.0", "dev", "453c962", ""])
def test_the_same_version_is_no_update(version: str) -> None:
    assert order(version, version) is Order.SAME
    assert not is_update(version, version)


@pytest.mark.parametrize(("version", "other"), [("1.0", "1.0.0"), ("1.0", "v1.0"), ("1.0b1", "1.0-beta.1")])
def test_the_same_version_in_other_words_is_an_update(version: str, other: str) -> None:
    assert order(version, other) is Order.SAME
    assert is_update(version, other)


@pytest.mark.parametrize(
    ("version", "of", "is_release"),
    [
        ("1.17.1", "1.17.1-1", True),
        ("v1.17", "1.17.0_3", True),
        ("24.08.29", "24.08.29_2", True),
        ("1.17.1", "1.17.1", True),
        ("1.17.1-1", "1.17.1-2", False),
        ("1.17", "1.17.1", False),
        ("1.17.1", "1.17.10", False),
        ("dev", "1.0", False),
        ("2", "nightly-2", False),
    ],
)
def test_release_of_a_version_is_what_it_counts_on_from(version: str, of: str, is_release: bool) -> None:
    assert is_release_of(version, of) is is_release


def test_version_has_an_order_when_it_counts() -> None:
    assert [is_ordered(version) for version in ("1", "v1.0-rc1", "dev", "453c962", "")] == [True, True, *[False] * 3]


# --- what authors write -----------------------------------------------------------------------------------------------


def real_versions() -> list[str]:
    """Every version in the corpus, once."""
    versions = set[str]()
    for path, verdict, *_ in rows("expected.tsv"):
        if verdict == "valid":
            versions.add(str(read_document(CORPUS / path).content["version"]))
    return sorted(versions)


def told_steps() -> list[tuple[str, str]]:
    """The steps from a version to the next one that the changelogs in the corpus tell of, oldest first."""
    heading = re.compile(r"^(?:#{1,4}|\*\*)\s*(?:version\s+)?\[?(v?[0-9][0-9a-z._+~-]*)\]?(?=[\s(*:]|$)", re.I | re.M)
    steps = list[tuple[str, str]]()
    for changelog in sorted((CORPUS / "addon-repos").glob("**/CHANGELOG.md")):
        versions = heading.findall(changelog.read_text(encoding="utf-8", errors="replace"))
        steps += [(older, newer) for newer, older in pairwise(versions) if newer != older]
    return steps


@needs_corpus
def test_every_step_that_real_changelogs_tell_of_is_certainly_newer() -> None:
    steps = told_steps()

    assert len(steps) > 100
    assert [step for step in steps if order(step[1], step[0]) is not Order.NEWER] == []


@needs_corpus
def test_every_number_that_counts_up_in_a_real_version_makes_a_newer_one() -> None:
    versions = [version for version in real_versions() if is_ordered(version)]
    counted = list[tuple[str, str]]()
    for version in versions:
        for number in re.finditer(r"(?<![0-9a-z])[0-9]+(?![0-9a-z])", version):
            following = str(int(number[0]) + 1).zfill(len(number[0]))
            if number[0] != "12" and len(number[0]) < 4:  # there is no thirteenth month, and dates count otherwise
                counted.append((version, version[: number.start()] + following + version[number.end() :]))
    appended = [(version, f"{version}-1") for version in versions]

    assert len(counted) > 600
    assert [step for step in counted + appended if order(step[1], step[0]) is not Order.NEWER] == []
    assert [step for step in counted + appended if order(*step) is not Order.OLDER] == []


@needs_corpus
@pytest.mark.parametrize("every", [2, pytest.param(1, marks=pytest.mark.torture)])
def test_no_two_real_versions_are_both_newer_than_each_other_and_no_three_go_in_a_circle(every: int) -> None:
    versions = real_versions()[::every]
    opposite = {Order.NEWER: Order.OLDER, Order.OLDER: Order.NEWER}
    newer = {version: set[str]() for version in versions}
    older = {version: set[str]() for version in versions}
    for version, other in combinations(versions, 2):
        known = order(version, other)
        assert order(other, version) is opposite.get(known, known), (version, other)
        if known in opposite:
            before, after = (other, version) if known is Order.NEWER else (version, other)
            newer[before].add(after)
            older[after].add(before)

    assert len(versions) > 300 / every
    for version, following in newer.items():
        for after in following:
            assert newer[after].isdisjoint(older[version]), (version, after)

"""Which images a Dockerfile takes from elsewhere."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooftree_docker.dockerfile import images_used
from rooftree_files.dockerfile import ImageNotTold, builder_variables, naming, unset_in_from
from tests.rig.pace import on_this_machine

ARGUMENTS = {"BUILD_FROM": "ghcr.io/acme/base:1", "BUILD_ARCH": "amd64", "EMPTY": ""}


def used(text: str) -> list[str]:
    return sorted(str(image.reference) for image in images_used(text, ARGUMENTS))


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("FROM ghcr.io/acme/base:1\nRUN true\n", ["ghcr.io/acme/base:1"]),
        ("ARG BUILD_FROM\nFROM $BUILD_FROM", ["ghcr.io/acme/base:1"]),
        ("ARG BUILD_FROM=other\nFROM ${BUILD_FROM}\n", ["ghcr.io/acme/base:1"]),
        ("ARG BASE=acme/base\nARG TAG=3\nFROM ${BASE}:$TAG", ["acme/base:3"]),
        ("ARG BUILD_ARCH\nARG BASE=acme/${BUILD_ARCH}-base\nFROM $BASE:1", ["acme/amd64-base:1"]),
        ("ARG BUILD_ARCH BASE=acme/base\nFROM $BASE", ["acme/base:latest"]),
        ("FROM ${BASE:-acme/base}", ["acme/base:latest"]),
        ("ARG EMPTY\nFROM ${EMPTY:-acme/base}:1${EMPTY:+2}${EMPTY+3}", ["acme/base:13"]),
        ("ARG BUILD_ARCH\nFROM acme/base:1${BUILD_ARCH:+-x}", ["acme/base:1-x"]),
        ("FROM a AS build\nFROM build\nFROM b as Second\nCOPY --from=second / /\nCOPY --from=0 / /",
         ["a:latest", "b:latest"]),
        ("FROM ${X:-${Y:-acme/${EMPTY:-base}}}", ["acme/base:latest"]),
        ("FROM scratch\nCOPY --chown=1 --from=acme/tools:2 /x /x\n", ["acme/tools:2"]),
        ("FROM \\\n  # a remark\n  acme/base \\\n  AS build\nfrom other\n", ["acme/base:latest", "other:latest"]),
        ("FROM acme/base\r\nRUN true\r\n", ["acme/base:latest"]),
        ('FROM "acme/base:1"\n', ["acme/base:1"]),
        ("# FROM no\nFROM yes\nRUN echo \\\n FROM no\nENV X='FROM no'\n", ["yes:latest"]),
        ("FROM 2\nCOPY --from=1 / /\n", ["1:latest", "2:latest"]),
        ("", []),
        ("# escape=`\nFROM a\nRUN dir c:\\\nFROM b\n", ["a:latest", "b:latest"]),
        ("#syntax=x/y\n# Escape = `\nFROM `\n a\nRUN x `\nFROM no\n", ["a:latest"]),
        ("FROM a\n# escape=`\nRUN x \\\nFROM no\n", ["a:latest"]),
        ("FROM a\nRUN x \\\\\nFROM b\n", ["a:latest", "b:latest"]),
        ("FROM a\nRUN x \\\\\nFROM \\\n b\n", ["a:latest", "b:latest"]),
        ("FROM a\nRUN x \\\r\r\nFROM b\n", ["a:latest", "b:latest"]),
        ("FROM a\nRUN x \\\n\n  \n# remark\nFROM no\n", ["a:latest"]),
        ("\ufeffFROM a\n\vFROM\fb\n\u2003FROM c\n", ["a:latest", "b:latest", "c:latest"]),
        ("FROM a\nRUN \x85FROM no\u2028FROM no\x1cFROM no\n", ["a:latest"]),
    ],
)  # fmt: skip
def test_images_are_found_where_the_builder_looks_for_them(text: str, images: list[str]) -> None:
    assert used(text) == images


@pytest.mark.parametrize(
    ("text", "unset"),
    [
        ("ARG BUILD_FROM\nFROM $BUILD_FROM", []),
        ("ARG BASE\nFROM $BASE", [(2, "$BASE", "", ("BASE",))]),
        ("\n# remark\nFROM \\\n  ${BASE}:${TAG} AS x\n", [(3, "${BASE}:${TAG}", ":", ("BASE", "TAG"))]),
        ("FROM $BUILD_FROM", [(1, "$BUILD_FROM", "", ("BUILD_FROM",))]),
        ("FROM a\nARG BUILD_FROM\nFROM $BUILD_FROM", [(3, "$BUILD_FROM", "", ("BUILD_FROM",))]),
        ("ARG TAG\nFROM acme/base:$TAG", [(2, "acme/base:$TAG", "acme/base:", ("TAG",))]),
        ("ARG BASE=$OTHER\nFROM $BASE", []),
        ("ARG BASE=acme/base\nFROM $BASE", []),
        ("FROM ${BASE:-acme/base}", []),
        ("FROM ${BASE-acme/base}${EXTRA:+-x}", []),
        ("ARG EMPTY\nFROM acme/base$EMPTY", []),
        ("FROM --platform=$BUILDPLATFORM acme/${TARGETARCH}-base", []),
        ("RUN echo $BASE", []),
        ("FROM $" + "A" * 1000, []),
    ],
)
def test_what_nothing_sets_in_from_is_told_with_its_line(
    text: str, unset: list[tuple[int, str, str, tuple[str]]]
) -> None:
    images = unset_in_from(text, ARGUMENTS)

    assert [(image.line, image.words, image.image, image.names) for image in images] == unset


@pytest.mark.parametrize(
    ("text", "named", "not_named"),
    [
        ("FROM a\nARG TARGETARCH\nARG OTHER\n", {"TARGETARCH"}, set()),
        ("FROM a\nARG TARGETARCH=amd64\nFROM b\nARG TARGETARCH\n", set(), set()),
        ("FROM --platform=$BUILDPLATFORM a\nFROM b-${TARGETARCH}\n", set(), {"BUILDPLATFORM", "TARGETARCH"}),
        ("ARG BUILDPLATFORM\nFROM --platform=$BUILDPLATFORM a\n", {"BUILDPLATFORM"}, set()),
        ("FROM a\nARG BUILDPLATFORM\nFROM --platform=$BUILDPLATFORM b", {"BUILDPLATFORM"}, {"BUILDPLATFORM"}),
        ("FROM $BASE\nRUN echo $TARGETARCH\n", set(), set()),
    ],
)
def test_what_a_dockerfile_expects_of_buildkit(text: str, named: set[str], not_named: set[str]) -> None:
    variables = builder_variables(text)

    assert (variables.named, variables.not_named) == (named, not_named)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("FROM a\n", "ARG X\nARG Y\nFROM a\n"),
        ("# escape=`\n# remark\n\nFROM `\n a\n", "# escape=`\n# remark\n\nARG X\nARG Y\nFROM `\n a\n"),
        ("\ufeffARG A=1\nFROM a", "ARG X\nARG Y\nARG A=1\nFROM a"),
        ("# nothing\n", "ARG X\nARG Y\n# nothing\n"),
    ],
)
def test_variables_are_named_behind_what_says_how_the_file_is_read(text: str, whole: str) -> None:
    assert naming(text.encode(), {"Y", "X"}).decode() == whole


def test_platform_is_that_of_the_instruction() -> None:
    text = "ARG ON=linux/arm64\nFROM --platform=$ON acme/base:1 AS x\nFROM other:1"

    assert {(str(image.reference), image.platform) for image in images_used(text, {})} == {
        ("acme/base:1", "linux/arm64"),
        ("other:1", None),
    }


@pytest.mark.parametrize(
    "text",
    [
        "FROM $BUILD_FROM",
        "FROM base\nARG BUILD_FROM\nFROM $BUILD_FROM",
        "FROM ${BUILD_FROM%:*}",
        "FROM ${X:-${Y}}",
        "FROM --platform=linux/arm64",
        "FROM UPPER",
        "FROM base\nCOPY --from=$BUILD_FROM / /",
        "".join(f"FROM a{number}\n" for number in range(101)),
    ],
)
def test_image_that_cannot_be_told_is_not_passed_over(text: str) -> None:
    with pytest.raises(ImageNotTold):
        used(text)


@pytest.mark.parametrize(
    "text",
    [
        "ARG A=aaaaaaaa\n" + "ARG A=$A$A\n" * 64 + "FROM $A",
        "FROM a" + " " * 1_000_000 + "b/ c",
        "FROM " + "${a:-" * 200_000,
        "FROM a\nCOPY --from=" + "/" * 1_000_000,
        "A" * 1_000_000 + "\nFROM A",
        "\\ " * 300_000 + "\nFROM A",
        "\n" * 1_000_000 + "FROM A",
        "\\\n" * 500_000 + "FROM A",
        "\\\\\n" * 300_000 + "FROM A",
        "".join(f"FROM scratch AS s{number}\n" for number in range(40_000)),
        "".join(f"FROM a{number}\n" for number in range(70_000)),
        "ARG A=" + "a" * 500 + "\nFROM " + "$A" * 400_000,
    ],
)
def test_dockerfile_that_is_made_to_take_long_does_not(text: str) -> None:
    begun = time.process_time()

    with suppress(ImageNotTold):
        images_used(text, {})

    assert time.process_time() - begun < on_this_machine(1)


def test_those_that_can_be_told_are_told_where_that_is_enough() -> None:
    text = "FROM UPPER\nFROM acme/base AS x\nFROM ${BUILD_FROM%:*} AS y\nCOPY --from=y / /\nCOPY --from=a:1 / /\n"

    assert {str(image.reference) for image in images_used(text, {}, all_told=False)} == {"acme/base:latest", "a:1"}


@settings(deadline=None, max_examples=65)
@given(
    st.lists(
        st.sampled_from(["FROM", "ARG", "COPY", "--from=", "$X", "${X:-a}", "=", "\\", "\n", " ", "#", "a", "1", "é"])
    ).map("".join)
)  # fmt: skip
def test_whatever_somebody_writes_is_read_or_not_told(text: str) -> None:
    with suppress(ImageNotTold):
        images_used(text, {"X": "acme/base"})

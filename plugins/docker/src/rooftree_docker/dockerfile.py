"""Which images a Dockerfile takes from elsewhere, read as the engine's own (classic) builder reads it.

Build arguments count where the builder lets them: those that an ``ARG`` above the first ``FROM`` names, in ``FROM``.
Where engines of different age read a line differently, what either of them sees counts: what is overlooked here would
be fetched without its signature being looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import define, field, frozen

from rooftree.errors import Invalid
from rooftree_docker.image_reference import ImageReference

LONGEST_NAME: Final = 512
"""Characters; variables that are made of variables would grow without an end."""
MOST_IMAGES: Final = 100
"""That one Dockerfile may take from elsewhere."""

_MOST_NESTED: Final = 8
"""Variables within each other's defaults."""
_ESCAPES: Final = ("\\", "`")
_VARIABLE: Final = re.compile(r"\$(?:(\w++)|\{(\w++)(?:(:?[-+])([^{}$]*+))?\})", re.ASCII)


class ImageNotTold(Exception):
    """The Dockerfile names an image in a way that is not understood; with its words."""


@frozen
class ImageUsed:
    """An image that a build takes from its registry, or from the engine if it is there."""

    reference: ImageReference
    platform: str | None = None
    """As ``FROM`` asks for it."""


def images_used(text: str, arguments: Mapping[str, str], *, all_told: bool = True) -> set[ImageUsed]:
    """What a Dockerfile builds on and copies from, without its own stages. Raises :class:`ImageNotTold`.

    :param arguments: the build arguments
    :param all_told: whether one that is not understood is an error; else it is left out
    """
    return {image for reading in _readings(text) for image in _images_in(reading, arguments, all_told)}


def _images_in(reading: Iterable[tuple[str, str]], arguments: Mapping[str, str], all_told: bool) -> set[ImageUsed]:
    stages = _Stages(arguments)
    for instruction, rest in reading:
        try:
            stages.take(instruction, rest)
        except ImageNotTold:
            if all_told:
                raise
        if len(stages.images) > MOST_IMAGES:
            raise ImageNotTold(f"{rest[:LONGEST_NAME].strip()}: it is one of more than {MOST_IMAGES}")
    return stages.images


@define
class _Stages:
    """What is known of a build, instruction by instruction."""

    arguments: Mapping[str, str]
    images: set[ImageUsed] = field(factory=set)
    _known: dict[str, str] = field(factory=dict)
    _names: set[str] = field(factory=set)
    _count: int = 0

    def take(self, instruction: str, rest: str) -> None:
        """One more; raises :class:`ImageNotTold`."""
        words = rest.split()
        if instruction == "ARG" and not self._count:
            for word in words:
                self._argument(word)
        elif instruction == "FROM":
            self._count += 1
            flags, words = _flags(words)
            self._from(flags, words, rest)
        elif instruction in {"COPY", "ADD"}:
            source = _flags(words)[0].get("from")
            if source is not None and source.lower() not in self._names:
                self.images.add(_image(source, rest, None))

    def _argument(self, word: str) -> None:
        name, given, default = word.partition("=")
        if name in self.arguments:
            self._known[name] = self.arguments[name]
        elif given:
            self._known[name] = _expanded(default, self._known)

    def _from(self, flags: Mapping[str, str], words: Sequence[str], rest: str) -> None:
        try:
            name = _expanded(words[0], self._known) if words else ""
            if name.lower() != "scratch" and name.lower() not in self._names:
                self.images.add(_image(name, rest, _expanded(flags.get("platform", ""), self._known) or None))
        finally:
            self._names.update((str(self._count - 1), *(word.lower() for word in words[2:3])))


def words_of_from(text: str) -> Iterator[str]:
    """What each ``FROM`` names, variables as they are written."""
    for reading in _readings(text):
        for instruction, rest in reading:
            if instruction == "FROM":
                yield from _flags(rest.split())[1][:1]


def _readings(text: str) -> Iterator[Iterator[tuple[str, str]]]:
    """The instructions in capitals, each with what stands behind it; twice where engines do not read them alike.

    They differ where a line ends with two escape characters: older ones go on with the next line, newer ones do not.
    """
    lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
    escape = _escape(lines)
    yield _instructions(lines, escape, doubled_goes_on=True)
    if any(line.rstrip(" \t").endswith(escape * 2) for line in lines):
        yield _instructions(lines, escape, doubled_goes_on=False)


def _instructions(lines: Iterable[str], escape: str, *, doubled_goes_on: bool) -> Iterator[tuple[str, str]]:
    parts: list[str] = []
    for line in lines:
        stripped = line.strip()
        if stripped.startswith("#") or (parts and not stripped):
            continue
        body = line.rstrip(" \t")
        goes_on = body.endswith(escape) and (doubled_goes_on or not body.endswith(escape * 2))
        parts.append(body.removesuffix(escape) if goes_on else line)
        if not goes_on:
            yield from _instruction("".join(parts))
            parts = []
    yield from _instruction("".join(parts))


def _escape(lines: Iterable[str]) -> str:
    """The escape character, which a remark at the very top may choose."""
    for line in lines:
        name, sign, value = line.strip().removeprefix("#").partition("=")
        if not line.lstrip().startswith("#") or not sign or not name.strip().isalnum():
            break
        if name.strip().lower() == "escape" and value.strip()[:1] in _ESCAPES:
            return value.strip()[:1]
    return "\\"


def _instruction(line: str) -> Iterator[tuple[str, str]]:
    words = line.split(None, 1)
    if len(words) == 2:
        yield words[0].upper(), words[1]


def _flags(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """The flags before an instruction's arguments, and the arguments."""
    flags: dict[str, str] = {}
    for number, word in enumerate(words):
        if not word.startswith("--"):
            return flags, words[number:]
        name, _, value = word.removeprefix("--").partition("=")
        flags[name.lower()] = value
    return flags, []


def _expanded(text: str, known: Mapping[str, str]) -> str:
    """With the values of its variables; those that nobody set are empty, as for the builder."""
    if len(text) > LONGEST_NAME:
        raise ImageNotTold(text[:LONGEST_NAME])

    def value(match: re.Match[str]) -> str:
        name, sign, other = match[1] or match[2], match[3], match[4]
        value = known.get(name)
        is_there = value is not None and (value != "" or sign in {"-", "+"})
        if sign in {"-", ":-"} and not is_there:
            return str(other)
        if sign in {"+", ":+"}:
            return str(other) if is_there else ""
        return value or ""

    expanded = text
    for _ in range(_MOST_NESTED):  # ${A:-${B}}: from the inside out
        before, expanded = expanded, _VARIABLE.sub(value, expanded)
        if len(expanded) > LONGEST_NAME:
            raise ImageNotTold(text[:LONGEST_NAME])
        if before == expanded:
            break
    return expanded.strip("\"'")


def _image(name: str, instruction: str, platform: str | None) -> ImageUsed:
    try:
        return ImageUsed(ImageReference.parse(name), platform)
    except Invalid:
        raise ImageNotTold(instruction[:LONGEST_NAME].strip()) from None

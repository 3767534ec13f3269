"""Which images a Dockerfile takes from elsewhere, read as the engine's own (classic) builder reads it.

Build arguments count where the builder lets them: those that an ``ARG`` above the first ``FROM`` names, in ``FROM``.
Where engines of different age read a line differently, what either of them sees counts: what is overlooked here would
be fetched without its signature being looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from attrs import frozen

from rooftree.errors import Invalid
from rooftree_docker.image_reference import ImageReference

LONGEST_NAME: Final = 512
"""Characters; variables that are made of variables would grow without an end."""
MOST_IMAGES: Final = 100
"""That one Dockerfile may take from elsewhere."""

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


def images_used(text: str, arguments: Mapping[str, str]) -> set[ImageUsed]:
    """What a Dockerfile builds on and copies from, without its own stages. Raises :class:`ImageNotTold`.

    :param arguments: the build arguments
    """
    return {image for reading in _readings(text) for image in _images_in(reading, arguments)}


def _images_in(reading: Iterable[tuple[str, str]], arguments: Mapping[str, str]) -> set[ImageUsed]:
    known: dict[str, str] = {}
    stages: set[str] = set()
    found: set[ImageUsed] = set()
    begun = 0
    for instruction, rest in reading:
        words = rest.split()
        if instruction == "ARG" and not begun:
            for word in words:
                name, given, default = word.partition("=")
                if name in arguments:
                    known[name] = arguments[name]
                elif given:
                    known[name] = _expanded(default, known)
        elif instruction == "FROM":
            flags, words = _flags(words)
            name = _expanded(words[0], known) if words else ""
            if name.lower() != "scratch" and name.lower() not in stages:
                found.add(_image(name, rest, _expanded(flags.get("platform", ""), known) or None))
            stages.update((str(begun), *(word.lower() for word in words[2:3])))
            begun += 1
        elif instruction in {"COPY", "ADD"}:
            source = _flags(words)[0].get("from")
            if source is not None and source.lower() not in stages:
                found.add(_image(source, rest, None))
        if len(found) > MOST_IMAGES:
            raise ImageNotTold(f"{rest[:LONGEST_NAME].strip()}: it is one of more than {MOST_IMAGES}")
    return found


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
        found = known.get(name)
        is_there = found is not None and (found != "" or sign in {"-", "+"})
        if sign in {"-", ":-"} and not is_there:
            return str(other)
        if sign in {"+", ":+"}:
            return str(other) if is_there else ""
        return found or ""

    expanded = _VARIABLE.sub(value, text).strip("\"'")
    if len(expanded) > LONGEST_NAME:
        raise ImageNotTold(text[:LONGEST_NAME])
    return expanded


def _image(name: str, instruction: str, platform: str | None) -> ImageUsed:
    try:
        return ImageUsed(ImageReference.parse(name), platform)
    except Invalid:
        raise ImageNotTold(instruction[:LONGEST_NAME].strip()) from None

"""Which images a Dockerfile takes from elsewhere, read as the engine's own (classic) builder reads it.

Build arguments count where the builder lets them: those that an ``ARG`` above the first ``FROM`` names, in ``FROM``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from attrs import frozen

from rooftree.errors import Invalid
from rooftree_docker.image_reference import ImageReference

LONGEST_NAME: Final = 512
"""Characters; variables that are made of variables would grow without an end."""

_COMMENT: Final = re.compile(r"^[ \t]*#.*\n?", re.MULTILINE)
_CONTINUED: Final = re.compile(r"\\[ \t]*\n")
_INSTRUCTION: Final = re.compile(r"^[ \t]*([a-zA-Z]+)[ \t]+(\S.*)$", re.MULTILINE)
_VARIABLE: Final = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^{}$]*))?\})", re.ASCII)


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
    known: dict[str, str] = {}
    stages: set[str] = set()
    found: set[ImageUsed] = set()
    begun = 0
    for instruction, rest in _instructions(text):
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
            if name.lower() not in stages | {"scratch"}:
                found.add(_image(name, rest, _expanded(flags.get("platform", ""), known) or None))
            stages |= {str(begun)} | {word.lower() for word in words[2:3]}
            begun += 1
        elif instruction in {"COPY", "ADD"}:
            source = _flags(words)[0].get("from")
            if source is not None and source.lower() not in stages:
                found.add(_image(source, rest, None))
    return found


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    joined = _CONTINUED.sub("", _COMMENT.sub("", text.replace("\r\n", "\n")))
    for match in _INSTRUCTION.finditer(joined):
        yield match[1].upper(), match[2]


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

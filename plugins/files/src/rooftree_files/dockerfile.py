"""A Dockerfile's instructions, read as the engine's own (classic) builder reads them.

Build arguments count where the builder lets them: those that an ``ARG`` above the first ``FROM`` names, in ``FROM``.
Where engines of different age read a line differently, both readings are given: what is overlooked would be fetched
without its signature being looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from attrs import define, field, frozen

from rooftree_files.folder import Folder
from rooftree_files.refusals import PathRefused

LARGEST_BYTES: Final = 1024 * 1024
"""Of a Dockerfile that is read."""
LONGEST_NAME: Final = 512
"""Characters; variables that are made of variables would grow without an end."""
SET_BY_BUILDERS: Final = frozenset(
    f"{which}{what}" for which in ("BUILD", "TARGET") for what in ("PLATFORM", "OS", "ARCH", "VARIANT")
)
"""Variables of ``FROM`` that BuildKit sets without being told."""

_MOST_NESTED: Final = 8
"""Variables within each other's defaults."""
_ESCAPES: Final = ("\\", "`")
_VARIABLE: Final = re.compile(r"\$(?:(\w++)|\{(\w++)(?:(:?[-+])([^{}$]*+))?\})", re.ASCII)


class ImageNotTold(Exception):
    """The Dockerfile names an image in a way that is not understood; with its words."""


@frozen
class Instruction:
    """One instruction."""

    line: int
    """The first of its lines, from 1."""
    name: str
    """In capitals."""
    words: str
    """What stands behind it."""


@frozen
class Expanded:
    """A text with the values of its variables."""

    text: str
    unset: frozenset[str] = frozenset()
    """The variables that nothing sets and that have no default; they are empty, as for the builder."""


@define
class Arguments:
    """What variables mean in ``FROM``, instruction by instruction.

    :ivar given: the build arguments
    """

    given: Mapping[str, str]
    _known: dict[str, str] = field(factory=dict)

    def take(self, words: str) -> None:
        """An ``ARG`` above the first ``FROM``; raises :class:`ImageNotTold`."""
        for word in words.split():
            name, equals, default = word.partition("=")
            if name in self.given:
                self._known[name] = self.given[name]
            elif equals:
                self._known[name] = self.expand(default).text

    def expand(self, text: str) -> Expanded:
        """The text with its values; raises :class:`ImageNotTold` for one that is too long."""
        return _expanded(text, self._known)


@frozen
class UnsetImage:
    """A ``FROM`` whose image depends on what nothing sets."""

    line: int
    words: str
    """The image as it is written."""
    image: str
    """What is left of it."""
    names: tuple[str, ...]
    """The variables, in the order of the alphabet; those that BuildKit sets by itself are not among them."""


def read_dockerfile(folder: Folder, path: str) -> bytes | None:
    """What a Dockerfile says that lies at a path in the folder to build from; ``None`` where there is none. Blocks.

    Links are followed that stay in the folder. What cannot be read is refused as
    :class:`~rooftree_files.refusals.PathRefused`, with the reason.
    """
    try:
        return folder.read(path, LARGEST_BYTES, links=True)
    except (FileNotFoundError, NotADirectoryError):
        if folder.status(path) is not None:
            raise PathRefused(path, "is a link that leads nowhere") from None
        return None
    except OSError as error:
        raise PathRefused(path, f"cannot be read: {error.strerror}") from error


def unset_in_from(text: str, arguments: Mapping[str, str]) -> list[UnsetImage]:
    """Each ``FROM`` with a variable that neither has a default nor is set by these build arguments."""
    images: list[UnsetImage] = []
    known, is_begun = Arguments(arguments), False
    for instruction in next(readings(text)):
        try:
            if instruction.name == "ARG" and not is_begun:
                known.take(instruction.words)
            elif instruction.name == "FROM":
                is_begun = True
                for words in flags_and_words(instruction.words)[1][:1]:
                    expanded = known.expand(words)
                    if names := tuple(sorted(expanded.unset - SET_BY_BUILDERS)):
                        images.append(UnsetImage(instruction.line, words, expanded.text, names))
        except ImageNotTold:
            pass  # the build refuses it by name
    return images


@frozen
class BuilderVariables:
    """The variables of :data:`SET_BY_BUILDERS` that a Dockerfile needs."""

    named: frozenset[str]
    """By an ``ARG`` without a default; one with a default has its value."""
    not_named: frozenset[str]
    """Those that a ``FROM`` uses and no ``ARG`` above the first one names, as BuildKit does not ask for."""


def builder_variables(text: str) -> BuilderVariables:
    """What a Dockerfile expects of its builder."""
    named, with_default, above, used = set[str](), set[str](), set[str](), set[str]()
    for instruction in next(readings(text)):
        if instruction.name == "ARG":
            for word in instruction.words.split():
                name, equals, _ = word.partition("=")
                (with_default if equals else named).add(name)
                if not used:
                    above.add(name)
        elif instruction.name == "FROM":
            used |= {"FROM", *(match[1] or match[2] for match in _VARIABLE.finditer(instruction.words))}
    return BuilderVariables(
        frozenset(SET_BY_BUILDERS & named - with_default), frozenset(SET_BY_BUILDERS & used - above)
    )


def naming(dockerfile: bytes, variables: Iterable[str]) -> bytes:
    """The Dockerfile with an ``ARG`` for each of these, behind the remarks at its top, which may say how it is read."""
    lines = dockerfile.removeprefix("\ufeff".encode()).split(b"\n")
    first = next((number for number, line in enumerate(lines) if line.strip() and not line.strip().startswith(b"#")), 0)
    return b"\n".join([*lines[:first], *(f"ARG {name}".encode() for name in sorted(variables)), *lines[first:]])


def words_of_from(text: str) -> Iterator[str]:
    """What each ``FROM`` names, variables as they are written."""
    for reading in readings(text):
        for instruction in reading:
            if instruction.name == "FROM":
                yield from flags_and_words(instruction.words)[1][:1]


def readings(text: str) -> Iterator[Iterator[Instruction]]:
    """The instructions; twice where engines do not read them alike.

    They differ where a line ends with two escape characters: older ones go on with the next line, newer ones do not.
    """
    lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
    escape = _escape(lines)
    yield _instructions(lines, escape, doubled_goes_on=True)
    if any(line.rstrip(" \t").endswith(escape * 2) for line in lines):
        yield _instructions(lines, escape, doubled_goes_on=False)


def flags_and_words(words: str) -> tuple[dict[str, str], list[str]]:
    """The flags before an instruction's arguments, and the arguments."""
    flags: dict[str, str] = {}
    parts = words.split()
    for number, part in enumerate(parts):
        if not part.startswith("--"):
            return flags, parts[number:]
        name, _, value = part.removeprefix("--").partition("=")
        flags[name.lower()] = value
    return flags, []


def _instructions(lines: Iterable[str], escape: str, *, doubled_goes_on: bool) -> Iterator[Instruction]:
    parts: list[str] = []
    first = 1
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if stripped.startswith("#") or (parts and not stripped):
            continue
        first = first if parts else number
        body = line.rstrip(" \t")
        goes_on = body.endswith(escape) and (doubled_goes_on or not body.endswith(escape * 2))
        parts.append(body.removesuffix(escape) if goes_on else line)
        if not goes_on:
            yield from _instruction(first, "".join(parts))
            parts = []
    yield from _instruction(first, "".join(parts))


def _escape(lines: Iterable[str]) -> str:
    """The escape character, which a remark at the very top may choose."""
    for line in lines:
        name, sign, value = line.strip().removeprefix("#").partition("=")
        if not line.lstrip().startswith("#") or not sign or not name.strip().isalnum():
            break
        if name.strip().lower() == "escape" and value.strip()[:1] in _ESCAPES:
            return value.strip()[:1]
    return "\\"


def _instruction(line: int, text: str) -> Iterator[Instruction]:
    words = text.split(None, 1)
    if len(words) == 2:
        yield Instruction(line, words[0].upper(), words[1])


def _expanded(text: str, known: Mapping[str, str]) -> Expanded:
    if len(text) > LONGEST_NAME:
        raise ImageNotTold(text[:LONGEST_NAME])
    unset: set[str] = set()

    def value(match: re.Match[str]) -> str:
        name, sign, other = match[1] or match[2], match[3], match[4]
        value = known.get(name)
        is_there = value is not None and (value != "" or sign in {"-", "+"})
        if sign in {"-", ":-"} and not is_there:
            return str(other)
        if sign in {"+", ":+"}:
            return str(other) if is_there else ""
        if value is None:
            unset.add(name)
        return value or ""

    expanded = text
    for _ in range(_MOST_NESTED):  # ${A:-${B}}: from the inside out
        before, expanded = expanded, _VARIABLE.sub(value, expanded)
        if len(expanded) > LONGEST_NAME:
            raise ImageNotTold(text[:LONGEST_NAME])
        if before == expanded:
            break
    return Expanded(expanded.strip("\"'"), frozenset(unset))

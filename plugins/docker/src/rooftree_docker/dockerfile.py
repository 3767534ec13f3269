"""Which images a Dockerfile takes from elsewhere, so that they can be looked at and fetched before the build."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import define, field, frozen

from rooftree.errors import Invalid
from rooftree_docker.image_reference import ImageReference
from rooftree_files.dockerfile import LONGEST_NAME, Arguments, ImageNotTold, Instruction, flags_and_words, readings

MOST_IMAGES: Final = 100
"""That one Dockerfile may take from elsewhere."""


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
    return {image for reading in readings(text) for image in _images_in(reading, arguments, all_told)}


def _images_in(reading: Iterable[Instruction], arguments: Mapping[str, str], all_told: bool) -> set[ImageUsed]:
    stages = _Stages(Arguments(arguments))
    for instruction in reading:
        try:
            stages.take(instruction)
        except ImageNotTold:
            if all_told:
                raise
        if len(stages.images) > MOST_IMAGES:
            words = instruction.words[:LONGEST_NAME].strip()
            raise ImageNotTold(f"{words}: it is one of more than {MOST_IMAGES}")
    return stages.images


@define
class _Stages:
    """What is known of a build, instruction by instruction."""

    arguments: Arguments
    images: set[ImageUsed] = field(factory=set)
    _names: set[str] = field(factory=set)
    _count: int = 0

    def take(self, instruction: Instruction) -> None:
        """One more; raises :class:`ImageNotTold`."""
        words = instruction.words
        if instruction.name == "ARG" and not self._count:
            self.arguments.take(words)
        elif instruction.name == "FROM":
            self._count += 1
            self._from(*flags_and_words(words), words)
        elif instruction.name in {"COPY", "ADD"}:
            source = flags_and_words(words)[0].get("from")
            if source is not None and source.lower() not in self._names:
                self.images.add(_image(source, words, None))

    def _from(self, flags: Mapping[str, str], words: Sequence[str], whole: str) -> None:
        try:
            name = self.arguments.expand(words[0]).text if words else ""
            if name.lower() != "scratch" and name.lower() not in self._names:
                platform = self.arguments.expand(flags.get("platform", "")).text
                self.images.add(_image(name, whole, platform or None))
        finally:
            self._names.update((str(self._count - 1), *(word.lower() for word in words[2:3])))


def _image(name: str, instruction: str, platform: str | None) -> ImageUsed:
    try:
        return ImageUsed(ImageReference.parse(name), platform)
    except Invalid:
        raise ImageNotTold(instruction[:LONGEST_NAME].strip()) from None

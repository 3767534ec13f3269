"""``build.yaml``: from which image, and with which arguments and labels, an add-on is built on the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from rooftree.errors import Invalid
from rooftree_store.image_name import base_image
from rooftree_store.readers import ContentInvalid, Problems, flag, mapping_of, text, word_of
from rooftree_store.vocabulary import ARCHITECTURES, ELSEWHERE

DEFAULT_BASE_IMAGE: Final = "ghcr.io/home-assistant/base:latest"


class BuildFileInvalid(ContentInvalid):
    """A build file was read and is not what it should be. The build then goes on with ``BuildFile()``."""


@frozen
class BuildFile:
    """What a build file says; ``BuildFile()`` is one that says nothing."""

    build_from: str | Mapping[str, str] | None = None
    """One image for every architecture, or one for each, or ``None`` for the default."""
    args: Mapping[str, str] = field(factory=dict)
    labels: Mapping[str, str] = field(factory=dict)
    squash: bool = False
    """Kept to warn about: it does nothing."""

    def base_image(self, arch: str) -> str:
        """The image to build on for ``arch``; raises :class:`Invalid` when the file names others only."""
        if not self.build_from:
            return DEFAULT_BASE_IMAGE
        if isinstance(self.build_from, str):
            return self.build_from
        if arch not in self.build_from:
            named = ", ".join(self.build_from)
            raise Invalid(f"The add-on's build file has no base image for {arch}, only for {named}")
        return self.build_from[arch]


_images_by_arch = mapping_of(base_image, key=word_of(ARCHITECTURES, elsewhere=ELSEWHERE))
_texts = mapping_of(text)


def _build_from(value: Any) -> str | dict[str, str]:
    return _images_by_arch(value) if isinstance(value, Mapping) else base_image(value)


def parse_build_file(raw: Mapping[Any, Any]) -> BuildFile:
    """The typed file; unknown keys are ignored. Raises :class:`BuildFileInvalid` with every problem."""
    readers = {"build_from": _build_from, "args": _texts, "labels": _texts, "squash": flag}
    problems = Problems()
    values: dict[str, Any] = {
        name: problems.read(name, reader, raw[name]) for name, reader in readers.items() if name in raw
    }
    if problems.noted:
        raise BuildFileInvalid(problems.noted)
    return BuildFile(**values)

"""``build.yaml``: from which image, and with which arguments and labels, an add-on is built on the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from attrs import field, frozen

from rooftree.errors import Invalid
from rooftree_store.image_name import base_image, is_image
from rooftree_store.readers import Finding, Findings, Refused, flag, sentence, shown, word_of
from rooftree_store.vocabulary import ARCHITECTURES, ELSEWHERE

DEFAULT_BASE_IMAGE: Final = "ghcr.io/home-assistant/base:latest"


@frozen
class BuildFile:
    """What a build file says, as far as it can be used; ``BuildFile()`` is one that says nothing."""

    build_from: str | Mapping[str, str] | None = None
    """One image for every architecture, or one for each, or ``None`` for the default."""
    args: Mapping[str, str] = field(factory=dict)
    labels: Mapping[str, str] = field(factory=dict)
    squash: bool = False
    """Kept to warn about: it does nothing."""
    findings: tuple[Finding, ...] = ()
    """What is wrong in the file. It was left out, or taken as it is meant, which other supervisors do not do."""
    left_out: frozenset[str] = frozenset()
    """The paths of what could not be taken."""

    def base_image(self, arch: str) -> str:
        """The image to build on for ``arch``; raises :class:`Invalid` when the file names others only, or no image."""
        self.refuse_left_out("build_from", f"build_from.{arch}")
        if not self.build_from:
            return DEFAULT_BASE_IMAGE
        if isinstance(self.build_from, str):
            return self.build_from
        if arch not in self.build_from:
            named = ", ".join(self.build_from)
            raise Invalid(f"The add-on's build file has no base image for {arch}, only for {named}")
        return self.build_from[arch]

    def refuse_left_out(self, *paths: str) -> None:
        """Raise :class:`Invalid` where something at these paths could not be taken: a build that needs it is another
        without."""
        wrong = [finding for finding in self.findings if finding.path in self.left_out and finding.path in paths]
        if wrong:
            raise Invalid(f"The add-on's build file cannot be used: {sentence(wrong)}")


_arch = word_of(ARCHITECTURES, elsewhere=ELSEWHERE)


@frozen
class _Reading:
    """One go through a build file."""

    written: Mapping[str, str]
    findings: Findings = field(factory=Findings)
    left_out: set[str] = field(factory=set)

    def entries[T](self, path: str, value: Any, item: Callable[[str, Any], T | None]) -> dict[str, T]:
        if value is not None and not isinstance(value, Mapping):
            self.left_out.add(path)
        return self.findings.entries(path, value, item)

    def build_from(self, value: Any) -> str | Mapping[str, str] | None:
        if isinstance(value, Mapping) or value is None:
            return self.entries("build_from", value, self._image_for_arch)
        return self._image("build_from", value)

    def _image_for_arch(self, path: str, value: Any) -> str | None:
        arch = self.findings.read(path, _arch, path.removeprefix("build_from."))
        return None if arch is None else self._image(path, value)

    def _image(self, path: str, value: Any) -> str | None:
        try:
            return base_image(value)
        except Refused as error:
            wrong = str(error)
        if isinstance(value, str) and is_image(value):
            self.findings.add(path, f"{wrong}, say other supervisors, and use nothing of the file")
            return value
        self.left_out.add(path)
        self.findings.add(path, wrong)
        return None

    def text(self, path: str, value: Any) -> str | None:
        """A text, or what was written where YAML made another value of that."""
        if isinstance(value, str):
            return value
        if isinstance(value, bool | int | float):
            taken = self.written.get(path, str(value).lower() if isinstance(value, bool) else str(value))
            self.findings.add(path, f"must be a string, and other supervisors refuse it: put {taken} in quotes")
            return taken
        self.left_out.add(path)
        self.findings.add(path, f"must be a string, not {shown(value)}")
        return None


def parse_build_file(raw: Mapping[Any, Any], written: Mapping[str, str] = MappingProxyType({})) -> BuildFile:
    """What of a file can be used, with what is wrong with it; unknown keys are ignored.

    :param written: the text of values that YAML made numbers or truths of, by path
    """
    reading = _Reading(written)
    build_from = reading.build_from(raw["build_from"]) if "build_from" in raw else None
    args = reading.entries("args", raw["args"], reading.text) if "args" in raw else {}
    labels = reading.entries("labels", raw["labels"], reading.text) if "labels" in raw else {}
    squash = reading.findings.optional(raw, "squash", flag) or False
    return BuildFile(build_from, args, labels, squash, tuple(reading.findings.noted), frozenset(reading.left_out))

"""What images are made for, in the words of the OCI image specification: ``linux/amd64``, ``linux/arm/v7``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from attrs import frozen

_ALSO_RUNS: Final = {"amd64": "386"}
"""What every processor of an architecture runs besides its own programs. Not all of arm64 run those of arm."""


@frozen
class Platform:
    """A system on an architecture. Empty is what is not told."""

    system: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``linux/arm/v7``, whose variant may be missing."""
        system, _, rest = text.partition("/")
        architecture, _, variant = rest.partition("/")
        return cls(system, architecture, variant)

    @classmethod
    def of(cls, described: Mapping[str, Any], system: str, architecture: str, variant: str) -> Self:
        """From a description that has these keys, where they are texts."""
        values = (described.get(key) for key in (system, architecture, variant))
        return cls(*(value if isinstance(value, str) else "" for value in values))

    def runs(self, image: Platform) -> bool:
        """Whether what is made for ``image`` runs here; what an image does not tell is not held against it."""
        if not image.architecture:
            return True
        if image.system not in {"", self.system}:
            return False
        if image.architecture != self.architecture:
            return image.architecture == _ALSO_RUNS.get(self.architecture)
        is_arm = self.architecture == "arm"  # v6, v7: each runs what is older, and other architectures count otherwise
        return not (is_arm and self.variant and image.variant > self.variant)

    @property
    def asked(self) -> str | None:
        """What to ask an engine for; ``None`` where it knows better: it takes an arm without its variant for v7."""
        return None if self.architecture == "arm" and not self.variant else str(self)

    def __str__(self) -> str:
        return "/".join(part for part in (self.system, self.architecture, self.variant) if part)

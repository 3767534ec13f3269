"""The names under which add-ons and repositories are known: ``local_hello``, ``a0d7b954``.

A slug names folders, images and containers, so it is checked where it enters: a value of one of these types is one
plain file name, wherever it came from.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, Self

from rooftree.model import ParsedString

MAX_SLUG_CHARACTERS: Final = 128
"""Of an add-on's own slug: what is built from it still fits into a file name (255 bytes)."""

_ADDON: Final = re.compile(r"[A-Za-z0-9_.-]+")


def check_addon_name(text: str) -> None:
    """Raise ``ValueError`` unless ``text`` is a slug as an add-on's own configuration gives it.

    A slug of dots alone is refused, unlike in the reference: it names the folder itself, or the one above.
    """
    if _ADDON.fullmatch(text) is None:
        raise ValueError("a slug has one or more of A-Z a-z 0-9 - _ . and nothing else")
    if not text.strip("."):
        raise ValueError("a slug must not be dots alone")
    if len(text) > MAX_SLUG_CHARACTERS:
        raise ValueError(f"a slug has at most {MAX_SLUG_CHARACTERS} characters")


class RepositorySlug(ParsedString):
    """``local``, ``core``, or the first eight digits of the SHA-1 of the address a repository was configured with."""

    __slots__ = ()

    pattern = r"local|core|[0-9a-f]{8}"

    @classmethod
    def check(cls, text: str) -> None:
        """Raise ``ValueError`` for anything else."""
        if re.fullmatch(cls.pattern, text) is None:
            raise ValueError("a repository's slug is local, core or eight digits 0-9 a-f")

    @classmethod
    def of(cls, configured: str) -> Self:
        """The slug of a repository by its configured address, ``#branch`` included; upper and lower case are one."""
        if configured in {"local", "core"}:
            return cls(configured)
        return cls(hashlib.sha1(configured.lower().encode(), usedforsecurity=False).hexdigest()[:8])


class AddonSlug(ParsedString):
    """The full slug of an add-on: its repository's slug, ``_``, and the slug its configuration gives."""

    __slots__ = ()

    pattern = rf"({RepositorySlug.pattern})_[A-Za-z0-9_.-]{{1,{MAX_SLUG_CHARACTERS}}}"

    @classmethod
    def check(cls, text: str) -> None:
        """Raise ``ValueError`` with what a full slug looks like."""
        repository, underscore, name = text.partition("_")
        if not underscore:
            raise ValueError("an add-on's slug is <repository>_<name>, such as local_hello")
        RepositorySlug.check(repository)
        check_addon_name(name)

    @classmethod
    def of(cls, repository: RepositorySlug, name: str) -> Self:
        """The full slug of an add-on; raises ``ValueError`` when ``name`` is no slug."""
        return cls.parse(f"{repository}_{name}")

    @property
    def repository(self) -> RepositorySlug:
        return RepositorySlug(self.partition("_")[0])

    @property
    def name(self) -> str:
        """The slug its own configuration gives."""
        return self.partition("_")[2]

    @property
    def hostname(self) -> str:
        """Its name on the add-on network."""
        return self.replace("_", "-")

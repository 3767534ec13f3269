"""The names of backups, of their files, and of the places where they are kept.

What clients send as one becomes part of a path, so it is checked where it enters: a value of one of these types is one
plain file name, wherever it came from.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final, Self

from rooftree import ParsedString

SUFFIX: Final = ".tar"
MOST_NAME_BYTES: Final = 255
"""Of a file's name; what the file systems of Linux take."""
LOCAL: Final = ".local"
"""The data folder's own, as answers call it where they cannot say ``null``."""
CLOUD: Final = ".cloud_backup"
"""Where Core keeps what it is about to send away; Core's alone."""


class BackupSlug(ParsedString):
    """What a backup is called among backups."""

    __slots__ = ()

    pattern = r"[0-9a-f]{8}"
    allowed = "a backup's slug: eight digits 0-9 a-f"

    @classmethod
    def made_of(cls, date: datetime, name: str) -> Self:
        """The slug of a new backup."""
        text = f"{date.isoformat()} - {name}".lower()
        return cls(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:8])


class BackupFilename(ParsedString):
    """The name of a backup's file: one plain, visible file name that ends with ``.tar``."""

    __slots__ = ()

    @classmethod
    def check(cls, text: str) -> None:
        """Raise ``ValueError`` with what is wrong with it."""
        if "/" in text or "\\" in text or not text.isprintable():
            raise ValueError("the name of a backup's file must be one file name, without a path")
        if not text.endswith(SUFFIX) or text.startswith("."):
            raise ValueError(f"the name of a backup's file must end with {SUFFIX}, and not begin with a dot")
        if len(text.encode("utf-8", "surrogatepass")) > MOST_NAME_BYTES:
            raise ValueError(f"the name of a backup's file has at most {MOST_NAME_BYTES} bytes")


class LocationName(ParsedString):
    """A place for backups, in the words of the API; empty for the data folder's own."""

    __slots__ = ()

    @classmethod
    def check(cls, text: str) -> None:
        """Raise ``ValueError`` for what no place is called."""
        if text in {"", LOCAL, CLOUD}:
            return
        if "/" in text or "\\" in text or not text.isprintable() or text.startswith("."):
            raise ValueError("must be the name of a backup mount, or null for the data folder")

    @property
    def key(self) -> str:
        """The place, in one spelling."""
        return self or LOCAL


def key_of(location: str | None) -> str:
    """A place as the API names it (``null``, empty or ``.local`` for the data folder's own), in one spelling."""
    return str(location) if location else LOCAL


def shown(key: str) -> str | None:
    """A place as answers name it."""
    return None if key == LOCAL else key


def slugified(name: str) -> str:
    """A backup's name as a file name: letters and digits of any language, with ``_`` for what is between them."""
    words = "".join(character if character.isalnum() else " " for character in name.lower()).split()
    return "_".join(words)[:100]

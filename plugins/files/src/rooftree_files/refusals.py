"""What is not done with what strangers write, and why."""

from __future__ import annotations

import os

from rooftree.errors import Failed, Invalid


class PathRefused(Invalid):
    """Something in the way of a path is not what it has to be: a link, a pipe, a device, a name that is none.

    :ivar path: the path, relative to the folder that it was opened beneath
    :ivar reason: the rest of the sentence: "is a link"
    """

    error_key = "path_refused_error"

    def __init__(self, path: str, reason: str) -> None:
        self.path = printable(path)
        self.reason = reason
        super().__init__(f"{self.path} {reason}", path=self.path)


class FileTooLarge(PathRefused):
    """A file is larger than what is read of its kind."""


class TreeTooLarge(PathRefused):
    """A folder has more in it than is looked at: entries, or levels."""


class TreeChanged(Failed):
    """A folder was moved while it was gone through, so that there was no way back out of it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{printable(path)} was moved while it was read. Try again")


def printable(path: str) -> str:
    """A path for a sentence: cut short, with what is no text shown as escapes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    shown = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return shown if len(shown) <= 200 else f"{shown[:100]}…{shown[-99:]}"

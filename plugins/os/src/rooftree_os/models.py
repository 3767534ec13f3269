"""What the routes of this domain take and answer."""

from __future__ import annotations

from typing import Any

from rooftree import ParsedString

type BoardOptions = dict[str, Any]
"""Settings of a board: which there are, and of what type, says its driver."""


class BoardName(ParsedString):
    """The name of a board."""

    __slots__ = ()

    pattern = r"[a-z0-9][a-z0-9-]{0,63}"
    allowed = "the name of a board: lower-case letters, digits and dashes"

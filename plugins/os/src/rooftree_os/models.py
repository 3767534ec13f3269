"""What the routes of this domain take and answer."""

from __future__ import annotations

import re
from typing import override

from rooftree import ParsedString

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class BoardName(ParsedString):
    """The name of a board."""

    __slots__ = ()

    @override
    @classmethod
    def check(cls, text: str) -> None:
        if not _NAME.fullmatch(text):
            raise ValueError("must be the name of a board: lower-case letters, digits and dashes")

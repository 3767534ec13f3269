"""The patterns of ``match(...)`` options: strangers write them, so compiling one has a limit and matching a budget."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import regex

MAX_PATTERN_CHARACTERS: Final = 2000
MAX_PATTERN_COST: Final = 20_000
"""How many items a pattern may have with its counted repeats written out: compiling writes them out."""


_HIDES: Final = re.compile(r"\(\?(#|[a-zA-Z0-9]*x)")
"""The beginning of a comment, or of flags that allow them. What stands in one looks like the pattern, and what a repeat
behind one multiplies can't be told without the engine's own parser: no add-on that we know has any."""


@lru_cache(maxsize=128)
def compiled(pattern: str) -> regex.Pattern[str] | None:
    """The pattern, or ``None`` for one that is not valid or not affordable."""
    if len(pattern) > MAX_PATTERN_CHARACTERS or _HIDES.search(pattern) or _cost(pattern) > MAX_PATTERN_COST:
        return None
    import regex  # noqa: PLC0415  # 5 MB, which only add-ons with patterns are worth

    try:
        return regex.compile(pattern, regex.VERSION0)
    except (regex.error, RecursionError, ValueError, OverflowError):
        return None


_PATTERN_ITEM: Final = re.compile(
    r"(?P<repeat>\{(?P<least>[0-9]*)(?P<comma>,(?P<most>[0-9]*))?\})"
    r"|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<open>\()|(?P<close>\))|\\.|.",
    re.DOTALL,
)


def _cost(pattern: str) -> int:
    """How many items ``pattern`` has once counted repeats, which multiply when nested, are written out."""
    groups = [0]
    last = 0
    """The cost of the item that a repeat would multiply; already part of its group's sum."""
    for item in _PATTERN_ITEM.finditer(pattern):
        if item["open"]:
            groups.append(1)
            continue
        if item["close"] and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        elif item["repeat"]:
            times = max(int(item["least"] or 0), int(item["most"] or 0), 1)
            groups[-1] += last * (times - 1)
            last *= times
        else:
            last = 1
            groups[-1] += 1
        if sum(groups) > MAX_PATTERN_COST:
            return MAX_PATTERN_COST + 1
    return sum(groups)

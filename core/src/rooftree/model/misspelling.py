"""What somebody meant who misspelt a name: for the end of a refusal, "did you mean …?"."""

from __future__ import annotations

from collections.abc import Iterable

ALIKE = 0.6
"""How much of two names is the same where one may be meant by the other."""


def likely_meant(name: str, known: Iterable[str], alike: float = ALIKE) -> str | None:
    """Which of the known names was probably meant, if any was.

    :param alike: how much of the two must be the same, from 0 to 1
    """
    import difflib  # noqa: PLC0415  # only a misspelt name is worth it

    return next(iter(difflib.get_close_matches(name, list(known), 1, alike)), None)

"""What somebody meant who misspelt a name: for the end of a refusal, "did you mean …?"."""

from __future__ import annotations

from collections.abc import Callable, Iterable

ALIKE = 0.6
"""How much of two names is the same where one may be meant by the other."""


def likely_meant(name: str, known: Iterable[str], alike: float = ALIKE) -> str | None:
    """Which of the known names was probably meant, if any was.

    :param alike: how much of the two must be the same, from 0 to 1
    """
    import difflib  # noqa: PLC0415  # only a misspelt name is worth it

    return next(iter(difflib.get_close_matches(name, list(known), 1, alike)), None)


def did_you_mean(name: str, known: Iterable[str], otherwise: str, spelt: Callable[[str], str] = str) -> str:
    """The end of a refusal: what was probably meant, as it is ``spelt`` there, else what is said ``otherwise``."""
    near = likely_meant(name, known)
    return f"did you mean {spelt(near)}?" if near else otherwise

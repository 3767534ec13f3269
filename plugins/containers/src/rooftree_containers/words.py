"""Words for people."""

from __future__ import annotations


def sentence(words: str) -> str:
    """Words at the beginning of a sentence: ``the lamp`` becomes ``The lamp``."""
    return words[:1].upper() + words[1:]

"""Words for people."""

from __future__ import annotations


def sentence(words: str) -> str:
    """Words at the beginning of a sentence: ``add-on local_hello`` becomes ``Add-on local_hello``."""
    return words[:1].upper() + words[1:]

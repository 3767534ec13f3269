"""The corpus of real add-on repositories, which lies beside the checkout and is no part of it."""

from __future__ import annotations

from typing import Final

from tests.requirements import SHARED, needs_shared

CORPUS: Final = SHARED / "corpus"
needs_corpus: Final = needs_shared(CORPUS)


def rows(name: str) -> list[list[str]]:
    """The rows of one of its tables, without the header."""
    lines = (CORPUS / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines[1:]]

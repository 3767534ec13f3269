"""The corpus of real add-on repositories, which lies beside the checkout and is no part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.requirements import needs

CORPUS: Final = Path(__file__).resolve().parents[4] / "shared" / "corpus"
needs_corpus: Final = needs(CORPUS.is_dir(), "the corpus of real add-on repositories, in ../shared beside the checkout")


def rows(name: str) -> list[list[str]]:
    """The rows of one of its tables, without the header."""
    lines = (CORPUS / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines[1:]]

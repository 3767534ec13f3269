"""The blocks of the documentation's pages, and which of them a test knows how to hold to the truth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    "writing-a-plugin.md",
    "first-plugin.md",
    "testing-a-plugin.md",
    "plugin-recipes.md",
    "plugin-api.md",
    "proxying.md",
)
PAGES = [ROOT / "docs" / name for name in NAMES]


@frozen
class Block:
    """A fenced block. What stands behind its language says how it is checked: a file of ``examples/``, or a word."""

    page: Path
    line: int
    language: str
    about: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "fence" and token.map is not None:
            language, _, about = token.info.partition(" ")
            yield Block(page, token.map[0] + 1, language, about.strip(), token.content)


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
EXCERPTS = [block for block in BLOCKS if block.about.startswith(("service-clock/", "board-acme/"))]
WRITTEN = [block for block in BLOCKS if block.about.startswith("rooftree-")]
"""Pieces of what ``rooftree new-plugin`` writes on that page."""
SESSION = [block for block in BLOCKS if (block.language, block.about) == ("console", "")]
TESTS = [block for block in BLOCKS if (block.language, block.about) == ("python", "test")]
SETTINGS = [block for block in BLOCKS if (block.language, block.about) == ("toml", "rooftree.toml")]
PICTURES = [block for block in BLOCKS if block.language == "mermaid"]


@frozen
class Command:
    """A line that begins with a prompt, and what is shown below it."""

    block: Block
    line: str
    shown: str


def commands_of(block: Block) -> list[Command]:
    """The commands of a console block."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    if parts[0]:
        raise ValueError(f"{block}: a console block begins with a command")
    split = (part.partition("\n") for part in parts[1:])
    return [Command(block, line, shown) for line, _, shown in split]

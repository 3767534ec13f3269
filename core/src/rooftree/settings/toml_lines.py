"""On which line each key of a TOML document stands: ``tomllib`` does not tell.

The document is read once more, statement by statement: each is a document of its own that ``tomllib`` can read as soon
as its last line is there, and not before.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

type Key = tuple[str, ...]
"""The path of a key: ``("kernel", "port")``."""

_CLOSING = re.compile(r"""[]}]|"{3}|'{3}""")
"""On the last line of every statement that has several; the lines before it need no try."""


def walk(tree: Mapping[str, Any], outer: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every key of a document with its value, but not those inside arrays; tables come before what is in them."""
    for name, value in tree.items():
        yield (*outer, name), value
        if isinstance(value, dict):
            yield from walk(value, (*outer, name))


def key_lines(text: str) -> dict[Key, int]:
    """The line (from 1) where the statement begins that first names each key or table.

    ``text`` must be valid TOML. Keys inside arrays of tables are listed once, without an index; keys of inline tables
    inside arrays are not listed.
    """
    lines: dict[Key, int] = {}
    table: Key = ()
    statement, begun = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        several = statement != ""
        statement += f"{line}\n"
        if several and not _CLOSING.search(line):
            continue
        try:
            keys = [key for key, _ in walk(tomllib.loads(statement))]
        except tomllib.TOMLDecodeError:
            continue  # it goes on in the next line
        is_header = statement.lstrip().startswith("[")
        for key in keys:
            lines.setdefault(key if is_header else (*table, *key), begun)
        table = keys[-1] if is_header else table
        statement, begun = "", number + 1
    return lines

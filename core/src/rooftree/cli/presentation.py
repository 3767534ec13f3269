# ruff: noqa: PLC0415  (rich is imported when used: not for JSON, and not for programs)
"""How commands print: JSON, coloured on a terminal, and tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import click

NOTHING: Final = "-"
"""Stands in a table where there is nothing to say."""


def print_json(data: object) -> None:
    """Print ``data`` readably, and in colour where a person reads it."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print_json(text)
    else:
        click.echo(text)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], colours: Mapping[str, str] = {}) -> None:
    """Print a table: fitted to the terminal where there is one, else as wide as it needs.

    :param colours: the rich style of a cell, by the cell's first word
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    for_person = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if for_person else None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=not for_person)
    for row in rows:
        cells = [cell or NOTHING for cell in row]
        table.add_row(*(Text(cell, style=colours.get(cell.split()[0], "") if cell.split() else "") for cell in cells))
    console = Console() if for_person else Console(width=10_000)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip().split("\n")))

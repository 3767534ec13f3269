# ruff: noqa: PLC0415  (rich is imported when used: not for JSON, and not for programs)
"""How commands print: sentences, JSON, coloured on a terminal, tables, and text as it comes.

Everything that reaches a terminal goes through here. Most of it somebody else wrote (names, folders, versions, what a
registry said), so it is shown printable: no escape code of a stranger drives the terminal of an administrator.
"""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import IO, Any, Final

import click

from rooftree.cli.terminal_text import ColouredText, printable_json, printable_lines
from rooftree.model import printable

NOTHING: Final = "-"
"""Stands in a table where there is nothing to say."""


def size_text(size_bytes: int) -> str:
    """A size for people, in MiB as the API has sizes: ``1,234.5 MiB``."""
    return f"{size_bytes / 1024**2:,.1f} MiB"


def tell(text: str, *, word: str = "", colour: str = "", err: bool = False, file: IO[Any] | None = None) -> None:
    """Print one or more lines.

    :param word: the first place where this stands is coloured
    :param err: on standard error instead of standard output
    """
    before, match, after = printable_lines(text).partition(word) if word else (printable_lines(text), "", "")
    click.echo(before + (click.style(match, fg=colour, bold=True) if match else "") + after, err=err, file=file)


def print_json(data: object, *, file: IO[Any] | None = None) -> None:
    """Print ``data`` readably, and in colour where a person reads it; what is not printable in JSON's own escapes.

    :param file: instead of standard output; never coloured
    """
    text = printable_json(json.dumps(data, indent=2, ensure_ascii=False))
    if file is None and sys.stdout.isatty():
        from rich.console import Console
        from rich.highlighter import JSONHighlighter
        from rich.text import Text

        Console().print(JSONHighlighter()(Text(text)), soft_wrap=True)
    else:
        click.echo(text, file=file)


async def print_stream(chunks: AsyncIterator[bytes]) -> None:
    """Print text as it comes. On a terminal colours stay and nothing else that drives it; a file gets every byte."""
    output = sys.stdout.buffer
    if not sys.stdout.isatty():
        async for chunk in chunks:
            output.write(chunk)
            output.flush()
        return
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    text = ColouredText()
    try:
        async for chunk in chunks:
            output.write(text.feed(decoder.decode(chunk)).encode())
            output.flush()
    finally:
        output.write((text.feed(decoder.decode(b"", final=True)) + text.end()).encode())
        output.flush()


def print_page(markdown: str) -> None:
    """Print a page that is ours: for a person set in type, a screen at a time; else as it was written."""
    if not sys.stdout.isatty():
        click.echo(markdown, nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    with console.capture() as captured:
        console.print(Markdown(markdown, hyperlinks=False))  # they name files, of which a terminal knows nothing
    click.echo_via_pager(captured.get())


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
        cells = [printable(cell) or NOTHING for cell in row]
        table.add_row(*(Text(cell, style=colours.get(cell.split()[0], "") if cell.split() else "") for cell in cells))
    console = Console() if for_person else Console(width=10_000)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip().split("\n")))

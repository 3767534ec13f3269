# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree docs``: the pages about Rooftree, which come with the kernel, for who has no checkout at hand.

``pages/`` is a link to the repository's ``docs/``; a distribution that is built has the files themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rooftree.cli.invocation import Invocation, invocation_options, pass_invocation
from rooftree.cli.names import NAME

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PAGES: Final = Path(__file__).with_name("pages")


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in _names() if name.startswith(incomplete)]


@click.command()
@click.argument("page", type=NAME, required=False, shell_complete=_complete)
@invocation_options
@pass_invocation
def docs(invocation: Invocation, /, page: str | None) -> None:
    """List the pages of the documentation, or show one.

    PAGE is a name from the list, such as first-plugin. Pages name each other as files, `first-plugin.md`, which is
    understood too.
    """
    from rooftree.cli.presentation import print_json, print_page, print_table
    from rooftree.model import did_you_mean

    names = _names()
    if page is None:
        listed = [{"name": name, "title": _title(name), "file": str(_file(name))} for name in names]
        if invocation.as_json:
            print_json(listed)
        else:
            print_table(("PAGE", "ABOUT"), [(known["name"], known["title"]) for known in listed])
        return
    name = page.removeprefix("docs/").partition("#")[0].removesuffix(".md")
    if name not in names:
        hint = did_you_mean(name, names, f"there are {', '.join(names)}")
        raise click.BadParameter(f"there is no page {page!r}; {hint}", param_hint="PAGE")
    text = _file(name).read_text(encoding="utf-8")
    if invocation.as_json:
        print_json({"name": name, "title": _title(name), "text": text})
    else:
        print_page(text)


def _names() -> list[str]:
    return sorted(file.stem for file in PAGES.glob("*.md"))


def _file(name: str) -> Path:
    return PAGES / f"{name}.md"


def _title(name: str) -> str:
    """What a page is called: its first line."""
    with _file(name).open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()

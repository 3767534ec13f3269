"""Names that are nouns of the field: what a variable is called says what it holds."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_NAMES = {"each", "found", "left", "one", "some", "started"}
"""They say how somebody came to a thing, or that it is a thing (design, vocabulary)."""
SOURCES = {
    "core": ROOT / "core" / "src",
    "examples": ROOT / "examples",
    **{path.parent.name: path for path in sorted((ROOT / "plugins").glob("*/src"))},
}
PAGES = [
    ROOT / page
    for pattern in ("*.md", "docs/*.md", "examples/*/*.md", "plugins/*/README.md")
    for page in sorted(ROOT.glob(pattern))
]


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that something is given in a module, with its line: variables, fields, parameters, patterns, functions
    and classes."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield node.lineno, name
            case (
                ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
                | ast.ExceptHandler(name=str(name))
            ):
                yield node.lineno, name
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.alias(asname=str(name)):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name


def is_no_name(name: str) -> bool:
    return name.strip("_") in NO_NAMES


def code_blocks(page: str) -> Iterator[ast.AST]:
    """The Python of a page; a signature that stands alone gets a body."""
    for block in re.findall(r"^ *```(?:python|py)\b[^\n]*\n(.*?)```", page, re.DOTALL | re.MULTILINE):
        text = textwrap.dedent(block)
        yield ast.parse(f"{text.rstrip()} ..." if text.rstrip().endswith(":") else text)


def bad_names(trees: Iterable[tuple[Path, ast.AST]]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path, tree in trees
        for line, name in names(tree)
        if is_no_name(name)
    ]


def test_every_way_to_give_a_name_is_seen() -> None:
    module = """
found = 1
def f(one, *some, each=None):
    with a as left: ...
    for started in b: ...
    match c:
        case {"x": found, **one}: ...
        case [1, *some]: ...
    try: ...
    except E as each: ...
    return [left for left in d], lambda started: 1
from f import g as found
class some:
    one: int
    def _each(self):
        self._left, self.started = h
"""
    bad = [name.strip("_") for _, name in names(ast.parse(module)) if is_no_name(name)]
    assert sorted(bad) == sorted([*NO_NAMES, *NO_NAMES, *NO_NAMES])


@pytest.mark.parametrize("room", sorted(SOURCES))
def test_variables_have_names(room: str) -> None:
    paths = sorted(path for path in SOURCES[room].rglob("*.py") if ".venv" not in path.parts)
    assert paths and bad_names((path, ast.parse(path.read_text())) for path in paths) == []


def test_code_in_the_docs_has_names() -> None:
    trees = [(page, tree) for page in PAGES for tree in code_blocks(page.read_text())]
    assert len(trees) > 50 and bad_names(trees) == []

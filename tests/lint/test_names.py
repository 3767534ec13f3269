"""Names that are nouns of the field: what a variable is called says what it holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_NAMES = {"each", "found", "left", "one", "some", "started"}
"""They say how somebody came to a thing, or that it is a thing (design, vocabulary)."""
SOURCES = {
    "core": ROOT / "core" / "src",
    **{path.parent.name: path for path in sorted((ROOT / "plugins").glob("*/src"))},
}


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that something is given in a module, with its line: variables, parameters, patterns."""
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


def bad_names(folder: Path) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted(folder.rglob("*.py"))
        for line, name in names(ast.parse(path.read_text()))
        if name in NO_NAMES
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
"""
    assert sorted(name for _, name in names(ast.parse(module)) if name in NO_NAMES) == sorted([*NO_NAMES, *NO_NAMES])


@pytest.mark.parametrize("room", sorted(SOURCES))
def test_variables_have_names(room: str) -> None:
    assert bad_names(SOURCES[room]) == []

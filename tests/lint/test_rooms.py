"""The rooms of the kernel: a door each. And of all of the product: no circle among modules, not even for type checkers;
no file too long."""

from __future__ import annotations

import ast
import functools
import io
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KERNEL = ROOT / "core" / "src"
ROOMS = ("model", "services", "settings", "state", "events", "access", "jobs", "http", "plugins", "process", "daemon")
EVERYBODYS = {"clock", "context", "errors", "principal"}
"""Modules at the top that every room may use."""
MOST_LINES = 350
"""Lines of code in a file of the product: without comments, docstrings and blank lines."""
NO_CODE = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}


def modules_below(source: Path) -> dict[str, Path]:
    return {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(source.glob("rooftree*/**/*.py"))
    }


MODULES = modules_below(KERNEL)
OTHER_MODULES = {
    module: path
    for place in ("plugins", "examples")
    for source in sorted(ROOT.glob(f"{place}/*/src"))
    for module, path in modules_below(source).items()
}
ALL_MODULES = MODULES | OTHER_MODULES


@functools.cache
def imported(path: Path) -> set[str]:
    """What a module imports of the product, wherever in it, ``TYPE_CHECKING`` or not. The lazy door at the very top is
    no module that anything depends on: each name in it leads to its home."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names |= {
                name if (name := f"{node.module}.{alias.name}") in ALL_MODULES else node.module for alias in node.names
            }
    return {name for name in names if name in ALL_MODULES and name != "rooftree"}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that lead to each other (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for module in graph:
        if module not in index:
            visit(module)
    return groups


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_kernel_has_no_circle() -> None:
    graph = {module: imported(path) - {module} for module, path in MODULES.items() if module != "rooftree"}
    doors = {f"rooftree.{room}" for room in ROOMS}
    for door in doors:  # a door leads to its own room, whose modules never go through it
        graph[door] = set()
    assert circles(graph) == []


def test_plugins_have_no_circle() -> None:
    """Not by their own doors either, nor from one plugin to another and back."""
    graph = {module: imported(path) & OTHER_MODULES.keys() - {module} for module, path in OTHER_MODULES.items()}
    assert len(graph) > 400 and circles(graph) == []


def test_no_import_is_relative() -> None:
    """What looks at imports here, and import-linter's sentences, read whole names."""
    assert [
        str(path.relative_to(ROOT))
        for path in ALL_MODULES.values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ] == []


@pytest.mark.parametrize("room", ROOMS)
def test_room_has_a_door_with_a_sentence_and_what_others_may_use_and_is_not_entered_from_within(room: str) -> None:
    door = ast.parse(MODULES[f"rooftree.{room}"].read_text())
    assert ast.get_docstring(door)
    names = next(
        (ast.literal_eval(node.value) for node in door.body if isinstance(node, ast.Assign)
         and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"),
        None,
    )  # fmt: skip
    assert (
        names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
        if names
        else room == "settings"
    )
    inside = [path for module, path in MODULES.items() if module.startswith(f"rooftree.{room}.")]
    assert [path.name for path in inside if f"rooftree.{room}" in imported(path)] == []


def test_only_what_everybody_may_use_stands_at_the_top() -> None:
    top = {path.stem for path in (KERNEL / "rooftree").glob("*.py")} - {"__init__"}
    beside = {"commands", "entry_points", "fault_places", "source_texts"}
    assert top == EVERYBODYS | beside


def code_lines(path: Path) -> int:
    text = path.read_text()
    documentation = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - documentation)


def test_no_file_of_the_product_is_too_long() -> None:
    sources = [path for place in ("core/src", "plugins/*/src") for path in ROOT.glob(f"{place}/**/*.py")]
    lengths = {str(path.relative_to(ROOT)): code_lines(path) for path in sources}
    assert len(lengths) > 500 and {name: length for name, length in lengths.items() if length > MOST_LINES} == {}

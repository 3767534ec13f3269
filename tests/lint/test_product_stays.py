"""Tests leave the product as it is: what one puts into a class or module of it, all that come after it have too."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def is_product(module: str | None) -> bool:
    return (module or "").split(".")[0].partition("_")[0] == "rooftree"


def product_names(nodes: Collection[ast.AST]) -> set[str]:
    """The names of a module that came from the product, and are not a test's own class as well."""
    own = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom | ast.Import)]
    return {
        (alias.asname or alias.name).split(".")[0]
        for node in imports
        for alias in node.names
        if is_product(node.module if isinstance(node, ast.ImportFrom) else alias.name)
    } - own


def changed_product(source: str) -> Iterator[tuple[int, str]]:
    """Where a test assigns to an attribute of something that it has from the product; monkeypatch takes such back."""
    nodes = list(ast.walk(ast.parse(source)))
    product = product_names(nodes)
    for node in nodes:
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute, ctx=ast.Store()) if name in product:
                yield node.lineno, f"{name}.{attribute}"


def test_assignments_are_seen() -> None:
    source = """
from rooftree_backups.plugin import BackupsPlugin
from rooftree import clock as time
from tests.rig import Rig
import rooftree_docker
def f():
    BackupsPlugin.archives = 1
    time.now: int = 2
    rooftree_docker.LIMIT += 3
    Rig.archives = 4
    BackupsPlugin().archives = 5
"""
    assert [text for _, text in sorted(changed_product(source))] == [
        "BackupsPlugin.archives",
        "time.now",
        "rooftree_docker.LIMIT",
    ]


def test_no_test_changes_the_product_for_those_after_it() -> None:
    assert [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if "__main__" not in (source := path.read_text())  # a process of its own, with no test after it
        for line, text in changed_product(source)
    ] == []

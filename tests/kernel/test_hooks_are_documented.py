"""Every hook of the domains is in ``docs/hooks.md`` with its exact signature, and has a test of its own."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path

import pytest

from rooftree.interfaces import hooks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "hooks.md").read_text()


def specifications() -> dict[str, str]:
    """The hooks that pluggy would find in the module, each with its signature as it is written there."""
    marked = {name for name, value in vars(hooks).items() if hasattr(value, "rooftree_spec")}
    written = {
        node.name: node for node in ast.parse(inspect.getsource(hooks)).body if isinstance(node, ast.FunctionDef)
    }
    return {name: _signature(written[name]) for name in sorted(marked)}


def _signature(function: ast.FunctionDef) -> str:
    answer = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"def {function.name}({ast.unparse(function.args)}){answer}:"


@cache
def names_of_tests() -> set[str]:
    """The names of all functions that test a hook."""
    return {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_hook_\w+)\(", path.read_text(), re.MULTILINE)
    }


def test_there_are_hooks() -> None:
    assert {"available_updates", "info", "supervisor_info", "set_repositories"} <= set(specifications())


@pytest.mark.parametrize("name", specifications())
def test_hook_is_documented_with_its_exact_signature(name: str) -> None:
    section = re.search(rf"^## {name}\n\n```python\n(.*?)\n```\n\n(\S.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)

    assert section is not None, f"docs/hooks.md has no section {name} that begins with its signature"
    assert section[1] == specifications()[name]


def test_no_hook_is_documented_that_there_is_not() -> None:
    assert sorted(re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)) == sorted(specifications())


@pytest.mark.parametrize("name", specifications())
def test_hook_has_a_test(name: str) -> None:
    assert any(each.startswith(f"test_hook_{name}_") for each in names_of_tests()), f"there is no test_hook_{name}_…"


@pytest.mark.parametrize("name", specifications())
def test_hook_says_in_its_docstring_what_to_answer(name: str) -> None:
    assert len((inspect.getdoc(getattr(hooks, name)) or "").split()) > 5

"""The plugin API does not change unnoticed."""

from __future__ import annotations

import ast
import difflib
import types
from pathlib import Path

import attrs
import pytest

import rooftree
from tests.api.public_surface import GOLDEN, surface

WHAT_TO_DO = """The plugin API is not what tests/api/public-surface.txt says.
Something taken away or made narrower breaks plugins: docs/plugin-api.md says how that is done, and what comes first.
Something added, or changed as it says there: run `make plugin-api`, review the diff, and write a line in CHANGELOG.md.
"""


def test_public_surface_is_as_it_was_reviewed() -> None:
    reviewed, now = GOLDEN.read_text().splitlines(), surface().splitlines()

    changes = list(difflib.unified_diff(reviewed, now, "reviewed", "now", lineterm="", n=0))

    assert not changes, WHAT_TO_DO + "\n".join(changes)


def test_surface_is_the_same_after_types_were_resolved() -> None:
    before = surface()

    attrs.resolve_types(rooftree.AuditEntry)  # as the kernel does with what it sends and keeps

    assert surface() == before


def test_every_exported_name_can_be_imported() -> None:
    assert len(rooftree.__all__) > 50
    assert [name for name in rooftree.__all__ if not hasattr(rooftree, name)] == []


def test_stub_says_nothing_but_which_name_is_from_which_room() -> None:
    _, *lines = ast.parse(Path(rooftree.__file__).with_suffix(".pyi").read_text()).body
    names = [(alias.name, alias.asname) for line in lines if isinstance(line, ast.ImportFrom) for alias in line.names]

    assert len(names) == len(lines) == len(rooftree.__all__)
    assert [name for name, as_name in names if name != as_name] == []


def test_every_public_class_and_function_has_a_docstring() -> None:
    found = {name: getattr(rooftree, name) for name in rooftree.__all__}
    described = {name: value for name, value in found.items() if isinstance(value, type | types.FunctionType)}

    assert [name for name, value in described.items() if not value.__doc__] == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda: setattr(rooftree.Plugin, "begin", lambda self: None), id="a method more"),
        pytest.param(lambda: rooftree.__all__.append("added"), id="a name more"),
        pytest.param(lambda: setattr(rooftree, "role", lambda least: None), id="another signature"),
    ],
)
def test_what_changes_is_noticed(monkeypatch: pytest.MonkeyPatch, change: types.FunctionType) -> None:
    monkeypatch.setattr(rooftree, "__all__", list(rooftree.__all__))
    monkeypatch.setattr(rooftree, "role", rooftree.role)
    monkeypatch.setattr(rooftree, "added", 1, raising=False)
    before = surface()
    try:
        change()
        assert surface() != before
    finally:
        if "begin" in vars(rooftree.Plugin):
            del rooftree.Plugin.begin  # type: ignore[attr-defined]  # what the first of the changes added

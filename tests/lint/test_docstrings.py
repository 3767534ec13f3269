"""Docstrings of what others rely on. The kernel's are ruff's affair; in plugins, ruff asks for those of modules and
classes, and here is asked for every one in libraries, and in the modules that another plugin imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def modules() -> dict[str, Path]:
    """The modules of all plugins, by their names."""
    names = {}
    for source in ROOT.glob("plugins/*/src"):
        for path in source.glob("rooftree_*/**/*.py"):
            parts = path.relative_to(source).with_suffix("").parts
            names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports(path: Path) -> Iterator[str]:
    """What a module imports, by the names that it could mean."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{name.name}" for name in names)


def public_modules() -> set[Path]:
    """Those of libraries, which nobody loads as plugins; those that another plugin imports; and what each plugin is by
    its own name."""
    known = modules()
    loaded = {path.parent for path in ROOT.glob("plugins/*/pyproject.toml") if "entry-points" in path.read_text()}
    names = {name for name, path in known.items() if "." not in name or loaded.isdisjoint(path.parents)}
    for importing, path in known.items():
        package = importing.partition(".")[0]
        names |= {name for name in imports(path) if name in known and name.partition(".")[0] != package}
    return {known[name] for name in names}


def missing_docstrings(paths: Iterable[Path]) -> str:
    ruff = Path(sys.executable).with_name("ruff")
    rules = ("--isolated", "--no-cache", "--select", "D1", "--ignore", "D105,D107", "--output-format", "concise")
    result = subprocess.run([ruff, "check", *rules, *sorted(paths)], capture_output=True, text=True, check=False)
    assert result.returncode in {0, 1}, result.stderr
    return result.stdout if result.returncode else ""


def test_modules_that_others_import_have_every_docstring() -> None:
    paths = public_modules()

    assert {"standing.py", "folder.py"} <= {path.name for path in paths}  # of two libraries
    assert missing_docstrings(paths) == ""


def test_missing_docstring_is_seen(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""A module."""\n\n\ndef public(): ...\n')

    assert "D103" in missing_docstrings([module])

"""A new plugin is held to who may import whom as soon as its folder is there, and costs no line in a shared file."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.lint.import_contracts import WrongDependency, check, contracts
from tests.workspace import ROOT, plugins

type Plug = Callable[..., None]

RULES = """
[importlinter]
root_packages =
    rooftree
    EVERY_PLUGIN

[importlinter:contract:kernel]
name = The kernel imports no plugin
type = forbidden
source_modules =
    rooftree
forbidden_modules =
    EVERY_PLUGIN
"""
NAMES_MANY = {
    "tests/attacks/test_patterns.py": "each regular expression of the product is judged by a person",
    "tests/contract/test_plans.py": "each kind of job gets a situation in which it can be planned",
}
"""Shared files that name many plugins, and what for: each of them is a line that a new domain may cost."""
MANY = 5


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a kernel and no plugin."""
    (tmp_path / ".importlinter").write_text(RULES)
    kernel = tmp_path / "core/src/rooftree"
    kernel.mkdir(parents=True)
    (kernel / "__init__.py").write_text("")
    (tmp_path / "plugins").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "core/src"))
    return tmp_path


@pytest.fixture
def plug(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Adds a folder to ``plugins/``, as anybody would."""

    def add(
        name: str, modules: Mapping[str, str] | None = None, needs: Sequence[str] = (), domain: bool = True
    ) -> None:
        source = workspace / f"plugins/{name}/src"
        package = source / f"rooftree_{name}"
        package.mkdir(parents=True)
        for module, text in {"__init__": "", **(modules or {})}.items():
            (package / f"{module}.py").write_text(text)
        points = f'entry-points."rooftree.plugins".{name} = "rooftree_{name}:Plugin"' if domain else ""
        dependencies = [f"rooftree-{other}~=0.1" for other in needs]
        (workspace / f"plugins/{name}/pyproject.toml").write_text(
            f'[project]\nname = "rooftree-{name}"\ndependencies = {dependencies}\n{points}\n'
        )
        monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}:{source}")

    return add


def test_what_its_pyproject_depends_on_may_be_imported(workspace: Path, plug: Plug) -> None:
    plug("wires", domain=False)
    plug("lamp", {"lights": "import rooftree\nimport rooftree_wires"}, needs=["wires"])

    assert check(workspace) == 0


def test_what_it_does_not_depend_on_may_not(workspace: Path, plug: Plug, capfd: pytest.CaptureFixture[str]) -> None:
    plug("wires", domain=False)
    plug("lamp", {"lights": "if 0:\n    import rooftree_wires"})

    assert check(workspace) == 1
    assert "rooftree_lamp.lights -> rooftree_wires" in capfd.readouterr().out


def test_kernel_does_not_import_it(workspace: Path, plug: Plug, capfd: pytest.CaptureFixture[str]) -> None:
    plug("lamp")
    (workspace / "core/src/rooftree/bulb.py").write_text("import rooftree_lamp")

    assert check(workspace) == 1
    assert "rooftree.bulb -> rooftree_lamp" in capfd.readouterr().out


def test_domain_that_another_may_know_is_entered_through_its_door(
    workspace: Path, plug: Plug, capfd: pytest.CaptureFixture[str]
) -> None:
    plug("store", {"shelf": ""})
    plug("addons", {"install": "from rooftree_store import shelf"}, needs=["store"])

    assert check(workspace) == 1
    assert "rooftree_addons.install" in capfd.readouterr().out


def test_domain_is_depended_on_by_no_other(workspace: Path, plug: Plug) -> None:
    plug("lamp")
    plug("shade", needs=["lamp"])

    with pytest.raises(WrongDependency, match="rooftree-shade depends on rooftree-lamp, which is a domain"):
        contracts(workspace)
    assert check(workspace) == 1


def test_libraries_do_not_depend_on_each_other_in_a_circle(workspace: Path, plug: Plug) -> None:
    plug("wires", needs=["sockets"], domain=False)
    plug("sockets", needs=["wires"], domain=False)

    with pytest.raises(WrongDependency, match=r"rooftree-(wires|sockets) → rooftree-(wires|sockets)"):
        contracts(workspace)


def test_shared_files_have_no_lists_of_plugins() -> None:
    lists: dict[str, list[str]] = {}
    patterns = {plugin.name: re.compile(rf"\b(?:{plugin.package}|{plugin.name})\b") for plugin in plugins()}
    for file in subprocess.check_output(("git", "ls-files"), cwd=ROOT, text=True).splitlines():
        if file.startswith(("plugins/", "tests/plugins/", "examples/")) or file.endswith(".md"):
            continue
        if (ROOT / file).is_symlink():  # it says where something is, which is looked at there
            continue
        text = (ROOT / file).read_bytes().decode(errors="replace")
        if len(listed := [name for name, pattern in patterns.items() if pattern.search(text)]) >= MANY:
            lists[file] = listed
    assert lists.keys() == NAMES_MANY.keys(), lists

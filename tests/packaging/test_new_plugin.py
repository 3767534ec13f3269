"""``rooftree new-plugin``: what it writes passes its tests and the linters; what it is called is checked."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from rooftree.cli import rooftree
from rooftree.cli.new_plugin import ALLOWED, LONGEST, TAKEN, names_of
from rooftree.cli.plugin_file import plugin_files
from rooftree.settings import load
from tests.packaging.environments import Environment, Wheels, checks, ruff
from tests.workspace import ROOT, with_needs

in_an_environment = [pytest.mark.xdist_group("packaging"), pytest.mark.timeout(600)]
NAMES = ["garden", "weather-station", "x", "a1-2b", "n".ljust(LONGEST, "o")]
"""Plain, of two words, the shortest, with digits where they may stand, and the longest: lines still fit."""


SHAPES = {("--one-file",): ("rooftree-{}", 3), ("--board",): ("rooftree-board-{}", 1), (): ("rooftree-{}", 4)}
"""What is written for these words: the name of the folder, and how many tests it comes with."""
ONE_FILE, BOARD, PACKAGE = SHAPES
TRIED = [*((shape, "weather-station") for shape in SHAPES), (ONE_FILE, "x"), (PACKAGE, "a1-2b"), (BOARD, NAMES[-1])]
"""What is installed and run. A name that is not as its package's would show where a template has the wrong one of them:
so each shape has one; and each name is tried in some shape but the plain one, which is the page's for authors. The
other pairs, of four seconds each, are tried by ``make torture``."""
PAIRS = [
    pytest.param(*pair, marks=[*in_an_environment, *([] if pair in TRIED else [pytest.mark.torture])])
    for pair in product(SHAPES, NAMES)
]


def new_plugin(*arguments: str | Path) -> Result:
    return CliRunner().invoke(rooftree, ["new-plugin", *map(str, arguments)])


@pytest.fixture(scope="session")
def environment(new_environment: Callable[[], Environment], wheels: Wheels) -> Environment:
    made = new_environment()
    made.install(*(wheels.of(plugin.folder) for plugin in with_needs(["rooftree-os"])))  # for boards
    return made


@pytest.mark.parametrize("shape", SHAPES, ids=lambda words: words[0] if words else "package")
@pytest.mark.parametrize("name", NAMES)
def test_new_plugin_passes_the_linter_whatever_it_is_called(name: str, shape: tuple[str, ...], tmp_path: Path) -> None:
    made = new_plugin(name, *shape, "--into", tmp_path)
    assert made.exit_code == 0, made.output
    written = tmp_path / SHAPES[shape][0].format(name)

    ruff(written)

    assert not [path for path in written.rglob("*") if "$" in path.name or path.suffix == ".template"]


@pytest.mark.parametrize(("shape", "name"), PAIRS)
def test_new_plugin_passes_its_own_tests_and_the_type_checker_where_it_is_installed(
    shape: tuple[str, ...], name: str, tmp_path: Path, environment: Environment, wheels: Wheels
) -> None:
    made = new_plugin(name, *shape, "--into", tmp_path)
    assert made.exit_code == 0, made.output
    folder, tests = SHAPES[shape]
    written = tmp_path / folder.format(name)
    environment.uninstall(written.name)  # that of another shape has the same name
    built = tmp_path / "built"
    built.mkdir()
    environment.install(Wheels(wheels.uv, built).of(written))

    told = environment.run("python", "-m", "pytest", "-q", "-W", "error", cwd=written)
    checks(environment, written, ("src", "tests") if shape == () else [file.name for file in written.glob("*.py")])

    assert f"{tests} passed" in told
    assert not list(written.glob("LICEN*"))  # that choice is its author's


@pytest.mark.parametrize("shape", SHAPES, ids=lambda words: words[0] if words else "package")
def test_new_plugin_in_the_repository_finds_what_it_asks_for_in_the_workspace(
    shape: tuple[str, ...], tmp_path: Path
) -> None:
    assert new_plugin("garden", *shape, "--into", tmp_path).exit_code == 0
    (written,) = tmp_path.glob("*/pyproject.toml")
    project = tomllib.loads(written.read_text())

    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    ours = {name for text in wanted if (name := Requirement(text).name).startswith("rooftree")}

    sources = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["sources"]
    assert "rooftree" in ours
    assert [sources.get(name) for name in ours] == [{"workspace": True}] * len(ours)


def test_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "rooftree-garden"
    folder.mkdir()

    refused = new_plugin("garden", "--into", tmp_path)

    assert refused.exit_code == 1
    assert "is there already; nothing was changed" in refused.output
    assert list(folder.iterdir()) == []


def test_name_of_an_installed_plugin_is_refused_with_its_distribution(tmp_path: Path) -> None:
    refused = new_plugin("supervisor", "--into", tmp_path)

    assert refused.exit_code == 2
    assert "rooftree-supervisor, which is installed, is called so" in " ".join(refused.output.split())
    assert list(tmp_path.iterdir()) == []


def test_name_of_an_installed_board_is_refused_for_a_board_and_for_nothing_else(tmp_path: Path) -> None:
    refused = new_plugin("green", "--board", "--into", tmp_path)
    written = new_plugin("green", "--into", tmp_path)

    assert (refused.exit_code, written.exit_code) == (2, 0)
    assert "rooftree-board-green, which is installed, is called so" in " ".join(refused.output.split())


def test_file_of_a_new_plugin_runs_as_it_is(tmp_path: Path) -> None:
    new_plugin("garden", "--one-file", "--into", tmp_path)

    settings = load(config=None, environ={"ROOFTREE_CONFIG": ""}, flags={})
    (file,) = plugin_files([tmp_path / "rooftree-garden" / "rooftree_garden.py"], settings)

    assert file.installed.point.load().name == "garden"


def test_bad_name_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    refused = new_plugin("Garden_2", "--into", tmp_path)

    assert refused.exit_code == 2
    assert ALLOWED in refused.output
    assert list(tmp_path.iterdir()) == []


words = st.lists(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), min_size=1, max_size=4).map("-".join)


@given(words.filter(lambda name: name[0].isalpha() and len(name) <= LONGEST and name not in TAKEN))
def test_every_good_name_gives_names_that_python_and_indexes_accept(name: str) -> None:
    names = names_of(name)

    assert names["package"].isidentifier()
    assert f"{names['Class']}Plugin".isidentifier()
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", names["distribution"])


@given(st.text() | words.map(str.title) | words.map(lambda name: f"{name}-") | words.map(lambda name: f"-{name}"))
@example("a" * (LONGEST + 1))
@example("a--b")
@example("garden\n")
@example("ärger")
@example("²")
def test_no_other_name_is_accepted_and_the_refusal_says_what_is_allowed(name: str) -> None:
    good = len(name) <= LONGEST and all(
        word and word.isascii() and all(sign.isdigit() or sign.islower() for sign in word) for word in name.split("-")
    )
    if good and name[0].isalpha():
        return

    with pytest.raises(ValueError, match=re.escape(ALLOWED)):
        names_of(name)


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_names_that_mean_something_else_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="it is one of kernel, plugin, testing"):
        names_of(name)

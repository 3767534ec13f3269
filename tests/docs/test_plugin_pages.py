"""The pages for plugin authors are true: each of their blocks is run, or is a piece of what is."""

from __future__ import annotations

import contextlib
import doctest
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from rooftree.cli import rooftree
from rooftree.http.routes import Routes
from tests.docs.blocks import (
    BLOCKS,
    EXCERPTS,
    PAGES,
    PICTURES,
    ROOT,
    SESSION,
    SETTINGS,
    TESTS,
    WRITTEN,
    Block,
    commands_of,
)
from tests.packaging.conftest import new_environment, wheels  # noqa: F401  # fixtures
from tests.packaging.environments import Environment, Wheels, environment_without_ours, pinned_versions
from tests.workspace import with_needs

LIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
in_an_environment = [pytest.mark.xdist_group("packaging"), pytest.mark.timeout(600)]
PATIENCE_S = 120.0
"""What one command may take: one that installs may have to fetch."""
MARK = "=== end of a command ==="


def test_every_block_is_checked_by_one_of_these_tests() -> None:
    known = [*EXCERPTS, *WRITTEN, *SESSION, *TESTS, *SETTINGS, *PICTURES]

    assert [str(block) for block in BLOCKS if block not in known] == []
    assert all((EXCERPTS, WRITTEN, SESSION, TESTS, SETTINGS))


@pytest.mark.parametrize("block", EXCERPTS, ids=str)
def test_what_is_shown_of_a_file_is_in_the_file(block: Block) -> None:
    text = (ROOT / "examples" / block.about).read_text()

    assert block.text.rstrip() in text


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page has written."""
    folder = tmp_path_factory.mktemp("written")
    for words in (("garden", "--one-file"), ("lamp", "--board")):
        assert CliRunner().invoke(rooftree, ["new-plugin", *words, "--into", str(folder)]).exit_code == 0
    return folder


@pytest.mark.parametrize("block", WRITTEN, ids=str)
def test_what_is_shown_of_a_new_plugin_is_in_it(block: Block, written: Path) -> None:
    assert block.text.rstrip() in (written / block.about).read_text()


def test_every_module_of_the_example_is_shown_whole() -> None:
    shown = {block.about: block.text for block in EXCERPTS if block.page.name == "writing-a-plugin.md"}
    modules = sorted((ROOT / "examples/service-clock/src").rglob("*.py"))

    assert len(modules) > 4
    for module in modules:
        assert shown[str(module.relative_to(ROOT / "examples"))] == module.read_text(), module.name


def test_methods_that_the_page_names_exist() -> None:
    page = (ROOT / "docs" / "writing-a-plugin.md").read_text()
    (named,) = re.findall(r"`Routes\.([a-z/]+)`", page)

    assert [name for name in named.split("/") if not hasattr(Routes, name)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_no_path_of_a_machine_and_link_to_pages_that_exist(page: Path) -> None:
    text = page.read_text()

    assert not re.search(r"(?<![\w.])/(home|root|work|tmp|Users)/", text)
    linked = [target for target in re.findall(r"\]\(([^)#\"]+)\)", text) if "://" not in target]
    assert [target for target in linked if not (page.parent / target).exists()] == []


# --- what needs an environment --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def with_clock(new_environment: Callable[[], Environment], wheels: Wheels) -> Environment:  # noqa: F811  # a fixture
    made = new_environment()
    made.install(wheels.of(ROOT / "examples" / "service-clock"), wheels.of(ROOT / "plugins" / "proxying"))
    return made


@pytest.mark.xdist_group("packaging")
@pytest.mark.timeout(600)
def test_tests_that_are_shown_pass(with_clock: Environment, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples/service-clock/tests", tmp_path / "tests", ignore=shutil.ignore_patterns("test_*"))
    shutil.copy(ROOT / "examples/service-clock/pyproject.toml", tmp_path)
    for block in TESTS:
        (tmp_path / "tests" / f"test_{block.page.stem.replace('-', '_')}_line_{block.line}.py").write_text(block.text)

    told = with_clock.run("python", "-m", "pytest", "-q", "-W", "error", cwd=tmp_path)

    assert f"{len(TESTS)} passed" in told


@pytest.mark.parametrize("block", [pytest.param(block, marks=in_an_environment, id=str(block)) for block in SETTINGS])
def test_settings_that_are_shown_are_accepted(block: Block, with_clock: Environment, tmp_path: Path) -> None:
    file = tmp_path / "rooftree.toml"
    file.write_text(block.text)

    told = with_clock.run("rooftree", "--config", str(file), "check-config", "--json")

    assert '"rooftree.toml line 2"' in told


class Shell:
    """One bash for a whole page, as its reader has one terminal."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ("setpriv", "--pdeathsig", "KILL", "bash", "--norc"),  # else it goes on where pytest is killed
            cwd=folder, env=environment, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, line: str) -> str:
        """What a command prints; one that takes too long ends the shell, and with it the test."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\necho '{MARK}'\n")
        self._process.stdin.flush()
        patience = threading.Timer(PATIENCE_S, self._end)
        patience.start()
        printed = []
        try:
            for text in self._process.stdout:
                if text.strip() == MARK:
                    return "".join(printed)
                printed.append(text)
        finally:
            patience.cancel()
        raise AssertionError(f"the shell ended in {line!r}:\n{''.join(printed)}")

    def close(self) -> None:
        """End it, and what it may have left in the background."""
        self._end()
        self._process.communicate()

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


@pytest.fixture
def shell(wheels: Wheels, tmp_path: Path) -> Iterator[Shell]:  # noqa: F811  # a fixture
    """A terminal of somebody to whom our packages are published, with what they have written so far beside them."""
    needed = with_needs(["rooftree-supervisor", "rooftree-os"])
    folders = [ROOT / "core", *(plugin.folder for plugin in needed)]
    published = [wheels.of(folder).parent for folder in folders]
    with tempfile.TemporaryDirectory(prefix="rooftree-") as short:  # the path of a unix socket has 107 characters
        shutil.copytree(ROOT / "examples/service-clock", Path(short) / "service-clock")
        environment = environment_without_ours() | {
            "UV_FIND_LINKS": ",".join(map(str, published)),
            "UV_CONSTRAINT": str(pinned_versions(tmp_path)),
            "UV_PYTHON_DOWNLOADS": "never",
            "ROOFTREE_PORT": "0",
            "PATH": os.pathsep.join((str(Path(sys.base_prefix) / "bin"), os.environ["PATH"], str(wheels.uv.parent))),
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        made = Shell(Path(short), environment)
        yield made
        made.close()


@pytest.mark.parametrize("page", [pytest.param(page, marks=in_an_environment, id=page.name) for page in PAGES[:2]])
def test_commands_print_what_the_page_shows(page: Path, shell: Shell) -> None:
    check = doctest.OutputChecker()
    commands = [command for block in SESSION if block.page == page for command in commands_of(block)]

    for command in commands:
        printed = shell.run(command.line)

        assert check.check_output(command.shown, printed, LIKE), (
            f"{command.block}: $ {command.line}\nshown:\n{command.shown}\nprinted:\n{printed}"
        )

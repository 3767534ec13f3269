"""Fresh virtual environments with what is published: wheels of ours and of others, and no source tree on any path."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest
from attrs import frozen

from tests.workspace import ROOT

MYPY_CACHE = ROOT / ".mypy_cache" / "packaging"
"""What mypy knows of our packages and of others': the same in each environment, which it tells by the content of files.
To find it out takes ten times as long as to look at a project."""
PATIENCE_S = 240.0
"""What fetching dependencies may take on a machine that has none of them."""


def find_uv() -> Path:
    """A uv that works, where ``scripts/workspace`` looks for it."""
    for candidate in ("uv", str(ROOT / ".tools/uv/bin/uv"), str(Path.home() / ".local/bin/uv")):
        try:
            told = subprocess.run(
                (candidate, "sync", "--help"), capture_output=True, text=True, timeout=30, check=False
            )
        except OSError:
            continue
        if told.returncode == 0 and "--no-dev" in told.stdout:
            return Path(candidate)
    pytest.fail("no uv that works: scripts/workspace fetches one into .tools", pytrace=False)


def run(command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command; its standard output. What it printed is the failure when it does not succeed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode != 0:
        words = " ".join(str(word) for word in command)
        pytest.fail(f"{words} ended with {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done.stdout


def pinned_versions(folder: Path) -> Path:
    """The versions that the workspace pins, as a file of constraints."""
    pinned = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"]
    file = folder / "constraints.txt"
    file.write_text("\n".join(pinned))
    return file


def environment_without_ours() -> dict[str, str]:
    """The environment for commands in a fresh one: nothing of this checkout, and none of its settings."""
    ours = ("ROOFTREE_", "PYTHON", "PYTEST_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@frozen
class Wheels:
    """Builds distributions into one folder, each once, with what the workspace has to build with: an environment of its
    own for each would cost more than the build."""

    uv: Path
    folder: Path

    def of(self, source: Path) -> Path:
        """The wheel of the distribution in that folder."""
        into = self.folder / source.name
        if not into.exists():
            how = ("--wheel", "--no-build-isolation", "--quiet", "--python", sys.executable, "--out-dir", into)
            run((self.uv, "build", *how, source), cwd=self.folder)
        (wheel,) = into.glob("*.whl")
        return wheel


@frozen
class Environment:
    """A virtual environment."""

    uv: Path
    folder: Path

    @classmethod
    def fresh(cls, uv: Path, folder: Path) -> Environment:
        """An empty one, with the Python that runs these tests."""
        run((uv, "venv", "--quiet", "--python", sys.executable, folder))
        return cls(uv, folder)

    def copy(self, folder: Path) -> Environment:
        """Another one with the same in it, compiled as far as it was here: that is most of what a first run costs."""
        run(("cp", "--archive", "--link", self.folder, folder))
        for script in (folder / "bin").iterdir():
            if not script.is_symlink():
                moved = script.read_bytes().replace(os.fsencode(self.folder), os.fsencode(folder))
                mode = script.stat().st_mode
                script.unlink()  # else the other's would change
                script.write_bytes(moved)
                script.chmod(mode)
        return Environment(self.uv, folder)

    def command(self, name: str) -> Path:
        """A command that was installed."""
        return self.folder / "bin" / name

    def install(self, *what: str | Path) -> None:
        """Install wheels, by path, and what they need from the index or from uv's cache."""
        constraints = pinned_versions(self.folder)
        python = ("--python", self.command("python"))
        run((self.uv, "pip", "install", "--quiet", *python, "--constraint", constraints, *what), cwd=self.folder)

    def uninstall(self, distribution: str) -> None:
        """Take a distribution out."""
        python = ("--python", self.command("python"))
        run((self.uv, "pip", "uninstall", "--quiet", *python, distribution), cwd=self.folder)

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Run an installed command."""
        name, *arguments = command
        return run((self.command(name), *arguments), cwd=cwd or self.folder, env=environment_without_ours())


def ruff(project: Path) -> None:
    """Hold a project to ruff, ours, with the rules of its own ``pyproject.toml``."""
    command, env = Path(sys.executable).with_name("ruff"), environment_without_ours()
    run((command, "check", "--no-cache", "."), cwd=project, env=env)
    run((command, "format", "--no-cache", "--check", "."), cwd=project, env=env)


def checks(environment: Environment, project: Path, sources: Iterable[str]) -> None:
    """Hold a project to ruff and ``mypy --strict``, ours, as an author's would see it with what is installed there."""
    ruff(project)
    python = ("--python-executable", environment.command("python"))
    cache = ("--cache-dir", MYPY_CACHE)
    command = (Path(sys.executable).with_name("mypy"), "--strict", *python, *cache, *sources)
    run(command, cwd=project, env=environment_without_ours())

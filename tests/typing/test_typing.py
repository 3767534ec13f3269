"""The public API is typed: right use passes ``mypy --strict``, each wrong use is an error where it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("typing")]

_ERROR = re.compile(r"^.*?:(?P<line>\d+): error: (?P<message>.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def cache() -> Path:
    """What mypy knows of the API and of the libraries; it takes ten times as long to find out as to look at a file, and
    holds for the next run: what has changed since it finds out by itself."""
    folder = ROOT / ".mypy_cache" / "typing"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def errors_in(file: Path, cache: Path) -> dict[int, list[str]]:
    """What mypy finds in it, by line; of the API itself it sees what is installed, as an author's does."""
    command = (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(cache), str(file))
    told = subprocess.run(command, capture_output=True, text=True, cwd=cache, check=False)
    assert told.returncode in {0, 1}, f"{told.stdout}\n{told.stderr}"
    found: dict[int, list[str]] = {}
    for match in _ERROR.finditer(told.stdout):
        found.setdefault(int(match["line"]), []).append(match["message"])
    return found


def test_api_is_typed_as_authors_use_it(cache: Path) -> None:
    assert errors_in(HERE / "right.py", cache) == {}


def test_wrong_use_is_an_error_where_it_stands(cache: Path) -> None:
    lines = (HERE / "wrong.py").read_text().splitlines()
    expected = {number: line.partition("  # E: ")[2] for number, line in enumerate(lines, 1) if "  # E: " in line}

    found = errors_in(HERE / "wrong.py", cache)

    assert len(expected) > 15
    assert {number: errors for number, errors in found.items() if number not in expected} == {}
    missed = {n: part for n, part in expected.items() if not any(part in error for error in found.get(n, []))}
    assert missed == {}, "\n".join(f"{number}: {errors}" for number, errors in found.items())

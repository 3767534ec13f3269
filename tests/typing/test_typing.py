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

RIGHT, WRONG = "right.py", "wrong.py"
_ERROR = re.compile(r"^(?P<file>.*?):(?P<line>\d+): error: (?P<message>.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def cache() -> Path:
    """What mypy knows of the API and of the libraries; it takes ten times as long to find out as to look at a file, and
    holds for the next run: what has changed since it finds out by itself."""
    folder = ROOT / ".mypy_cache" / "typing"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def errors(cache: Path) -> dict[str, dict[int, list[str]]]:
    """What mypy finds in each file, by line; of the API itself it sees what is installed, as an author's does."""
    files = (str(HERE / RIGHT), str(HERE / WRONG))
    command = (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(cache), *files)
    told = subprocess.run(command, capture_output=True, text=True, cwd=cache, check=False)
    assert told.returncode in {0, 1}, f"{told.stdout}\n{told.stderr}"
    found: dict[str, dict[int, list[str]]] = {RIGHT: {}, WRONG: {}}
    for match in _ERROR.finditer(told.stdout):
        found.setdefault(Path(match["file"]).name, {}).setdefault(int(match["line"]), []).append(match["message"])
    return found


def test_api_is_typed_as_authors_use_it(errors: dict[str, dict[int, list[str]]]) -> None:
    assert {file: found for file, found in errors.items() if file != WRONG} == {RIGHT: {}}


def test_wrong_use_is_an_error_where_it_stands(errors: dict[str, dict[int, list[str]]]) -> None:
    lines = (HERE / WRONG).read_text().splitlines()
    expected = {number: line.partition("  # E: ")[2] for number, line in enumerate(lines, 1) if "  # E: " in line}

    found = errors[WRONG]

    assert len(expected) > 15
    assert {number: errors for number, errors in found.items() if number not in expected} == {}
    missed = {n: part for n, part in expected.items() if not any(part in error for error in found.get(n, []))}
    assert missed == {}, "\n".join(f"{number}: {errors}" for number, errors in found.items())

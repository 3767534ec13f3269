"""The lint that finds ways into files besides the library for what strangers can write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "foreign-paths"

WRONG = {
    "path.read_text()": "Path.read_text",
    "(folder / 'x').exists()": "Path.exists",
    "path.open('rb')": "Path.open",
    "path.open(mode='rb')": "Path.open",
    "(folder / 'x').open()": "Path.open",
    "open(path)": "open",
    "path.rename(other)": "Path.rename",
    "path.replace(other)": "Path.replace",
    "asyncio.to_thread(path.mkdir, parents=True)": "Path.mkdir",
    "list(folder.rglob('*'))": "Path.rglob",
    "path.resolve().is_relative_to(root)": "Path.resolve",
    "shutil.rmtree(path)": "shutil.rmtree",
    "asyncio.to_thread(shutil.rmtree, path)": "shutil.rmtree",
    "os.open(path, os.O_RDONLY)": "os.open",
    "os.path.realpath(path)": "os.path.realpath",
    "os.fwalk(path)": "os.fwalk",
    "tempfile.TemporaryFile(dir=path)": "tempfile.TemporaryFile",
    "tarfile.open(path)": "tarfile.open",
}

RIGHT = (
    "text.replace('a', 'b')",
    "shutil.which('git')",
    "shutil.disk_usage(path)",
    "Journal.open(database)",
    "self.opened(path)",
    "services.resolve()",
    "os.environ.get('x')",
    "path.read_text()  # ours: the kernel's",
    "path.open(\n    'rb'\n)  # ours: the kernel's",
)


def linted(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "module.py"
    file.write_text(f"{text}\n")
    return subprocess.run([sys.executable, SCRIPT, file], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("text", WRONG)
def test_a_way_into_a_file_by_path_is_found(tmp_path: Path, text: str) -> None:
    said = linted(tmp_path, text)
    assert said.returncode == 1
    assert f"module.py:1: {WRONG[text]} goes by path" in said.stdout


def test_what_is_no_such_way_or_says_why_it_is_ours_passes(tmp_path: Path) -> None:
    said = linted(tmp_path, "\n".join(RIGHT))
    assert (said.returncode, said.stdout) == (0, "Foreign paths: no way into files but the library's.\n")


def test_ours_needs_a_reason_and_holds_for_its_own_statement_only(tmp_path: Path) -> None:
    said = linted(tmp_path, "path.read_text()  # ours:\npath.exists()  # ours: the kernel's\npath.stat()")
    assert [line.split(": ")[0][-1] for line in said.stdout.splitlines()[:-1]] == ["1", "3"]


def test_the_house_has_none() -> None:
    said = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout

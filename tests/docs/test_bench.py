"""The bench that the README's numbers come from still measures; what it finds on this machine is another matter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_rows_are_measured() -> None:
    shown = {"configs": "configs read from nothing, CPU", "start": "start to the first answer"}
    command = [sys.executable, ROOT / "benchmarks" / "run.py", "--quick", "--rows", ",".join(shown)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode in {0, 1}, done.stderr  # 1: a gate was missed
    for row in shown.values():
        (line,) = [line for line in done.stdout.splitlines() if row in line]
        assert " ok " in line or " missed " in line


def test_every_row_has_what_measures_it() -> None:
    script = "import run; print(*(run.measured(name).__name__ for name in run.ROWS))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT / "benchmarks", env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 20

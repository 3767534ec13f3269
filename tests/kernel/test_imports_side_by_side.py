"""Plugins that are imported side by side, and need modules of one package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys, threading, time
from importlib.metadata import EntryPoint
from rooftree.entry_points import import_compatible

begun = threading.Event()

class SlowDisk:
    def find_spec(self, name, path, target=None):
        if name == "shelf" and not begun.is_set():
            begun.set()
            time.sleep(0.3)

sys.meta_path.insert(0, SlowDisk())
sys.path.insert(0, ".")

def load(module):
    try:
        print(import_compatible(EntryPoint("x", f"{module}:VALUE", "x")))
    except BaseException as error:
        print(repr(error))

first, second = (threading.Thread(target=load, args=(module,)) for module in ("shelf", "shelf.part"))
first.start()
begun.wait()
second.start()
"""


def test_two_imports_that_wait_for_each_other_both_come_to_an_end(tmp_path: Path) -> None:
    """One begins with the package, which needs its part; the other with the part, which needs its package."""
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "__init__.py").write_text("from shelf.part import VALUE\n")
    (tmp_path / "shelf" / "part.py").write_text("VALUE = 'loaded'\n")

    done = subprocess.run(
        (sys.executable, "-c", PROGRAM), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split() == ["loaded", "loaded"], done

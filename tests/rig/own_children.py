"""The programs that a test's process has started."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def children() -> list[str]:
    """The names of the programs that are children of ours, proc_pid_stat(5)."""
    names = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
            if rest.split()[1] == str(os.getpid()):
                names.append(name)
    return names

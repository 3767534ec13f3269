"""The command ``rooftree`` for forks: its modules, those of all plugins, and then what the command itself does.

Run with ``python -m tests.rig.rooftree_command ARGUMENTS…``, in a session of its own.
"""

from __future__ import annotations

import os
import time
from importlib.metadata import entry_points

import rooftree.process.daemon  # noqa: F401  # first, as in the command

# isort: split
from rooftree.cli import main
from rooftree.state import failpoints

GROUPS = ("rooftree.plugins", "rooftree.boards")
"""What a daemon imports by entry points."""

for group in GROUPS:
    for entry_point in entry_points(group=group):
        entry_point.load()

if __name__ == "__main__":
    os.setsid()
    time.tzset()
    failpoints.arm(os.environ.get(failpoints.VARIABLE, ""))
    main()

"""The daemon: a process that runs the kernel with the hooks of the domains; its log, and what it does not import."""

import rooftree.daemon.lean_imports  # noqa: F401  # first: decides what comes with all other imports

# isort: split
from rooftree.daemon.life import run
from rooftree.daemon.logs import configure

__all__ = ["configure", "run"]

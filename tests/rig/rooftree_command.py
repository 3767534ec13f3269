"""The command ``rooftree`` for forks: its modules, those of all plugins, and then what the command itself does.

Run with ``python -m tests.rig.rooftree_command ARGUMENTS…``, in a session of its own. What every daemon works out again
at its start, and what comes out the same in each, is worked out before the fork: how the answers of all routes become
JSON, the methods of classes, and when schedules come round.
"""

from __future__ import annotations

import os
import time
from importlib.metadata import entry_points

import rooftree.daemon  # noqa: F401  # first, as in the command

# isort: split
import difflib  # noqa: F401
import encodings.idna  # noqa: F401

import apscheduler.triggers.cron  # noqa: F401

from rooftree import Plugin
from rooftree.cli import main
from rooftree.http.binding import Endpoint
from rooftree.services.directory import ServiceDirectory
from rooftree.state import failpoints

GROUPS = ("rooftree.plugins", "rooftree.boards", "rooftree.vaults")
"""What a daemon imports by entry points."""


def prepare() -> None:
    """Do what needs not be done in every fork. All routes are there before any is bound: a type that one more module
    makes known to the converter makes it forget what it has written."""
    brought = [point.load() for group in GROUPS for point in entry_points(group=group)]
    routes = [route for plugin in brought if issubclass(plugin, Plugin) for route in plugin().routes()]
    for route in routes:
        Endpoint(route, ServiceDirectory())
    write_late_methods()


def write_late_methods() -> None:
    """Have the methods of every class that is there: they are written when they are first looked up."""
    classes: list[type] = [object]
    while classes:
        classes += type.__subclasses__(kind := classes.pop())
        for name in ("__init__", "__eq__"):
            getattr(kind, name)  # which writes it where it is still to be written


if __name__ == "__main__":
    os.setsid()
    time.tzset()
    failpoints.arm(os.environ.get(failpoints.VARIABLE, ""))
    main()
else:
    prepare()

"""What entry points lead to: the import of what an installed distribution brings, where it fits this kernel."""

from __future__ import annotations

import time
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, version
from typing import Final

from packaging.requirements import Requirement

from rooftree.errors import Unavailable

ATTEMPTS: Final = 5
"""How often an import is tried that waits for one of another plugin."""
BEHIND_S: Final = 0.02
"""Seconds that it stands back for the other, and a few times that in the end."""


def import_compatible(point: EntryPoint) -> object:
    """What the entry point leads to; raises ``Unavailable``, before importing, where it was written for another
    kernel. Blocks: call it in a thread.

    Plugins are imported side by side, and two that need modules of one package may come to wait for each other: one of
    them is then told so by the import system, lets go of what it had begun, and begins again behind the other.
    """
    _require_compatible(point)
    for attempt in range(1, ATTEMPTS):
        try:
            return point.load()
        except RuntimeError as error:
            if type(error).__name__ != "_DeadlockError":  # importlib's own, under no public name
                raise
            time.sleep(attempt * BEHIND_S)  # else this one would take hold again before the other does
    return point.load()


def _require_compatible(point: EntryPoint) -> None:
    """Raise unless the distribution's requirement on ``rooftree`` admits this kernel."""
    distribution: Distribution | None = point.dist
    if distribution is None:
        return
    try:
        ours = version("rooftree")
    except PackageNotFoundError:
        return
    for text in distribution.requires or ():
        requirement = Requirement(text)
        if requirement.name == "rooftree" and not requirement.specifier.contains(ours, prereleases=True):
            raise Unavailable(f"it was written for rooftree {requirement.specifier}; this is {ours}")

"""The shape of our answers beside what the existing supervisor was recorded to answer.

The recordings lie beside a checkout of the project's own, and nowhere else.
"""

from __future__ import annotations

import json
from typing import Any

from tests.requirements import SHARED, needs_shared

RECORDINGS = SHARED / "reference" / "recordings.json"

needs_recordings = needs_shared(RECORDINGS)


def recorded(name: str) -> dict[str, Any]:
    """What was recorded under ``name``."""
    return dict(json.loads(RECORDINGS.read_text())[name])


def difference(recorded: Any, answered: Any, where: str = "data") -> list[str]:
    """Where two answers differ in keys or types. ``null`` fits everything; of lists the first elements are compared."""
    if recorded is None or answered is None:
        return []
    if isinstance(recorded, dict) and isinstance(answered, dict):
        found = [f"{where}.{key} is on one side only" for key in sorted(recorded.keys() ^ answered.keys())]
        for key in recorded.keys() & answered.keys():
            found += difference(recorded[key], answered[key], f"{where}.{key}")
        return found
    if isinstance(recorded, list) and isinstance(answered, list):
        return difference(recorded[0], answered[0], f"{where}[0]") if recorded and answered else []
    if _kind(recorded) != _kind(answered):
        return [f"{where} is {answered!r}, was {recorded!r}"]
    return []


def _kind(value: object) -> str:
    """Its type in JSON."""
    return "number" if type(value) in {int, float} else type(value).__name__

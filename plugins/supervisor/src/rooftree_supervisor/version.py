"""Which version we say we are."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

COMPATIBILITY_LEVEL: Final = "2026.11.0"
"""The calendar version that clients see as ``version``. Existing backups are refused by anything that claims to be
older than what made them, and clients switch features on by it; it says nothing about Rooftree itself."""


def rooftree_version() -> str:
    """Rooftree's own version. Reads the disk: call it in a thread."""
    return version("rooftree")

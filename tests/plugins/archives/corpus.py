"""Archives that the existing supervisor itself wrote, with what is in them, and broken ones (beside the checkout)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tests.requirements import SHARED

CORPUS: Final = SHARED / "corpus/supervisor"
GOOD: Final = sorted([*CORPUS.glob("backups/*.tar"), *CORPUS.glob("backups/by-hand/*.tar")])
BROKEN: Final = sorted(CORPUS.glob("broken-backups/*.tar"))


def manifest(archive: Path) -> dict[str, Any]:
    """What is told of a good one."""
    facts: dict[str, Any] = json.loads(archive.with_suffix(".json").read_text())
    return facts


def broken(archive: Path) -> dict[str, Any]:
    """What is told of a broken one."""
    entries = json.loads((CORPUS / "broken-backups/index.json").read_text())
    facts: dict[str, Any] = next(entry for entry in entries if entry["file"] == archive.name)
    return facts

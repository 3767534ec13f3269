"""Writing a small folder from a mapping of names to texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SCRIPT_MODE = 0o755


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write each text to its path below ``folder``; a text that begins with ``#!`` becomes executable."""
    for parent in {(folder / name).parent for name in files}:
        parent.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        if text.startswith("#!"):
            path.chmod(SCRIPT_MODE)

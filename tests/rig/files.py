"""Writing a small folder from a mapping of names to contents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SCRIPT_MODE = 0o755


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write each content to its path below ``folder``; what begins with ``#!`` becomes executable."""
    for parent in {(folder / name).parent for name in files}:
        parent.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.write_bytes(encoded := content_of(content))
        if encoded.startswith(b"#!"):
            path.chmod(SCRIPT_MODE)


def content_of(content: str | bytes) -> bytes:
    """What is in the file."""
    return content.encode() if isinstance(content, str) else content

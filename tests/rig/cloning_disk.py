"""A disk that can share blocks between files: btrfs in a file, mounted. A test that can not have it is skipped."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.requirements import missing

SIZE_BYTES: Final = 2 * 1024**3  # of which the file holds what is written


@contextmanager
def cloning_disk(place: Path) -> Iterator[Path]:
    """A mounted file system with reflinks, empty, at ``place``."""
    if shutil.which("mkfs.btrfs") is None:
        missing("needs mkfs.btrfs (btrfs-progs)")
    image = place.with_name(f"{place.name}.img")
    with image.open("wb") as file:
        file.truncate(SIZE_BYTES)
    subprocess.run(["mkfs.btrfs", "--quiet", image], check=True, capture_output=True)
    place.mkdir()
    mounted = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        missing(f"needs root and a kernel with btrfs: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        image.unlink()

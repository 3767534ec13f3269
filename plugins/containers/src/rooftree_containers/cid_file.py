"""The file that tells a container its own id: shown at ``/run/cid``, where programs of this ecosystem look for it.

It has to be there when the container is made, and says the right thing when that is started: the engine looks it up
anew then. A folder in its place is the engine's, which makes one of a source that is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rooftree.interfaces.containers import DataPath, Mount
from rooftree_files import Folder

CID_FOLDER: Final = "cid_files"
"""Below the data folder; shown to no container as a whole."""


def cid_file(container: str) -> str:
    """The file of the container of that logical name, relative to the data folder."""
    return f"{CID_FOLDER}/{container}.cid"


def cid_mount(container: str) -> Mount:
    """Shows it to the container."""
    return Mount(DataPath(cid_file(container)), "/run/cid", read_only=True)


def write_cid(data: Path, container: str, container_id: str) -> None:
    """Write it; empty for a container that is about to be made. Blocks."""
    with Folder.open(data) as root, root.make(CID_FOLDER, 0o700) as folder:
        folder.write(f"{container}.cid", container_id.encode(), 0o644)


def remove_cid(data: Path, container: str) -> None:
    """Delete it; nothing to do where it is not. Blocks."""
    with Folder.open(data) as root, root.make(CID_FOLDER, 0o700) as folder:
        folder.remove(f"{container}.cid")

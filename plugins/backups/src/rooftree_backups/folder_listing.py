"""What is in a folder of archives on a mount, listed by a program of its own: a server that is gone answers nobody, and
who asks it is held by the kernel until it is back.

Run as a program, ``folder_listing.py FOLDER FD``, this needs the standard library alone, so that it begins quickly. It
writes one JSON object into the descriptor: ``archives`` has by the name of each file that may be one its size, the time
of its last change (ns) and its inode; ``hidden`` the names of hidden files.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


def listing(folder: str) -> Mapping[str, Any]:
    """What is in a folder; nothing where it is not there."""
    states: dict[str, tuple[int, int, int]] = {}
    hidden: list[str] = []
    try:
        with os.scandir(folder) as entries:  # ours: a mount point of ours, of which nothing is opened
            for entry in entries:
                name = os.fsencode(entry.name).decode(errors="replace")
                if name.startswith("."):
                    hidden.append(name)
                elif name.endswith(".tar"):
                    with suppress(FileNotFoundError):  # it went meanwhile, and costs no other one
                        status = entry.stat(follow_symlinks=False)  # ours: looked at only
                        if entry.is_file(follow_symlinks=False):  # ours: looked at only
                            states[name] = (status.st_size, status.st_mtime_ns, status.st_ino)
    except FileNotFoundError:
        pass
    return {"archives": states, "hidden": hidden}


if __name__ == "__main__":
    with open(int(sys.argv[2]), "w") as answer:  # noqa: PTH123  # ours: a descriptor that we were given
        json.dump(listing(sys.argv[1]), answer)

"""What is in a folder of archives on a mount, listed by a program of its own: a server that is gone answers nobody, and
who asks it is held by the kernel until it is back.

Run as a program this needs the standard library alone, so that it begins quickly. It prints one JSON object: by the
name of each file that may be an archive its size, the time of its last change (ns) and its inode.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping


def listing(folder: str) -> Mapping[str, tuple[int, int, int]]:
    """The archives of a folder; a folder that is not there has none."""
    states = {}
    try:
        with os.scandir(folder) as entries:  # ours: a mount point of ours, of which nothing is opened
            for entry in entries:
                if entry.name.endswith(".tar") and not entry.name.startswith("."):
                    status = entry.stat(follow_symlinks=False)  # ours: looked at only
                    if entry.is_file(follow_symlinks=False):  # ours: looked at only
                        states[entry.name] = (status.st_size, status.st_mtime_ns, status.st_ino)
    except FileNotFoundError:
        return {}
    return states


if __name__ == "__main__":
    print(json.dumps(listing(sys.argv[1])))  # noqa: T201  # what the one who started it reads

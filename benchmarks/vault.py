"""What a backup in a vault costs when nothing has changed, beside restic by hand on the same folders. Both
sides have all cores, because restic uses more than one."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from processes import all_cores, give_all_cores
from rows import TIMES, Bench, Row, Skipped
from servers import Installation, Running, post

FOLDERS = {"share": "share", "ssl": "ssl", "media": "media", "addons/local": "apps/local"}
"""By the API's names where they lie in the data folder."""
FILES_EACH = 130
FILE_BYTES = 500_000
"""260 MB in all, half of it text."""
KEY = "a key of the benchmark"


def unchanged(bench: Bench) -> Iterator[Row]:
    if shutil.which("restic") is None:
        raise Skipped("restic, of the package of that name")
    folder = bench.folder / "vault"
    folder.mkdir()
    installation = Installation(folder)
    for place in FOLDERS.values():
        _fill(installation.data_dir / place)
    by_hand = {**os.environ, "RESTIC_PASSWORD": KEY, "RESTIC_REPOSITORY": str(folder / "by-hand"),
               "RESTIC_CACHE_DIR": str(folder / "cache")}  # fmt: skip
    _restic(by_hand, folder, "init")
    rounds = []
    with installation.running() as (daemon, token), all_cores():
        give_all_cores(daemon.pid)
        post(daemon, token, "/kernel/v1/vaults", {"name": "cellar", "place": "local", "key": KEY})
        for number, counts in enumerate((False, *bench.rounds())):
            ours = _seconds(lambda: _back_up(daemon, token))
            theirs = _seconds(lambda: _by_hand(by_hand, installation.data_dir))
            if counts and number:
                rounds.append((ours, theirs))
    seconds = min(ours for ours, _ in rounds)
    against = f"restic by hand, four folders: {seconds:.1f} of {min(theirs for _, theirs in rounds):.1f} s"
    yield Row("backup in a vault, nothing changed", [ours / theirs for ours, theirs in rounds], TIMES, 1.3, False,
              against, rounds)  # fmt: skip


def _fill(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(FILES_EACH):
        line = f"{folder.name} {number}: the light went on, the light went off\n".encode()
        content = os.urandom(FILE_BYTES) if number % 2 else (line * (FILE_BYTES // len(line) + 1))[:FILE_BYTES]
        (folder / f"file-{number}").write_bytes(content)


def _back_up(daemon: Running, token: str) -> None:
    post(daemon, token, "/backups/new/partial", {"name": "", "folders": list(FOLDERS), "location": "cellar"})


def _by_hand(environment: dict[str, str], data: Path) -> None:
    for place in FOLDERS.values():
        _restic(environment, data, "backup", "--quiet", place)


def _restic(environment: dict[str, str], folder: Path, *arguments: str) -> None:
    subprocess.run(["restic", *arguments], env=environment, cwd=folder, check=True, capture_output=True)


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

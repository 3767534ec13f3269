"""A clock of its own for a daemon: libfaketime below it, so that the machine's stays what it is.

What it moves is the time of day, for the daemon and the programs that it starts; the monotonic clock goes on, as when
somebody sets a machine's clock. The host's other services keep the machine's time.
"""

from __future__ import annotations

from pathlib import Path

from tests.requirements import missing
from tests.rig.daemon import Daemon

LIBRARIES = "*/faketime/libfaketimeMT.so.1"


class Clock:
    """The clock of one daemon, from its next start on."""

    def __init__(self, daemon: Daemon) -> None:
        library = next(Path("/usr/lib").glob(LIBRARIES), None)
        if library is None:
            missing("needs libfaketime, from the package faketime")
        self._file = daemon.folder / "clock"
        self.set(0)
        daemon.environment |= {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",  # seconds; looking each time makes a start three times as long
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, ahead_s: int) -> None:
        """Be so many seconds ahead of the machine's clock, within two; a negative number is behind it."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead_s:+d}\n", encoding="ascii")
        new.rename(self._file)  # never half-written: somebody may be reading it

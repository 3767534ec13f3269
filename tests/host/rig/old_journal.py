"""A large journal of earlier boots, as a host has after a year: made of entries in the export format by systemd's own
program, which takes half a minute for 2 GB. Run as a program it prints the entries: ``old_journal.py COUNT``.

See https://systemd.io/JOURNAL_EXPORT_FORMATS/.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.host.rig.host import Host

BOOTS = [f"{number:032x}" for number in range(1, 21)]
"""The ids of the boots, the oldest first; they lie before all that the host itself has written."""
PROGRAMS = [f"program{number}" for number in range(200)]
MESSAGE_BYTES = 1500
BYTES_AN_ENTRY = 1800
"""About what one takes in the journal."""
DAY_US = 86_400 * 1_000_000
REMOTE = (
    "folder=/var/log/journal/$(cat /etc/machine-id); "
    'exec /lib/systemd/systemd-journal-remote --compress=no --output="$folder/system@old.journal" -'
)
REMOVE = "rm -f /var/log/journal/$(cat /etc/machine-id)/system@old*; systemctl stop systemd-journal-gatewayd.service"
SIZE = "du --bytes --total /var/log/journal/*/system@old* | tail -n 1 | cut -f 1"


@contextmanager
def old_journal(host: Host, size_bytes: int) -> Iterator[int]:
    """The host has one of about that size; how large it is. It is gone in the end."""
    command = [sys.executable, __file__, str(size_bytes // BYTES_AN_ENTRY)]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE) as entries:
            subprocess.run(
                ["docker", "exec", "--interactive", host.name, "sh", "-ec", REMOTE],
                stdin=entries.stdout, capture_output=True, check=True,
            )  # fmt: skip
        assert entries.returncode == 0
        yield int(host.run("sh", "-ec", SIZE))
    finally:
        host.run("sh", "-ec", REMOVE)


def _entries(count: int) -> Iterator[bytes]:
    noise = base64.b64encode(os.urandom(3 * 2**20))
    spread_us = len(BOOTS) * DAY_US
    begin_us = int(time.time() * 1e6) - spread_us - DAY_US
    for number in range(count):
        at_us = number * spread_us // count
        boot, since_boot_us = divmod(at_us, DAY_US)
        begins = number * 7919 % (len(noise) - MESSAGE_BYTES)
        yield (
            b"__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%s\n_HOSTNAME=testhost\n_PID=%d\nPRIORITY=6\n"
            b"SYSLOG_IDENTIFIER=%s\nMESSAGE=%d %s\n\n"
            % (
                begin_us + at_us,
                since_boot_us,
                BOOTS[boot].encode(),
                number % 500,
                PROGRAMS[number % len(PROGRAMS)].encode(),
                number,
                noise[begins : begins + MESSAGE_BYTES],
            )
        )


if __name__ == "__main__":
    for entry in _entries(int(sys.argv[1])):
        sys.stdout.buffer.write(entry)

"""A share whose server can die, mounted for a block: see ``fuse_share.py``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from tests.requirements import missing

_PROGRAM = Path(__file__).with_name("fuse_share.py")


@frozen
class Share:
    """A file system of one file, ``hello.txt``, and the process that serves it."""

    folder: Path
    server: subprocess.Popen[bytes]

    def die(self) -> None:
        """Answer nobody any more: the kernel holds whoever asks."""
        self.server.send_signal(signal.SIGUSR1)

    def answer(self) -> None:
        """Answer all that was asked."""
        self.server.send_signal(signal.SIGUSR2)

    def wait_until_asked(self) -> None:
        """Until somebody asks what is not answered. Blocks."""
        assert self.server.stdout is not None
        assert self.server.stdout.readline() == b"asked\n"


@contextmanager
def share_at(folder: Path) -> Iterator[Share]:
    """One that answers, mounted at a folder."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        missing("needs root, and /dev/fuse")
    folder.mkdir(exist_ok=True)
    with subprocess.Popen([sys.executable, _PROGRAM, folder], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"mounted\n"
        os.statvfs(folder)  # it answers once, or the kernel holds nobody: it waits for a beginning
        try:
            yield Share(folder, server)
        finally:
            server.kill()
            subprocess.run(["umount", "--lazy", "--no-canonicalize", folder], check=True)

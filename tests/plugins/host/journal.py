"""A real journal to read: files made by systemd-journal-remote, served by systemd-journal-gatewayd."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.requirements import missing

HANDED_OVER = 'exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
"""Hands its standard input, a listening socket, over as sd_listen_fds(3) says: as descriptor 3, to that process."""
PROGRAMS = Path("/usr/lib/systemd")
NINE = datetime(2026, 1, 31, 9, tzinfo=UTC)


def program(name: str) -> str:
    """Where a program of the package systemd-journal-remote is; skips the test where it is missing, fails it in CI."""
    found = PROGRAMS / name
    if not found.exists():
        missing(f"needs {name}, of the package systemd-journal-remote")
    return str(found)


def boot_id(number: int) -> str:
    """The id of one of the journal's boots, which begin a day apart: no order of names is theirs."""
    return f"{0xB9 - number:032x}"


def entry(
    message: bytes, *, name: str = "app_x", boot: int = 0, at: float = 0.0, epoch: int | None = 0, **fields: str
) -> bytes:
    """An entry in the export format.

    :param name: of the container and of the identifier; ``epoch=None`` is for what no container wrote
    :param boot: its boot, which began that many days after the first
    :param at: seconds after the boot
    """
    time = NINE + timedelta(days=boot, seconds=at)
    text = {
        "__REALTIME_TIMESTAMP": str(int(time.timestamp() * 1_000_000)),
        "__MONOTONIC_TIMESTAMP": str(int(at * 1_000_000)),
        "_BOOT_ID": boot_id(boot),
        "_HOSTNAME": "homebox",
        "SYSLOG_IDENTIFIER": name,
        "PRIORITY": "6",
        **fields,
    }
    if epoch is not None:
        text |= {"CONTAINER_NAME": name, "CONTAINER_LOG_EPOCH": f"{epoch:064x}"}
    head = "".join(f"{key}={value}\n" for key, value in text.items()).encode()
    return head + field("MESSAGE", message) + b"\n"


def field(name: str, value: bytes) -> bytes:
    """A field, as text where its value has no control characters."""
    if value.isascii() and value.decode().isprintable():
        return b"%b=%b\n" % (name.encode(), value)
    return b"%b\n%b%b\n" % (name.encode(), len(value).to_bytes(8, "little"), value)


def write(folder: Path, *entries: bytes) -> None:
    """Make a journal of these."""
    folder.mkdir(exist_ok=True)
    made = subprocess.run(
        [program("systemd-journal-remote"), "-o", str(folder / "system.journal"), "-"],
        input=b"".join(entries),
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr.decode()


class GatewayProcess:
    """systemd-journal-gatewayd, started as systemd would: with a socket that listens already."""

    def __init__(self, folder: Path, path: Path) -> None:
        self._folder, self.path = folder, path
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(64)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"unix://{self.path}"

    def start(self) -> None:
        """Start it."""
        command = [program("systemd-journal-gatewayd"), "-D", str(self._folder)]
        self._process = subprocess.Popen(
            ["sh", "-c", HANDED_OVER, "sh", *command], stdin=self._listening, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it, and nobody listens any more."""
        self.kill()
        self._listening.close()
        self.path.unlink(missing_ok=True)


@contextmanager
def gateway(folder: Path, socket_folder: Path) -> Iterator[GatewayProcess]:
    """A gateway that serves the journal in ``folder``."""
    program("systemd-journal-gatewayd")
    process = GatewayProcess(folder, socket_folder / "journal.sock")
    try:
        process.start()
        yield process
    finally:
        process.close()


@asynccontextmanager
async def writer(folder: Path) -> AsyncIterator[asyncio.StreamWriter]:
    """What is written here is in the journal a moment later."""
    folder.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        program("systemd-journal-remote"), "-o", str(folder / "system.journal"), "-",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None
    try:
        yield process.stdin
    finally:
        process.stdin.close()
        await process.wait()

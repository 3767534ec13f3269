"""A log that is followed through us, beside reading it where it comes from: the engine's stream, the journal's gateway.

Both sides are read in the same way, from the first line until the last one is seen; the side that is nearer to the
source gets more bytes for each line (frames, and with the gateway every field), which is what it is. The lines are
counted.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import containers
import processes
from keepalive import HOST, get
from rows import TIMES, Bench, Row, Skipped
from servers import Installation, Running

from tests.plugins.host.journal import PROGRAMS, boot_id, entry, gateway, write

ENGINE_LINES_A_SECOND = 150_000
JOURNAL_LINES_A_SECOND = 25_000
"""So many lines are followed for each second of the pace: about what either source gives out."""
LINE = "2026-01-31 09:00:00.123 INFO (MainThread) [component.of_a_house] a message of a usual length for a log"
LAST = "this is the last line of the log"
WRITES = """\
#!/bin/sh
yes '{line}' | head -n {lines}
echo '{last}'
exec sleep 3600
"""
FIELDS = {
    "PRIORITY": "6",
    "_PID": "445",
    "_UID": "0",
    "_GID": "0",
    "_COMM": "dockerd",
    "_EXE": "/usr/bin/dockerd",
    "_CMDLINE": "/usr/bin/dockerd -H fd:// --storage-driver=overlay2 --log-driver=journald --data-root /data/docker",
    "_CAP_EFFECTIVE": "1ffffffffff",
    "_SYSTEMD_CGROUP": "/system.slice/docker.service",
    "_SYSTEMD_UNIT": "docker.service",
    "_SYSTEMD_SLICE": "system.slice",
    "_SYSTEMD_INVOCATION_ID": "0" * 32,
    "_MACHINE_ID": "2" * 32,
    "_TRANSPORT": "journal",
    "CONTAINER_ID": "3" * 12,
    "CONTAINER_ID_FULL": "3" * 64,
    "IMAGE_NAME": "registry/house/app:1",
    "CONTAINER_TAG": "app_x",
}
"""What the engine and journald write beside each message."""
MORE_MB = 8
STALL_S = 60.0
_READ_BYTES = 256 * 1024
_CHUNK = re.compile(rb"\r\n[0-9a-f]+\r\n")
"""Between two chunks of ours; the border may be within a line."""


def from_engine(bench: Bench) -> Iterator[Row]:
    lines = int(ENGINE_LINES_A_SECOND * bench.pace.seconds)
    with containers.open_house() as house:
        engine_socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
        if not Path(engine_socket).is_socket():
            raise Skipped("a Docker Engine that listens on a unix socket")
        script = WRITES.format(line=LINE, lines=lines, last=LAST)
        image = house.registry.publish(
            "bench/talks", "1.0", containers.DOCKERFILE.format(version="1.0"), {"run.sh": script}
        )
        slug = house.offer("talks", image)
        with house.installation.running() as (daemon, token):
            containers.call_daemon(daemon, token, lambda caller: containers.all_running(caller, [slug]))
            name = house.engine.run("ps", "--quiet", "--filter", f"ancestor={image}")
            path = f"/containers/{name}/logs?stdout=1&stderr=1&follow=1"
            _until_written(house, name)
            ours = _request(f"/addons/{slug}/logs/follow", token)
            rounds, more_mb = _rounds(bench, daemon, ours, (engine_socket, path, {}), lines)
    yield from _rows("the log of an add-on followed", "the engine's own stream", rounds, more_mb)


def from_journal(bench: Bench) -> Iterator[Row]:
    if not (PROGRAMS / "systemd-journal-gatewayd").exists():
        raise Skipped("the package systemd-journal-remote")
    lines = int(JOURNAL_LINES_A_SECOND * bench.pace.seconds)
    with contextlib.ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="rt-")))
        one = entry(LINE.encode(), boot=0, at=1, **FIELDS)
        write(folder / "journal", one * lines, entry(LAST.encode(), boot=0, at=2, **FIELDS))
        process = closing.enter_context(gateway(folder / "journal", folder))
        installation = Installation(folder, journal=process.url)
        daemon, token = closing.enter_context(installation.running())
        ours = _request(f"/host/logs/boots/{boot_id(0)}/identifiers/app_x/follow?format=plain", token)
        path = f"/entries?_BOOT_ID={boot_id(0)}&SYSLOG_IDENTIFIER=app_x&follow"
        headers = {"Accept": "application/vnd.fdo.journal", "Range": "entries=:0:18446744073709551615"}
        rounds, more_mb = _rounds(bench, daemon, ours, (str(process.path), path, headers), lines)
    yield from _rows("a log in the journal followed", "its gateway", rounds, more_mb)


def _request(path: str, token: str) -> bytes:
    """Ours, from the first line on."""
    return get(path, Authorization=f"Bearer {token}", Range="entries=:0:")


def _until_written(house: containers.House, name: str) -> None:
    deadline = time.perf_counter() + STALL_S
    while LAST not in house.engine.run("logs", "--tail", "1", name):
        if time.perf_counter() > deadline:
            raise processes.TookTooLong("the container did not write its log")
        time.sleep(0.1)


def _rounds(
    bench: Bench, daemon: Running, ours: bytes, source: tuple[str, str, dict[str, str]], lines: int
) -> tuple[list[dict[str, float]], float]:
    """The rounds, and by how many MB the daemon grew at its worst after the first."""
    address, path, headers = source
    before, rounds = 0, []
    for counts in bench.rounds():
        ours_s = _seconds(socket.create_connection((HOST, daemon.port), STALL_S), ours, lines)
        direct = socket.socket(socket.AF_UNIX)
        direct.settimeout(STALL_S)
        direct.connect(address)
        # Without chunks, whose borders might be within a line.
        request = get(path, **headers).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        direct_s = _seconds(direct, request, lines)
        if counts:
            rounds.append({"ours_s": ours_s, "direct_s": direct_s})
        else:
            before = processes.forget_peak_memory(daemon.pid)
    return rounds, (processes.peak_memory_bytes(daemon.pid) - before) / 1_000_000


def _seconds(connection: socket.socket, request: bytes, lines: int) -> float:
    """How long it takes to read to the last line; raises :class:`RuntimeError` where lines are missing."""
    parts: list[bytes] = []
    tail = b""
    with connection:
        began = time.perf_counter()
        connection.sendall(request)
        while LAST.encode() not in tail:
            part = connection.recv(_READ_BYTES)
            if not part:
                raise RuntimeError(f"the log ended after {b''.join(parts)[:500]!r}")
            parts.append(part)
            tail = tail[-len(LAST) :] + part
        seconds = time.perf_counter() - began
    count = _CHUNK.sub(b"", b"".join(parts)).count(LINE.encode())
    if count != lines:
        raise RuntimeError(f"{count} lines came, not {lines}")
    return seconds


def _rows(what: str, against: str, rounds: list[dict[str, float]], more_mb: float) -> Iterator[Row]:
    ratios = [each["direct_s"] / each["ours_s"] for each in rounds]
    ours, direct = (median(each[name] for each in rounds) for name in ("ours_s", "direct_s"))
    yield Row(
        f"{what}, lines per second", ratios, TIMES, 0.8, True, f"{against} ({ours:.2f} s of {direct:.2f} s)", rounds
    )
    yield Row(f"{what}, memory more", [more_mb], " MB", MORE_MB, False, "after the first round", None)

"""The end of the log of a run that failed. Its container goes when it is started again, and its log with it, unless
that is in the system journal: so it is kept for some days, and shown before what the container writes that is there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from rooftree import Kernel, RooftreeError
from rooftree.interfaces.containers import Container, ContainerNotFound, LogLine
from rooftree_containers.failed_log import FILE, LINES, MAX_BYTES, PATIENCE_S
from rooftree_containers.managed import ContainerDomain
from rooftree_containers.observation import Observation
from rooftree_containers.update_backup import FAILED
from rooftree_files import Folder, PathRefused

log = structlog.get_logger(__name__)

RUN: Final = f"{FAILED}run-"
"""What the name of the folder begins with, before the container's id: it is deleted with what failed versions left."""
JOURNALD: Final = "journald"


class CrashLogs:
    """The logs of a domain's containers that failed: of each container, that of its last failure."""

    def __init__(self, kernel: Kernel, domain: ContainerDomain, observation: Observation) -> None:
        self._data = kernel.data.path
        self._domain = domain
        self._observation = observation

    async def keep(self, name: str, container: Container) -> None:
        """Keep the end of the log of a container that has failed; one that can't be had stops nothing."""
        if container.log_driver == JOURNALD:
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                text = await self._end_of_log(name)
            await asyncio.to_thread(_write, self._data, self._folder(name), container.id, text)
        except ContainerNotFound:
            return
        except (RooftreeError, TimeoutError, OSError) as error:
            log.warning("crash_log_not_kept", **{self._domain.names.context: name}, reason=str(error))

    async def lines(self, name: str, current: str | None) -> Sequence[LogLine]:
        """What is kept, unless it is of the container that there is now.

        :param current: the id of that
        """
        return await asyncio.to_thread(_read, self._data, self._folder(name), current)

    async def whereabouts(self, name: str) -> str | None:
        """The path of the file that has what is kept, if anything is."""
        folder = await asyncio.to_thread(_kept_run, self._data, self._folder(name))
        return None if folder is None else str(self._data / self._folder(name) / folder / FILE)

    async def _end_of_log(self, name: str) -> bytes:
        lines, size = deque[bytes](), 0
        async for line in self._observation.engine.logs(self._domain.container_name(name), tail=LINES):
            lines.append(line.time.astimezone(UTC).isoformat().encode() + b" " + line.text + b"\n")
            size += len(lines[-1])
            while size > MAX_BYTES:
                size -= len(lines.popleft())
        return b"".join(lines)

    def _folder(self, name: str) -> str:
        return f"{self._domain.names.kept_folder}/{name}"


def _write(data: Path, folder: str, container_id: str, text: bytes) -> None:
    run = f"{RUN}{container_id}"
    with Folder.open(data) as root, root.make(folder, 0o700) as runs:
        with runs.make(run, 0o700) as place:
            place.write(FILE, text, 0o600)
        for earlier in runs.names():
            if earlier.startswith(RUN) and earlier != run:
                runs.remove(earlier)


def _kept_run(data: Path, folder: str) -> str | None:
    with suppress(FileNotFoundError, PathRefused), Folder.open(data) as root, root.folder(folder) as runs:
        return next((run for run in runs.names() if run.startswith(RUN)), None)
    return None


def _read(data: Path, folder: str, current: str | None) -> Sequence[LogLine]:
    run = _kept_run(data, folder)
    if run is None or run == f"{RUN}{current}":
        return ()
    try:
        with Folder.open(data) as root:
            text = root.read(f"{folder}/{run}/{FILE}", MAX_BYTES)
    except (FileNotFoundError, PathRefused):  # its time was over just now
        return ()
    return tuple(_parsed(text))


def _parsed(text: bytes) -> Iterator[LogLine]:
    for line in text.split(b"\n")[:-1]:
        time, _, words = line.partition(b" ")
        yield LogLine(time=datetime.fromisoformat(time.decode()), stream="stdout", text=words)

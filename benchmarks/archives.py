"""What an archive costs beside GNU tar on the same folder and disk; both are over when their files are on the disk.

GNU tar neither reads back what it wrote nor encrypts. The file that it makes, or the folder that it fills, is flushed
as ours is. Both sides have all cores.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import frozen
from processes import all_cores, peak_memory_bytes
from rows import TIMES, Bench, Row

from rooftree.interfaces.backups import BackupHead, BackupPart, PartContents, PartId, PartKind, PartTree
from rooftree.interfaces.containers import DataPath
from rooftree.model import Secret
from rooftree_archives import archive_reader, archive_writer

MIB = 1024 * 1024
PART = BackupPart(id=PartId(kind=PartKind.FOLDER, slug="share"), name="share")
PASSWORD = Secret("correct horse battery staple")
MIXED = [32 * MIB] * 2 + [8 * MIB] * 8 + [MIB] * 64 + [200_000] * 180 + [20_000] * 900
TEXT = [2 * MIB] * 100 + [100_000] * 370
MOST_MEMORY_MIB = 64


@frozen
class Form:
    """How an archive is made."""

    password: Secret | None
    compressed: bool


PLAIN, ENCRYPTED, BOTH = Form(None, False), Form(PASSWORD, False), Form(PASSWORD, True)


def create(bench: Bench) -> Iterator[Row]:
    work = _Work(bench, "mixed", MIXED)
    for what, form, gate in (("plain", PLAIN, 0.5), ("encrypted", ENCRYPTED, 0.3)):
        rounds = [(work.tar(), work.make(form)) for counts in bench.rounds() if counts or work.make(form)]
        yield _row(f"archive made, {what}, 257 MB mixed", rounds, gate, "GNU tar and sync")
    memory = [memory / MIB for memory in work.memory]
    yield Row("memory of an archive's worker", memory, " MiB", MOST_MEMORY_MIB, False, "its limit", memory)
    work.remove()


def restore(bench: Bench) -> Iterator[Row]:
    for name, sizes in (("mixed", MIXED), ("text", TEXT)):
        work = _Work(bench, name, sizes)
        work.tar()
        work.make(BOTH)
        rounds = [(work.untar(), work.unpack(BOTH)) for counts in bench.rounds() if counts or work.unpack(BOTH)]
        yield _row(f"archive restored, encrypted, {name}", rounds, 0.35, "GNU tar of it in the clear, and sync")
        work.remove()


def _row(what: str, rounds: list[tuple[float, float]], gate: float, against: str) -> Row:
    best = min(theirs for theirs, _ in rounds), min(ours for _, ours in rounds)
    against = f"{against}: {best[0]:.2f} s, ours {best[1]:.2f} s"
    return Row(what, [theirs / ours for theirs, ours in rounds], TIMES, gate, True, against, rounds)


class _Work:
    def __init__(self, bench: Bench, name: str, sizes: list[int]) -> None:
        self._folder = bench.folder / f"archives-{name}"
        self._source = self._folder / "data/share"
        self.memory: list[int] = []
        fill(self._source, sizes, text_only=name == "text")
        os.sync()

    def remove(self) -> None:
        shutil.rmtree(self._folder)

    def tar(self) -> float:
        with all_cores(), _seconds() as seconds:
            subprocess.run(["tar", "-cf", self._folder / "a.tar", "-C", self._source, "."], check=True)
            subprocess.run(["sync", self._folder / "a.tar"], check=True)
        return seconds[0]

    def untar(self) -> float:
        into = self._emptied("untarred")
        with all_cores(), _seconds() as seconds:
            subprocess.run(["tar", "-xf", self._folder / "a.tar", "-C", into], check=True)
            subprocess.run(["sync", "--file-system", into], check=True)
        return seconds[0]

    def make(self, form: Form) -> float:
        (self._folder / "archive.tar").unlink(missing_ok=True)
        return self._timed(lambda: self._make(form))

    def unpack(self, form: Form) -> float:
        into = self._emptied("unpacked")
        return self._timed(lambda: self._unpack(form, into))

    def _timed(self, work: Callable[[], Awaitable[Any]]) -> float:
        async def whole() -> None:
            await work()

        with all_cores(), _seconds() as seconds:
            asyncio.run(whole())
        return seconds[0]

    async def _make(self, form: Form) -> None:
        contents = PartContents(trees=(PartTree(source=DataPath("share"), name=""),))
        async with archive_writer(
            self._folder / "archive.tar",
            data_folder=self._folder / "data",
            password=form.password,
            compressed=form.compressed,
        ) as writer:
            await writer.add(PART, contents, _quiet)
            await writer.publish(_head(form), _quiet)
            self.memory.append(_worker_memory())

    async def _unpack(self, form: Form, into: Path) -> None:
        async with archive_reader(self._folder / "archive.tar", form.password) as reader:
            await reader.unpack(PART.id, into / "part", _quiet)

    def _emptied(self, name: str) -> Path:
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        os.sync()
        return folder


def _head(form: Form) -> BackupHead:
    return BackupHead(
        slug="0123abcd", name="Bench", date=datetime.now(UTC), type="partial", supervisor_version="2026.11.0",
        protected=form.password is not None, compressed=form.compressed, folders=("share",),
    )  # fmt: skip


def _quiet(done: int, total: int) -> None:
    pass


def _worker_memory() -> int:
    """Bytes that the worker, our only child, had at most."""
    (child,) = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return peak_memory_bytes(int(child))


def fill(folder: Path, sizes: list[int], *, text_only: bool) -> None:
    """Fill a folder with files of these sizes, every second one text, the others of no pattern."""
    dice = random.Random(16)
    words = [b"sensor", b"state", b"2026-11-30", b"INFO", b"homeassistant", b"core", b"value"]
    text = b" ".join(dice.choice(words) + b"%d" % dice.randrange(10**6) for _ in range(20_000))
    for number, size in enumerate(sizes):
        place = folder / f"{number % 40}"
        place.mkdir(parents=True, exist_ok=True)
        is_text = text_only or number % 2
        (place / f"{number}").write_bytes((text * (size // len(text) + 1))[:size] if is_text else dice.randbytes(size))


@contextmanager
def _seconds() -> Iterator[list[float]]:
    began, seconds = time.perf_counter(), list[float]()
    yield seconds
    seconds.append(time.perf_counter() - began)

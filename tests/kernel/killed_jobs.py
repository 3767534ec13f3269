"""Jobs on marker files, to be killed: :mod:`tests.kernel.killed_process` runs them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rooftree import Conflict, Kernel, Plugin, Run, Service, Step, Steps, job, step

BEFORE = {"replaced": "original", "removed": "precious"}
AFTER = {"written": "new", "replaced": "changed"}


class Markers:
    """The world: a folder with small files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def read(self, name: str) -> str | None:
        path = self.folder / name
        return await asyncio.to_thread(lambda: path.read_text() if path.exists() else None)

    async def write(self, name: str, text: str | None) -> None:
        path = self.folder / name
        if text is None:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        else:
            await asyncio.to_thread(path.write_text, text)


MARKERS = Service[Markers]("markers/1")


class _Change(Step):
    """Sets one marker, and brings back what was there."""

    name: str
    text: str | None

    async def before(self, markers: Markers) -> str | None:
        return await markers.read(self.name)

    async def do(self, run: Run, markers: Markers) -> None:
        await markers.write(self.name, self.text)

    async def undo(self, before: str | None, markers: Markers) -> None:
        await markers.write(self.name, before)


@step("killed.write/1")
class Write(_Change):
    """Makes a file that was not there."""

    name: str
    text: str


@step("killed.remove/1")
class Remove(_Change):
    """Removes a file that was there."""

    name: str
    text: None = None


@step("killed.replace/1")
class Replace(_Change):
    """Replaces what is in a file."""

    name: str
    text: str


@step("killed.refuse/1")
class Refuse(Step):
    """Always fails."""

    async def do(self) -> None:
        raise Conflict("It does not fit")


@step("killed.hesitate/1")
class Hesitate(Step):
    """Goes on for ever, unless its job is cancelled."""

    interruptible = True

    async def do(self) -> None:
        hesitates.set()
        await asyncio.Event().wait()

    async def undo(self, _: None) -> None: ...


hesitates = asyncio.Event()
CANCELLED = "killed_jobs:cancelled"
"""The failpoint that is reached when somebody was told that the job is cancelled."""


CHANGES = (Write("written", "new"), Remove("removed"), Replace("replaced", "changed"))
KINDS = tuple(change.kind for change in CHANGES)


@job("change_or_back")
async def change_or_back() -> Steps:
    return CHANGES


@job("change_forward", recovery="forward")
async def change_forward() -> Steps:
    return CHANGES


@job("change_and_fail")
async def change_and_fail() -> Steps:
    return [*CHANGES, Refuse()]


@job("part", reference="part")
async def part(part: int) -> Steps:
    return CHANGES[part : part + 1]


@job("change_in_parts")
async def change_in_parts() -> Steps:
    return [part(part=0), CHANGES[1], part(part=2)]


@job("change_in_parts_forward", recovery="forward")
async def change_in_parts_forward() -> Steps:
    return [part(part=0), CHANGES[1], part(part=2)]


@job("change_and_hesitate", recovery="forward")
async def change_and_hesitate() -> Steps:
    return [*CHANGES, Hesitate()]


JOBS = {
    kind.name: kind
    for kind in (
        change_or_back,
        change_forward,
        change_and_fail,
        change_in_parts,
        change_in_parts_forward,
        change_and_hesitate,
    )
}


class MarkersPlugin(Plugin):
    """Provides the markers; where they are is told by its class."""

    name = "markers"
    provides = (MARKERS,)
    folder: Path

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(MARKERS, Markers(self.folder))


def plugin_for(folder: Path) -> type[Plugin]:
    """The plugin, with its markers in ``folder``."""

    class InFolder(MarkersPlugin):
        pass

    InFolder.folder = folder
    return InFolder


def markers_in(folder: Path) -> dict[str, str]:
    """The markers as they are."""
    return {path.name: path.read_text() for path in folder.iterdir()}

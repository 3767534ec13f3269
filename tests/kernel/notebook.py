"""A plugin that saves notes, by jobs of one and two steps: for tests of disks and systems that refuse."""

from __future__ import annotations

import asyncio

from attrs import frozen

from rooftree import Collection, Kernel, Plugin, Service, Step, Steps, document, job, step
from rooftree.process.system import System


@document("notebook.note")
@frozen
class Note:
    text: str


class Notes:
    """Notes, and how they are saved."""

    def __init__(self, kept: Collection[Note], kernel: Kernel) -> None:
        self.kept = kept
        self.kernel = kernel


NOTES = Service[Notes]("notes/1")


@step("notebook.write/1")
class WriteNote(Step):
    key: str

    async def do(self, notes: Notes) -> None:
        await notes.kernel.commit(notes.kept.put(self.key, Note("z" * 3000)))

    async def undo(self, before: None, notes: Notes) -> None:
        await notes.kernel.commit(notes.kept.delete(self.key))


@job("write_notes", reference="key")
async def write_notes(key: str) -> Steps:
    return [WriteNote(f"{key}-one"), WriteNote(f"{key}-two")]


@job("make_room", reference="key", makes_room=True)
async def make_room(key: str) -> Steps:
    return [WriteNote(key)]


class Notebook(Plugin):
    name = "notebook"
    provides = (NOTES,)

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(NOTES, Notes(await kernel.collection(Note), kernel))


def notes_of(system: System) -> set[str]:
    return set(system.services.get(NOTES).kept)


async def until_jobs_end(system: System) -> None:
    """Wait until those have ended that were open at the start."""
    async with asyncio.timeout(20):
        while not all(info.done for info in system.jobs.listing()):
            await asyncio.sleep(0.01)

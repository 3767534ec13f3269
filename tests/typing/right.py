"""The public API as an author uses it: every line of this has to type-check, with the types that are revealed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import assert_type

from attrs import evolve, frozen

from rooftree import (
    UNSET,
    AuditLog,
    Collection,
    Event,
    JobCall,
    Jobs,
    JobStarted,
    Kernel,
    Lock,
    Plan,
    Plugin,
    Problem,
    Role,
    Routes,
    Run,
    Service,
    Step,
    Steps,
    Task,
    Unset,
    document,
    grant,
    hookimpl,
    itself,
    job,
    role,
    step,
)
from rooftree.interfaces.callers import ADDON
from rooftree.interfaces.hooks import AvailableUpdate, available_updates
from rooftree.testing import Answer, Client, FakeClock, running_system


@document("typing.note", version=1)
@frozen
class Note:
    text: str


@frozen
class Change:
    text: str | Unset | None = UNSET


@frozen
class NoteWritten(Event):
    text: str


@frozen
class NotesSettings:
    limit: int = 10


class Notes:
    def __init__(self, kernel: Kernel, kept: Collection[Note]) -> None:
        self._kernel = kernel
        self._kept = kept

    async def write(self, key: str, text: str) -> None:
        await self._kernel.commit(self._kept.put(key, Note(text)))
        await self._kernel.commit(self._kept.update(key, lambda note: evolve(note, text=text)))
        assert_type(self._kept[key], Note)
        assert_type(self._kept.get(key), Note | None)


NOTES = Service[Notes]("notes/1")
routes = Routes()


@step("typing.write/1")
class Write(Step):
    key: str
    text: str

    async def do(self, run: Run, notes: Notes) -> None:
        assert_type(run.result(Write, int), int)
        await notes.write(self.key, self.text)


assert_type(Write("a", text="b").text, str)


@job("typing_write", reference="key", locks=lambda key, text: [Lock("note", key)])
async def write(notes: Notes, key: str, text: str) -> Steps:
    return [Write(key, text), write(key=key, text=text)]


@routes.get("/notes/{key}", access=role(Role.DEFAULT) | itself("key", ADDON) | grant("notes"))
def read(notes: Notes, key: str) -> Note:
    return Note(key)


@routes.post("/notes/{key}", access=role(Role.MANAGER))
async def change(jobs: Jobs, key: str, body: Change) -> JobCall[JobStarted | None] | None:
    if isinstance(body.text, Unset) or body.text is None:
        return None
    assert_type(body.text, str)
    assert_type(write(key=key, text=body.text), JobCall[None])
    assert_type(await jobs.preview(write(key=key, text=body.text)), Plan)
    assert_type(await jobs.run(write(key=key, text=body.text).in_background()), JobStarted | None)
    return write(key=key, text=body.text).in_background()


assert_type(read(Notes.__new__(Notes), "a"), Note)  # a decorated handler stays what it is


class NotesPlugin(Plugin):
    name = "notes"
    provides = (NOTES,)
    settings = NotesSettings

    kernel: Kernel

    async def setup(self, kernel: Kernel) -> None:
        self.kernel = kernel
        assert_type(kernel.settings(NotesSettings), NotesSettings)
        assert_type(await kernel.collection(Note), Collection[Note])
        assert_type(kernel.service(NOTES), Notes)
        assert_type(kernel.find(NOTES), Notes | None)
        assert_type(kernel.clock.now(), datetime)
        assert_type(await kernel.call(available_updates), list[list[AvailableUpdate]])
        kernel.on(NoteWritten, self.heard)
        kernel.publish(NoteWritten("a"))
        kernel.problems.report(Problem("notes_full", severity="issue"))
        kernel.provide(NOTES, Notes(kernel, await kernel.collection(Note)))

    def routes(self) -> Routes:
        return routes

    def tasks(self) -> Iterable[Task]:
        yield Task("tidy", self.tidy, every=timedelta(hours=1))
        yield Task("write", lambda: self.kernel.jobs.run(write(key="a", text="b")), every=timedelta(hours=1))

    async def tidy(self) -> None: ...

    async def heard(self, event: NoteWritten) -> None: ...

    @hookimpl
    def available_updates(self) -> list[AvailableUpdate]:
        return []


async def audited(log: AuditLog) -> None:
    for entry in await log.page(limit=3):
        assert_type(entry.who, str | None)


async def tested(folder: Path) -> None:
    clock = FakeClock()
    async with running_system(folder, plugins=[NotesPlugin], clock=clock) as system, Client.over_unix(system) as client:
        await clock.advance(timedelta(hours=1))
        assert_type(await client.get("/notes/a"), Answer)

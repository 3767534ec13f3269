"""The steps of a restore that are not one part's: all is unpacked and so checked, before anything is stopped; and what
it took the place of goes when all works."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import structlog
from attrs import frozen

from rooftree import Failed, Problem, RooftreeError, Run, Step, step
from rooftree.interfaces.backups import BackupRestored, PartId
from rooftree.process import SYSTEM
from rooftree_archives import ArchiveNotWritten
from rooftree_backups.entry_swap import BeforeEntries, EntrySwap, look, swap, swap_back
from rooftree_backups.kept_backups import KeptBackups
from rooftree_backups.repositories_due import DueRepositories
from rooftree_backups.room_to_restore import refuse_full
from rooftree_files import Folder, size_in_words, walk

log = structlog.get_logger(__name__)

MOST_DOCUMENT_BYTES: Final = 16 * 1024 * 1024
MIB: Final = 1024 * 1024
KEPT: Final = "not-put-back"
"""A file in a folder of a restore: what is in that is not ours to delete."""
NOT_PUT_BACK: Final = "restore_not_taken_back"


@frozen(kw_only=True)
class Unpacking:
    """A part that is unpacked."""

    part: PartId
    name: str
    folder: str
    """Relative to the data folder."""
    stored_bytes: int
    unpacked_bytes: int = 0
    """What it takes at least."""


class SettingsLeftOut(Failed):
    """Settings of a backup that could not be taken over."""


@step("backups.unpack/1")
class Unpack(Step):
    """Unpack and check all that is to be restored, beside what is there."""

    slug: str
    location: str
    filename: str | None
    parts: tuple[Unpacking, ...]
    folders: tuple[str, ...]
    """What holds the parts' folders, one on each disk, relative to the data folder."""
    weight = 30
    interruptible = True

    async def notes(self, backups: KeptBackups) -> list[str]:
        """How much of what is unpacked, and how long that may take; nothing is stopped meanwhile."""
        sizes = [f"{part.name}: {part.stored_bytes / MIB:,.1f} MiB in the backup" for part in self.parts]
        total, rate = sum(part.stored_bytes for part in self.parts), backups.rates.unpacked
        if rate is None:
            return [*sizes, "How long unpacking takes can be told after the first restore; nothing is stopped for it"]
        took = f"{total / rate:,.0f} s (an estimate: {rate / MIB:,.0f} MiB/s the last time)"
        return [*sizes, f"Unpacking takes about {took}; nothing is stopped for it"]

    async def do(self, run: Run, backups: KeptBackups) -> None:
        """Unpack one part after the other, each from the beginning."""
        backups.kernel.service(SYSTEM).freeze(_purpose(self.slug))
        total, done, clock = sum(part.stored_bytes for part in self.parts), 0, backups.kernel.clock
        begun = clock.monotonic()
        await remove(backups, *self.folders)
        await asyncio.to_thread(_make, backups, self.folders)
        password = backups.workshop.password(self.slug)
        async with await backups.places.reader(self.location, self.slug, self.filename, password) as reader:
            for part in self.parts:

                def progress(of_part: int, _: int, before: int = done) -> None:
                    run.progress(before + of_part, total)

                folder = backups.kernel.data.path / part.folder
                try:
                    trees = await reader.unpack(part.part, folder, progress)
                except ArchiveNotWritten:
                    await asyncio.to_thread(refuse_full, {folder.parent: part.unpacked_bytes})
                    raise
                if trees.left_out:
                    log.warning("never_restored", part=part.part.slug, names=list(trees.left_out)[:20])
                done += part.stored_bytes
        await backups.rates.note_unpacked(total, clock.monotonic() - begun)

    async def undo(self, _: None, backups: KeptBackups) -> None:
        """Take it away, but for what was there before and could not be put back."""
        try:
            await asyncio.to_thread(_keep_what_was_there, backups, self.folders)
            await remove(backups, *self.folders)
        except (RooftreeError, OSError):  # whether anything lies there can't be told, nor noted on that disk
            for folder in self.folders:
                _report(backups, folder)
            raise
        finally:
            backups.kernel.service(SYSTEM).thaw(_purpose(self.slug))


@step("backups.swap_entries/1")
class SwapEntries(Step):
    """Let what was unpacked take the place of what is in a folder, which is kept until all is done."""

    folder: str
    """As the API names it."""
    swap: EntrySwap
    stage = "folders"
    downtime = False

    async def notes(self, backups: KeptBackups) -> list[str]:
        """How much is replaced."""
        size = await asyncio.to_thread(size_in_words, backups.kernel.data.path, self.swap.live)
        return [f"In {self.folder} is {size} now, which is replaced"]

    async def before(self, backups: KeptBackups) -> BeforeEntries:
        return await asyncio.to_thread(look, backups.kernel.data.path, self.swap)

    async def do(self, run: Run, backups: KeptBackups) -> None:
        await asyncio.to_thread(swap, backups.kernel.data.path, self.swap, run.before(BeforeEntries))

    async def undo(self, before: BeforeEntries, backups: KeptBackups) -> None:
        await asyncio.to_thread(swap_back, backups.kernel.data.path, self.swap, before)


@step("backups.restore_settings/1")
class RestoreSettings(Step):
    """Take over mounts and logins; those that can't be are told, and left out."""

    slug: str
    folder: str
    """Where the part is unpacked, relative to the data folder."""
    brings: tuple[str, ...] = ()
    """What is in it, in sentences."""
    stage = "supervisor_config"

    async def notes(self) -> list[str]:
        """What comes with it."""
        return list(self.brings)

    async def do(self, run: Run, backups: KeptBackups) -> None:
        documents = await asyncio.to_thread(_documents, backups, self.folder)
        for sentence in await backups.parts.settings.put_back(documents):
            run.note(SettingsLeftOut(sentence))


@step("backups.finish_restore/1")
class FinishRestore(Step):
    """Delete what the restore took the place of, and let the repositories be those that were there."""

    slug: str
    folders: tuple[str, ...]
    repositories: tuple[str, ...]
    replace_repositories: bool = False
    """Whether those that the backup does not know go."""
    tidies = True

    async def notes(self, backups: KeptBackups) -> list[str]:
        """Which repositories come and go."""
        known = (await backups.parts.facts()).repositories
        coming = [f"The repository {source} is fetched" for source in self.repositories if source not in known]
        others = [source for source in known if source not in self.repositories] if self.replace_repositories else []
        return [*coming, *(f"The repository {source} is removed, unless an add-on is from it" for source in others)]

    async def do(self, backups: KeptBackups) -> None:
        if self.repositories or self.replace_repositories:
            await backups.repositories.note(DueRepositories(self.repositories, self.replace_repositories))
        backups.kernel.service(SYSTEM).thaw(_purpose(self.slug))
        backups.kernel.publish(BackupRestored(self.slug))
        await remove(backups, *self.folders)


@step("backups.sweep_restores/1")
class SweepRestores(Step):
    """Delete what restores have left that could not be deleted then."""

    folder: str
    tidies = True

    async def do(self, backups: KeptBackups) -> None:
        told = tuple(problem.reference or "" for problem in backups.kernel.problems if problem.type == NOT_PUT_BACK)
        leftovers = await asyncio.to_thread(_below, backups, self.folder)
        await asyncio.to_thread(_keep_what_was_there, backups, told)
        await remove(backups, *leftovers, *(folder for folder in told if folder not in leftovers))
        if not await asyncio.to_thread(_below, backups, self.folder):
            await remove(backups, self.folder)


async def remove(backups: KeptBackups, *folders: str) -> None:
    """Delete folders of ours; what can't be deleted is tried again at the next start. What was to be kept is, and a
    problem for as long as it is there."""
    for folder in folders:
        try:
            kept = await asyncio.to_thread(_kept, backups, folder)
            if kept:
                _report(backups, folder)
            else:
                await asyncio.to_thread(_remove, backups, folder)
                backups.kernel.problems.clear(NOT_PUT_BACK, "system", folder)
        except (RooftreeError, OSError) as error:
            log.warning("restore_folder_not_removed", folder=folder, reason=str(error))


def _keep_what_was_there(backups: KeptBackups, folders: tuple[str, ...]) -> None:
    """Mark folders in which something lies that a restore took the place of, and that did not go back."""
    with Folder.open(backups.kernel.data.path) as root:
        for folder in folders:
            with suppress(FileNotFoundError), root.folder(folder) as own:
                for number in own.names():
                    with suppress(FileNotFoundError, NotADirectoryError), own.folder(f"{number}/replaced") as replaced:
                        if any(not stat.S_ISDIR(entry.status.st_mode) for entry in walk(replaced)):
                            own.write(KEPT, b"", 0o600)


def _kept(backups: KeptBackups, folder: str) -> bool:
    with Folder.open(backups.kernel.data.path) as root:
        return root.status(f"{folder}/{KEPT}") is not None


def _below(backups: KeptBackups, folder: str) -> list[str]:
    with suppress(FileNotFoundError), Folder.open(backups.kernel.data.path) as root, root.folder(folder) as own:
        return [f"{folder}/{name}" for name in own.names()]
    return []


def _report(backups: KeptBackups, folder: str) -> None:
    place = backups.kernel.data.path / folder
    backups.kernel.problems.report(
        Problem(
            NOT_PUT_BACK,
            "system",
            folder,
            f"A restore failed, and not all that was there before could be put back: the rest is in {place}, below "
            "folders called replaced. Put it where it belongs, and delete that folder then",
        )
    )


def _make(backups: KeptBackups, folders: tuple[str, ...]) -> None:
    with Folder.open(backups.kernel.data.path) as root:
        for folder in folders:
            root.make(folder, 0o700).close()


def _remove(backups: KeptBackups, folder: str) -> None:
    above, _, name = folder.rpartition("/")
    with suppress(FileNotFoundError), Folder.open(backups.kernel.data.path) as root:
        if above:
            with root.folder(above) as parent:
                parent.remove(name)
        else:
            root.remove(name)


def _documents(backups: KeptBackups, folder: str) -> Mapping[str, bytes]:
    with Folder.open(backups.kernel.data.path) as root, root.folder(f"{folder}/documents") as place:
        return {name: place.read(name, MOST_DOCUMENT_BYTES) for name in place.names()}


def _purpose(slug: str) -> str:
    return f"restore {slug}"

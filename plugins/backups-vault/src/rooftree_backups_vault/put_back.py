"""Bringing a single file or folder back from a vault to where it was; what lies there now stays beside it."""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath
from typing import Final
from uuid import uuid4

from rooftree import Invalid, NotFound, Step, Steps, job, step
from rooftree.interfaces.backups import PartId
from rooftree_backups_vault import scratch
from rooftree_backups_vault.single_files import SingleFiles, live_place, located
from rooftree_backups_vault.vaults import VaultName
from rooftree_files import Folder, PathRefused
from rooftree_workers import to_thread_whole

PLACE: Final = "tmp/vault-files"
ASIDE: Final = ".before-"
BROUGHT_BACK: Final = "brought-back"


@step("backups_vault.fetch_file/1")
class FetchFile(Step):
    """Bring a file or folder of a backup into a scratch place."""

    scratch: str
    vault: str
    slug: str
    part: PartId
    path: str
    interruptible = True

    def acts_on(self) -> str:
        """The file: the scratch place has another name each time."""
        return self.path

    async def do(self, files: SingleFiles) -> None:
        """Restore it there; what an earlier try left is replaced."""
        folder = files.data / self.scratch
        await to_thread_whole(scratch.remove, folder)
        await to_thread_whole(scratch.made, folder)
        backup = files.backups.get(self.vault, self.slug)
        stored = backup.part(self.part)
        where = located(stored, self.path)
        access, driver = files.vaults.access(self.vault), files.vaults.driver(self.vault)
        await driver.restore(access, backup.snapshot(stored), [where], folder)
        if not await to_thread_whole(scratch.is_there, folder / where):
            raise NotFound(f"There is no {self.path} in the backup {self.slug}")
        await to_thread_whole(scratch.move, folder / where, folder / BROUGHT_BACK)

    async def undo(self, before: None, files: SingleFiles) -> None:
        await to_thread_whole(scratch.remove, files.data / self.scratch)


@step("backups_vault.put_file_in_place/1")
class PutFileInPlace(Step):
    """Put it where it was; what lies there now gets another name."""

    scratch: str
    live: str
    aside: str

    def acts_on(self) -> str:
        """Where it is put."""
        return self.live

    async def do(self, files: SingleFiles) -> None:
        """Two renamings, each of which may have been done already."""
        await to_thread_whole(self._put, files)

    def _put(self, files: SingleFiles) -> None:
        place = PurePosixPath(self.live)
        with Folder.open(files.data) as data, data.folder(self.scratch) as staged:
            if staged.status(BROUGHT_BACK) is None:
                return
            with data.make(str(place.parent)) as parent:
                if parent.status(place.name) is not None:
                    parent.move(place.name, parent, self.aside)
                staged.move(BROUGHT_BACK, parent, place.name)

    async def undo(self, before: None, files: SingleFiles) -> None:
        """Put back what got another name."""
        await to_thread_whole(self._take_back, files)

    def _take_back(self, files: SingleFiles) -> None:
        place = PurePosixPath(self.live)
        try:
            with Folder.open(files.data) as data, data.folder(str(place.parent)) as parent:
                is_done = data.status(f"{self.scratch}/{BROUGHT_BACK}") is None and data.is_folder(self.scratch)
                if is_done and parent.status(place.name) is not None:
                    with data.folder(self.scratch) as staged:
                        parent.move(place.name, staged, BROUGHT_BACK)
                if parent.status(self.aside) is not None:
                    parent.move(self.aside, parent, place.name)
        except FileNotFoundError:
            return

    async def notes(self) -> list[str]:
        """What becomes of what is there."""
        return [f"What lies at {self.live} now is called {self.aside} afterwards"]


@step("backups_vault.tidy_scratch/1")
class TidyScratch(Step):
    """Remove the scratch place."""

    scratch: str
    tidies = True

    def acts_on(self) -> None:
        """A place that nobody else knows."""

    async def do(self, files: SingleFiles) -> None:
        await to_thread_whole(scratch.remove, files.data / self.scratch)


@job("vault_put_back", reference="path")
async def put_back(files: SingleFiles, vault: VaultName, slug: str, part: PartId, path: str) -> Steps:
    """Bring a file or folder back."""
    stored = files.backups.get(vault, slug).part(part)
    live = live_place(stored, path)
    if not PurePosixPath(live).name:
        raise Invalid("path must name a file or folder")
    try:
        with await asyncio.to_thread(Folder.open, files.data) as data:
            await asyncio.to_thread(data.status, live)
    except PathRefused as error:
        raise Invalid(f"{path}: {error.message}") from None
    own = uuid4().hex[:8]
    place = f"{PLACE}/{own}"
    aside = f"{PurePosixPath(live).name}{ASIDE}{own}"
    return [
        FetchFile(place, vault, slug, part, path),
        PutFileInPlace(place, live, aside),
        TidyScratch(place),
    ]

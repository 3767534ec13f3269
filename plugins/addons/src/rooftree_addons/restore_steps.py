"""The steps that put an add-on back from a backup.

What is secret of it (options, tokens) stays out of the journal: a step reads it where it lies unpacked, and what it
takes the place of is a document until the job has ended.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self

import structlog

from rooftree import Failed, Problem, RooftreeError, Run, Step, Unavailable, step
from rooftree.interfaces.containers import ContainerEngine, ImageNotFound
from rooftree.services import ServiceDirectory
from rooftree_addons.addon_containers import described
from rooftree_addons.addons import ADDONS, Addons
from rooftree_addons.backup_record import DOCUMENTS, MOST_BYTES, read
from rooftree_addons.brought_images import BroughtImage
from rooftree_addons.container import config_folder, writes_all_configs
from rooftree_addons.installed import InstalledAddon
from rooftree_addons.own_folders import has_folder
from rooftree_addons.ports import taken_page_ports
from rooftree_addons.replaced import ReplacedAddon
from rooftree_addons.steps import OfAddon
from rooftree_containers.container_steps import StartingRestored
from rooftree_containers.folder_swap import BeforeSwap, FolderSwap, SwappingFolder
from rooftree_containers.start_check import refuse_unstartable
from rooftree_containers.steps import BuildImage
from rooftree_containers.watchdog import BOOT_FAILED
from rooftree_files import Folder
from rooftree_store import AddonSlug

log = structlog.get_logger(__name__)


class RestoredAddonFails(Failed):
    """An add-on that ran does not run as it was restored, and is what it was again. ``extra_fields``: ``app``."""

    status = 400
    error_key = "app_restore_failed_error"


def unpacked(addons: Addons, slug: AddonSlug, folder: str) -> InstalledAddon:
    """The add-on as the part says that is unpacked in a folder. Blocks."""
    documents: dict[str, bytes] = {}
    with Folder.open(addons.kernel.data.path) as root, root.folder(f"{folder}/documents") as place:
        for name in DOCUMENTS:
            with suppress(FileNotFoundError):
                documents[name] = place.read(name, MOST_BYTES)
    return read(slug, documents, addons.store, taken_page_ports(addons.installed, slug))


@step("addons.import_image/1")
class ImportImage(Step):
    """Take an image over that is in the backup, because it was built."""

    slug: AddonSlug
    image: str
    file: str
    """Relative to the data folder."""
    must_be_there: bool = True
    """Whether nothing else could bring it."""
    weight = 10
    stage = "addons"

    async def before(self, addons: Addons) -> bool:
        """Whether the engine has one of that name."""
        return await addons.engine.image(self.image) is not None

    async def do(self, addons: Addons) -> None:
        if await asyncio.to_thread(has_folder, addons.kernel.data.path, self.file):
            await addons.kernel.commit(addons.images.put(self.image, BroughtImage(self.slug)))
            await addons.engine.import_image(self.image, addons.kernel.data.path / self.file)
        elif self.must_be_there:
            raise ImageNotFound(
                f"The image {self.image} is neither here nor in the backup, and the store has no such version of "
                f"{self.slug} to build it from; restore the others without it, and install it anew",
                image=self.image,
            )

    async def undo(self, was_there: bool, addons: Addons) -> None:
        """Take it away, if this brought it."""
        if not was_there:
            await addons.engine.remove_image(self.image)


@step("addons.build_missing_image/1")
class BuildMissingImage(BuildImage):
    """Build an image that was not in the backup."""

    @classmethod
    def like(cls, build: BuildImage) -> Self:
        """The same, where there is none."""
        return cls(build.image, build.folder, build.dockerfile, build.arguments, build.labels)

    async def do(self, run: Run, engine: ContainerEngine) -> None:
        """Build it, unless it is there."""
        if await engine.image(self.image) is None:
            await super().do(run, engine)


@step("addons.check_restored/1")
class CheckRestored(Step):
    """See that an add-on can be started as it will be, before what runs of it is stopped for that."""

    slug: AddonSlug
    folder: str
    stage = "addons"

    async def do(self, addons: Addons) -> None:
        addon = await asyncio.to_thread(unpacked, addons, self.slug, self.folder)
        await refuse_unstartable(addons.containers, described(addons, addon))
        if await addons.engine.image(addon.image) is None:
            raise ImageNotFound(f"The image {addon.image} is gone again; somebody took it away", image=addon.image)

    async def undo(self, _: None) -> None:
        """Nothing was changed."""


@step("addons.swap_folder/1")
class SwapAddonFolder(OfAddon, SwappingFolder):
    """Let a folder take the place of an add-on's own, which is kept until all is done."""

    slug: AddonSlug
    swap: FolderSwap
    stays: tuple[str, ...] = ()
    stage = "addons"

    async def do(self, services: ServiceDirectory, run: Run) -> None:
        await super().do(services, run)
        self._tell_who_writes_it(services)

    async def undo(self, before: BeforeSwap, services: ServiceDirectory) -> None:
        await super().undo(before, services)
        self._tell_who_writes_it(services)

    def _tell_who_writes_it(self, services: ServiceDirectory) -> None:
        """Those that may write all configurations have each folder mounted by itself: the one that was there."""
        addons = services.get(ADDONS)
        if self.swap.live != config_folder(self.slug):
            return
        for other in addons.installed.values():
            if other.slug != self.slug and writes_all_configs(other.config):
                reason = f"It may write all configurations, and that of add-on {self.slug} was restored."
                addons.restart_due(other.slug, reason)


@step("addons.restore_record/1")
class RestoreRecord(Step):
    """Let an add-on be what its backup says: its version, its options, and what else its user decided."""

    slug: AddonSlug
    folder: str
    """Where its part is unpacked, relative to the data folder."""
    declared: tuple[str, ...] = ()
    """What it declares that it did not, in sentences."""
    version: str = ""
    """The one that was backed up; for the plan."""
    stage = "addons"

    async def notes(self, addons: Addons) -> list[str]:
        """What to know before one agrees."""
        current = addons.installed.get(self.slug)
        is_new = f"{self.slug} comes in version {self.version}; it is not installed now"
        change = is_new if current is None else f"{self.slug} goes from version {current.version} to {self.version}"
        return [change, *self.declared]

    async def do(self, addons: Addons) -> None:
        """Enter it; what it takes the place of is kept."""
        addon = await asyncio.to_thread(unpacked, addons, self.slug, self.folder)
        kept = addons.replaced.get(self.slug)
        if kept is None or kept.restore != self.folder:
            current, probation = addons.installed.get(self.slug), addons.probations.get(self.slug)
            kept = ReplacedAddon(restore=self.folder, addon=current, probation=probation)
        ended = [addons.probations.delete(self.slug)] if self.slug in addons.probations else []
        await addons.kernel.commit(
            addons.replaced.put(self.slug, kept),
            addons.installed.put(self.slug, addon),
            addons.images.put(addon.image, BroughtImage(self.slug)),
            *ended,
        )
        await addons.containers.observation.look(self.slug)
        addons.tell_what_it_is(addon)

    async def undo(self, _: None, addons: Addons) -> None:
        """Let it be what it was, or not installed."""
        kept = addons.replaced.get(self.slug)
        if kept is None or kept.restore != self.folder:  # nothing was done, or it was taken back
            return
        forgotten = addons.replaced.delete(self.slug)
        if kept.addon is None:
            await addons.containers.lifetimes.revoke_tokens(self.slug)
            await addons.kernel.commit(addons.installed.delete(self.slug), forgotten)
            addons.forget(self.slug)
            return
        again = [addons.probations.put(self.slug, kept.probation)] if kept.probation is not None else []
        await addons.kernel.commit(addons.installed.put(self.slug, kept.addon), *again, forgotten)
        addons.tell_what_it_is(kept.addon)


@step("addons.start_restored/1")
class StartRestored(OfAddon, StartingRestored):
    """Start an add-on that ran before, as it was restored; where it does not run, all is as it was."""

    slug: AddonSlug
    must_run: bool = True
    stage = "addons"

    async def notes(self) -> list[str]:
        """How long it is away."""
        return [
            f"{self.slug} is stopped for some seconds, until it has started again (an estimate: what was unpacked "
            "takes its place by renaming)"
        ]

    def restored_fails(self, version: str, failure: str) -> RestoredAddonFails:
        return RestoredAddonFails(
            f"Add-on {self.slug} does not run as it was restored (version {version}): {failure}. What was there before "
            "is back; the end of the failed one's log is shown before its own",
            app=str(self.slug),
        )


@step("addons.run_restored/1")
class RunRestored(Step):
    """Start an add-on that did not run; one that can't be started stays as it was restored, and that is told."""

    slug: AddonSlug
    weight = 3
    stage = "addons"

    async def do(self, addons: Addons) -> None:
        """Make it a container, and start that."""
        containers = addons.containers
        try:
            await containers.lifetimes.create(self.slug)
            await containers.lifetimes.start(self.slug)
            await containers.observation.look(self.slug)
        except Unavailable:
            raise
        except RooftreeError as error:
            log.warning("restored_addon_not_started", addon=self.slug, reason=error.message)
            message = f"Add-on {self.slug} was restored, and could not be started: {error.message}"
            suggestions = ("execute_start", "disable_boot")
            addons.kernel.problems.report(Problem(BOOT_FAILED, "addon", self.slug, message, suggestions))

    async def undo(self, _: None, addons: Addons) -> None:
        await addons.containers.lifetimes.remove(self.slug)
        await addons.containers.observation.look(self.slug)
        addons.kernel.problems.clear(BOOT_FAILED, "addon", self.slug)

"""What add-ons leave behind where a step that tidies could not: found again, and taken away when nothing needs it.

A step that tidies may fail, or have nothing to do yet: an image is still that of a stopped container, the engine is
away, a kill falls between two steps. None of them is tried again by its job. So what is due is not what somebody wanted
to remove, but what is there and needed by nobody: **images** that we ever brought for an add-on (noted with what needs
them, in the same transaction), **copies** of data that no probation knows, **profiles**, **container ids** and
**tokens** of add-ons that are not installed. That is looked at whenever a container has gone, at the start, and each
day; each add-on is then seen to by a job that holds its lock.

While the state is known to be damaged nothing is: what we do not know may be needed all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from attrs import frozen

from rooftree import Collection, Kernel, RooftreeError, Step, Steps, job, step
from rooftree.interfaces.callers import ADDON
from rooftree.interfaces.containers import ContainerChanged, EngineConnected
from rooftree_addons.addons import Addons
from rooftree_addons.brought_images import BroughtImage
from rooftree_addons.own_folders import KEPT_FOLDER, drop_kept_options
from rooftree_addons.verbs import addon_lock
from rooftree_containers.cid_file import CID_FOLDER, remove_cid
from rooftree_containers.damaged_state import state_is_damaged
from rooftree_containers.update_backup import FAILED
from rooftree_files import Folder
from rooftree_store import AddonSlug

log = structlog.get_logger(__name__)

AFTER_S: Final = 5.0
"""Seconds after a container has gone: the job that it went for does its own tidying first."""


@frozen
class Leftovers:
    """What is due of one add-on."""

    images: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    """Folders, relative to the data folder."""
    profile: bool = False
    cid: bool = False
    tokens: bool = False
    replaced: bool = False
    """What a restore took the place of, that has ended."""


class Tidying:
    """Knows what is due, and sees to it."""

    def __init__(self, kernel: Kernel, addons: Addons) -> None:
        self._kernel = kernel
        self._addons = addons
        self._images: Collection[BroughtImage] = addons.images
        self._more = asyncio.Event()

    async def note_what_is_installed(self) -> None:
        """Note the images of add-ons that were installed before images were noted."""
        noted = {addon.image: addon.slug for addon in self._addons.installed.values()}
        for slug, probation in self._addons.probations.items():
            noted |= {probation.kept.image: AddonSlug(slug), probation.was.image: AddonSlug(slug)}
        missing = [
            self._images.put(image, BroughtImage(slug)) for image, slug in noted.items() if image not in self._images
        ]
        if missing:
            await self._kernel.commit(*missing)

    def changed(self, event: ContainerChanged) -> None:
        """A container has gone: what was only its own may go."""
        if event.action == "destroy":
            self._more.set()

    def connected(self, _: EngineConnected) -> None:
        """The engine is there (again)."""
        self._more.set()

    async def follow(self) -> None:
        """Tidy at the start, and soon after something may have become due."""
        while True:
            self._more.clear()
            await self.tidy()
            await self._more.wait()
            await asyncio.sleep(AFTER_S)

    async def tidy(self) -> None:
        """Take away what nothing needs any more; what can't be taken away stays due. Done each day, too."""
        if not self._addons.engine.available or state_is_damaged(self._kernel):
            return
        try:
            slugs = sorted(await self.due())
        except RooftreeError as error:  # the engine has gone again
            log.info("tidying_put_off", reason=error.message)
            return
        for slug in slugs:
            try:
                await self._kernel.jobs.run(tidy_addon(slug=slug))
            except RooftreeError as error:  # another job has it
                log.info("tidying_put_off", addon=slug, reason=error.message)

    async def due(self) -> Mapping[AddonSlug, Leftovers]:
        """What is due, by add-on."""
        await self._forget_images_that_are_gone()
        slugs_with_files = {
            AddonSlug(slug) for slug in await asyncio.to_thread(_slugs_with_files, self._kernel.data.path)
        }
        slugs = (
            slugs_with_files
            | {entry.slug for entry in self._images.values()}
            | {AddonSlug(slug) for slug in self._addons.replaced}
            | {AddonSlug(token.subject) for token in self._kernel.tokens.known(ADDON.name).values()}
        )
        shown = {container.name for container in await self._addons.engine.containers()}
        remains = {slug: await self.of(slug, has_container=f"app_{slug}" in shown) for slug in slugs}
        return {slug: leftovers for slug, leftovers in remains.items() if leftovers != Leftovers()}

    async def of(self, slug: AddonSlug, *, has_container: bool) -> Leftovers:
        """What is due of one add-on.

        :param has_container: then what its container needs is not due, though nobody may know the add-on
        """
        is_gone = slug not in self._addons.installed and not has_container
        needed = self._needed_images()
        probation = self._addons.probations.get(slug)
        data = self._kernel.data.path
        copies = await asyncio.to_thread(_copies, data, slug)
        return Leftovers(
            images=tuple(i for i, entry in self._images.items() if entry.slug == slug and i not in needed),
            copies=tuple(copy for copy in copies if probation is None or copy != probation.kept.folder),
            profile=is_gone and await asyncio.to_thread(self._addons.profiles.kept, slug) is not None,
            cid=is_gone and f"app_{slug}.cid" in await asyncio.to_thread(_names, data, CID_FOLDER),
            tokens=is_gone and bool(self._kernel.tokens.known(ADDON.name, slug)),
            replaced=slug in self._addons.replaced,
        )

    def _needed_images(self) -> set[str]:
        needed = {addon.image for addon in self._addons.installed.values()}
        for probation in self._addons.probations.values():
            needed |= {probation.kept.image, probation.was.image}
        return needed

    async def _forget_images_that_are_gone(self) -> None:
        needed = self._needed_images()
        for image in [image for image in self._images if image not in needed]:
            if await self._addons.engine.image(image) is None:
                await self._kernel.commit(self._images.delete(image))

    async def take_away(self, slug: AddonSlug) -> None:
        """Take away what is due of an add-on whose lock is held."""
        container = await self._addons.engine.container(f"app_{slug}")
        due = await self.of(slug, has_container=container is not None)
        for image in due.images:
            if await self._addons.engine.remove_image(image):
                log.info("image_tidied", addon=slug, image=image)
        await self._addons.removals.remove(*due.copies)
        if due.profile:
            await self._addons.profiles.remove(slug)
        if due.cid:
            await asyncio.to_thread(remove_cid, self._kernel.data.path, f"app_{slug}")
            await asyncio.to_thread(drop_kept_options, self._kernel.data.path, f"app_{slug}")
        if due.replaced:
            await self._kernel.commit(self._addons.replaced.delete(slug))
        if due.tokens:
            await self._addons.containers.lifetimes.revoke_tokens(slug)
        await self._forget_images_that_are_gone()


@step("addons.tidy/1")
class Tidy(Step):
    """Take away what an add-on has left and nothing needs: images, copies of its data, its profile, its tokens."""

    slug: AddonSlug
    tidies = True

    async def do(self, addons: Addons) -> None:
        await Tidying(addons.kernel, addons).take_away(self.slug)


@job("addon_manager_tidy", reference="slug", locks=lambda slug: [addon_lock(slug)], recovery="forward", makes_room=True)
async def tidy_addon(addons: Addons, slug: AddonSlug) -> Steps:
    """Take away what an add-on has left."""
    return [Tidy(slug)]


def _slugs_with_files(data: Path) -> set[str]:
    """The add-ons that something of ours lies in the data folder for. Blocks."""
    files = [name for name in _names(data, CID_FOLDER) if name.startswith("app_")]
    cids = {name.removeprefix("app_").removesuffix(".cid") for name in files}
    names = cids | {*_names(data, KEPT_FOLDER), *_names(data, "apparmor")}
    return {name for name in names if _is_slug(name)}


def _names(data: Path, folder: str) -> list[str]:
    with suppress(FileNotFoundError), Folder.open(data) as root:
        return root.names(folder)
    return []


def _is_slug(name: str) -> bool:
    try:
        AddonSlug.check(name)
    except ValueError:
        return False
    return True


def _copies(data: Path, slug: AddonSlug) -> list[str]:
    """Where copies of an add-on's data lie; those that a version left which failed stay for their time. Blocks."""
    folder = f"{KEPT_FOLDER}/{slug}"
    return [f"{folder}/{name}" for name in sorted(_names(data, folder)) if not name.startswith(FAILED)]

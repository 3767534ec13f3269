"""Add-ons as the owner of their parts of backups: what each part holds, and how the add-on keeps still meanwhile.

A *hot* add-on runs on, and may be told before and after by commands of its own; a *cold* one is stopped for as long as
its part takes, or only until what it has stored is cloned. Nothing is locked for that, for a backup may take an hour:
what happened to an add-on meanwhile that makes its part worthless is seen when it has been read.
"""

from __future__ import annotations

import asyncio
import secrets
import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import structlog
from attrs import evolve, frozen

from rooftree import JobCall, RooftreeError, Unavailable
from rooftree.interfaces.backups import (
    BackupPart,
    PartContents,
    PartId,
    PartKind,
    PartLeftOut,
    PartTree,
    PartWishes,
    StagedPart,
)
from rooftree.interfaces.containers import DataPath, ImageNotFound
from rooftree_addons.addons import Addons
from rooftree_addons.backup_record import written
from rooftree_addons.container import config_folder, data_folder, wants_config_folder
from rooftree_addons.data_clones import DataClones
from rooftree_addons.installed import InstalledAddon
from rooftree_addons.own_folders import has_folder
from rooftree_addons.restores import restore
from rooftree_addons.verbs import uninstall
from rooftree_containers import Desired
from rooftree_containers.observation import runs
from rooftree_store import AddonSlug, BackupMode

log = structlog.get_logger(__name__)

COMMAND_WITHIN_S: Final = 600.0
"""Seconds that an add-on's own command before or after a backup may take."""
MOST_LOGGED_BYTES: Final = 4096
DEBUG_LOGGING: Final = "ha supervisor options --logging debug"
EXPORTS: Final = "exported-images"
"""In the plugin's own folder: where images lie while they are backed up."""


class BackupCommandFailed(PartLeftOut):
    """An add-on's own command before or after its backup failed. ``extra_fields``: ``app``, ``exit_code`` (``None``: it
    did not end in time), ``debug_logging_command``."""

    error_key = "app_pre_post_backup_command_returned_error"


@frozen
class _Seen:
    """What an add-on was when its backup began."""

    version: str
    image: str
    container_id: str | None
    runs: bool


class AddonBackups:
    """The :class:`~rooftree.interfaces.backups.BackupSource` of add-ons.

    :param folder: the plugin's own
    """

    kind = PartKind.ADDON

    def __init__(self, addons: Addons, folder: Path) -> None:
        self._addons = addons
        self._exports = folder / EXPORTS
        self.clones = DataClones(addons.kernel.data.path, folder, addons.removals)

    def parts(self) -> Sequence[BackupPart]:
        return [
            BackupPart(id=PartId(kind=PartKind.ADDON, slug=str(slug)), name=addon.config.name, version=addon.version)
            for slug, addon in self._addons.installed.items()
        ]

    @asynccontextmanager
    async def hold(self, slug: str, wishes: PartWishes) -> AsyncIterator[PartContents]:
        """Keep an add-on still, and say what its part holds."""
        addon = self._addons.installed.get(slug)
        if addon is None:
            raise PartLeftOut(f"Add-on {slug} is not installed", app=slug)
        seen = await self._look(addon)
        async with self._exported(addon) as image, self.clones.while_read(slug), AsyncExitStack() as still:
            contents = await self._contents(addon, image, seen)
            is_cold = seen.runs and addon.config.backup is BackupMode.COLD
            is_cloned = wishes.from_copy and is_cold and await self.clones.can_share(contents.trees)
            await still.enter_async_context(self._still(addon, seen))
            cloned = await self.clones.clone(slug, contents.trees) if is_cloned else None
            if cloned is None:
                yield contents
                await self._refuse_changed(addon, seen)
            else:
                await self._refuse_changed(addon, seen)
                await still.aclose()  # from here on it runs again
                yield evolve(contents, trees=tuple(cloned))

    async def release(self, slug: str) -> None:
        """Tell a hot add-on that its backup is over. One that was stopped runs again when the engine is looked at, for
        that is what is desired of it."""
        await asyncio.to_thread(_clear, self._exports, slug)
        await self.clones.remove(slug)
        addon = self._addons.installed.get(slug)
        if addon is None or addon.config.backup is BackupMode.COLD or addon.config.backup_post is None:
            return
        if runs(await self._addons.containers.observation.look(addon.slug)):
            with suppress(BackupCommandFailed):
                await self._run_command(addon, "backup_post", addon.config.backup_post)

    def restore(self, part: StagedPart) -> JobCall[None]:
        """The job that puts an add-on back."""
        return restore(slug=AddonSlug(part.id.slug), part=part)

    def remove(self, slug: str) -> JobCall[None]:
        """The job that uninstalls an add-on; what its user configured of it stays."""
        return uninstall(slug=AddonSlug(slug), remove_config=False)

    # --- still -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _still(self, addon: InstalledAddon, seen: _Seen) -> AsyncIterator[None]:
        if not seen.runs:
            yield
        elif addon.config.backup is BackupMode.COLD:
            try:
                await self._addons.containers.lifetimes.end(addon.slug, addon.config.timeout)
                yield
            finally:
                await self._run_again(addon)
        else:
            async with self._told(addon):
                yield

    @asynccontextmanager
    async def _told(self, addon: InstalledAddon) -> AsyncIterator[None]:
        """Tell a running add-on before, and after whatever became of it."""
        before, after = addon.config.backup_pre, addon.config.backup_post
        try:
            if before is not None:
                await self._run_command(addon, "backup_pre", before)
            yield
        except BaseException:
            if after is not None:
                with suppress(RooftreeError):  # the first reason is the one to be told
                    await self._run_command(addon, "backup_post", after)
            raise
        if after is not None:
            await self._run_command(addon, "backup_post", after)

    async def _run_command(self, addon: InstalledAddon, name: str, command: str) -> None:
        try:
            async with asyncio.timeout(COMMAND_WITHIN_S):
                result = await self._addons.engine.execute(addon.container, shlex.split(command))
        except TimeoutError:
            raise _command_failed(addon, name, None, f"did not end within {COMMAND_WITHIN_S:g} s") from None
        except ValueError as error:
            raise _command_failed(addon, name, None, f"can't be read: {error}") from None
        log.debug(
            "backup_command", addon=addon.slug, command=name, exit_code=result.exit_code, output=result.output[-4096:]
        )
        if result.exit_code:
            raise _command_failed(addon, name, result.exit_code, f"ended with exit code {result.exit_code}")

    async def _run_again(self, addon: InstalledAddon) -> None:
        """Run a cold add-on again, unless somebody wants it otherwise by now, or is just changing it."""
        containers, slug = self._addons.containers, addon.slug
        current = self._addons.installed.get(slug)
        if current is None or current.desired is not Desired.STARTED or current.what_it_is != addon.what_it_is:
            return
        try:
            shown = await containers.observation.look(slug)
            if shown is not None and not runs(shown):
                await containers.lifetimes.resume(slug)
        except Unavailable:  # it is started when the engine comes back
            log.warning("addon_not_started_again", addon=slug)
        except RooftreeError as error:
            log.warning("addon_not_started_again", addon=slug, reason=error.message)
            containers.watchdog.failed(slug)

    async def _look(self, addon: InstalledAddon) -> _Seen:
        shown = await self._addons.containers.observation.look(addon.slug)
        return _Seen(addon.version, addon.image, shown.id if shown is not None else None, runs(shown))

    async def _refuse_changed(self, addon: InstalledAddon, seen: _Seen) -> None:
        """Raise where something happened to it meanwhile."""
        current = self._addons.installed.get(addon.slug)
        if current is None:
            raise PartLeftOut(f"Add-on {addon.slug} was uninstalled while it was backed up", app=str(addon.slug))
        now = await self._look(current)
        if (now.version, now.image) != (seen.version, seen.image):
            raise PartLeftOut(f"Add-on {addon.slug} was updated while it was backed up", app=str(addon.slug))
        if addon.config.backup is BackupMode.COLD and now.runs:
            raise PartLeftOut(
                f"Add-on {addon.slug} was started while it was backed up, which it has to be stopped for",
                app=str(addon.slug),
            )

    # --- contents ----------------------------------------------------------------------------------------------------

    async def _contents(self, addon: InstalledAddon, image: Path | None, seen: _Seen) -> PartContents:
        slug, data = addon.slug, self._addons.kernel.data.path
        profile = await asyncio.to_thread(self._addons.profiles.kept, slug)
        folders = {"data": data_folder(slug)}
        if wants_config_folder(addon.config):
            folders["config"] = config_folder(slug)
        excluded = addon.config.backup_exclude or ()
        trees = [
            PartTree(source=DataPath(folder), name=name, excluded=excluded, matching="tail")
            for name, folder in folders.items()
            if await asyncio.to_thread(has_folder, data, folder)
        ]
        documents = written(addon, profile, "started" if seen.runs else "stopped")
        return PartContents(documents=documents, trees=tuple(trees), image=image)

    @asynccontextmanager
    async def _exported(self, addon: InstalledAddon) -> AsyncIterator[Path | None]:
        """The image of an add-on that was built here, in a file; done before anything is stopped for it."""
        if addon.config.image is not None:
            yield None
            return
        file = self._exports / f"{addon.slug}.{secrets.token_hex(8)}.tar"
        try:
            await asyncio.to_thread(_make, self._exports)
            try:
                await self._addons.engine.export_image(addon.image, file)
            except ImageNotFound:  # it can be built again, from what is in the backup of local add-ons
                log.warning("image_not_backed_up", addon=addon.slug, image=addon.image)
                yield None
            else:
                yield file
        finally:
            await asyncio.to_thread(_delete, file)


def _command_failed(addon: InstalledAddon, name: str, exit_code: int | None, reason: str) -> BackupCommandFailed:
    return BackupCommandFailed(
        f"Add-on {addon.slug} is not in the backup: its command {name} {reason}. Its own log may say more, and what "
        "the command printed is logged at level debug",
        app=str(addon.slug),
        exit_code=exit_code,
        debug_logging_command=DEBUG_LOGGING,
    )


def _make(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)  # ours: the plugin's own


def _delete(file: Path) -> None:
    file.unlink(missing_ok=True)  # ours: the plugin's own


def _clear(folder: Path, slug: str) -> None:
    """Delete what a kill has left of an add-on."""
    for file in folder.glob(f"{slug}.*"):  # ours: the plugin's own
        _delete(file)

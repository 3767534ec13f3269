"""The steps of this domain's jobs. What they mount is kept as a draft: steps and the journal know no credentials."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from rooftree import Invalid, RooftreeError, Step, step
from rooftree.interfaces.mounts import MountUse
from rooftree_mounts import places
from rooftree_mounts.disks import MountableDisks
from rooftree_mounts.host_mounts import HostMounts
from rooftree_mounts.kept_mounts import KeptMounts
from rooftree_mounts.places import Places
from rooftree_mounts.removal import MountRemoval

log = structlog.get_logger(__name__)

BESIDE: Final = {"backup": "backup", "media": "media", "share": "share"}
"""Where local data goes that is in the way of a mount, relative to the data folder."""


class ReloadFailed(Invalid):
    """It could not be mounted again. ``extra_fields``: ``name``."""

    error_key = "mount_reload_error"


@step("mounts.keep_draft/1")
class KeepDraft(Step):
    """Note what is to be mounted, and find the disk where it is one."""

    name: str

    async def do(self, kept: KeptMounts, disks: MountableDisks) -> None:
        await kept.keep_draft(self.name, await disks.resolved(kept.wanted(self.name)))

    async def undo(self, _: None, kept: KeptMounts) -> None:
        await kept.drop_draft(self.name)


@step("mounts.prepare_folders/1")
class PrepareFolders(Step):
    """Make the empty folders that it is mounted on, into which nobody can write."""

    name: str
    usage: MountUse

    async def before(self, mounts: HostMounts) -> list[str]:
        """Those that there are."""
        return await asyncio.to_thread(places.existing, mounts.data, Places.of(self.name, self.usage))

    async def do(self, mounts: HostMounts) -> None:
        await asyncio.to_thread(places.prepare, mounts.data, Places.of(self.name, self.usage))

    async def undo(self, there: list[str], mounts: HostMounts) -> None:
        await asyncio.to_thread(places.clear, mounts.data, Places.of(self.name, self.usage), keep=there)


@step("mounts.mount_draft/1")
class MountDraft(Step):
    """Mount it, and have it answer."""

    name: str
    usage: MountUse
    weight = 5

    async def do(self, kept: KeptMounts, mounts: HostMounts) -> None:
        config = kept.draft(self.name)
        assert config is not None, "the step before has kept it"
        await mounts.activate(self.name, config)

    async def undo(self, _: None, mounts: HostMounts) -> None:
        await mounts.take_down(Places.of(self.name, self.usage))


@step("mounts.try_beside/1")
class TryBeside(Step):
    """Mount it beside the one that is in use, have it answer, and unmount it."""

    name: str
    weight = 5

    async def do(self, kept: KeptMounts, mounts: HostMounts) -> None:
        config = kept.draft(self.name)
        assert config is not None, "the step before has kept it"
        await mounts.try_beside(self.name, config)

    async def undo(self, _: None, mounts: HostMounts) -> None:
        await mounts.end_trial(self.name)


@step("mounts.replace/1")
class Replace(Step):
    """Mount it in place of the one that is in use."""

    name: str
    before_usage: MountUse
    usage: MountUse
    weight = 5
    downtime = True

    async def do(self, kept: KeptMounts, mounts: HostMounts) -> None:
        config = kept.draft(self.name)
        assert config is not None, "a step before has kept it"
        await mounts.replace(Places.of(self.name, self.before_usage), self.name, config)

    async def undo(self, _: None, mounts: HostMounts) -> None:
        """The one before is mounted again; where its server does not let it, that is a problem of its own."""
        if self.usage != self.before_usage:
            await mounts.take_down(Places.of(self.name, self.usage))
        await mounts.bring_back(self.name)


@step("mounts.save/1")
class Save(Step):
    """Keep it."""

    name: str

    async def do(self, kept: KeptMounts, mounts: HostMounts) -> None:
        await kept.save_draft(self.name)
        mounts.has_come(self.name)


@step("mounts.set_aside/1")
class SetAside(Step):
    """Forget the mount."""

    name: str

    async def before(self, kept: KeptMounts) -> bool:
        """Whether backups go there."""
        return kept.default == self.name

    async def notes(self, removal: MountRemoval) -> list[str]:
        """Who would miss it."""
        return await removal.users(self.name)

    async def do(self, kept: KeptMounts, removal: MountRemoval) -> None:
        if self.name in kept.configs:
            log.info("mount_removed", mount=self.name, used_by=await removal.users(self.name))
            await kept.set_aside(self.name)

    async def undo(self, was_default: bool, kept: KeptMounts, mounts: HostMounts) -> None:
        await kept.bring_back(self.name, as_default=was_default)
        mounts.wanted.set()


@step("mounts.take_down/1")
class TakeDown(Step):
    """Unmount it, whoever uses it."""

    name: str
    usage: MountUse
    downtime = True

    async def do(self, mounts: HostMounts) -> None:
        await mounts.take_down(Places.of(self.name, self.usage))

    async def undo(self, _: None, mounts: HostMounts) -> None:
        """It is mounted again as soon as it is kept again."""


@step("mounts.clear_folders/1")
class ClearFolders(Step):
    """Take the empty folders away that it was mounted on."""

    name: str
    usage: MountUse
    tidies = True

    async def do(self, kept: KeptMounts, mounts: HostMounts) -> None:
        config = kept.configs.get(self.name)
        needed = () if config is None else Places.of(self.name, config.usage).both
        for place in Places.of(self.name, self.usage).both:
            if place not in needed:
                where = Places(self.name, place, None)
                await mounts.take_down(where)  # a kill may have left something mounted
                await asyncio.to_thread(places.clear, mounts.data, where)
        if config is None:
            await kept.drop_draft(self.name)
            mounts.has_gone(self.name)


@step("mounts.reload/1")
class Reload(Step):
    """Have it answer, or mount it anew."""

    name: str

    async def do(self, mounts: HostMounts) -> None:
        try:
            await mounts.reload(self.name)
        except RooftreeError as error:
            raise ReloadFailed(error.message, name=self.name) from error


@step("mounts.move_local_data/1")
class MoveLocalData(Step):
    """Move what lies in the way of a mount into a folder beside it."""

    name: str
    usage: MountUse

    async def notes(self) -> list[str]:
        return [f"What lies in the way goes to {BESIDE[self.usage]}/{self.name}_local_recovery (or _2, _3 …)"]

    async def do(self, mounts: HostMounts) -> list[str]:
        """Where it all is now, relative to the data folder."""
        where = Places.of(self.name, self.usage)
        moved = await asyncio.to_thread(places.move_local_data, mounts.data, where, BESIDE[self.usage])
        if moved:
            log.warning("local_data_moved", mount=self.name, to=moved)
        return moved

"""The steps with add-ons that their jobs are made of; those with images are shared with other domains."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from rooftree import Step, step
from rooftree.interfaces.containers import ContainerStatus, Health, PortConflict
from rooftree_addons import growth
from rooftree_addons.addons import Addons
from rooftree_addons.brought_images import BroughtImage
from rooftree_addons.container import config_folder, data_folder
from rooftree_addons.images import known_digest
from rooftree_addons.installed import AddonUpdateRolledBack, Desired, InstalledAddon, InstalledVersion
from rooftree_addons.own_folders import has_folder
from rooftree_addons.ports import port_conflict, refuse_taken_ports
from rooftree_addons.removals import JOB_PATIENCE_S
from rooftree_addons.snapshot import KEPT_FOLDER
from rooftree_store import AddonSlug

log = structlog.get_logger(__name__)

STARTED_WITHIN_S = 120.0
"""Seconds that a start waits for a health check; the add-on goes on starting when they are over."""
STEADY_S = 1.0
"""Seconds that a new version without a health check must run before it counts as started."""
LOOK_EVERY_S = 0.1


@step("addons.create_data_folder/1")
class CreateDataFolder(Step):
    """Make the folder for an add-on's own data."""

    slug: AddonSlug

    async def before(self, addons: Addons) -> bool:
        """Whether it was there, from an earlier installation."""
        return await asyncio.to_thread(has_folder, addons.kernel.data.path, data_folder(self.slug))

    async def do(self, addons: Addons) -> None:
        """Make it."""
        await addons.make_folders(self.slug, config_folder_too=False)

    async def undo(self, was_there: bool, addons: Addons) -> None:
        """Take it away, if this made it."""
        if not was_there:
            await addons.removals.remove(data_folder(self.slug))


@step("addons.install_profile/1")
class InstallProfile(Step):
    """Take over the AppArmor profile that a version of an add-on brings, or that it brings none."""

    slug: AddonSlug
    text: str | None

    async def before(self, addons: Addons) -> str | None:
        """The profile that it had."""
        return await asyncio.to_thread(addons.profiles.kept, self.slug)

    async def do(self, addons: Addons) -> None:
        """Check and keep it; the next start loads it."""
        await addons.profiles.install(self.slug, self.text)

    async def undo(self, was: str | None, addons: Addons) -> None:
        """The profile that it had, again."""
        await addons.profiles.install(self.slug, was)


@step("addons.register/1")
class RegisterAddon(Step):
    """Enter an add-on as installed."""

    slug: AddonSlug
    image: str
    config: dict[str, Any]
    """The normalised configuration at the time of the plan."""

    async def before(self, addons: Addons) -> bool:
        """Whether it was installed."""
        return self.slug in addons.installed

    async def notes(self, addons: Addons) -> list[str]:
        """What it declares; the hardware that it would get, and would not."""
        fresh = InstalledAddon.fresh(self.slug, self.image, self.config, set())
        return [*growth.sentences(fresh), *(await addons.hardware_now(fresh)).sentences()]

    async def do(self, addons: Addons) -> None:
        """Enter it."""
        taken = {addon.ingress_port for addon in addons.installed.values() if addon.ingress_port}
        digest = await known_digest(addons, self.image, self.config)
        fresh = InstalledAddon.fresh(self.slug, self.image, self.config, taken, digest)
        noted = addons.images.put(self.image, BroughtImage(self.slug))
        await addons.kernel.commit(addons.installed.put(self.slug, fresh), noted)
        addons.observe(self.slug, None)
        addons.tell_store()

    async def undo(self, was_there: bool, addons: Addons) -> None:
        """Take it out, if this entered it."""
        if not was_there:
            await addons.kernel.commit(addons.installed.delete(self.slug))
            addons.forget(self.slug)


@step("addons.unregister/1")
class UnregisterAddon(Step):
    """Take an add-on out of what is installed, and end its tokens."""

    slug: AddonSlug

    async def do(self, addons: Addons) -> None:
        """Take it out."""
        await addons.revoke_tokens(self.slug)
        if self.slug in addons.installed:
            await addons.kernel.commit(addons.installed.delete(self.slug))
        addons.forget(self.slug)


@step("addons.change_version/1")
class ChangeVersion(Step):
    """Let an installed add-on be another version; its options and its user's choices stay."""

    slug: AddonSlug
    image: str
    config: dict[str, Any]

    async def before(self, addons: Addons) -> InstalledVersion:
        """What was installed."""
        return addons.get(self.slug).what_it_is

    async def notes(self, addons: Addons) -> list[str]:
        """What it declares that it did not; the hardware that it would get then, and would not."""
        now = addons.get(self.slug)
        changed = now.with_version(self.image, None, self.config)
        return [*growth.sentences(changed, now.config), *(await addons.hardware_now(changed)).sentences()]

    async def do(self, addons: Addons) -> None:
        """Change it."""
        digest = await known_digest(addons, self.image, self.config)
        await addons.kernel.commit(
            addons.installed.update(self.slug, lambda now: now.with_version(self.image, digest, self.config)),
            addons.images.put(self.image, BroughtImage(self.slug)),
        )
        addons.tell_store()

    async def undo(self, was: InstalledVersion, addons: Addons) -> None:
        """Back to what it was, keeping what its user changed meanwhile."""
        await addons.kernel.commit(addons.installed.update(self.slug, lambda now: now.with_version_of(was)))
        addons.tell_store()


@step("addons.set_desired/1")
class SetDesired(Step):
    """Note what the user wants of an add-on."""

    slug: AddonSlug
    desired: Desired

    async def before(self, addons: Addons) -> Desired:
        """What was wanted."""
        return addons.get(self.slug).desired

    async def do(self, addons: Addons) -> None:
        """Note it."""
        await _want(addons, self.slug, self.desired)

    async def undo(self, was: Desired, addons: Addons) -> None:
        """What was wanted before, again."""
        await _want(addons, self.slug, was)


async def _want(addons: Addons, slug: AddonSlug, desired: Desired) -> None:
    await addons.kernel.commit(addons.installed.update(slug, lambda now: now.wanting(desired)))


@step("addons.create_container/1")
class CreateContainer(Step):
    """Make a fresh container, with a fresh token and the options as they are now, in place of the one there is."""

    slug: AddonSlug
    new_version: bool = False
    """Whether another step of the job changes the version, and tells of its hardware."""

    async def notes(self, addons: Addons) -> list[str]:
        """The hardware that it gets, and does not get."""
        return [] if self.new_version else (await addons.hardware_now(addons.get(self.slug))).sentences()

    async def do(self, addons: Addons) -> None:
        """Make it."""
        await addons.create_container(self.slug)

    async def undo(self, _: None, addons: Addons) -> None:
        """Take it away."""
        await addons.remove_container(self.slug)
        addons.observe(self.slug, None)


@step("addons.start_container/1")
class StartContainer(Step):
    """Start an add-on's container, and wait for its health check where it has one."""

    slug: AddonSlug
    must_run: bool = False
    """Whether an add-on that fails as soon as it runs fails the job, rather than being left for its log to be read."""
    weight = 3
    interruptible = True

    async def do(self, addons: Addons) -> None:
        """Start it."""
        addon = addons.get(self.slug)
        await refuse_taken_ports(addons, addon)
        try:
            await addons.engine.start(addon.container)
        except PortConflict as error:
            port = error.extra_fields.get("port")
            raise port_conflict(addons, addon, port if isinstance(port, int) else None) from None
        container = await addons.look(self.slug)
        try:
            async with asyncio.timeout(STARTED_WITHIN_S):
                await addons.until_settled(self.slug)
        except TimeoutError:
            log.warning("addon_slow_to_start", addon=self.slug, waited_s=STARTED_WITHIN_S)
        if self.must_run:
            checked = container is not None and container.health is not Health.NONE
            await self._refuse_failure(addons, steady_s=0.0 if checked else STEADY_S)

    async def _refuse_failure(self, addons: Addons, steady_s: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + steady_s
        while True:
            container = await addons.look(self.slug)
            if container is not None and (container.exit_code or container.health is Health.UNHEALTHY):
                ended = f"ended with exit code {container.exit_code}" if container.exit_code else "was not healthy"
                reason = f"it {ended} as soon as it was started"
                addons.failures[self.slug] = reason
                version = addons.get(self.slug).version
                raise AddonUpdateRolledBack(
                    f"Version {version} of add-on {self.slug} does not work here: {reason}. The version before it is "
                    "back, with its data",
                    addon=str(self.slug),
                )
            if container is None or container.exit_code is not None or loop.time() >= until:
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def undo(self, _: None, addons: Addons) -> None:
        """End it."""
        await addons.end_container(self.slug, addons.get(self.slug).config.timeout)
        await addons.look(self.slug)


@step("addons.stop_container/1")
class StopContainer(Step):
    """End an add-on's container, and its token; its logs stay until it is started again."""

    slug: AddonSlug
    weight = 3
    downtime = True

    async def before(self, addons: Addons) -> bool:
        """Whether it ran."""
        container = await addons.look(self.slug)
        return container is not None and container.status is ContainerStatus.RUNNING

    async def do(self, addons: Addons) -> None:
        """End it."""
        await addons.end_container(self.slug, addons.get(self.slug).config.timeout)
        await addons.revoke_tokens(self.slug)
        await addons.look(self.slug)

    async def undo(self, ran: bool, addons: Addons) -> None:
        """Run it again, if it ran."""
        if ran:
            await addons.create_container(self.slug)
            await addons.engine.start(f"app_{self.slug}")
            await addons.look(self.slug)


@step("addons.remove_container/1")
class RemoveAddonContainer(Step):
    """End and take away an add-on's container."""

    slug: AddonSlug
    stop_timeout_s: int
    downtime = True

    async def do(self, addons: Addons) -> None:
        """Let it end, then take it away."""
        await addons.end_container(self.slug, self.stop_timeout_s)
        await addons.remove_container(self.slug)


@step("addons.remove_data/1")
class RemoveData(Step):
    """Take an add-on's own data out of the way, and its configuration where that is asked for."""

    slug: AddonSlug
    remove_config: bool

    async def do(self, addons: Addons) -> None:
        """Let its folders go where nobody has them any more, whatever lies in them."""
        config = [config_folder(self.slug)] if self.remove_config else []
        await addons.removals.put_away(data_folder(self.slug), f"{KEPT_FOLDER}/{self.slug}", *config)
        await addons.profiles.remove(self.slug)


@step("addons.delete_removed/1")
class DeleteRemoved(Step):
    """Delete what an add-on has left; what can't be deleted now is tried again each day."""

    slug: AddonSlug
    tidies = True

    async def do(self, addons: Addons) -> None:
        """Delete it."""
        await addons.removals.delete(JOB_PATIENCE_S)

"""The steps with add-ons that their jobs are made of.

Those with their containers do what the library's do; the kinds are the add-ons' own, with the arguments that they have
in the journals of older versions.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from rooftree import Step, step
from rooftree.services import ServiceDirectory
from rooftree_addons import growth
from rooftree_addons.addons import ADDONS, Addons
from rooftree_addons.brought_images import BroughtImage
from rooftree_addons.container import config_folder, data_folder
from rooftree_addons.images import known_digest
from rooftree_addons.installed import InstalledAddon, InstalledVersion
from rooftree_addons.own_folders import KEPT_FOLDER, has_folder
from rooftree_addons.ports import taken_page_ports
from rooftree_addons.preparation import make_folders
from rooftree_addons.removals import JOB_PATIENCE_S
from rooftree_containers import Desired
from rooftree_containers.container_steps import (
    CheckingStart,
    ContainerStep,
    Creating,
    Removing,
    SettingDesired,
    Starting,
    Stopping,
)
from rooftree_store import AddonSlug

PLUGIN = "addons"
"""The plugin whose containers the steps are about."""


@step("addons.create_data_folder/1")
class CreateDataFolder(Step):
    """Make the folder for an add-on's own data."""

    slug: AddonSlug

    async def before(self, addons: Addons) -> bool:
        """Whether it was there, from an earlier installation."""
        return await asyncio.to_thread(has_folder, addons.kernel.data.path, data_folder(self.slug))

    async def do(self, addons: Addons) -> None:
        await make_folders(addons, self.slug, config_folder_too=False)

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

    async def undo(self, profile: str | None, addons: Addons) -> None:
        """The profile that it had, again."""
        await addons.profiles.install(self.slug, profile)


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
        taken = await asyncio.to_thread(taken_page_ports, addons.installed, self.slug)
        digest = await known_digest(addons, self.image, self.config)
        fresh = InstalledAddon.fresh(self.slug, self.image, self.config, taken, digest)
        noted = addons.images.put(self.image, BroughtImage(self.slug))
        await addons.kernel.commit(addons.installed.put(self.slug, fresh), noted)
        addons.containers.observation.observe(self.slug, None)
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
        await addons.containers.lifetimes.revoke_tokens(self.slug)
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
        return addons.get(self.slug).what_it_is

    async def notes(self, addons: Addons) -> list[str]:
        """What it declares that it did not; the hardware that it would get then, and would not."""
        addon = addons.get(self.slug)
        changed = addon.with_version(self.image, None, self.config)
        return [*growth.sentences(changed, addon.config), *(await addons.hardware_now(changed)).sentences()]

    async def do(self, addons: Addons) -> None:
        taken = await asyncio.to_thread(taken_page_ports, addons.installed, self.slug)
        digest = await known_digest(addons, self.image, self.config)
        await addons.kernel.commit(
            addons.installed.update(
                self.slug, lambda addon: addon.with_version(self.image, digest, self.config, taken)
            ),
            addons.images.put(self.image, BroughtImage(self.slug)),
        )
        addons.tell_what_it_is(addons.get(self.slug))

    async def undo(self, version: InstalledVersion, addons: Addons) -> None:
        """Back to what it was, keeping what its user changed meanwhile."""
        await addons.kernel.commit(addons.installed.update(self.slug, lambda addon: addon.with_version_of(version)))
        addons.tell_what_it_is(addons.get(self.slug))


class OfAddon(ContainerStep):
    """A step with the container of an add-on."""

    slug: AddonSlug

    @property
    def name(self) -> str:
        return self.slug

    @property
    def plugin(self) -> str:
        return PLUGIN


@step("addons.set_desired/1")
class SetDesired(OfAddon, SettingDesired):
    """Note what the user wants of an add-on."""

    slug: AddonSlug
    desired: Desired


@step("addons.check_start/1")
class CheckStart(OfAddon, CheckingStart):
    """See that an add-on can be started, before what runs of it is stopped for that."""

    slug: AddonSlug
    version: InstalledVersion | None = None

    async def do(self, services: ServiceDirectory) -> None:
        """Look; at what the image says of itself, too."""
        await super().do(services)
        if self.version is not None:
            await known_digest(services.get(ADDONS), self.version.image, orjson.loads(self.version.config_json))


@step("addons.create_container/1")
class CreateContainer(OfAddon, Creating):
    """Make a fresh container, with a fresh token and the options as they are now, in place of the one there is."""

    slug: AddonSlug
    new_version: bool = False


@step("addons.start_container/1")
class StartContainer(OfAddon, Starting):
    """Start an add-on's container, and wait for its health check where it has one."""

    slug: AddonSlug
    must_run: bool = False


@step("addons.stop_container/1")
class StopContainer(OfAddon, Stopping):
    """End an add-on's container, and its token; its logs stay until it is started again."""

    slug: AddonSlug


@step("addons.remove_container/1")
class RemoveAddonContainer(OfAddon, Removing):
    """End and take away an add-on's container."""

    slug: AddonSlug
    stop_timeout_s: int


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
        await addons.removals.delete(JOB_PATIENCE_S)

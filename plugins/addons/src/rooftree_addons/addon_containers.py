"""The add-ons as containers that are looked after: what each one's container is, and what is kept of it.

This is where the words of an add-on's configuration become those of the library ``containers``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from attrs import evolve, frozen

from rooftree import Collection as Documents
from rooftree import RooftreeError, document
from rooftree.interfaces.addons import AddonStateChanged
from rooftree.interfaces.callers import ADDON
from rooftree.interfaces.containers import Container, ContainerSpec, DataPath, PortConflict
from rooftree.interfaces.hooks import services_offered
from rooftree.state import Change
from rooftree_addons import preparation, taking_over
from rooftree_addons.addons import Addons
from rooftree_addons.address_probe import complaint
from rooftree_addons.brought_images import BroughtImage
from rooftree_addons.container import LABEL_SLUG, config_folder, data_folder
from rooftree_addons.images import is_needed_by_others, missing_image
from rooftree_addons.installed import AddonUpdateRolledBack, InstalledAddon, InstalledVersion
from rooftree_addons.mount_sources import refuse_movable
from rooftree_addons.own_folders import KEPT_FOLDER, drop_kept_options
from rooftree_addons.port_conflicts import port_conflict, refuse_taken_ports
from rooftree_addons.ports import PROBLEM as PORT_PROBLEM
from rooftree_addons.probation import (
    AddonRolledBack,
    NothingToRollBack,
    Probation,
    SnapshotFailed,
    SnapshotRefused,
)
from rooftree_addons.steps import PLUGIN
from rooftree_containers import (
    ContainerErrors,
    ContainerState,
    Desired,
    DomainNames,
    ImageVersion,
    ManagedContainer,
    RolledBack,
    Stage,
    managed,
)
from rooftree_containers.cid_file import remove_cid
from rooftree_store import AddonSlug, Startup

NAMES: Final = DomainNames(
    plugin=PLUGIN,
    owner="addon",
    context="addon",
    tokens=ADDON.name,
    kept_folder=KEPT_FOLDER,
    failures=(PORT_PROBLEM,),
    errors=ContainerErrors(
        rolled_back=AddonUpdateRolledBack,
        nothing_to_roll_back=NothingToRollBack,
        no_room=SnapshotRefused,
        snapshot_failed=SnapshotFailed,
        names_it="addon",
    ),
)
STAGES: Final[Mapping[Startup, Stage]] = {
    Startup.INITIALIZE: Stage.INITIALIZE,
    Startup.SYSTEM: Stage.SYSTEM,
    Startup.SERVICES: Stage.SERVICES,
    Startup.APPLICATION: Stage.APPLICATION,
    Startup.ONCE: Stage.ONCE,
}
_BOOT: Final = "host"


@document("addons.boot", version=1)
@frozen
class LastBoot:
    """The boot of the host that the add-ons were last brought up in."""

    boot_id: str


def described(addons: Addons, addon: InstalledAddon) -> ManagedContainer:
    config, slug = addon.config, addon.slug
    return ManagedContainer(
        name=slug,
        version=addon.version,
        image=addon.image,
        desired=addon.desired,
        specification=partial(preparation.specification, addons, addon),
        prepare=partial(preparation.prepare, addons, addon),
        makes=preparation.made_by_us(addon),
        missing_image=partial(missing_image, addons, addon),
        stage=STAGES[config.startup],
        provides=_services(addon, offered=True),
        after=_services(addon, offered=False),
        offered=partial(_services_offered, addons, slug),
        starts_with_host=addon.starts_with_host,
        stop_timeout_s=config.timeout,
        watched=addon.watchdog,
        probe=partial(complaint, addons, addon) if config.watchdog is not None else None,
        kept_for_roll_back={"data": DataPath(data_folder(slug)), "config": DataPath(config_folder(slug))},
        probation=addons.upkeep.probation,
        refuse=partial(preparation.refuse_impossible, addons, addon),
        refuse_conflicts=partial(refuse_taken_ports, addons, addon),
        check=_check,
        start_refused=partial(_start_refused, addons, addon),
        created=partial(preparation.note_container_id, addons, addon),
        set_aside=partial(preparation.set_aside, addons, addon),
        put_back=partial(preparation.put_back, addons, addon),
        drop_aside=partial(preparation.drop_aside, addons, addon),
        notes=partial(_notes, addons, addon),
    )


def _services(addon: InstalledAddon, *, offered: bool) -> frozenset[str]:
    """The services that it provides, or those that it needs or wants."""
    entries = addon.config.services or ()
    return frozenset(f"service {entry.service}" for entry in entries if (entry.role == "provide") is offered)


async def _services_offered(addons: Addons, slug: AddonSlug) -> None:
    """Wait until other add-ons can know how its services are reached."""
    await addons.kernel.call(services_offered, slug)


def _check(spec: ContainerSpec) -> None:
    refuse_movable(spec.mounts)


def _start_refused(addons: Addons, addon: InstalledAddon, error: RooftreeError) -> RooftreeError:
    if not isinstance(error, PortConflict):
        return error
    port = error.extra_fields.get("port")
    return port_conflict(addons, addon, port if isinstance(port, int) else None)


async def _notes(addons: Addons, addon: InstalledAddon) -> list[str]:
    """The hardware that it gets, and does not get."""
    return (await addons.hardware_now(addon)).sentences()


class AddonContainers:
    """The add-ons, as a :class:`~rooftree_containers.ContainerDomain`."""

    names = NAMES

    def __init__(self, addons: Addons, boots: Documents[LastBoot]) -> None:
        self._addons = addons
        self._boots = boots

    # --- which there are ---------------------------------------------------------------------------------------------

    def known(self) -> Collection[str]:
        """The slugs of those that are installed."""
        return self._addons.installed.keys()

    def find(self, name: str) -> ManagedContainer | None:
        addon = self._addons.installed.get(name)
        return described(self._addons, addon) if addon is not None else None

    def get(self, name: str) -> ManagedContainer:
        """The same; raises :class:`~rooftree_addons.installed.AddonNotInstalled`."""
        return described(self._addons, self._addons.get(AddonSlug(name)))

    def as_version(self, name: str, version: ImageVersion) -> ManagedContainer:
        """It, as it would be in another version, with its options and its user's choices."""
        return described(self._addons, self._addons.get(AddonSlug(name)).with_version_of(InstalledVersion.of(version)))

    def title(self, name: str) -> str:
        return f"add-on {name}"

    def container_name(self, name: str) -> str:
        """The logical name of its container."""
        return f"app_{name}"

    def name_of(self, container: str) -> str | None:
        """The slug of the installed add-on that has this container."""
        slug = container.removeprefix("app_")
        return slug if slug != container and slug in self._addons.installed else None

    def is_needed_by_others(self, image: str, name: str) -> bool:
        """Whether another add-on runs as the image."""
        return is_needed_by_others(self._addons, AddonSlug(name), image)

    # --- what is kept of them ----------------------------------------------------------------------------------------

    def desiring(self, name: str, desired: Desired) -> Change:
        return self._addons.installed.update(name, partial(InstalledAddon.wanting, desired=desired))

    @property
    def last_boot(self) -> str | None:
        """The boot of the host that they were last brought up in."""
        boot = self._boots.get(_BOOT)
        return boot.boot_id if boot is not None else None

    def noting_boot(self, boot_id: str) -> Sequence[Change]:
        """Note that they are brought up in that one."""
        return [self._boots.put(_BOOT, LastBoot(boot_id))]

    def probation(self, name: str) -> Probation | None:
        """What its version has to prove."""
        return self._addons.probations.get(name)

    def putting_probation(self, name: str, probation: managed.Probation | None) -> Sequence[Change]:
        """Let that be what its version has to prove, and note the images that it needs."""
        if not isinstance(probation, Probation):
            return [self._addons.probations.delete(name)]
        images = (probation.kept.image, probation.was.image)
        noted = [self._addons.images.put(image, BroughtImage(AddonSlug(name))) for image in images]
        return [self._addons.probations.put(name, probation), *noted]

    def noting_failed(self, name: str, version: str | None) -> Sequence[Change]:
        """Note the version that was rolled back last."""
        return [self._addons.installed.update(name, lambda addon: evolve(addon, failed_version=version))]

    def putting_version(self, name: str, version: ImageVersion) -> Sequence[Change]:
        """Let it be the version again that it was."""
        known = InstalledVersion.of(version)
        return [self._addons.installed.update(name, lambda addon: addon.with_version_of(known))]

    async def remove(self, *folders: str) -> None:
        """Delete folders, now or in their time."""
        await self._addons.removals.remove(*folders)

    @property
    def failed_data_stays(self) -> timedelta:
        """For how long the data of versions that failed is kept."""
        return self._addons.upkeep.failed_data_stays

    # --- what it is told ---------------------------------------------------------------------------------------------

    def state_changed(self, name: str, state: ContainerState) -> None:
        self._addons.kernel.publish(AddonStateChanged(AddonSlug(name), state))

    async def container_removed(self, name: str) -> None:
        """It needs its id no longer."""
        data, container = self._addons.kernel.data.path, self.container_name(name)
        await asyncio.to_thread(remove_cid, data, container)
        await asyncio.to_thread(drop_kept_options, data, container)

    def version_changed(self, name: str) -> None:
        self._addons.tell_store()

    def rolled_back(self, rollback: RolledBack) -> None:
        slug = AddonSlug(rollback.name)
        self._addons.kernel.publish(
            AddonRolledBack(slug, rollback.version, rollback.back_to, rollback.reason, rollback.set_aside)
        )

    # --- containers of ours that are not known -----------------------------------------------------------------------

    def claims(self, container: Container) -> str | None:
        """The add-on that it belongs to, installed or not."""
        return container.labels.get(LABEL_SLUG) or None

    def is_behind(self, name: str, container: Container) -> bool:
        """Whether the add-on was updated after the day that the database is of."""
        return taking_over.is_behind(self._addons, AddonSlug(name), container)

    async def take_over(self, name: str, container: Container) -> str | None:
        """Enter it as installed from what its container, the store and its folder tell."""
        return await taking_over.take_over(self._addons, AddonSlug(name), container)

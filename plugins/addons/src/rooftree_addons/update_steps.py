"""The steps of an add-on's update and of its way back: the library's, in kinds of the add-ons' own."""

from __future__ import annotations

from datetime import datetime

from rooftree import step
from rooftree.services import ServiceDirectory
from rooftree_addons.addons import ADDONS
from rooftree_addons.installed import InstalledVersion
from rooftree_addons.probation import Probation
from rooftree_addons.steps import (
    CheckStart,
    CreateContainer,
    OfAddon,
    RemoveAddonContainer,
    SetDesired,
    StartContainer,
    StopContainer,
)
from rooftree_containers import ContainerSteps, UpdateBackup
from rooftree_containers.update_steps import (
    BeginningProbation,
    DroppingKeptData,
    EndingProbation,
    KeepingData,
    KeepingFailedLog,
    PuttingBackData,
    PuttingBackVersion,
)
from rooftree_store import AddonSlug


@step("addons.keep_data/1")
class KeepData(OfAddon, KeepingData):
    """Copy an add-on's data, so that it can be as it was before an update."""

    slug: AddonSlug
    kept: UpdateBackup


@step("addons.begin_probation/1")
class BeginProbation(OfAddon, BeginningProbation):
    """Note that an add-on's version has to prove itself; from here on it may change the add-on's data."""

    slug: AddonSlug
    version: str
    was: InstalledVersion
    kept: UpdateBackup
    profile: str | None
    """The old version's AppArmor profile."""

    def probation(self, began: datetime) -> Probation:
        return Probation(version=self.version, was=self.was, kept=self.kept, profile=self.profile, began=began)

    async def before(self, services: ServiceDirectory) -> Probation | None:
        """The probation that the old version was on itself."""
        return services.get(ADDONS).probations.get(self.slug)


@step("addons.keep_failed_log/1")
class KeepFailedLog(OfAddon, KeepingFailedLog):
    """Keep the end of an add-on's log, which goes with its container."""

    slug: AddonSlug
    kept: UpdateBackup


@step("addons.put_back_data/1")
class PutBackData(OfAddon, PuttingBackData):
    """Put an add-on's data back as it was before its update; what it has become is set aside."""

    slug: AddonSlug
    kept: UpdateBackup


@step("addons.put_back_version/1")
class PutBackVersion(OfAddon, PuttingBackVersion):
    """Let an add-on be the version again that it was before its update, and say so."""

    slug: AddonSlug
    reason: str


@step("addons.end_probation/1")
class EndProbation(OfAddon, EndingProbation):
    """Note that an add-on's version has proved itself, or is no longer asked to."""

    slug: AddonSlug
    folder: str


@step("addons.drop_kept_data/1")
class DropKeptData(OfAddon, DroppingKeptData):
    """Delete the copies of an add-on's data that nobody will need any more."""

    folder: str


STEPS = ContainerSteps(
    set_desired=lambda name, desired: SetDesired(AddonSlug(name), desired),
    check_start=lambda name, version: CheckStart(
        AddonSlug(name), None if version is None else InstalledVersion.of(version)
    ),
    create=lambda name, new_version: CreateContainer(AddonSlug(name), new_version),
    create_fresh=lambda name: CreateContainer(AddonSlug(name), False),
    start=lambda name, must_run: StartContainer(AddonSlug(name), must_run),
    stop=lambda name: StopContainer(AddonSlug(name)),
    remove=lambda name, stop_timeout_s: RemoveAddonContainer(AddonSlug(name), stop_timeout_s),
    keep_data=lambda name, kept: KeepData(AddonSlug(name), kept),
    keep_failed_log=lambda name, kept: KeepFailedLog(AddonSlug(name), kept),
    put_back_data=lambda name, kept: PutBackData(AddonSlug(name), kept),
    put_back_version=lambda name, reason: PutBackVersion(AddonSlug(name), reason),
    end_probation=lambda name, folder: EndProbation(AddonSlug(name), folder),
    drop_kept_data=lambda _, folder: DropKeptData(folder),
)
"""The add-ons' kinds, for the library."""

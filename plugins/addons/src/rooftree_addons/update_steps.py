"""The steps that make an update one that can be taken back: for the length of its job, and of its probation."""

from __future__ import annotations

from datetime import timedelta

import structlog
from attrs import evolve

from rooftree import Problem, Run, Step, step
from rooftree_addons import snapshot
from rooftree_addons.addons import Addons
from rooftree_addons.brought_images import BroughtImage
from rooftree_addons.failed_log import keep_log
from rooftree_addons.images import is_needed_by_others
from rooftree_addons.installed import InstalledVersion
from rooftree_addons.probation import BY_HAND, ROLLED_BACK, AddonRolledBack, Keepsake, Probation
from rooftree_containers.steps import RemoveImage
from rooftree_store import AddonSlug

log = structlog.get_logger(__name__)


@step("addons.keep_data/1")
class KeepData(Step):
    """Copy an add-on's data, so that it can be as it was before an update."""

    slug: AddonSlug
    kept: Keepsake
    weight = 10
    downtime = True
    interruptible = True

    async def do(self, run: Run, addons: Addons) -> None:
        """Copy its folders, one after the other, with progress in bytes."""
        all_folders = len(self.kept.folders)
        for number, folder in enumerate(self.kept.folders):

            def progress(done: int, total: int, before: int = number) -> None:
                run.progress(before + min(1.0, done / max(total, 1)), all_folders)

            await snapshot.keep(addons.kernel.data.path, folder, progress)
            progress(1, 1)

    async def undo(self, _: None, addons: Addons) -> None:
        """Delete the copies."""
        await addons.removals.remove(self.kept.folder)


@step("addons.begin_probation/1")
class BeginProbation(Step):
    """Note that an add-on's version has to prove itself; from here on it may change the add-on's data."""

    slug: AddonSlug
    version: str
    was: InstalledVersion
    kept: Keepsake
    profile: str | None
    """The old version's AppArmor profile."""

    async def before(self, addons: Addons) -> Probation | None:
        """The probation that the old version was on itself."""
        return addons.probations.get(self.slug)

    async def do(self, addons: Addons) -> None:
        """Note it."""
        began = addons.kernel.clock.now()
        probation = Probation(version=self.version, was=self.was, kept=self.kept, profile=self.profile, began=began)
        images = (self.kept.image, self.was.image)
        noted = [addons.images.put(image, BroughtImage(self.slug)) for image in images]
        await addons.kernel.commit(addons.probations.put(self.slug, probation), *noted)

    async def undo(self, earlier: Probation | None, addons: Addons) -> None:
        """Put the data back; what a new version that failed has made of it is set aside."""
        if self.slug in addons.failures:
            await _keep_log(addons, self.slug, self.kept)
        await _put_back(addons, self.kept)
        change = addons.probations.put(self.slug, earlier) if earlier else addons.probations.delete(self.slug)
        if earlier is not None or self.slug in addons.probations:
            await addons.kernel.commit(change)
        reason = addons.failures.pop(self.slug, None)
        if reason is None:  # it was interrupted, or something else failed: all is as if it had never begun
            await addons.removals.remove(self.kept.set_aside)
        else:
            await addons.kernel.commit(
                addons.installed.update(self.slug, lambda now: evolve(now, failed_version=self.version))
            )
            _tell(addons, self.slug, self.version, self.was.version, self.kept, reason)


async def _keep_log(addons: Addons, slug: AddonSlug, kept: Keepsake) -> None:
    await keep_log(addons.engine, f"app_{slug}", addons.kernel.data.path, kept.set_aside)


async def _put_back(addons: Addons, kept: Keepsake) -> None:
    for folder in kept.folders:
        await snapshot.put_back(addons.kernel.data.path, folder, kept.aside(folder))


def _what_happened(version: str, slug: AddonSlug, reason: str) -> str:
    if reason == BY_HAND:
        return f"Version {version} of add-on {slug} was taken back, as {reason}"
    return f"Version {version} of add-on {slug} does not work here: {reason}"


def _tell(addons: Addons, slug: AddonSlug, version: str, back_to: str, kept: Keepsake, reason: str) -> None:
    log.warning("update_rolled_back", addon=slug, version=version, back_to=back_to, reason=reason)
    addons.kernel.publish(AddonRolledBack(slug, version, back_to, reason, kept.set_aside))
    addons.kernel.problems.report(
        Problem(
            ROLLED_BACK,
            "addon",
            slug,
            f"{_what_happened(version, slug, reason)}. Version {back_to} is back, with the data from before the "
            f"update; {version} is installed again only when somebody asks for it. What it made of the data, and the "
            f"end of its log, lie in {addons.kernel.data.path / kept.set_aside} for "
            f"{addons.failed_data_stays / timedelta(days=1):g} days",
            extra={"version": version, "back_to": back_to, "set_aside": kept.set_aside},
        )
    )


@step("addons.keep_failed_log/1")
class KeepFailedLog(Step):
    """Keep the end of an add-on's log, which goes with its container."""

    slug: AddonSlug
    kept: Keepsake

    async def do(self, addons: Addons) -> None:
        """Write it beside the data that is set aside."""
        await _keep_log(addons, self.slug, self.kept)


@step("addons.put_back_data/1")
class PutBackData(Step):
    """Put an add-on's data back as it was before its update; what it has become is set aside."""

    slug: AddonSlug
    kept: Keepsake

    async def do(self, addons: Addons) -> None:
        """Let the folders change places."""
        await _put_back(addons, self.kept)


@step("addons.put_back_version/1")
class PutBackVersion(Step):
    """Let an add-on be the version again that it was before its update, and say so."""

    slug: AddonSlug
    reason: str

    async def do(self, addons: Addons) -> None:
        """Change it, and end the probation, in one."""
        probation = addons.probations.get(self.slug)
        if probation is None:  # it was done before a kill
            return
        await addons.kernel.commit(
            addons.installed.update(
                self.slug, lambda now: evolve(now.with_version_of(probation.was), failed_version=probation.version)
            ),
            addons.probations.delete(self.slug),
        )
        addons.tell_store()
        _tell(addons, self.slug, probation.version, probation.was.version, probation.kept, self.reason)


@step("addons.end_probation/1")
class EndProbation(Step):
    """Note that an add-on's version has proved itself, or is no longer asked to."""

    slug: AddonSlug
    folder: str
    """Where the copies lie, which no other update's do."""

    async def do(self, addons: Addons) -> None:
        """Note it."""
        probation = addons.probations.get(self.slug)
        if probation is None or probation.kept.folder != self.folder:
            return
        changes = [addons.probations.delete(self.slug)]
        if self.slug in addons.installed:
            changes.append(addons.installed.update(self.slug, lambda now: evolve(now, failed_version=None)))
        await addons.kernel.commit(*changes)
        addons.kernel.problems.clear(ROLLED_BACK, "addon", self.slug)
        log.info("probation_ended", addon=self.slug, version=probation.version)


@step("addons.drop_kept_data/1")
class DropKeptData(Step):
    """Delete the copies of an add-on's data that nobody will need any more."""

    folder: str
    tidies = True

    async def do(self, addons: Addons) -> None:
        """Delete them."""
        await addons.removals.remove(self.folder)


def letting_go(addons: Addons, slug: AddonSlug, probation: Probation) -> list[Step]:
    """Give up what is kept for the way back from an update, for it has proved itself, or is no longer asked to."""
    addon, old = addons.get(slug), probation.was.image
    old_goes = old != addon.image and not is_needed_by_others(addons, slug, old)
    return [
        RemoveImage(probation.kept.image),
        *([RemoveImage(old)] if old_goes else []),
        DropKeptData(probation.kept.folder),
    ]

"""The steps that make an update one that can be taken back: for the length of its job, and of its probation.

As in :mod:`~rooftree_containers.container_steps`, what each does stands beside the library's own kind of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog
from attrs import evolve

from rooftree import Problem, Run, step
from rooftree.services import ServiceDirectory
from rooftree.state import Change
from rooftree_containers import snapshot
from rooftree_containers.container_steps import ContainerStep
from rooftree_containers.failed_log import keep_log
from rooftree_containers.managed import ImageVersion, Probation, RolledBack
from rooftree_containers.managed_containers import ROLLED_BACK, ManagedContainers
from rooftree_containers.snapshot import SnapshotFailed
from rooftree_containers.update_backup import UpdateBackup

log = structlog.get_logger(__name__)

BY_HAND = "it was asked for"
"""The reason of a roll-back for which the version is not to blame."""


class KeepingData(ContainerStep):
    """Copy a container's data, so that it can be as it was before an update."""

    kept: UpdateBackup
    weight = 10
    downtime = True
    interruptible = True

    async def do(self, run: Run, services: ServiceDirectory) -> None:
        """Copy its folders, one after the other, with progress in bytes."""
        containers, all_folders = self.containers(services), len(self.kept.folders)
        for number, folder in enumerate(self.kept.folders):

            def progress(done: int, total: int, before: int = number) -> None:
                run.progress(before + min(1.0, done / max(total, 1)), all_folders)

            with _as_the_domain_says(containers):
                await snapshot.keep(containers.kernel.data.path, folder, progress)
            progress(1, 1)

    async def undo(self, _: None, services: ServiceDirectory) -> None:
        """Delete the copies."""
        await self.containers(services).domain.remove(self.kept.folder)


class BeginningProbation(ContainerStep):
    """Note that a container's version has to prove itself; from here on it may change the container's data."""

    version: str
    was: ImageVersion
    kept: UpdateBackup

    def probation(self, began: datetime) -> Probation:
        """What is noted."""
        return Probation(version=self.version, was=self.was, kept=self.kept, began=began)

    async def before(self, services: ServiceDirectory) -> Probation | None:
        """The probation that the old version was on itself."""
        return self.containers(services).domain.probation(self.name)

    async def do(self, services: ServiceDirectory) -> None:
        """Note it."""
        containers = self.containers(services)
        probation = self.probation(containers.kernel.clock.now())
        await containers.kernel.commit(*containers.domain.putting_probation(self.name, probation))

    async def undo(self, earlier: Probation | None, services: ServiceDirectory) -> None:
        """Put the data back; what a new version that failed has made of it is set aside.

        That it was begun, and why it failed, is noted until all of this is done: the last thing that is.
        """
        containers = self.containers(services)
        domain, current = containers.domain, containers.domain.probation(self.name)
        if current is None or current.kept.folder != self.kept.folder:  # not begun, or taken back before a kill
            return
        if current.failure is not None:
            await _keep_log(containers, self.name, self.kept)
        await _put_back(containers, self.kept)
        changes: list[Change] = []
        if current.failure is None:  # it was interrupted, or something else failed: all is as if it had never begun
            await domain.remove(self.kept.set_aside)
        else:
            _tell(containers, self.name, current, current.failure)
            changes += domain.noting_failed(self.name, self.version)
            earlier = earlier and evolve(earlier, later_failed=True)
        await containers.kernel.commit(*changes, *domain.putting_probation(self.name, earlier))


class KeepingFailedLog(ContainerStep):
    """Keep the end of a container's log, which goes with it."""

    kept: UpdateBackup

    async def do(self, services: ServiceDirectory) -> None:
        """Write it beside the data that is set aside."""
        await _keep_log(self.containers(services), self.name, self.kept)


class PuttingBackData(ContainerStep):
    """Put a container's data back as it was before its update; what it has become is set aside."""

    kept: UpdateBackup

    async def do(self, services: ServiceDirectory) -> None:
        """Let the folders change places."""
        await _put_back(self.containers(services), self.kept)


class PuttingBackVersion(ContainerStep):
    """Let a container be the version again that it was before its update, and say so."""

    reason: str

    async def do(self, services: ServiceDirectory) -> None:
        """Change it, and end the probation, in one."""
        containers = self.containers(services)
        domain, probation = containers.domain, containers.domain.probation(self.name)
        if probation is None:  # it was done before a kill
            return
        await containers.kernel.commit(
            *domain.putting_version(self.name, probation.was),
            *domain.noting_failed(self.name, probation.version),
            *domain.putting_probation(self.name, None),
        )
        domain.version_changed(self.name)
        _tell(containers, self.name, probation, self.reason)


class EndingProbation(ContainerStep):
    """Note that a container's version has proved itself, or is no longer asked to."""

    folder: str
    """Where the copies lie, which no other update's do."""

    async def do(self, services: ServiceDirectory) -> None:
        """Note it."""
        containers = self.containers(services)
        domain, probation = containers.domain, containers.domain.probation(self.name)
        if probation is None or probation.kept.folder != self.folder:
            return
        changes = [*domain.putting_probation(self.name, None)]
        if self.name in domain.known() and not probation.later_failed:
            changes += domain.noting_failed(self.name, None)
        await containers.kernel.commit(*changes)
        if not probation.later_failed:
            containers.kernel.problems.clear(ROLLED_BACK, domain.names.context, self.name)
        log.info("probation_ended", **{domain.names.context: self.name}, version=probation.version)


class DroppingKeptData(ContainerStep):
    """Delete the copies of a container's data that nobody will need any more."""

    folder: str
    tidies = True

    async def do(self, services: ServiceDirectory) -> None:
        """Delete them."""
        await self.containers(services).domain.remove(self.folder)


async def _keep_log(containers: ManagedContainers, name: str, kept: UpdateBackup) -> None:
    container = containers.domain.container_name(name)
    await keep_log(containers.observation.engine, container, containers.kernel.data.path, kept.set_aside)


async def _put_back(containers: ManagedContainers, kept: UpdateBackup) -> None:
    for folder in kept.folders:
        with _as_the_domain_says(containers):
            await snapshot.put_back(containers.kernel.data.path, folder, kept.aside(folder))


@contextmanager
def _as_the_domain_says(containers: ManagedContainers) -> Iterator[None]:
    """Let a failure have the key that clients of the domain know it by."""
    try:
        yield
    except SnapshotFailed as error:
        raise containers.domain.names.errors.snapshot_failed(error.message) from error


def _tell(containers: ManagedContainers, name: str, probation: Probation, reason: str) -> None:
    domain, data = containers.domain, containers.kernel.data.path
    version, back_to, set_aside = probation.version, probation.was.version, probation.kept.set_aside
    log.warning("update_rolled_back", **{domain.names.context: name}, version=version, back_to=back_to, reason=reason)
    domain.rolled_back(RolledBack(name=name, version=version, back_to=back_to, reason=reason, set_aside=set_aside))
    containers.kernel.problems.report(
        Problem(
            ROLLED_BACK,
            domain.names.context,
            name,
            f"{_what_happened(domain.title(name), version, reason)}. Version {back_to} is back, with the data from "
            f"before the update; {version} is installed again only when somebody asks for it. What it made of the "
            f"data, and the end of its log, lie in {data / set_aside} for "
            f"{domain.failed_data_stays / timedelta(days=1):g} days",
            extra={"version": version, "back_to": back_to, "set_aside": set_aside},
        )
    )


def _what_happened(title: str, version: str, reason: str) -> str:
    if reason == BY_HAND:
        return f"Version {version} of {title} was taken back, as {reason}"
    return f"Version {version} of {title} does not work here: {reason}"


# --- the library's kinds ----------------------------------------------------------------------------------------------


@step("containers.keep_data/1")
class KeepData(KeepingData):
    """Copy a container's data, so that it can be as it was before an update."""

    name: str
    plugin: str
    kept: UpdateBackup


@step("containers.change_version/1")
class ChangeVersion(ContainerStep):
    """Let a container be another version."""

    name: str
    plugin: str
    version: ImageVersion

    async def before(self, services: ServiceDirectory) -> ImageVersion:
        """What it was."""
        container = self.containers(services).domain.get(self.name)
        return ImageVersion(container.version, container.image)

    async def do(self, services: ServiceDirectory) -> None:
        """Change it."""
        await self._change(services, self.version)

    async def undo(self, version: ImageVersion, services: ServiceDirectory) -> None:
        """What it was, again."""
        await self._change(services, version)

    async def _change(self, services: ServiceDirectory, version: ImageVersion) -> None:
        containers = self.containers(services)
        await containers.kernel.commit(*containers.domain.putting_version(self.name, version))
        containers.domain.version_changed(self.name)


@step("containers.begin_probation/1")
class BeginProbation(BeginningProbation):
    """Note that a container's version has to prove itself; from here on it may change the container's data."""

    name: str
    plugin: str
    version: str
    was: ImageVersion
    kept: UpdateBackup


@step("containers.keep_failed_log/1")
class KeepFailedLog(KeepingFailedLog):
    """Keep the end of a container's log, which goes with it."""

    name: str
    plugin: str
    kept: UpdateBackup


@step("containers.put_back_data/1")
class PutBackData(PuttingBackData):
    """Put a container's data back as it was before its update; what it has become is set aside."""

    name: str
    plugin: str
    kept: UpdateBackup


@step("containers.put_back_version/1")
class PutBackVersion(PuttingBackVersion):
    """Let a container be the version again that it was before its update, and say so."""

    name: str
    plugin: str
    reason: str


@step("containers.end_probation/1")
class EndProbation(EndingProbation):
    """Note that a container's version has proved itself, or is no longer asked to."""

    name: str
    plugin: str
    folder: str


@step("containers.drop_kept_data/1")
class DropKeptData(DroppingKeptData):
    """Delete the copies of a container's data that nobody will need any more."""

    name: str
    plugin: str
    folder: str

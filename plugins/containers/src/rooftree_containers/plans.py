"""The plans of what can be done with a managed container, for the jobs of its domain.

A domain's job of its own name calls one of these, with what is the domain's before and after; the jobs of
:mod:`~rooftree_containers.container_jobs` are nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from rooftree import Step, Steps
from rooftree_containers import snapshot
from rooftree_containers.managed import Desired, ImageVersion, ManagedContainer, Probation
from rooftree_containers.managed_containers import ManagedContainers
from rooftree_containers.observation import runs
from rooftree_containers.start_check import refuse_unstartable
from rooftree_containers.steps import BringBackImage, KeepImage, PullImage, RemoveImage, UseNewImage
from rooftree_containers.update_backup import UpdateBackup
from rooftree_containers.update_steps import BY_HAND, BeginProbation, ChangeVersion
from rooftree_containers.words import sentence


async def start(containers: ManagedContainers, name: str) -> Steps:
    """Run a container as it is set up now; nothing to do while it runs."""
    container = containers.domain.get(name)
    if runs(await containers.observation.look(name)):
        wanted = container.desired is Desired.STARTED
        return [] if wanted else [containers.steps.set_desired(name, Desired.STARTED)]
    return await _run(containers, container)


async def stop(containers: ManagedContainers, name: str) -> Steps:
    """End a container."""
    containers.domain.get(name)
    return [containers.steps.set_desired(name, Desired.STOPPED), containers.steps.stop(name)]


async def restart(containers: ManagedContainers, name: str) -> Steps:
    """End a container and run it again; it runs on where it is known that it could not be started again."""
    container = containers.domain.get(name)
    await containers.observation.look(name)
    steps = containers.steps
    return await _run(containers, container, steps.check_start(name, None), steps.stop(name))


async def rebuild(containers: ManagedContainers, name: str) -> Steps:
    """End a container and run a fresh one in its place."""
    container = containers.domain.get(name)
    await containers.observation.look(name)
    steps = containers.steps
    first = steps.check_start(name, None), steps.stop(name)
    return await _run(containers, container, *first, create=steps.create_fresh(name))


async def end(containers: ManagedContainers, name: str) -> Steps:
    """End a container because the system ends; it is to run again with it."""
    containers.domain.get(name)
    return [containers.steps.stop(name)]


# What nobody asked for just now may have to wait behind what somebody did: whether it is still wanted is asked when its
# turn has come.


async def start_if_desired(containers: ManagedContainers, name: str) -> Steps:
    """Run a container, unless it is to be stopped by now."""
    return await start(containers, name) if containers.domain.get(name).desired is Desired.STARTED else []


async def stop_if_desired(containers: ManagedContainers, name: str) -> Steps:
    """End a container, unless it is to run by now."""
    return await stop(containers, name) if containers.domain.get(name).desired is Desired.STOPPED else []


async def restart_if_desired(containers: ManagedContainers, name: str) -> Steps:
    """End a container and run it again, unless it is to be stopped by now."""
    return await restart(containers, name) if containers.domain.get(name).desired is Desired.STARTED else []


async def rebuild_if_desired(containers: ManagedContainers, name: str) -> Steps:
    """End a container and run a fresh one, unless it is to be stopped by now."""
    return await rebuild(containers, name) if containers.domain.get(name).desired is Desired.STARTED else []


async def _run(
    containers: ManagedContainers, container: ManagedContainer, *first: Step, create: Step | None = None
) -> Steps:
    """The way to running, by ``first`` where something has to come before; the image, if it is gone, before that."""
    await refuse_unstartable(containers, container)
    steps = containers.steps
    ready = [
        steps.set_desired(container.name, Desired.STARTED),
        create or steps.create(container.name, False),
        steps.start(container.name, False),
    ]
    return [*await container.missing_image(), *first, *ready]


# --- updates ----------------------------------------------------------------------------------------------------------


async def replace(
    containers: ManagedContainers,
    name: str,
    version: ImageVersion,
    bring_image: Step,
    change: Sequence[Step],
    begin_probation: Callable[[UpdateBackup], Step],
) -> Steps:
    """Put another version in the place of what a container is; it runs afterwards if it ran before.

    While the job runs, a failure takes its steps back, as with every job. Afterwards the container is on probation, and
    the :mod:`~rooftree_containers.probation_watch` ends that with :func:`keep_update` or :func:`roll_back`.

    :param version: the new one
    :param bring_image: makes it be there
    :param change: makes the container be the new version, as its domain keeps it
    :param begin_probation: the step that notes what the new version has to prove
    """
    domain, steps, data = containers.domain, containers.steps, containers.kernel.data.path
    container = domain.get(name)
    is_running = runs(await containers.observation.look(name))
    if is_running:
        await refuse_unstartable(containers, domain.as_version(name, version))
    image = version.image
    place, no_room = domain.names.kept_folder, domain.names.errors.no_room
    kept = UpdateBackup.for_update(f"{place}/{name}", container.kept_for_roll_back, container.stays_at_roll_back)
    await asyncio.to_thread(snapshot.refuse_without_room, data, place, kept.folders, no_room)
    earlier = domain.probation(name)
    return [
        KeepImage(container.image, kept.image),
        bring_image,
        *([steps.check_start(name, version), steps.stop(name)] if is_running else []),
        *([UseNewImage(image, kept.image)] if image == container.image else []),
        steps.keep_data(name, kept),
        *change,
        *([steps.create(name, True)] if is_running else []),
        begin_probation(kept),
        *([steps.start(name, True)] if is_running else []),
        *(letting_go(containers, name, earlier, image) if earlier else []),
    ]


async def update(containers: ManagedContainers, name: str, version: ImageVersion) -> Steps:
    """Go to a version whose image comes from a registry, for a container that is nothing but its version and image."""
    container, plugin = containers.domain.get(name), containers.domain.names.plugin
    version_before = ImageVersion(container.version, container.image)
    return await replace(
        containers,
        name,
        version,
        PullImage(version.image),
        [ChangeVersion(name, plugin, version)],
        lambda kept: BeginProbation(name, plugin, version.version, version_before, kept),
    )


async def roll_back(
    containers: ManagedContainers, name: str, update: str, reason: str, put_back: Sequence[Step] = ()
) -> Steps:
    """Put the version before an update back, with the data it had. Who asks for it is refused where it is known that
    it could not be started; a version that does not work is left in any case.

    :param put_back: what else the domain puts back
    """
    domain, steps = containers.domain, containers.steps
    container, probation = domain.get(name), probation_of(containers, name, update)
    if reason == BY_HAND and runs(await containers.observation.look(name)):
        await refuse_unstartable(containers, domain.as_version(name, probation.was))
    old, new, kept = probation.was.image, container.image, probation.kept
    new_goes = new != old and not domain.is_needed_by_others(new, name)
    return [
        steps.keep_failed_log(name, kept),
        steps.remove(name, await container.seconds_to_end()),
        BringBackImage(old, kept.image),
        steps.put_back_data(name, kept),
        *put_back,
        steps.put_back_version(name, reason),
        RemoveImage(kept.image),
        *([RemoveImage(new)] if new_goes else []),
        steps.drop_kept_data(name, kept.folder),
        *([steps.create(name, False), steps.start(name, False)] if container.desired is Desired.STARTED else []),
    ]


async def keep_update(containers: ManagedContainers, name: str, update: str) -> Steps:
    """Give up what an update replaced."""
    probation = probation_of(containers, name, update)
    return [containers.steps.end_probation(name, update), *letting_go(containers, name, probation)]


def letting_go(containers: ManagedContainers, name: str, probation: Probation, image: str | None = None) -> list[Step]:
    """Give up what is kept for the way back from an update, for it has proved itself, or is no longer asked to.

    :param image: what the container will run as, where that is about to change
    """
    domain, old = containers.domain, probation.was.image
    old_goes = old not in {domain.get(name).image, image} and not domain.is_needed_by_others(old, name)
    return [
        RemoveImage(probation.kept.image),
        *([RemoveImage(old)] if old_goes else []),
        containers.steps.drop_kept_data(name, probation.kept.folder),
    ]


def probation_of(containers: ManagedContainers, name: str, update: str | None = None) -> Probation:
    """What a container's version has to prove; raises :class:`~rooftree_containers.managed.NothingToRollBack`.

    :param update: the update that is meant, by the folder of its copies. Who decides about it may have to wait behind
        the next one, and that is another's affair
    """
    domain = containers.domain
    domain.get(name)
    probation = domain.probation(name)
    if probation is None or update not in {None, probation.kept.folder}:
        errors = domain.names.errors
        raise errors.nothing_to_roll_back(
            f"{sentence(domain.title(name))} has nothing to go back to: it was not updated, its version has proved "
            "itself, or it was updated again meanwhile",
            **{errors.names_it: name},
        )
    return probation

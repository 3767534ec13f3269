"""The jobs with the containers of a domain that has none of its own.

Names of jobs are part of the API: a domain says what its jobs' names begin with (``dns_start``, ``dns_update`` …). One
whose jobs do more than a plan of :mod:`~rooftree_containers.plans` writes its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from datetime import timedelta
from typing import Any

from attrs import frozen

from rooftree import JobCall, Lock, Rate, Steps, job
from rooftree.services import ServiceDirectory
from rooftree_containers import plans
from rooftree_containers.container_steps import (
    CheckStart,
    CreateContainer,
    CreateFreshContainer,
    RemoveContainer,
    SetDesired,
    StartContainer,
    StopContainer,
)
from rooftree_containers.managed import ContainerJobs, ContainerSteps, DomainNames, ImageVersion
from rooftree_containers.managed_containers import ManagedContainers, containers_of
from rooftree_containers.update_steps import (
    DropKeptData,
    EndProbation,
    KeepData,
    KeepFailedLog,
    PutBackData,
    PutBackVersion,
)

WATCHDOG_RATE = Rate(10, timedelta(minutes=30))
"""How often the watchdog may restart one container: it must not go on for ever with one that runs for a moment."""


type Kind = Callable[..., JobCall[None]]
"""A kind of job; called with its arguments by their names."""


@frozen(kw_only=True)
class DomainJobs:
    """The kinds of jobs of one domain. Each takes ``name``, that of the container, and what is said here besides."""

    start: Kind
    stop: Kind
    restart: Kind
    update: Kind
    """``version`` and ``image``: what it is to be, and the name and tag to pull for it."""
    roll_back: Kind
    """``update``, the folder of its copies, and ``reason``."""
    own: ContainerJobs
    """Those that the library runs by itself."""


def domain_jobs(
    names: DomainNames, prefix: str, module: str, update_conditions: Collection[str] = ("internet_host",)
) -> DomainJobs:
    """The kinds of jobs of a domain; make them once, where the module is imported.

    :param prefix: what their names begin with
    :param module: the caller's ``__name__``: after a kill, open jobs wait for the plugin of that package
    :param update_conditions: without which an update is not begun
    """

    plugin = names.plugin

    def kind(verb: str, plan: Callable[..., Coroutine[Any, Any, Steps]], **declared: Any) -> Kind:
        plan.__module__ = module  # whose job it is
        declared = {"recovery": "forward", **declared}
        return job(f"{prefix}_{verb}", reference="name", locks=locks, **declared)(plan)

    def locks(name: str, **_: str) -> list[Lock]:
        return [Lock(names.context, name)]

    def plain(plan: Callable[[ManagedContainers, str], Coroutine[Any, Any, Steps]]) -> Callable[..., Any]:
        async def planned(services: ServiceDirectory, name: str) -> Steps:
            return await plan(containers_of(services, plugin), name)

        return planned

    async def update(services: ServiceDirectory, name: str, version: str, image: str) -> Steps:
        return await plans.update(containers_of(services, plugin), name, ImageVersion(version, image))

    async def roll_back(services: ServiceDirectory, name: str, update: str, reason: str) -> Steps:
        return await plans.roll_back(containers_of(services, plugin), name, update, reason)

    async def keep_update(services: ServiceDirectory, name: str, update: str) -> Steps:
        return await plans.keep_update(containers_of(services, plugin), name, update)

    start_if_desired = kind("start", plain(plans.start_if_desired))
    stop_if_desired = kind("stop", plain(plans.stop_if_desired), makes_room=True)
    restart_if_desired = kind("restart", plain(plans.restart_if_desired), at_most=WATCHDOG_RATE)
    end = kind("stop", plain(plans.end), makes_room=True)
    kept = kind("keep_update", keep_update, makes_room=True)
    rolled_back = kind("roll_back", roll_back, makes_room=True)
    return DomainJobs(
        start=kind("start", plain(plans.start)),
        stop=kind("stop", plain(plans.stop), makes_room=True),
        restart=kind("restart", plain(plans.restart)),
        update=kind("update", update, recovery="undo", conditions=update_conditions),
        roll_back=rolled_back,
        own=ContainerJobs(
            start=lambda name: start_if_desired(name=name),
            stop=lambda name: stop_if_desired(name=name),
            restart=lambda name: restart_if_desired(name=name),
            end=lambda name: end(name=name),
            roll_back=lambda name, update, reason: rolled_back(name=name, update=update, reason=reason),
            keep_update=lambda name, update: kept(name=name, update=update),
        ),
    )


def domain_steps(plugin: str) -> ContainerSteps:
    """The library's kinds of steps, for a plugin's domain."""
    return ContainerSteps(
        set_desired=lambda name, desired: SetDesired(name, plugin, desired),
        check_start=lambda name, version: CheckStart(name, plugin, version),
        create=lambda name, new_version: CreateContainer(name, plugin, new_version),
        create_fresh=lambda name: CreateFreshContainer(name, plugin),
        start=lambda name, must_run: StartContainer(name, plugin, must_run),
        stop=lambda name: StopContainer(name, plugin),
        remove=lambda name, stop_timeout_s: RemoveContainer(name, plugin, stop_timeout_s),
        keep_data=lambda name, kept: KeepData(name, plugin, kept),
        keep_failed_log=lambda name, kept: KeepFailedLog(name, plugin, kept),
        put_back_data=lambda name, kept: PutBackData(name, plugin, kept),
        put_back_version=lambda name, reason: PutBackVersion(name, plugin, reason),
        end_probation=lambda name, folder: EndProbation(name, plugin, folder),
        drop_kept_data=lambda name, folder: DropKeptData(name, plugin, folder),
    )

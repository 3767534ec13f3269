"""Bringing what the engine shows in line with what is desired.

At the start, and whenever the engine is (again) there, every container of a domain is looked at by one table; in
between, the engine's events keep the states true, and go on to who watches: the probation of a new version, else the
watchdog.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Literal

import structlog

from rooftree import Kernel, RooftreeError, Stopping, Unavailable
from rooftree.access import Token
from rooftree.clock import boot_id
from rooftree.interfaces.containers import (
    Container,
    ContainerChanged,
    ContainerStatus,
    EngineConnected,
    EngineLost,
    Health,
)
from rooftree_containers.boot_stages import BootStages
from rooftree_containers.damaged_state import state_is_damaged
from rooftree_containers.lifetime import LABEL_TOKEN, Lifetimes
from rooftree_containers.managed import (
    ContainerDomain,
    ContainerJobs,
    Desired,
    ManagedContainer,
    Stage,
    all_of,
)
from rooftree_containers.observation import Observation, is_well, runs
from rooftree_containers.probation_watch import ProbationWatch
from rooftree_containers.unknown_containers import UnknownContainers
from rooftree_containers.watchdog import BOOT_FAILED, Watchdog

log = structlog.get_logger(__name__)

type Action = Literal["adopt", "start", "stop", "leave"]


def action(container: ManagedContainer, shown: Container | None) -> Action:
    """The table: what is desired, and what the engine shows, tell what to do (docs/architecture.md has it drawn)."""
    if container.desired is Desired.STOPPED:
        return "stop" if runs(shown) else "leave"
    if runs(shown):
        return "adopt"
    ended = shown is not None and shown.status is ContainerStatus.EXITED
    return "leave" if ended and container.stage is Stage.ONCE else "start"


class Reconciliation:
    """Keeps a domain's containers as they are desired."""

    def __init__(
        self,
        kernel: Kernel,
        domain: ContainerDomain,
        jobs: ContainerJobs,
        observation: Observation,
        lifetimes: Lifetimes,
        stages: BootStages,
        probation: ProbationWatch,
        watchdog: Watchdog,
    ) -> None:
        self._kernel = kernel
        self._domain = domain
        self._jobs = jobs
        self._observation = observation
        self._lifetimes = lifetimes
        self._stages = stages
        self._probation = probation
        self._watchdog = watchdog
        self._unknown = UnknownContainers(kernel, domain, observation, lifetimes)
        self._one_at_a_time = asyncio.Lock()

    async def connected(self, _: EngineConnected | None = None) -> None:
        """The engine is there: look at everything."""
        async with self._one_at_a_time:
            try:
                host_booted = await self._note_host_boot()
                tokens = self._lifetimes.all_tokens()
                shown = {container.name: container for container in await self._observation.engine.containers()}
            except Unavailable as error:  # the engine went away again, or the disk is full
                log.warning("reconciliation_put_off", reason=error.message)
                return
            await self._unknown.look(shown.values())
            await self._stages.begin(partial(self._settle, shown, tokens), host_booted=host_booted)

    async def look_again_at_unknown(self) -> None:
        """What the domain knows has changed: perhaps it can take a container over that nobody knew."""
        if self._unknown.waiting and self._observation.engine.available:
            await self.connected()

    def lost(self, _: EngineLost) -> None:
        """The engine is gone: what its containers do is not known."""
        self._observation.lose_sight()
        self._stages.begin_anew()

    async def _note_host_boot(self) -> bool:
        """After a boot of the host, desire of each container what it says of that. Whether there was one."""
        current, known = await boot_id(), self._domain.last_boot
        if known == current:
            return False
        while True:
            changes = [*self._domain.noting_boot(current)]
            for container in all_of(self._domain) if known is not None else ():
                if container.starts_with_host is not None:
                    desired = Desired.STARTED if container.starts_with_host else Desired.STOPPED
                    changes.append(self._domain.desiring(container.name, desired))
            try:
                await self._kernel.commit(*changes)
            except KeyError:  # one has gone just now
                continue
            return known is not None

    async def _settle(self, shown: Mapping[str, Container], tokens: Mapping[str, Token], name: str) -> bool:
        """Bring about what is desired of a container; whether it was started."""
        names, shown_container = self._domain.names, shown.get(self._domain.container_name(name))
        container = self._domain.find(name)
        if container is None:
            return False  # it has gone meanwhile
        todo = action(container, shown_container)
        log.debug("reconcile", **{names.context: name}, action=todo)
        try:
            if todo == "stop" and state_is_damaged(self._kernel):  # what is known may be older than what is shown
                await self._kernel.commit(self._domain.desiring(name, Desired.STARTED))
                todo = "adopt"
            if todo == "adopt" and shown_container is not None:
                await self._lifetimes.adopt(name, shown_container, tokens)
                self._watchdog.clear_problems(name)
                return False
            self._observation.observe(name, shown_container)
            await self._lifetimes.end_stale_tokens(name, shown_container, tokens)
            if todo == "start":
                await self._kernel.jobs.run(self._jobs.start(name))
            elif todo == "stop":
                await self._kernel.jobs.run(self._jobs.stop(name))
            self._kernel.problems.clear(BOOT_FAILED, names.context, name)
        except Stopping as reason:  # the next start goes on from what is desired then
            log.info("not_settled", **{names.context: name}, reason=reason.message)
            return False
        except (RooftreeError, KeyError) as error:
            if name not in self._domain.known():
                log.info("container_gone_meanwhile", **{names.context: name})
                return False
            message = error.message if isinstance(error, RooftreeError) else str(error)
            self._watchdog.report_failure(name, "stopped" if todo == "stop" else "started", message)
        return todo == "start"

    async def changed(self, event: ContainerChanged) -> None:
        """The engine says that a container changed."""
        name = self._domain.name_of(event.name)
        if name is None:
            return
        tokens = self._lifetimes.all_tokens()
        try:
            shown = await self._observation.look(name)
        except RooftreeError as error:
            log.info("container_not_seen", **{self._domain.names.context: name}, reason=error.message)
            return
        try:
            if event.action == "start" and shown is not None and runs(shown) and not _has_token(shown, tokens):
                await self._lifetimes.adopt(name, shown, tokens)  # somebody else has started it again
            await self._lifetimes.end_stale_tokens(name, shown, tokens)
        except RooftreeError as error:  # a full disk; the next start or stop sees to it
            log.warning("tokens_not_matched", **{self._domain.names.context: name}, reason=error.message)
        self._tell_who_watches(name, event)
        if is_well(shown):
            self._watchdog.is_well(name)

    def _tell_who_watches(self, name: str, event: ContainerChanged) -> None:
        container = self._domain.find(name)
        if container is None:
            return
        ended_by_us = self._observation.was_ended_by_us(name, event.id)
        failed = event.action == "die" and event.exit_code != 0 and not ended_by_us
        unhealthy = event.action == "health" and event.health is Health.UNHEALTHY
        if self._probation.watches(name):
            if failed or unhealthy:
                self._probation.suspect(name, event)
            elif event.action == "die":
                self._probation.ended_well(name)
        elif container.watched and (failed or unhealthy):
            self._watchdog.failed(name)


def _has_token(container: Container, tokens: Mapping[str, Token]) -> bool:
    return container.labels.get(LABEL_TOKEN) in tokens

"""The containers of one domain, looked after: what a domain makes of its description, and what the steps find again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from typing import Final

from rooftree import PLUGINS, Kernel, PluginHealthChanged, PluginInfo, Service, Task
from rooftree.access import TokenUsedElsewhere
from rooftree.interfaces.containers import ContainerChanged, EngineConnected, EngineLost
from rooftree.interfaces.power import HostStays
from rooftree.plugins import Health
from rooftree.services import SERVICES, ServiceDirectory
from rooftree_containers.boot_stages import BootStages
from rooftree_containers.crash_log import CrashLogs
from rooftree_containers.lifetime import TOKEN_USED_ELSEWHERE, Lifetimes
from rooftree_containers.managed import ContainerDomain, ContainerJobs, ContainerSteps
from rooftree_containers.observation import RESTART_DUE, Observation
from rooftree_containers.probation_watch import ProbationWatch
from rooftree_containers.reconciliation import Reconciliation
from rooftree_containers.watchdog import ASK_EVERY, BOOT_FAILED, GAVE_UP, Watchdog

ROLLED_BACK: Final = "update_rolled_back"
"""The type of the problem that says that an update failed, and that the version before it is back."""
_PREFIX: Final = "managed_containers."


class ManagedContainers:
    """The containers of one domain.

    Made in a plugin's ``setup``: listens to the engine from then on, until the plugin stops. The plugin provides it
    under :func:`managed_containers`, and yields its :meth:`tasks`.
    """

    def __init__(self, kernel: Kernel, domain: ContainerDomain, jobs: ContainerJobs, steps: ContainerSteps) -> None:
        self.kernel = kernel
        self.domain = domain
        self.steps = steps
        self._health_changed = asyncio.Event()
        self.observation = Observation(kernel, domain)
        self.crash_logs = CrashLogs(kernel, domain, self.observation)
        self.lifetimes = Lifetimes(kernel, domain, self.observation, self.crash_logs)
        self.probation = ProbationWatch(kernel, domain, jobs, self.observation)
        kernel.defer(self.probation.stop)
        self.watchdog = Watchdog(kernel, domain, jobs, self.observation, self.crash_logs, self.probation.complained)
        kernel.defer(self.watchdog.stop)
        self.stages = BootStages(kernel, domain, jobs, self.observation, self._stages_of_others)
        kernel.defer(self.stages.stop)
        self.reconciliation = Reconciliation(
            kernel,
            domain,
            jobs,
            self.observation,
            self.lifetimes,
            self.stages,
            self.probation,
            self.watchdog,
        )
        kernel.on(PluginHealthChanged, self._note_health)
        kernel.on(EngineConnected, self.reconciliation.connected)
        kernel.on(EngineLost, self.reconciliation.lost)
        kernel.on(ContainerChanged, self.reconciliation.changed)
        kernel.on(HostStays, lambda _: self.reconciliation.connected())
        kernel.on(TokenUsedElsewhere, self.lifetimes.token_used_elsewhere)

    def tasks(self) -> Iterable[Task]:
        """Look at everything once (the engine may have said that it is there before we listened), then by the clock."""
        yield Task("bring up", self._bring_up)
        yield Task("watchdog", self.watchdog.ask, every=ASK_EVERY)
        yield Task("delete failed data", self.probation.delete_failed_data, every=timedelta(days=1))

    async def _stages_of_others(self) -> list[BootStages]:
        """Those of the other domains, once no plugin is starting that has one."""
        plugins, services = self.kernel.service(PLUGINS), self.kernel.service(SERVICES)
        while True:
            domains = [plugin for plugin in plugins if plugin.name != self.kernel.name and _has_domain(plugin)]
            if all(plugin.state is not Health.STARTING for plugin in domains):
                break
            await self._health_changed.wait()
        others = (services.find(managed_containers(plugin.name)) for plugin in domains)
        return [containers.stages for containers in others if containers is not None]

    def _note_health(self, _: PluginHealthChanged) -> None:
        self._health_changed.set()
        self._health_changed = asyncio.Event()

    async def _bring_up(self) -> None:
        """Bring the containers up, if the engine is there; else its coming will."""
        if self.observation.engine.available:
            await self.reconciliation.connected()

    def forget(self, name: str) -> None:
        """It is no container of the domain any more."""
        self.observation.forget(name)
        names = self.domain.names
        own = (BOOT_FAILED, GAVE_UP, TOKEN_USED_ELSEWHERE, RESTART_DUE, ROLLED_BACK)
        for problem in (*own, *names.failures):
            self.kernel.problems.clear(problem, names.context, name)


def _has_domain(plugin: PluginInfo) -> bool:
    return managed_containers(plugin.name).name in plugin.provides


@cache
def managed_containers(plugin: str) -> Service[ManagedContainers]:
    """The key under which a plugin provides its containers to their steps."""
    return Service[ManagedContainers](f"{_PREFIX}{plugin}/1")


def containers_of(services: ServiceDirectory, plugin: str) -> ManagedContainers:
    """The containers of a plugin's domain; raises ``Unavailable`` while it does not run."""
    return services.get(managed_containers(plugin))

"""The stages in which containers start and end: who comes before whom, and how long a stage waits.

In a stage, a container starts after those of that stage that provide what it waits for; all others start side by side.
The stages are those of all domains: one does not begin before every domain is through with those below it. At the end
the stages go the other way, in each domain; what runs once is let finish.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import groupby
from typing import Final

import structlog

from rooftree import Kernel, RooftreeError
from rooftree.interfaces.hooks import EndingWork
from rooftree.interfaces.preferences import INSTALLATION_PREFERENCES
from rooftree_containers.managed import ContainerDomain, ContainerJobs, ManagedContainer, Stage, all_of
from rooftree_containers.observation import Observation

log = structlog.get_logger(__name__)

STAGE_WITHIN_S: Final = 120.0
"""Seconds after which the next stage begins without those that are still starting."""
END_WITHIN_S: Final = 600.0
"""Seconds that ending all containers of a domain may take."""
USUAL_WAIT_S: Final = 5
"""Seconds that a stage takes at least, where no preference says otherwise."""
_END: Final = max(Stage) + 1

type Settle = Callable[[str], Awaitable[bool]]
"""Makes a container be as it is desired; whether that meant to start it."""


def waits_for(stage: Iterable[ManagedContainer]) -> dict[str, frozenset[str]]:
    """Whom each container of a stage starts after. Where they wait for each other in a circle, nobody waits."""
    containers = list(stage)
    offered = {container.name: {container.name, *container.provides} for container in containers}
    after = {
        container.name: frozenset(
            other for other, names in offered.items() if other != container.name and container.after & names
        )
        for container in containers
    }
    try:
        TopologicalSorter(after).prepare()
    except CycleError as error:
        log.warning("containers_wait_in_a_circle", containers=error.args[1])
        return dict.fromkeys(after, frozenset[str]())
    return after


class BootStages:
    """Starts and ends a domain's containers in their stages.

    :param others: the stages of the other domains that there are, once they have started
    """

    def __init__(
        self,
        kernel: Kernel,
        domain: ContainerDomain,
        jobs: ContainerJobs,
        observation: Observation,
        others: Callable[[], Awaitable[Iterable[BootStages]]],
    ) -> None:
        self._kernel = kernel
        self._domain = domain
        self._jobs = jobs
        self._observation = observation
        self._others = others
        self._position: int | None = None
        self._moved = asyncio.Event()
        self._late: set[asyncio.Task[bool]] = set()

    async def begin(self, settle: Settle, *, host_booted: bool) -> None:
        """Make all containers be as they are desired, stage by stage. ``settle`` must not raise.

        :param host_booted: then what was started in a stage gets the time to open its ports before the next begins
        """
        for stage, containers in self._stages().items():
            self._move_to(stage)
            await self._until_others_are_past(stage)
            earliest_end = self._kernel.clock.monotonic() + self._wait_s
            any_started = await self._side_by_side(containers, settle)
            if host_booted and any_started:
                await self._kernel.clock.sleep(max(0.0, earliest_end - self._kernel.clock.monotonic()))
        self._move_to(_END)

    # --- beside other domains ----------------------------------------------------------------------------------------

    def begin_anew(self) -> None:
        """The engine is gone: all stages are to come again."""
        self._position = None

    async def until_past(self, stage: int) -> None:
        """Wait until the domain is through with the stages below that one: a :class:`Stage`, or a number above all."""
        while not self._is_past(stage):
            await self._moved.wait()

    def _is_past(self, stage: int) -> bool:
        if self._position is None:
            return all(container.stage >= stage for container in all_of(self._domain))
        return self._position >= stage

    def _move_to(self, position: int) -> None:
        self._position = position
        self._moved.set()
        self._moved = asyncio.Event()

    async def _until_others_are_past(self, stage: Stage) -> None:
        try:
            async with asyncio.timeout(STAGE_WITHIN_S):
                for other in await self._others():
                    await other.until_past(stage)
        except TimeoutError:
            log.warning("stage_goes_on_without_another_domain", stage=stage.name, waited_s=STAGE_WITHIN_S)

    # --- the end -----------------------------------------------------------------------------------------------------

    def ending_work(self, name: str, order: int) -> list[EndingWork]:
        """The answer of a domain to the hook ``before_host_ends``: end its containers, stage by stage.

        :param name: what they are called together
        :param order: which domain's end before others
        """
        ends = tuple(self.would_end())
        return [EndingWork(name=name, order=order, run=self.shut_down, within_s=END_WITHIN_S, ends=ends)]

    async def shut_down(self) -> None:
        """End the containers that run, the last stage first; what is desired of them stays.

        For whoever ends the host or the system. One that cannot be ended is left to that, and logged.
        """
        for stage in self._stages_to_end():
            for name in self._to_end(stage):
                try:
                    await self._kernel.jobs.run(self._jobs.end(name))
                except RooftreeError as error:
                    log.warning("container_not_ended", **{self._domain.names.context: name}, reason=error.message)

    def would_end(self) -> Sequence[str]:
        """Those that :meth:`shut_down` would end now, in that order."""
        return [name for stage in self._stages_to_end() for name in self._to_end(stage)]

    def _stages_to_end(self) -> list[list[ManagedContainer]]:
        return [stage for number, stage in self._stages().items() if number is not Stage.ONCE][::-1]

    def _to_end(self, stage: Iterable[ManagedContainer]) -> Sequence[str]:
        running = [container for container in stage if self._observation.runs(container.name)]
        in_order_of_start = tuple(TopologicalSorter(waits_for(running)).static_order())
        return in_order_of_start[::-1]  # whom others wait for at the start is ended after them

    async def stop(self) -> None:
        """Wait no longer for those that are still starting; their jobs go on."""
        tasks = set(self._late)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    @property
    def _wait_s(self) -> int:
        preferences = self._kernel.find(INSTALLATION_PREFERENCES)
        return preferences.wait_boot_s if preferences else USUAL_WAIT_S

    def _stages(self) -> dict[Stage, list[ManagedContainer]]:
        """The stages that there are, the first first."""
        in_order = sorted(all_of(self._domain), key=lambda container: container.stage)
        return {stage: list(containers) for stage, containers in groupby(in_order, lambda container: container.stage)}

    async def _side_by_side(self, stage: list[ManagedContainer], settle: Settle) -> bool:
        """Settle all of a stage; whether one of them was started."""
        after = waits_for(stage)
        tasks: dict[str, asyncio.Task[bool]] = {}
        for container in stage:
            work = _settle_after(after[container.name], tasks, settle, container)
            tasks[container.name] = asyncio.get_running_loop().create_task(work, name=f"settle {container.name}")
        self._late.update(tasks.values())
        for task in tasks.values():
            task.add_done_callback(self._late.discard)
        finished, unfinished = await asyncio.wait(tasks.values(), timeout=STAGE_WITHIN_S)
        if unfinished:
            names = sorted(name for name, task in tasks.items() if task in unfinished)
            log.warning("stage_goes_on_without", containers=names, waited_s=STAGE_WITHIN_S)
        return bool(unfinished) or any(task.result() for task in finished)


async def _settle_after(
    providing: Iterable[str], tasks: Mapping[str, asyncio.Task[bool]], settle: Settle, container: ManagedContainer
) -> bool:
    if waited_for := [tasks[other] for other in providing]:
        await asyncio.wait(waited_for)
    was_started = await settle(container.name)
    if was_started and container.provides:
        await container.offered()
    return was_started

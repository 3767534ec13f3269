"""Watching the containers whose version is on probation: what runs well for long enough may stay, what fails is rolled
back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from rooftree import Kernel, RooftreeError
from rooftree.interfaces.containers import Container, ContainerChanged, Health
from rooftree_containers.managed import ContainerDomain, ContainerJobs, ContainerState, Desired, Stage
from rooftree_containers.observation import Observation, runs
from rooftree_containers.update_backup import FAILED
from rooftree_files import Folder

log = structlog.get_logger(__name__)

SUSPECT_S: Final = 10.0
"""Seconds before a container that ended is judged. An engine that is stopped ends its containers first: by then it has
gone, and nobody is to blame."""
UNHEALTHY_S: Final = 30.0
"""Seconds that a container may be unhealthy before it is judged."""


class ProbationWatch:
    """Ends probations, one way or the other."""

    def __init__(self, kernel: Kernel, domain: ContainerDomain, jobs: ContainerJobs, observation: Observation) -> None:
        self._kernel = kernel
        self._domain = domain
        self._jobs = jobs
        self._observation = observation
        self._proving: dict[str, asyncio.Task[None]] = {}
        self._judging: dict[str, asyncio.Task[None]] = {}
        observation.on_change(self.state_changed)

    def watches(self, name: str) -> bool:
        """Whether it is on probation: then a failure is this watch's affair, and not the watchdog's."""
        return self._domain.probation(name) is not None

    def state_changed(self, name: str, state: ContainerState) -> None:
        """The time in which it has to run well begins anew with each start."""
        self._stop_proving(name)
        if state is ContainerState.STARTED:
            self._prove(name)

    def ended_well(self, name: str) -> None:
        """It ended without an error. Where it is one that runs once, it has proved itself."""
        container, update = self._domain.find(name), self._update(name)
        if container is not None and container.stage is Stage.ONCE and update is not None:
            self._keep(self._proving, name, self._keep_update(name, update))

    def suspect(self, name: str, event: ContainerChanged) -> None:
        """It ended, or is not healthy: while that is looked into, it proves nothing."""
        self._stop_proving(name)
        earlier = self._judging.get(name)
        if earlier is not None:  # perhaps of another container, which has gone
            earlier.cancel()
        after_s = UNHEALTHY_S if event.action == "health" else SUSPECT_S
        if (update := self._update(name)) is not None:
            self._keep(self._judging, name, self._judge(name, update, event.id, after_s))

    def complained(self, name: str, complaint: str) -> bool:
        """Its probe has complained of a container twice. Whether it is rolled back for that: it is on probation, and
        has said that it must be ready for its version to stay."""
        container, update = self._domain.find(name), self._update(name)
        if container is None or container.ready is None or update is None:
            return False
        self._stop_proving(name)
        self._keep(self._judging, name, self._roll_back(name, update, complaint))
        return True

    def _update(self, name: str) -> str | None:
        """Which update it is about: by the time that a job has its turn, there may be another."""
        probation = self._domain.probation(name)
        return probation.kept.folder if probation is not None else None

    def _prove(self, name: str) -> None:
        if (update := self._update(name)) is not None:
            self._keep(self._proving, name, self._proves_itself(name, update))

    def _stop_proving(self, name: str) -> None:
        proving = self._proving.pop(name, None)
        if proving is not None:
            proving.cancel()

    def _keep(self, tasks: dict[str, asyncio.Task[None]], name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"probation of {name}")
        tasks[name] = task

        def forget(ended: asyncio.Task[None]) -> None:
            if tasks.get(name) is ended:
                del tasks[name]

        task.add_done_callback(forget)

    async def _proves_itself(self, name: str, update: str) -> None:
        container = self._domain.find(name)
        if container is None:
            return
        await self._kernel.clock.sleep(container.probation.total_seconds())
        if container.ready is not None and (complaint := await container.ready()) is not None:
            await self._roll_back(name, update, f"at the end of its probation, {complaint}")
        else:
            await self._keep_update(name, update)

    async def _keep_update(self, name: str, update: str) -> None:
        try:
            await self._kernel.jobs.run(self._jobs.keep_update(name, update).in_background())
        except RooftreeError as error:
            log.info("update_not_kept", **self._whose(name), reason=error.message)

    async def _roll_back(self, name: str, update: str, reason: str) -> None:
        try:
            await self._kernel.jobs.run(self._jobs.roll_back(name, update, reason).in_background())
        except RooftreeError as error:  # the engine is gone, or a job was quicker
            log.info("update_not_rolled_back", **self._whose(name), reason=error.message)

    async def _judge(self, name: str, update: str, container_id: str, after_s: float) -> None:
        await self._kernel.clock.sleep(after_s)
        try:
            reason = self._verdict(name, await self._observation.look(name), container_id)
        except RooftreeError as error:
            log.info("update_not_judged", **self._whose(name), reason=error.message)
            return
        if reason is not None:
            await self._roll_back(name, update, reason)
        elif self._observation.state(name) is ContainerState.STARTED and name not in self._proving:
            self._prove(name)

    def _verdict(self, name: str, shown: Container | None, container_id: str) -> str | None:
        """Why it has to be rolled back; ``None`` where it need not: it was stopped, or runs again."""
        container = self._domain.find(name)
        if container is None or container.desired is Desired.STOPPED or not self.watches(name):
            return None
        if shown is None or shown.id != container_id or self._observation.was_ended_by_us(name, shown.id):
            return None
        if shown.exit_code:
            return f"it ended with exit code {shown.exit_code}"
        if runs(shown) and shown.health is Health.UNHEALTHY:
            return "it is not healthy any more"
        return None

    async def delete_failed_data(self) -> None:
        """Delete what versions that failed have left, once it has been there long enough."""
        before = self._kernel.clock.now().timestamp() - self._domain.failed_data_stays.total_seconds()
        place = self._domain.names.kept_folder
        old = await asyncio.to_thread(_failed_before, self._kernel.data.path, place, before)
        if old:
            log.info("failed_data_deleted", folders=old)
            await self._domain.remove(*old)

    async def stop(self) -> None:
        """End the watch; what it would have done is done after the next start."""
        tasks = [*self._proving.values(), *self._judging.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _whose(self, name: str) -> dict[str, str]:
        return {self._domain.names.context: name}


def _failed_before(data: Path, place: str, before: float) -> list[str]:
    with suppress(FileNotFoundError), Folder.open(data) as root, root.folder(place) as kept:
        paths = [f"{place}/{path}" for path in _failed(kept)]
        return [path for path in paths if (status := root.status(path)) and status.st_mtime < before]
    return []


def _failed(kept: Folder) -> Iterator[str]:
    for name in kept.names():
        if kept.is_folder(name):
            yield from (f"{name}/{folder}" for folder in kept.names(name) if folder.startswith(FAILED))

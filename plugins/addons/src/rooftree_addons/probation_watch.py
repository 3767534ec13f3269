"""Watching the add-ons that are on probation: who runs well for long enough may stay, who fails is rolled back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from rooftree import Kernel, RooftreeError
from rooftree.interfaces.containers import Container, ContainerChanged, ContainerStatus, Health
from rooftree_addons import updates
from rooftree_addons.addons import Addons, AddonState, AddonStateChanged
from rooftree_addons.installed import Desired
from rooftree_addons.snapshot import KEPT_FOLDER
from rooftree_files import Folder
from rooftree_store import AddonSlug, Startup

log = structlog.get_logger(__name__)

SUSPECT_S: Final = 10.0
"""Seconds before an add-on that ended is judged. An engine that is stopped ends its containers first: by then it has
gone, and nobody is to blame."""
UNHEALTHY_S: Final = 30.0
"""Seconds that an add-on may be unhealthy before it is judged."""


class ProbationWatch:
    """Ends probations, one way or the other.

    :param lasts: how long a new version has to run well without a break
    """

    def __init__(self, kernel: Kernel, addons: Addons, lasts: timedelta) -> None:
        self._kernel = kernel
        self._addons = addons
        self._lasts = lasts
        self._proving: dict[AddonSlug, asyncio.Task[None]] = {}
        self._judging: dict[AddonSlug, asyncio.Task[None]] = {}

    def watches(self, slug: AddonSlug) -> bool:
        """Whether the add-on is on probation: then a failure is this watch's affair, and not the watchdog's."""
        return slug in self._addons.probations

    def state_changed(self, event: AddonStateChanged) -> None:
        """The time in which it has to run well begins anew with each start."""
        self._stop_proving(event.slug)
        if event.state is AddonState.STARTED and self.watches(event.slug):
            self._prove(event.slug)

    def ended_well(self, slug: AddonSlug) -> None:
        """It is one that runs once, and it has."""
        if self._addons.get(slug).config.startup is Startup.ONCE:
            self._keep(self._proving, slug, self._keep_update(slug, self._update(slug)))

    def suspect(self, slug: AddonSlug, event: ContainerChanged) -> None:
        """It ended, or is not healthy: while that is looked into, it proves nothing."""
        self._stop_proving(slug)
        earlier = self._judging.get(slug)
        if earlier is not None:  # perhaps of another container, which has gone
            earlier.cancel()
        after_s = UNHEALTHY_S if event.action == "health" else SUSPECT_S
        self._keep(self._judging, slug, self._judge(slug, self._update(slug), event.id, after_s))

    def _update(self, slug: AddonSlug) -> str:
        """Which update it is about: by the time that a job has its turn, there may be another."""
        return self._addons.probations[slug].kept.folder

    def _prove(self, slug: AddonSlug) -> None:
        self._keep(self._proving, slug, self._proves_itself(slug, self._update(slug)))

    def _stop_proving(self, slug: AddonSlug) -> None:
        proving = self._proving.pop(slug, None)
        if proving is not None:
            proving.cancel()

    def _keep(
        self, tasks: dict[AddonSlug, asyncio.Task[None]], slug: AddonSlug, work: Coroutine[Any, Any, None]
    ) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"probation of {slug}")
        tasks[slug] = task

        def forget(ended: asyncio.Task[None]) -> None:
            if tasks.get(slug) is ended:
                del tasks[slug]

        task.add_done_callback(forget)

    async def _proves_itself(self, slug: AddonSlug, update: str) -> None:
        await self._kernel.clock.sleep(self._lasts.total_seconds())
        await self._keep_update(slug, update)

    async def _keep_update(self, slug: AddonSlug, update: str) -> None:
        try:
            await self._kernel.jobs.run(updates.keep_update(slug=slug, update=update).in_background())
        except RooftreeError as error:
            log.info("update_not_kept", addon=slug, reason=error.message)

    async def _judge(self, slug: AddonSlug, update: str, container_id: str, after_s: float) -> None:
        await self._kernel.clock.sleep(after_s)
        try:
            container = await self._addons.look(slug)
            reason = self._verdict(slug, container, container_id)
            if reason is not None:
                await self._kernel.jobs.run(updates.roll_back(slug=slug, update=update, reason=reason).in_background())
            elif self._addons.state(slug) is AddonState.STARTED and self.watches(slug) and slug not in self._proving:
                self._prove(slug)
        except RooftreeError as error:  # the engine is gone, or a job was quicker
            log.info("update_not_rolled_back", addon=slug, reason=error.message)

    def _verdict(self, slug: AddonSlug, container: Container | None, container_id: str) -> str | None:
        """Why it has to be rolled back; ``None`` where it need not: it was stopped, or runs again."""
        addon = self._addons.installed.get(slug)
        if addon is None or addon.desired is Desired.STOPPED or not self.watches(slug):
            return None
        if container is None or container.id != container_id or self._addons.was_ended_by_us(slug, container.id):
            return None
        if container.exit_code:
            return f"it ended with exit code {container.exit_code}"
        if container.status is ContainerStatus.RUNNING and container.health is Health.UNHEALTHY:
            return "it is not healthy any more"
        return None

    async def delete_failed_data(self) -> None:
        """Delete what versions that failed have left, once it has been there long enough."""
        before = self._kernel.clock.now().timestamp() - self._addons.failed_data_stays.total_seconds()
        old = await asyncio.to_thread(_failed_before, self._kernel.data.path, before)
        if old:
            log.info("failed_data_deleted", folders=old)
            await self._addons.removals.remove(*old)

    async def stop(self) -> None:
        """End the watch; what it would have done is done after the next start."""
        tasks = [*self._proving.values(), *self._judging.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _failed_before(data: Path, before: float) -> list[str]:
    with suppress(FileNotFoundError), Folder.open(data) as root, root.folder(KEPT_FOLDER) as kept:
        return [path for path in _failed(kept) if (status := root.status(path)) and status.st_mtime < before]
    return []


def _failed(kept: Folder) -> Iterator[str]:
    for slug in kept.names():
        if kept.is_folder(slug):
            yield from (f"{KEPT_FOLDER}/{slug}/{name}" for name in kept.names(slug) if name.startswith("failed-"))

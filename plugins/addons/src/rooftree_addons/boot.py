"""The stages in which add-ons start and end: who comes before whom, and how long a stage waits.

initialize → system → services → application, and back at the end. ``once`` is in no stage: it is never started by
itself, and at the end it is let finish. In a stage, an add-on that needs or wants a service starts after the add-on of
that stage that provides it; all others start side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Final

import structlog

from rooftree import Kernel, RooftreeError
from rooftree.interfaces.preferences import INSTALLATION_PREFERENCES
from rooftree_addons import verbs
from rooftree_addons.addons import Addons
from rooftree_addons.installed import InstalledAddon
from rooftree_store import AddonSlug, Startup

log = structlog.get_logger(__name__)

STAGES: Final = (Startup.INITIALIZE, Startup.SYSTEM, Startup.SERVICES, Startup.APPLICATION)
STAGE_WITHIN_S: Final = 120.0
"""Seconds after which the next stage begins without those that are still starting."""
END_WITHIN_S: Final = 600.0
"""Seconds that ending all add-ons may take."""
USUAL_WAIT_S: Final = 5
"""Seconds that a stage takes at least, where no preference says otherwise."""

type Settle = Callable[[InstalledAddon], Awaitable[bool]]
"""Makes an add-on be as it is desired; whether that meant to start it."""


def providers(stage: Iterable[InstalledAddon]) -> dict[AddonSlug, frozenset[AddonSlug]]:
    """Whom each add-on of a stage starts after. Where they wait for each other in a circle, nobody waits."""
    roles = {addon.slug: addon.config.services or () for addon in stage}
    after = {
        slug: frozenset(
            other
            for other, offered in roles.items()
            if other != slug
            and any(
                mine.role != "provide" and theirs.role == "provide" and mine.service == theirs.service
                for mine in entries
                for theirs in offered
            )
        )
        for slug, entries in roles.items()
    }
    try:
        TopologicalSorter(after).prepare()
    except CycleError as error:
        log.warning("addons_wait_in_a_circle", addons=error.args[1])
        return dict.fromkeys(after, frozenset[AddonSlug]())
    return after


class Stages:
    """Starts and ends add-ons in their stages."""

    def __init__(self, kernel: Kernel, addons: Addons) -> None:
        self._kernel = kernel
        self._addons = addons
        self._late: set[asyncio.Task[bool]] = set()

    async def begin(self, settle: Settle, *, host_booted: bool) -> None:
        """Make all add-ons be as they are desired, stage by stage. ``settle`` must not raise.

        :param host_booted: then what was started in a stage gets the time to open its ports before the next begins
        """
        for stage in (*STAGES, Startup.ONCE):
            earliest_end = self._kernel.clock.monotonic() + self._wait_s
            started = await self._side_by_side(self._of(stage), settle)
            if host_booted and started:
                await self._kernel.clock.sleep(max(0.0, earliest_end - self._kernel.clock.monotonic()))

    async def shut_down(self) -> None:
        """End the add-ons that run, the last stage first; what is desired of them stays.

        For whoever ends the host or the system. An add-on that cannot be ended is left to that, and logged.
        """
        for stage in reversed(STAGES):
            for slug in self._to_end(stage):
                try:
                    await self._kernel.jobs.run(verbs.end_with_system(slug=slug))
                except RooftreeError as error:
                    log.warning("addon_not_ended", addon=slug, reason=error.message)

    def would_end(self) -> Sequence[AddonSlug]:
        """Those that :meth:`shut_down` would end now, in that order."""
        return [slug for stage in reversed(STAGES) for slug in self._to_end(stage)]

    def _to_end(self, stage: Startup) -> Sequence[AddonSlug]:
        running = [addon for addon in self._of(stage) if self._addons.runs(addon.slug)]
        in_order_of_start = tuple(TopologicalSorter(providers(running)).static_order())
        return in_order_of_start[::-1]  # whom others wait for at the start is ended after them

    async def stop(self) -> None:
        """Wait no longer for those that are still starting; their jobs go on."""
        late = set(self._late)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    @property
    def _wait_s(self) -> int:
        preferences = self._kernel.find(INSTALLATION_PREFERENCES)
        return preferences.wait_boot_s if preferences else USUAL_WAIT_S

    def _of(self, stage: Startup) -> list[InstalledAddon]:
        return [addon for addon in self._addons.installed.values() if addon.config.startup is stage]

    async def _side_by_side(self, stage: list[InstalledAddon], settle: Settle) -> bool:
        """Settle all of a stage; whether one of them was started."""
        after = providers(stage)
        tasks: dict[AddonSlug, asyncio.Task[bool]] = {}
        for addon in stage:
            work = _after(after[addon.slug], tasks, settle, addon)
            tasks[addon.slug] = asyncio.get_running_loop().create_task(work, name=f"settle {addon.slug}")
        if not tasks:
            return False
        self._late.update(tasks.values())
        for task in tasks.values():
            task.add_done_callback(self._late.discard)
        done, late = await asyncio.wait(tasks.values(), timeout=STAGE_WITHIN_S)
        if late:
            names = sorted(slug for slug, task in tasks.items() if task in late)
            log.warning("stage_goes_on_without", addons=names, waited_s=STAGE_WITHIN_S)
        return bool(late) or any(task.result() for task in done)


async def _after(
    providing: Iterable[AddonSlug],
    tasks: Mapping[AddonSlug, asyncio.Task[bool]],
    settle: Settle,
    addon: InstalledAddon,
) -> bool:
    waited_for = [tasks[slug] for slug in providing]
    if waited_for:
        await asyncio.wait(waited_for)
    return await settle(addon)

"""Bringing what the engine shows in line with what is desired.

At the start, and whenever the engine is (again) there, every add-on is looked at by one table; in between, the engine's
events keep the states true, and the watchdog brings back what fails.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from functools import partial
from typing import Final, Literal, TypeGuard

import structlog
from attrs import frozen

from rooftree import Kernel, Problem, RateLimited, RooftreeError, Unavailable, document
from rooftree.access import Token
from rooftree.clock import boot_id
from rooftree.interfaces.callers import ADDON
from rooftree.interfaces.containers import (
    Container,
    ContainerChanged,
    ContainerStatus,
    EngineConnected,
    EngineLost,
    Health,
)
from rooftree_addons import verbs
from rooftree_addons.addons import DEVICE_PROBLEM, FAILURE_PROBLEMS, Addons, AddonState, slug_of
from rooftree_addons.boot import Stages
from rooftree_addons.container import LABEL_TOKEN
from rooftree_addons.installed import AddonNotInstalled, Desired, InstalledAddon
from rooftree_addons.probation_watch import ProbationWatch
from rooftree_addons.unknown_containers import UnknownContainers, state_is_damaged
from rooftree_store import AddonSlug, Startup

log = structlog.get_logger(__name__)

WATCHDOG_PAUSES_S: Final = (10, 10, 20, 40, 80)
"""Seconds before each try of the watchdog to bring an add-on back, and, the last again, before it gives up."""

type Action = Literal["adopt", "start", "stop", "leave"]


@document("addons.boot", version=1)
@frozen
class LastBoot:
    """The boot of the host that the add-ons were last brought up in."""

    boot_id: str


def action(addon: InstalledAddon, container: Container | None) -> Action:
    """The table: what is desired, and what the engine shows, tell what to do (docs/architecture.md has it drawn)."""
    running = container is not None and container.status is ContainerStatus.RUNNING
    if addon.desired is Desired.STOPPED:
        return "stop" if running else "leave"
    if running:
        return "adopt"
    ended = container is not None and container.status is ContainerStatus.EXITED
    if ended and addon.config.startup is Startup.ONCE:
        return "leave"
    return "start"


class Reconciliation:
    """Keeps add-ons as they are desired."""

    def __init__(self, kernel: Kernel, addons: Addons, stages: Stages, probation: ProbationWatch) -> None:
        self._kernel = kernel
        self._addons = addons
        self._stages = stages
        self._probation = probation
        self._unknown = UnknownContainers(addons)
        self._once = asyncio.Lock()
        self._watchdogs: dict[AddonSlug, asyncio.Task[None]] = {}

    async def connected(self, _: EngineConnected | None = None) -> None:
        """The engine is there: look at everything."""
        async with self._once:
            try:
                host_booted = await self._note_host_boot()
                tokens = self._kernel.tokens.known(ADDON.name)
                containers = await self._addons.engine.containers()
            except Unavailable as error:  # the engine went away again, or the disk is full
                log.warning("reconciliation_put_off", reason=error.message)
                return
            shown = {slug: container for container in containers if (slug := slug_of(container)) is not None}
            await self._unknown.look(shown)
            settle = partial(self._settle, shown, tokens)
            await self._stages.begin(settle, host_booted=host_booted)

    async def store_changed(self) -> None:
        """The store offers something else: perhaps the add-on of a container that nobody knew."""
        if self._unknown.waiting and self._addons.engine.available:
            await self.connected()

    def lost(self, event: EngineLost) -> None:
        """The engine is gone: what its containers do is not known."""
        for slug in self._addons.installed:
            self._addons.note_state(AddonSlug(slug), AddonState.UNKNOWN)

    async def _note_host_boot(self) -> bool:
        """After a boot of the host, desire of each add-on what its boot setting says. Whether there was one."""
        current = await boot_id()
        boots = await self._kernel.collection(LastBoot)
        known = boots.get("host")
        if known is not None and known.boot_id == current:
            return False
        while True:
            changes = [boots.put("host", LastBoot(current))]
            for addon in self._addons.installed.values() if known is not None else ():
                wanted = Desired.STARTED if addon.starts_with_host else Desired.STOPPED
                changes.append(
                    self._addons.installed.update(addon.slug, partial(InstalledAddon.wanting, desired=wanted))
                )
            try:
                await self._kernel.commit(*changes)
            except KeyError:  # one was uninstalled just now
                continue
            return known is not None

    async def _settle(
        self, shown: Mapping[AddonSlug, Container], tokens: Mapping[str, Token], addon: InstalledAddon
    ) -> bool:
        """Bring about what is desired of an add-on; whether it was started."""
        container = shown.get(addon.slug)
        todo = action(addon, container)
        log.debug("reconcile", addon=addon.slug, action=todo)
        try:
            if todo == "stop" and state_is_damaged(self._addons):  # what is known may be older than what is shown
                await self._addons.change(addon.slug, partial(InstalledAddon.wanting, desired=Desired.STARTED))
                todo = "adopt"
            if todo == "adopt" and container is not None:
                await self._addons.adopt(addon.slug, container, tokens)
                self._clear_problems(addon.slug)
                return False
            self._addons.observe(addon.slug, container)
            await self._addons.end_stale_tokens(addon.slug, container, tokens)
            if todo == "start":
                await self._kernel.jobs.run(verbs.start_if_desired(slug=addon.slug))
            elif todo == "stop":
                await self._kernel.jobs.run(verbs.stop_if_desired(slug=addon.slug))
            self._kernel.problems.clear("boot_fail", "addon", addon.slug)
        except AddonNotInstalled:
            log.info("addon_gone_meanwhile", addon=addon.slug)
        except RooftreeError as error:
            self._kernel.problems.report(
                Problem(
                    "boot_fail",
                    "addon",
                    addon.slug,
                    f"Add-on {addon.slug} could not be started: {error.message}",
                    suggestions=("execute_start", "disable_boot"),
                )
            )
        return todo == "start"

    async def changed(self, event: ContainerChanged) -> None:
        """The engine says that a container changed."""
        slug = self._slug(event.name)
        if slug is None:
            return
        tokens = self._kernel.tokens.known(ADDON.name)
        try:
            container = await self._addons.look(slug)
        except RooftreeError as error:
            log.info("addon_not_seen", addon=slug, reason=error.message)
            return
        try:
            if event.action == "start" and _runs(container) and container.labels.get(LABEL_TOKEN) not in tokens:
                await self._addons.adopt(slug, container, tokens)  # somebody else has started it again
            await self._addons.end_stale_tokens(slug, container, tokens)
        except RooftreeError as error:  # a full disk; the next start or stop sees to it
            log.warning("tokens_not_matched", addon=slug, reason=error.message)
        if event.action in {"start", "die"}:  # it has the devices that are there when it is created next
            self._kernel.problems.clear(DEVICE_PROBLEM, "addon", slug)
        addon = self._addons.installed.get(slug)
        failed = event.action == "die" and event.exit_code != 0 and not self._addons.was_ended_by_us(slug, event.id)
        unhealthy = event.action == "health" and event.health is Health.UNHEALTHY
        if addon is not None and self._probation.watches(slug):
            if failed or unhealthy:
                self._probation.suspect(slug, event)
            elif event.action == "die":
                self._probation.ended_well(slug)
        elif addon is not None and addon.watchdog and (failed or unhealthy):
            self._watch(slug)
        if _is_well(container) and slug not in self._watchdogs:
            self._clear_problems(slug)

    def _clear_problems(self, slug: AddonSlug) -> None:
        for problem in FAILURE_PROBLEMS:
            self._kernel.problems.clear(problem, "addon", slug)

    def _slug(self, name: str) -> AddonSlug | None:
        slug = name.removeprefix("app_")
        return AddonSlug(slug) if slug != name and slug in self._addons.installed else None

    @property
    def watching(self) -> frozenset[AddonSlug]:
        """The add-ons that the watchdog is bringing back just now."""
        return frozenset(self._watchdogs)

    def _watch(self, slug: AddonSlug) -> None:
        if slug not in self._watchdogs:
            task = asyncio.get_running_loop().create_task(self._bring_back(slug), name=f"watchdog of {slug}")
            task.add_done_callback(lambda _: self._watchdogs.pop(slug, None))
            self._watchdogs[slug] = task

    async def _bring_back(self, slug: AddonSlug) -> None:
        """Restart a failed add-on, with growing pauses, until it runs, is stopped, or the tries are used up."""
        for seconds in WATCHDOG_PAUSES_S:
            await pause(seconds)
            try:
                if await self._needs_nobody(slug):
                    return
                log.warning("watchdog_restarts", addon=slug)
                await self._kernel.jobs.run(verbs.restart_if_desired(slug=slug))
            except RateLimited as error:
                log.warning("watchdog_too_often", addon=slug, reason=error.message)
                self._give_up(slug)
                return
            except RooftreeError as error:
                log.warning("watchdog_failed", addon=slug, reason=error.message)
        await pause(WATCHDOG_PAUSES_S[-1])
        with contextlib.suppress(RooftreeError):
            if await self._needs_nobody(slug):
                return
        self._give_up(slug)

    def _give_up(self, slug: AddonSlug) -> None:
        self._kernel.problems.report(
            Problem(
                "watchdog_gave_up",
                "addon",
                slug,
                f"Add-on {slug} keeps failing; the watchdog has given up. Its log says why",
                suggestions=("execute_start",),
            )
        )

    async def _needs_nobody(self, slug: AddonSlug) -> bool:
        """Whether there is nothing (left) for the watchdog to do."""
        addon = self._addons.installed.get(slug)
        if addon is None or not addon.watchdog or addon.desired is Desired.STOPPED:
            return True
        well = _is_well(await self._addons.look(slug))
        if well:
            self._clear_problems(slug)
        return well

    async def stop(self) -> None:
        """End the watchdogs."""
        tasks = list(self._watchdogs.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def pause(seconds: float) -> None:
    """Wait before the watchdog looks again. A function of its own, so that a test need not wait as long."""
    await asyncio.sleep(seconds)


def _runs(container: Container | None) -> TypeGuard[Container]:
    return container is not None and container.status is ContainerStatus.RUNNING


def _is_well(container: Container | None) -> bool:
    return _runs(container) and container.health is not Health.UNHEALTHY

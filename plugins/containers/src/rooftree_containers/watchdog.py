"""The watchdog: brings back what fails, with growing pauses and an end.

It hears of failures from the engine (a container that ended with an error, or is not healthy), and asks the probes of
those that have one: all side by side, so that one that hangs costs the others nothing. A miss is remembered; the second
in a row means a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, Final, Literal

import structlog

from rooftree import Kernel, Problem, RateLimited, RooftreeError, Stopping
from rooftree.interfaces.containers import Health
from rooftree_containers.crash_log import CrashLogs
from rooftree_containers.managed import ContainerDomain, ContainerJobs, ContainerState, Desired, Probe
from rooftree_containers.observation import Observation, is_well
from rooftree_containers.words import sentence

log = structlog.get_logger(__name__)

PAUSES_S: Final = (10, 10, 20, 40, 80)
"""Seconds before each try to bring a container back, and, the last again, before the watchdog gives up."""
ASK_EVERY: Final = timedelta(seconds=120)
BOOT_FAILED: Final = "boot_fail"
GAVE_UP: Final = "watchdog_gave_up"


class Watchdog:
    """Watches over a domain's containers.

    :param rolls_back: asked before a container is restarted that its probe complained of twice: whether that is seen to
        otherwise, because its version is on probation
    """

    def __init__(
        self,
        kernel: Kernel,
        domain: ContainerDomain,
        jobs: ContainerJobs,
        observation: Observation,
        crash_logs: CrashLogs,
        rolls_back: Callable[[str, str], bool],
    ) -> None:
        self._kernel = kernel
        self._domain = domain
        self._jobs = jobs
        self._observation = observation
        self._crash_logs = crash_logs
        self._rolls_back = rolls_back
        self._bringing_back: dict[str, asyncio.Task[None]] = {}
        self._restarting: dict[str, asyncio.Task[None]] = {}
        self._missed: dict[str, str] = {}

    @property
    def watching(self) -> frozenset[str]:
        """Those that it is bringing back just now."""
        return frozenset(self._bringing_back)

    def is_bringing_back(self, name: str) -> bool:
        """Whether a restart of that one is this watchdog's doing just now."""
        return name in self._bringing_back or name in self._restarting

    @property
    def restarting(self) -> frozenset[str]:
        """Those that it restarts just now because their probes complained."""
        return frozenset(self._restarting)

    async def stop(self) -> None:
        """Bring nothing back any more; jobs that were begun go on."""
        tasks = [*self._bringing_back.values(), *self._restarting.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- what the engine tells ---------------------------------------------------------------------------------------

    def failed(self, name: str) -> None:
        """A container ended with an error, or is not healthy: bring it back, unless that is being done."""
        if name not in self._bringing_back:
            self._begin(self._bringing_back, name, self._bring_back(name))

    def report_failure(self, name: str, outcome: Literal["started", "stopped"], reason: str) -> None:
        """Say that a container could not be started, or stopped; cleared when it runs well."""
        message = f"{sentence(self._domain.title(name))} could not be {outcome}: {reason}"
        context, suggestions = self._domain.names.context, ("execute_start", "disable_boot")
        self._kernel.problems.report(Problem(BOOT_FAILED, context, name, message, suggestions))

    def is_well(self, name: str) -> None:
        """A container runs well: what was wrong with it is over, unless it is still being brought back."""
        if name not in self._bringing_back:
            self.clear_problems(name)

    def clear_problems(self, name: str) -> None:
        """Nothing is wrong with it any more."""
        names = self._domain.names
        for problem in (BOOT_FAILED, GAVE_UP, *names.failures):
            self._kernel.problems.clear(problem, names.context, name)

    async def _bring_back(self, name: str) -> None:
        """Restart a failed container, until it runs, is stopped, or the tries are used up."""
        renew = self._jobs.renew or self._jobs.restart
        for number, seconds in enumerate(PAUSES_S):
            await pause(seconds)
            try:
                if await self._needs_nobody(name):
                    return
                log.warning("watchdog_restarts", **self._whose(name))
                await self._kernel.jobs.run((renew if number else self._jobs.restart)(name))
            except Stopping:
                return
            except RateLimited as error:
                log.warning("watchdog_too_often", **self._whose(name), reason=error.message)
                await self._give_up(name)
                return
            except RooftreeError as error:
                log.warning("watchdog_failed", **self._whose(name), reason=error.message)
        await pause(PAUSES_S[-1])
        with contextlib.suppress(RooftreeError):
            if await self._needs_nobody(name):
                return
        await self._give_up(name)

    async def _give_up(self, name: str) -> None:
        with contextlib.suppress(RooftreeError):  # the engine is gone: what was kept before is what there is
            shown = await self._observation.look(name)
            if shown is not None and (shown.exit_code or shown.health is Health.UNHEALTHY):
                await self._crash_logs.keep(name, shown)
        kept = await self._crash_logs.whereabouts(name)
        message = f"{sentence(self._domain.title(name))} keeps failing; the watchdog has given up. Its log says why" + (
            f"; the end of it, from the last failure, is also in {kept}" if kept else ""
        )
        context = self._domain.names.context
        self._kernel.problems.report(Problem(GAVE_UP, context, name, message, suggestions=("execute_start",)))

    async def _needs_nobody(self, name: str) -> bool:
        """Whether there is nothing to do (any more)."""
        container = self._domain.find(name)
        if container is None or not container.watched or container.desired is Desired.STOPPED:
            return True
        well = is_well(await self._observation.look(name))
        if well:
            self.clear_problems(name)
        return well

    # --- what probes tell --------------------------------------------------------------------------------------------

    async def ask(self) -> None:
        """Ask the probes of all that are to be watched and run."""
        probes = {name: probe for name in self._domain.known() if (probe := self._probe(name)) is not None}
        self._missed = {name: complaint for name, complaint in self._missed.items() if name in probes}
        complaints = await asyncio.gather(*map(_complaint, probes.values()))
        self._judge(dict(zip(probes, complaints, strict=True)))

    def _probe(self, name: str) -> Probe | None:
        """Whom to ask about a container, if anybody."""
        if self._observation.state(name) is not ContainerState.STARTED or name in self._restarting:
            return None
        container = self._domain.find(name)
        return container.probe if container is not None and container.watched else None

    def _judge(self, complaints: Mapping[str, str | None]) -> None:
        for name, complaint in complaints.items():
            if complaint is None:
                self._missed.pop(name, None)
            elif name in self._missed:
                del self._missed[name]
                if not self._rolls_back(name, complaint):
                    log.warning("watchdog_restarts", **self._whose(name), reason=complaint)
                    # Beside everything else: it may have to wait behind another job of its.
                    self._begin(self._restarting, name, self._restart(name))
            else:
                log.warning("watchdog_missed", **self._whose(name), reason=complaint)
                self._missed[name] = complaint

    async def _restart(self, name: str) -> None:
        try:
            await self._kernel.jobs.run(self._jobs.restart(name))
        except RooftreeError as error:
            log.warning("watchdog_failed", **self._whose(name), reason=error.message)

    def _begin(self, tasks: dict[str, asyncio.Task[None]], name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"watchdog of {name}")
        tasks[name] = task
        task.add_done_callback(lambda _: tasks.pop(name, None))

    def _whose(self, name: str) -> dict[str, str]:
        return {self._domain.names.context: name}


async def _complaint(probe: Probe) -> str | None:
    """What a probe has to say; one that could not ask knows nothing."""
    try:
        return await probe()
    except RooftreeError as error:
        log.info("probe_could_not_ask", reason=error.message)
        return None


async def pause(seconds: float) -> None:
    """Wait before the watchdog looks again. A function of its own, so that a test need not wait as long."""
    await asyncio.sleep(seconds)

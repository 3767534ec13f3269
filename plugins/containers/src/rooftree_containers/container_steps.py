"""The steps with one managed container.

Each is there twice: what it does (``Creating``), for kinds of a domain's own, and the library's kind
(:class:`CreateContainer`). What is in a journal on somebody's disk has to fit its kind for ever: a domain whose
journals are older than this library keeps its kinds, with the arguments that they have there.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, NoReturn

import structlog
from attrs import evolve

from rooftree import RooftreeError, Run, Step, Unavailable, step
from rooftree.interfaces.containers import Container, ContainerStatus, EngineRefused, Health, ImageNotFound
from rooftree.services import ServiceDirectory
from rooftree_containers.managed import Desired, ImageVersion, ManagedContainer
from rooftree_containers.managed_containers import ManagedContainers, containers_of
from rooftree_containers.observation import runs
from rooftree_containers.start_check import refuse_unstartable

log = structlog.get_logger(__name__)

STARTED_WITHIN_S = 120.0
"""Seconds that a start waits for a health check; the container goes on starting when they are over."""
STEADY_S = 1.0
"""Seconds that a new version without a health check must run before it counts as started."""
LOOK_EVERY_S = 0.1
ASK_EVERY_S = 1.0
"""Seconds between two questions to a new version whether it is ready."""


class ContainerStep(Step):
    """A step with one managed container."""

    @property
    def name(self) -> str:
        """Which container, in its domain."""
        raise NotImplementedError

    @property
    def plugin(self) -> str:
        """The plugin whose domain it is."""
        raise NotImplementedError

    def containers(self, services: ServiceDirectory) -> ManagedContainers:
        """Those of its domain; raises ``Unavailable`` while that does not run."""
        return containers_of(services, self.plugin)


class SettingDesired(ContainerStep):
    """Note what is wanted of a container."""

    desired: Desired

    async def before(self, services: ServiceDirectory) -> Desired:
        """What was wanted."""
        return self.containers(services).domain.get(self.name).desired

    async def do(self, services: ServiceDirectory) -> None:
        """Note it."""
        await self._want(services, self.desired)

    async def undo(self, desired: Desired, services: ServiceDirectory) -> None:
        """What was wanted before, again."""
        await self._want(services, desired)

    async def _want(self, services: ServiceDirectory, desired: Desired) -> None:
        containers = self.containers(services)
        await containers.kernel.commit(containers.domain.desiring(self.name, desired))


class CheckingStart(ContainerStep):
    """See that a container can be started, before what runs of it is stopped for that."""

    version: ImageVersion | None
    """The version that it will be; ``None``: the one that it is."""

    async def do(self, services: ServiceDirectory) -> None:
        """Look, as the plan has done: since then an image was fetched, which may have taken long."""
        containers = self.containers(services)
        domain, version = containers.domain, self.version
        container = domain.get(self.name) if version is None else domain.as_version(self.name, version)
        await refuse_unstartable(containers, container)
        if await containers.observation.engine.image(container.image) is None:
            raise ImageNotFound(
                f"The image {container.image} is gone again; somebody took it away", image=container.image
            )

    async def undo(self, _: None) -> None:
        """Nothing was changed."""


class Creating(ContainerStep):
    """Make a fresh container, with a fresh token and everything as it is set up now, in place of the one there is."""

    new_version: bool
    """Whether another step of the job changes the version, and tells what that means."""
    fresh: ClassVar[bool] = False
    """Whether none is used again."""

    async def before(self, services: ServiceDirectory) -> str | None:
        """The id of the container that there is."""
        shown = await self.containers(services).observation.look(self.name)
        return shown.id if shown is not None else None

    async def notes(self, services: ServiceDirectory) -> list[str]:
        """What its domain has to say of it."""
        return [] if self.new_version else await self.containers(services).domain.get(self.name).notes()

    async def do(self, run: Run, services: ServiceDirectory) -> None:
        """Make it; the one that there was is set aside until it runs."""
        replaced = run.before(str | None)  # type: ignore[arg-type]  # a type form
        await self.containers(services).lifetimes.create(self.name, replaced, fresh=self.fresh)

    async def undo(self, replaced: str | None, services: ServiceDirectory) -> None:
        """Take it away, and put the one back that there was."""
        await self.containers(services).lifetimes.put_back(self.name, replaced)


class Starting(ContainerStep):
    """Start a container, and wait for its health check where it has one."""

    must_run: bool
    """Whether one that fails as soon as it runs fails the job, rather than being left for its log to be read."""
    weight = 3
    interruptible = True

    async def do(self, services: ServiceDirectory) -> None:
        """Start it."""
        containers = self.containers(services)
        container, observation = containers.domain.get(self.name), containers.observation
        await container.refuse_conflicts()
        try:
            await containers.lifetimes.start(self.name)
        except RooftreeError as error:
            if self.must_run and isinstance(error, EngineRefused):  # such as a program that is not there
                await self._refuse(containers, container, error.message)
            refused = container.start_refused(error)
            if refused is error:
                raise
            raise refused from None
        shown = await observation.look(self.name)
        try:
            async with asyncio.timeout(STARTED_WITHIN_S):
                await observation.until_past_startup(self.name)
        except TimeoutError:
            log.warning("container_slow_to_start", container=self.name, waited_s=STARTED_WITHIN_S)
        if self.must_run:
            checked = shown is not None and shown.health is not Health.NONE
            failure = await _failure(containers, container, steady_s=0.0 if checked else STEADY_S)
            if failure is not None:
                await self._refuse(containers, container, failure)
        await containers.lifetimes.drop_aside(self.name)

    async def _refuse(self, containers: ManagedContainers, container: ManagedContainer, failure: str) -> NoReturn:
        """Note why the new version failed, for whoever takes the job back, and fail."""
        domain = containers.domain
        probation = domain.probation(self.name)
        if probation is not None:
            noted = domain.putting_probation(self.name, evolve(probation, failure=failure))
            await containers.kernel.commit(*noted)
        raise domain.names.errors.rolled_back(
            f"Version {container.version} of {domain.title(self.name)} does not work here: {failure}. The version "
            "before it is back, with its data; `rooftree problems` tells where the end of the failed one's log lies",
            **{domain.names.errors.names_it: self.name},
        )

    async def undo(self, _: None, services: ServiceDirectory) -> None:
        """End it."""
        containers = self.containers(services)
        await containers.lifetimes.end(self.name, await containers.domain.get(self.name).seconds_to_end())
        await containers.observation.look(self.name)


class StartingRestored(Starting):
    """Start a container as it was restored; of one that fails the log is kept before all is taken back."""

    async def _refuse(self, containers: ManagedContainers, container: ManagedContainer, failure: str) -> NoReturn:
        shown = await containers.observation.look(self.name)
        if shown is not None:
            await containers.crash_logs.keep(self.name, shown)
        raise self.restored_fails(container.version, failure)

    def restored_fails(self, version: str, failure: str) -> RooftreeError:
        """Say that it does not work as it was restored, and that what was there before is back."""
        raise NotImplementedError


async def _failure(containers: ManagedContainers, container: ManagedContainer, steady_s: float) -> str | None:
    """What is wrong with a new version that was started, or ``None`` once it counts as started."""
    loop = asyncio.get_running_loop()
    steady_at = loop.time() + steady_s
    until = loop.time() + container.ready_within.total_seconds()
    while True:
        shown = await containers.observation.look(container.name)
        if (failure := _plain_failure(shown)) is not None:
            return f"it {failure} as soon as it was started"
        if shown is None or shown.exit_code is not None:
            return None
        if loop.time() >= steady_at:
            complaint = await container.ready() if container.ready is not None else None
            if complaint is None:
                return None
            if loop.time() >= until:
                return complaint
            await asyncio.sleep(ASK_EVERY_S)
        else:
            await asyncio.sleep(LOOK_EVERY_S)


def _plain_failure(shown: Container | None) -> str | None:
    if shown is None:
        return None
    if shown.exit_code:
        return f"ended with exit code {shown.exit_code}"
    return "was not healthy" if shown.health is Health.UNHEALTHY else None


class Stopping(ContainerStep):
    """End a container, and its token; its logs stay until it is started again."""

    weight = 3
    downtime = True

    async def before(self, services: ServiceDirectory) -> bool:
        """Whether it ran."""
        shown = await self.containers(services).observation.look(self.name)
        return shown is not None and shown.status is ContainerStatus.RUNNING

    async def do(self, services: ServiceDirectory) -> None:
        """End it."""
        containers = self.containers(services)
        shown = await containers.observation.look(self.name)
        await containers.lifetimes.end(self.name, await containers.domain.get(self.name).seconds_to_end())
        await containers.lifetimes.revoke_tokens(self.name)
        if shown is not None and runs(shown) and containers.watchdog.is_bringing_back(self.name):
            await containers.crash_logs.keep(self.name, shown)
        await containers.observation.look(self.name)

    async def undo(self, was_running: bool, services: ServiceDirectory) -> None:
        """Run it again as it ran, if it did."""
        if not was_running:
            return
        containers = self.containers(services)
        try:
            await containers.lifetimes.resume(self.name)
        except Unavailable:  # it is tried again when what it needs is there
            raise
        except RooftreeError:
            containers.watchdog.failed(self.name)  # as with any that is to run and does not
            raise


class Removing(ContainerStep):
    """End and take away a container."""

    stop_timeout_s: int
    downtime = True

    async def do(self, services: ServiceDirectory) -> None:
        """Let it end, then take it away."""
        containers = self.containers(services)
        await containers.lifetimes.end(self.name, self.stop_timeout_s)
        await containers.lifetimes.remove(self.name)


# --- the library's kinds ----------------------------------------------------------------------------------------------


@step("containers.set_desired/1")
class SetDesired(SettingDesired):
    """Note what is wanted of a container."""

    name: str
    plugin: str
    desired: Desired


@step("containers.check_start/1")
class CheckStart(CheckingStart):
    """See that a container can be started, before what runs of it is stopped for that."""

    name: str
    plugin: str
    version: ImageVersion | None = None


@step("containers.create_container/1")
class CreateContainer(Creating):
    """Make a fresh container, with everything as it is set up now, in place of the one there is."""

    name: str
    plugin: str
    new_version: bool = False


@step("containers.create_fresh_container/1")
class CreateFreshContainer(Creating):
    """Make a fresh container, although the one there is could be used again."""

    name: str
    plugin: str
    new_version: bool = False
    fresh: ClassVar[bool] = True


@step("containers.start_container/1")
class StartContainer(Starting):
    """Start a container, and wait for its health check where it has one."""

    name: str
    plugin: str
    must_run: bool = False


@step("containers.stop_container/1")
class StopContainer(Stopping):
    """End a container; its logs stay until it is started again."""

    name: str
    plugin: str


@step("containers.remove_container/1")
class RemoveContainer(Removing):
    """End and take away a container."""

    name: str
    plugin: str
    stop_timeout_s: int

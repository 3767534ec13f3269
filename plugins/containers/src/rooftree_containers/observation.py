"""What the engine shows of a domain's containers: which state they are in, at which address, and whether their end was
our doing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from rooftree import Kernel, Problem
from rooftree.interfaces.containers import (
    CONTAINER_ENGINE,
    Container,
    ContainerEngine,
    ContainerStatus,
    Health,
    Port,
)
from rooftree_containers.managed import ContainerDomain, ContainerState, Desired
from rooftree_containers.whereabouts import ContainerWhereabouts

log = structlog.get_logger(__name__)

RESTART_DUE: Final = "restart_due"
"""The type of the problem that says that a container runs as it was started, and not as it is set up since."""


class Observation:
    """The containers of a domain as the engine showed them last."""

    def __init__(self, kernel: Kernel, domain: ContainerDomain) -> None:
        self._kernel = kernel
        self._domain = domain
        self._states: dict[str, ContainerState] = {}
        self._shown: dict[str, Container] = {}
        self._startups_over: dict[str, asyncio.Event] = {}
        self._ended: dict[str, str] = {}
        self._listeners: list[Callable[[str, ContainerState], None]] = [domain.state_changed]
        self.changes = 0
        """Rises with each change of a state."""
        self.whereabouts = ContainerWhereabouts(self.look, self._gateway)
        """Where their tokens may be used."""

    @property
    def engine(self) -> ContainerEngine:
        """The container engine."""
        return self._kernel.service(CONTAINER_ENGINE)

    async def _gateway(self) -> str:
        return (await self.engine.network()).gateway

    def on_change(self, listener: Callable[[str, ContainerState], None]) -> None:
        """Call ``listener`` with the name and the new state at each change."""
        self._listeners.append(listener)

    # --- what is known -----------------------------------------------------------------------------------------------

    def state(self, name: str) -> ContainerState:
        """What it is doing."""
        return self._states.get(name, ContainerState.UNKNOWN)

    def runs(self, name: str) -> bool:
        """Whether it runs, well or not yet."""
        return self.state(name) in {ContainerState.STARTED, ContainerState.STARTUP}

    def shown(self, name: str) -> Container | None:
        """What the engine showed last of its container, from memory; ``None`` where it has none."""
        return self._shown.get(name)

    def address(self, name: str) -> str | None:
        """Its address on the add-on network while it runs."""
        shown = self._shown.get(name)
        return shown.ip_address if shown is not None else None

    def ports(self, name: str) -> tuple[Port, ...]:
        """The ports of the host that it has, as long as it runs."""
        shown = self._shown.get(name)
        return shown.ports if shown is not None and self.runs(name) else ()

    async def look(self, name: str) -> Container | None:
        """Ask the engine about a container, and take the answer over."""
        container = await self.engine.container(self._domain.container_name(name))
        if name in self._domain.known():
            self.observe(name, container)
        return container

    async def until_past_startup(self, name: str) -> None:
        """Wait until it is no longer starting: its health check is content with it, or it has ended."""
        await self._past_startup(name).wait()

    # --- what changed ------------------------------------------------------------------------------------------------

    def observe(self, name: str, container: Container | None) -> None:
        """Take over what the engine shows of a container."""
        if container is None:
            self._shown.pop(name, None)
        else:
            self._shown[name] = container
        self.whereabouts.note(name, container)
        state = _state_of(container)
        if state is ContainerState.ERROR and container is not None and self._was_to_end(name, container.id):
            state = ContainerState.STOPPED  # few programs end well when they are asked to
        self.note_state(name, state)
        if not self.runs(name):
            self._kernel.problems.clear(RESTART_DUE, self._domain.names.context, name)

    def note_state(self, name: str, state: ContainerState) -> None:
        """It is in that state now."""
        if state is ContainerState.STARTUP:
            self._past_startup(name).clear()
        else:
            self._past_startup(name).set()
        if self._states.get(name) is not state:
            self._states[name] = state
            self.changes += 1
            log.info("container_state", **{self._domain.names.context: name}, state=state)
            for listener in self._listeners:
                listener(name, state)

    def lose_sight(self) -> None:
        """The engine is gone: what its containers do is not known."""
        for name in self._states.keys() & set(self._domain.known()):
            self.note_state(name, ContainerState.UNKNOWN)

    def forget(self, name: str) -> None:
        """It is no container of the domain any more."""
        for known in (self._states, self._shown, self._startups_over, self._ended):
            known.pop(name, None)
        self.whereabouts.forget(name)
        self.changes += 1

    def note_ended(self, name: str, container_id: str | None) -> None:
        """That container's end is our doing; ``None`` where it runs on."""
        if container_id is None:
            self._ended.pop(name, None)
        else:
            self._ended[name] = container_id

    def was_ended_by_us(self, name: str, container_id: str) -> bool:
        """Whether that container's end was our doing: no reason to bring it back."""
        return self._ended.get(name) == container_id

    def restart_due(self, name: str, reason: str) -> None:
        """Say that a running container has something only from its next start on.

        :param reason: what that is, as a sentence
        """
        if self.runs(name):
            title = self._domain.title(name)
            message = f"{reason} That holds from the next start of {title}: restart it"
            context = self._domain.names.context
            self._kernel.problems.report(Problem(RESTART_DUE, context, name, message, ("execute_restart",)))

    def _was_to_end(self, name: str, container_id: str) -> bool:
        container = self._domain.find(name)
        unwanted = container is not None and container.desired is Desired.STOPPED
        return unwanted or self.was_ended_by_us(name, container_id)

    def _past_startup(self, name: str) -> asyncio.Event:
        return self._startups_over.setdefault(name, asyncio.Event())


def runs(container: Container | None) -> bool:
    """Whether the engine shows it running."""
    return container is not None and container.status is ContainerStatus.RUNNING


def is_well(container: Container | None) -> bool:
    """Whether it runs, and its health check has nothing against it."""
    return container is not None and runs(container) and container.health is not Health.UNHEALTHY


def _state_of(container: Container | None) -> ContainerState:
    if container is None or container.status is ContainerStatus.CREATED:
        return ContainerState.STOPPED
    if container.status is ContainerStatus.RUNNING:
        return ContainerState.STARTUP if container.health is Health.STARTING else ContainerState.STARTED
    return ContainerState.STOPPED if not container.exit_code else ContainerState.ERROR

"""Containers of ours that their domain does not know, as far as we know: what a kill can leave, or what a loss has.

A container that carries our instance's label was made by us. When its domain does not know it, either a job was killed
between two steps, or our memory is worse than the engine's: the database was lost, or is that of an older day. So what
runs is never removed, and nothing is while the state is known to be damaged: then the domain takes over what its labels
and folders tell enough of. What can't be is left as it is, and reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import structlog

from rooftree import Kernel, Problem, RooftreeError
from rooftree.interfaces.containers import Container
from rooftree_containers.damaged_state import state_is_damaged
from rooftree_containers.lifetime import LABEL_VERSION, Lifetimes
from rooftree_containers.managed import ContainerDomain
from rooftree_containers.observation import Observation, runs

log = structlog.get_logger(__name__)

UNKNOWN_CONTAINER: Final = "unknown_container"
"""The type of the problem that says that it is not known what a container is."""


class UnknownContainers:
    """Decides what becomes of them; the table is in docs/architecture.md."""

    def __init__(self, kernel: Kernel, domain: ContainerDomain, observation: Observation, lifetimes: Lifetimes) -> None:
        self._kernel = kernel
        self._domain = domain
        self._observation = observation
        self._lifetimes = lifetimes
        self._reported: set[str] = set()

    @property
    def waiting(self) -> bool:
        """Whether there are some that could perhaps be taken over later."""
        return bool(self._reported)

    async def look(self, shown: Iterable[Container]) -> None:
        """Take over, leave and report, or remove what is shown of containers that are not known."""
        damaged = state_is_damaged(self._kernel)
        unknown = {
            name: container
            for container in shown
            if (name := self._domain.claims(container)) is not None and self._is_unknown(name, container, damaged)
        }
        for name in self._reported_ever() - unknown.keys():
            self._forget(name)
        self._reported &= unknown.keys()
        for name, container in unknown.items():
            try:
                current = await self._observation.engine.container(
                    container.name
                )  # a job may have seen to it meanwhile
                if current is not None:
                    await self._decide(name, current, damaged)
            except (RooftreeError, OSError) as error:
                log.warning("unknown_container_left", container=container.name, reason=str(error))

    def _is_unknown(self, name: str, container: Container, damaged: bool) -> bool:
        return name not in self._domain.known() or (damaged and self._domain.is_behind(name, container))

    def _reported_ever(self) -> set[str]:
        context = self._domain.names.context
        return {
            problem.reference or ""
            for problem in self._kernel.problems
            if (problem.type, problem.context) == (UNKNOWN_CONTAINER, context)
        }

    async def _decide(self, name: str, container: Container, damaged: bool) -> None:
        if damaged:
            why_not = await self._domain.take_over(name, container)
            if why_not is None:
                self._forget(name)
            else:
                self._report(name, container, why_not)
        elif name in self._domain.known():  # by a job that was quicker
            return
        elif runs(container):
            self._report(name, container, "which was never installed as far as is known")
        else:
            await self._observation.engine.remove(container.name)
            await self._lifetimes.revoke_tokens(name)
            self._forget(name)
            log.warning("unknown_container_removed", container=container.name)

    def _report(self, name: str, container: Container, reason: str) -> None:
        self._reported.add(name)
        version = container.labels.get(LABEL_VERSION, "of an unknown version")
        engine_name = self._observation.engine.name_on_engine(container.name)
        self._kernel.problems.report(
            Problem(
                UNKNOWN_CONTAINER,
                self._domain.names.context,
                name,
                f"The container {engine_name} belongs to {self._domain.title(name)} ({version}), {reason}. It is "
                f"left as it is. Install or update that, or remove the container (docker rm -f {engine_name})",
                extra={"container": engine_name, "version": version},
            )
        )

    def _forget(self, name: str) -> None:
        self._reported.discard(name)
        self._kernel.problems.clear(UNKNOWN_CONTAINER, self._domain.names.context, name)

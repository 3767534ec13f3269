"""Containers made, ended, taken away and taken over, each with the token that it has.

A token belongs to one container: made with it, kept in its label as a digest, valid as long as it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import evolve

from rooftree import Kernel, Problem
from rooftree.access import Token, TokenUsedElsewhere
from rooftree.interfaces.containers import Container, ContainerStatus
from rooftree.interfaces.hooks import ContainerOwner
from rooftree_containers.additions import with_additions
from rooftree_containers.managed import ContainerDomain
from rooftree_containers.observation import RESTART_DUE, Observation

LABEL_VERSION: Final = "io.rooftree.version"
LABEL_TOKEN: Final = "io.rooftree.token"  # noqa: S105  # the name of a label
TOKEN_USED_ELSEWHERE: Final = "token_used_elsewhere"  # noqa: S105  # the type of a problem


class Lifetimes:
    """Begins and ends the lives of a domain's containers."""

    def __init__(self, kernel: Kernel, domain: ContainerDomain, observation: Observation) -> None:
        self._kernel = kernel
        self._domain = domain
        self._observation = observation

    async def create(self, name: str) -> None:
        """Make a fresh container with a fresh token, in place of the one there is. The old token ends.

        A token is valid only once its container is there, so that no look at the engine finds one without the other.
        """
        container, names, tokens = self._domain.get(name), self._domain.names, self._kernel.tokens
        token = tokens.new(names.tokens, name) if names.tokens else None
        spec = await container.specification(token.text if token is not None else "")
        own = {LABEL_VERSION: container.version} | ({LABEL_TOKEN: token.digest} if token is not None else {})
        spec = evolve(spec, labels={**spec.labels, **own})
        spec = await with_additions(self._kernel, ContainerOwner(names.owner, name), spec)
        container.check(spec)
        await container.created(await self._observation.engine.create(spec))
        if token is not None:
            await self._kernel.commit(*map(tokens.revocation, tokens.known(names.tokens, name)), token.change)
        for problem in (TOKEN_USED_ELSEWHERE, RESTART_DUE):
            self._kernel.problems.clear(problem, names.context, name)

    async def end(self, name: str, timeout_s: int) -> None:
        """Let a container end."""
        container = await self._observation.look(name)
        if container is None:
            return
        self._observation.note_ended(name, container.id)
        try:
            await self._observation.engine.stop(self._domain.container_name(name), timeout_s)
        except BaseException:
            self._observation.note_ended(name, None)  # it runs on
            raise

    async def remove(self, name: str) -> None:
        """Take a container away, and end its token."""
        await self._observation.engine.remove(self._domain.container_name(name))
        await self.revoke_tokens(name)
        await self._domain.container_removed(name)

    async def revoke_tokens(self, name: str) -> None:
        """End a container's tokens."""
        await self._revoke(self._known(name))

    async def adopt(self, name: str, container: Container, known: Mapping[str, Token]) -> None:
        """Take a container over that runs: its token works, and no other of the same name.

        :param known: the tokens from before the engine was asked: what was made or revoked since then belongs to a job
            that has replaced this container meanwhile, and is left alone
        """
        tokens, kind = self._kernel.tokens, self._domain.names.tokens
        if kind is not None:
            label = container.labels.get(LABEL_TOKEN, "")
            own = {key for key, token in known.items() if token.subject == name}
            changes = [tokens.revocation(key) for key in own & self._known(name).keys() if key != label]
            if label and label not in own:
                changes.append(tokens.restored(label, kind, name))
            if changes:
                await self._kernel.commit(*changes)
        self._observation.observe(name, container)

    async def end_stale_tokens(self, name: str, container: Container | None, known: Mapping[str, Token]) -> None:
        """Let the tokens end whose container has ended, or is gone, without us.

        :param known: the tokens from before the engine was asked, as for :meth:`adopt`
        """
        if container is None or container.status is ContainerStatus.EXITED:
            await self._revoke([key for key in self._known(name) if key in known])

    def all_tokens(self) -> Mapping[str, Token]:
        """The tokens of all containers of the domain, by digest."""
        kind = self._domain.names.tokens
        return self._kernel.tokens.known(kind) if kind is not None else {}

    def token_used_elsewhere(self, event: TokenUsedElsewhere) -> None:
        """Somebody has a container's token; it ends with the container that it was made for."""
        name, names = event.subject, self._domain.names
        if event.kind != names.tokens or name not in self._domain.known():
            return
        title = self._domain.title(name)
        self._kernel.problems.report(
            Problem(
                TOKEN_USED_ELSEWHERE,
                names.context,
                name,
                f"The token of {title}, which is {self._observation.whereabouts.of(name)}, was used "
                f"{f'from {event.address}' if event.address else 'on the unix socket'} and refused: somebody has "
                f"copied or overheard it. Restart {title}, which gives it another one, and look at what is there",
                suggestions=("execute_restart",),
            )
        )

    def _known(self, name: str) -> Mapping[str, Token]:
        kind = self._domain.names.tokens
        return self._kernel.tokens.known(kind, name) if kind is not None else {}

    async def _revoke(self, digests: Iterable[str]) -> None:
        changes = list(map(self._kernel.tokens.revocation, digests))
        if changes:
            await self._kernel.commit(*changes)

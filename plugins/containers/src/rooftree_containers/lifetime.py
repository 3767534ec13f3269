"""Containers made, ended, taken away and taken over, each with the token that it has.

A token belongs to one container: made with it, kept in its label as a digest, valid as long as it runs.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from typing import Final
from weakref import WeakValueDictionary

import attrs
from attrs import evolve

from rooftree import Kernel, Problem
from rooftree.access import Token, TokenUsedElsewhere
from rooftree.interfaces.containers import Container, ContainerSpec, ContainerStatus
from rooftree.interfaces.hooks import ContainerOwner
from rooftree_containers.additions import with_additions
from rooftree_containers.crash_log import CrashLogs
from rooftree_containers.managed import ContainerDomain, ManagedContainer
from rooftree_containers.observation import RESTART_DUE, Observation, runs

LABEL_VERSION: Final = "io.rooftree.version"
LABEL_SPECIFICATION: Final = "io.rooftree.specification"
"""Of what a container was made from, a digest, where it may be used again."""
LABEL_TOKEN: Final = "io.rooftree.token"  # noqa: S105  # the name of a label
TOKEN_USED_ELSEWHERE: Final = "token_used_elsewhere"  # noqa: S105  # the type of a problem


class Lifetimes:
    """Begins and ends the lives of a domain's containers."""

    def __init__(
        self, kernel: Kernel, domain: ContainerDomain, observation: Observation, crash_logs: CrashLogs
    ) -> None:
        self._kernel = kernel
        self._domain = domain
        self._observation = observation
        self._crash_logs = crash_logs
        self._locks = WeakValueDictionary[str, asyncio.Lock]()

    async def create(self, name: str, replaced: str | None = None, *, fresh: bool = False) -> None:
        """Make a fresh container with a fresh token, in place of the one there is. The old token ends. One that may be
        used again, and is as it would be made, stays, and so does its token.

        A token is valid only once its container is there, so that no look at the engine finds one without the other.

        :param replaced: the id of the container that is set aside for it, until :meth:`drop_aside` or :meth:`put_back`;
            any other is taken away
        :param fresh: whether none is used again
        """
        container, names, tokens = self._domain.get(name), self._domain.names, self._kernel.tokens
        labels = {LABEL_SPECIFICATION: await self._fingerprint(container)} if container.reused else {}
        if labels and not fresh and await self._is_as_made(container, labels):
            return  # its token works again from its start on: until then, whoever sees it ended may end that
        await self._make_room(container, replaced)
        await container.prepare()
        token = tokens.new(names.tokens, name) if names.tokens else None
        if token is None:
            spec = await self.specification(container, "", labels)
        else:
            spec = await self.specification(container, token.text, {**labels, LABEL_TOKEN: token.digest})
        await container.created(await self._observation.engine.create(spec))
        if token is not None:
            await self._kernel.commit(*map(tokens.revocation, tokens.known(names.tokens, name)), token.change)
        for problem in (TOKEN_USED_ELSEWHERE, RESTART_DUE):
            self._kernel.problems.clear(problem, names.context, name)

    async def specification(
        self, container: ManagedContainer, token: str = "", labels: Mapping[str, str] = {}
    ) -> ContainerSpec:
        """All that the engine is told of a container, with what other domains add; raises what the domain has against
        that. Without a token it is only looked at."""
        spec = await container.specification(token)
        spec = evolve(spec, labels={**spec.labels, LABEL_VERSION: container.version, **labels})
        spec = await with_additions(self._kernel, ContainerOwner(self._domain.names.owner, container.name), spec)
        container.check(spec)
        return spec

    async def _fingerprint(self, container: ManagedContainer) -> str:
        return fingerprint(await self.specification(container))

    async def _is_as_made(self, container: ManagedContainer, labels: Mapping[str, str]) -> bool:
        """Whether the container that there is can be started again."""
        name = container.name
        shown = await self._observation.look(name)
        if shown is None or not labels.items() <= shown.labels.items() or self._is_stolen_from(name):
            return False
        image = await self._observation.engine.image(container.image)
        return image is not None and shown.image_id == image.id

    def _is_stolen_from(self, name: str) -> bool:
        """Whether somebody else has its token, which only a fresh container can change."""
        problems, context = self._kernel.problems, self._domain.names.context
        return any((p.type, p.context, p.reference) == (TOKEN_USED_ELSEWHERE, context, name) for p in problems)

    async def _make_room(self, container: ManagedContainer, replaced: str | None) -> None:
        name, engine = self._domain.container_name(container.name), self._observation.engine
        shown = await engine.container(name) if replaced is not None else None
        if shown is not None and shown.id == replaced:
            if shown.exit_code and not self._observation.was_ended_by_us(container.name, shown.id):
                await self._crash_logs.keep(container.name, shown)
            await self.end(container.name, await container.seconds_to_end())  # somebody else started it meanwhile
            await container.set_aside()
            await engine.set_aside(name)

    async def put_back(self, name: str, replaced: str | None) -> None:
        """Take the container away that :meth:`create` made, and let the one it was made in place of be as it was; does
        not start it."""
        container, engine = self._domain.get(name), self._observation.engine
        logical = self._domain.container_name(name)
        shown = await engine.container(logical)
        if replaced is None or ((shown is None or shown.id != replaced) and not await engine.put_back(logical)):
            await self.remove(name)
        else:
            await self.revoke_tokens(name)
            await container.put_back(replaced)
        await self._observation.look(name)

    async def drop_aside(self, name: str) -> None:
        """Take the container away that was set aside: the one in its place runs."""
        await self._observation.engine.drop_aside(self._domain.container_name(name))
        await self._domain.get(name).drop_aside()

    async def resume(self, name: str) -> None:
        """Run the container again that there is, as it was made, and with the token that it has; a fresh one if it is
        gone."""
        async with self._ends_and_runs(name):
            shown = await self._observation.look(name)
            if shown is None:
                await self.create(name)
            else:
                await self.adopt(name, shown, self.all_tokens())
            self._observation.note_ended(name, None)  # it may fail again
            await self._observation.engine.start(self._domain.container_name(name))
            await self._observation.look(name)

    async def start(self, name: str) -> None:
        """Start the container that there is. One that may be used again may have been ended before, and its token with
        it: that works again."""
        async with self._ends_and_runs(name):
            if self._domain.get(name).reused and (shown := await self._observation.look(name)) is not None:
                await self.adopt(name, shown, self.all_tokens())
            await self._observation.engine.start(self._domain.container_name(name))

    async def end(self, name: str, timeout_s: int) -> None:
        """Let a container end."""
        container = await self._observation.look(name)
        if container is None or not runs(container):
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
        if not _has_ended(container) or not self._known(name).keys() & known.keys():
            return
        async with self._ends_and_runs(name):
            if _has_ended(await self._observation.look(name)):  # it may run again since, with the token that it had
                await self._revoke(self._known(name).keys() & known.keys())

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

    def _ends_and_runs(self, name: str) -> asyncio.Lock:
        """Held by who decides from a container's state whether its token ends, and by who runs it again with that."""
        return self._locks.setdefault(name, asyncio.Lock())

    def _known(self, name: str) -> Mapping[str, Token]:
        kind = self._domain.names.tokens
        return self._kernel.tokens.known(kind, name) if kind is not None else {}

    async def _revoke(self, digests: Iterable[str]) -> None:
        changes = list(map(self._kernel.tokens.revocation, digests))
        if changes:
            await self._kernel.commit(*changes)


def fingerprint(spec: ContainerSpec) -> str:
    """A digest of all that a container is made from: the same whoever added first to it."""
    in_order = {
        name: tuple(sorted(value.items())) if isinstance(value, Mapping) else value
        for name, value in attrs.asdict(spec, recurse=False).items()
    }
    for name in ("mounts", "device_rules"):
        in_order[name] = sorted(in_order[name], key=repr)
    return hashlib.sha256(repr(in_order).encode()).hexdigest()


def _has_ended(container: Container | None) -> bool:
    return container is None or container.status is ContainerStatus.EXITED

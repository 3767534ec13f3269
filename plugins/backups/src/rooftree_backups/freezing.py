"""Everything kept still for who copies the house from outside, until they say that they are done, or a deadline.

It is memory's: a process that ends lets everything go. What was still then is noted, so that the next one lets go of
what a kill has left behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from attrs import field, frozen

from rooftree import (
    Collection,
    Failed,
    Invalid,
    Kernel,
    Run,
    Service,
    Step,
    Steps,
    Task,
    document,
    job,
    step,
)
from rooftree.interfaces.backups import PartId, PartKind, PartWishes
from rooftree.process import SYSTEM
from rooftree_backups.creation import BACKUP_LOCK
from rooftree_backups.parts import PartOwner, Parts

log = structlog.get_logger(__name__)

_KEY: Final = "all"
_TASK: Final = "freeze"
PURPOSE: Final = "freeze"


class FreezeFailed(Failed):
    """Something could not be kept still; the rest is, until it is let go. ``extra_fields``: ``parts``."""

    status = 400


class NotFrozen(Invalid):
    """Nobody has asked that everything be kept still."""


@document("backups.frozen", version=1)
@frozen
class FrozenParts:
    """What is kept still, or about to be."""

    parts: tuple[PartId, ...] = field(default=())


class Freeze:
    """Keeps everything still."""

    def __init__(self, kernel: Kernel, parts: Parts, noted: Collection[FrozenParts]) -> None:
        self._kernel = kernel
        self._system = kernel.service(SYSTEM)
        self._parts = parts
        self._noted = noted
        self._thawed: asyncio.Event | None = None
        self._over = asyncio.Event()

    @property
    def is_on(self) -> bool:
        """Whether everything is kept still."""
        return self._thawed is not None

    async def begin(self, timeout_s: float) -> None:
        """Keep everything still, side by side; returns when all is. Raises :class:`FreezeFailed`, and keeps the others
        still all the same, until :meth:`end` or the deadline.

        :param timeout_s: seconds until all is let go by itself
        """
        if self.is_on:
            raise Invalid("Everything is kept still already; thaw it first")
        holds = await self._holds()
        await self._kernel.commit(self._noted.put(_KEY, FrozenParts(tuple(part for part, _ in holds))))
        self._thawed, self._over = asyncio.Event(), asyncio.Event()
        self._system.freeze(PURPOSE)
        still = [asyncio.get_running_loop().create_future() for _ in holds]
        self._kernel.tasks.add(Task(_TASK, lambda: self._keep(holds, still, timeout_s)))
        outcomes = await asyncio.gather(*still, return_exceptions=True)
        failures = {part.slug: error for (part, _), error in zip(holds, outcomes, strict=True) if error is not None}
        if failures:
            said = "; ".join(f"{slug}: {error}" for slug, error in failures.items())
            raise FreezeFailed(f"Not everything could be kept still: {said}", parts=sorted(failures))

    async def end(self) -> None:
        """Let everything go; returns when what was stopped runs again. Raises :class:`NotFrozen`."""
        if self._thawed is None:
            raise NotFrozen("Nothing is kept still, so there is nothing to thaw")
        self._thawed.set()
        await self._over.wait()

    async def let_go_of_before(self) -> None:
        """Let go of what a process kept still that was killed."""
        noted = self._noted.get(_KEY)
        if noted is None:
            return
        owners = await self._parts.owners()
        for part in noted.parts:
            if part.kind in owners:
                await owners[part.kind].release(part.slug)
        await self._kernel.commit(self._noted.delete(_KEY))

    async def _holds(self) -> Sequence[tuple[PartId, PartOwner]]:
        """Core first, then the add-ons."""
        owners = await self._parts.owners()
        kinds = [kind for kind in (PartKind.CORE, PartKind.ADDON) if kind in owners]
        return [(part.id, owners[kind]) for kind in kinds for part in owners[kind].parts()]

    async def _keep(
        self, holds: Sequence[tuple[PartId, PartOwner]], still: Sequence[asyncio.Future[None]], timeout_s: float
    ) -> None:
        """Keep everything still until it is to be let go."""
        thawed = self._thawed
        assert thawed is not None, "it was begun"
        try:
            async with asyncio.TaskGroup() as group:
                for (part, owner), future in zip(holds, still, strict=True):
                    group.create_task(_keep_one(owner, part, future, thawed))
                try:
                    async with asyncio.timeout(timeout_s):
                        await thawed.wait()
                except TimeoutError:
                    log.warning("freeze_timed_out", after_s=timeout_s)
                thawed.set()
        finally:
            for future in still:
                if not future.done():
                    future.set_exception(FreezeFailed("it was let go before it was still"))
            self._system.thaw(PURPOSE)
        try:
            await self._kernel.commit(self._noted.delete(_KEY))
        finally:  # a disk that takes no more must not leave it frozen for who asks
            await self._kernel.tasks.remove(_TASK)
            self._thawed = None
            self._over.set()


async def _keep_one(owner: PartOwner, part: PartId, still: asyncio.Future[None], thawed: asyncio.Event) -> None:
    try:
        async with owner.hold(part.slug, PartWishes()):
            still.set_result(None)
            await thawed.wait()
    except Exception as error:  # whatever it is, it is one part's, and the others are to be let go in time
        if still.done():
            log.warning("not_let_go", part=part.slug, kind=part.kind, reason=str(error))
        else:
            still.set_exception(error)


FREEZE = Service[Freeze]("freeze/1")


@step("backups.freeze/1")
class KeepStill(Step):
    """Keep Core and the add-ons still."""

    timeout_s: int

    async def do(self, run: Run, freeze: Freeze) -> None:
        await freeze.begin(self.timeout_s)


@step("backups.thaw/1")
class LetGo(Step):
    """Let Core and the add-ons go on."""

    async def do(self, run: Run, freeze: Freeze) -> None:
        if freeze.is_on:
            await freeze.end()


@job(
    "backup_manager_freeze_all",
    locks=lambda timeout_s: {BACKUP_LOCK},
    conditions=("running",),
    when_busy="refuse",
)
async def freeze_all(timeout_s: int) -> Steps:
    return [KeepStill(timeout_s)]


@job("backup_manager_thaw_all", conditions=("frozen",))
async def thaw_all(freeze: Freeze) -> Steps:
    if not freeze.is_on:
        raise NotFrozen("Nobody has asked that everything be kept still, so there is nothing to thaw")
    return [LetGo()]

"""Backups that are being made: what is open for them, and their passwords, in memory alone.

None of it outlives the process, and neither does what was written: a backup that a kill interrupts is taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Final

import structlog
from attrs import define, field

from rooftree import CallMemory, Failed, Kernel, Secret
from rooftree.interfaces.backups import BackupWriter, StoredPart
from rooftree.process import SYSTEM
from rooftree_backups.failed_parts import FailedPart

log = structlog.get_logger(__name__)

_PASSWORDS: Final = CallMemory[Secret]("passwords of backups")


class NotBeingMade(Failed):
    """Nothing is open for the backup: what was there has ended with the process that made it."""


@define(kw_only=True)
class Making:
    """A backup that is being made."""

    writers: dict[str, BackupWriter]
    """By the names of their places; the first is the primary one."""
    closing: AsyncExitStack
    stored: dict[str, StoredPart] = field(factory=dict)
    """What is in it so far, by kind and slug."""
    failed: list[FailedPart] = field(factory=list)
    exclude_database: bool = False
    reads_copies: bool = True
    """Whether parts may be read from copies; a vault reads them where they lie, and so only what has changed."""


class Workshop:
    """What is open for backups that are being made, by their slugs."""

    def __init__(self, kernel: Kernel) -> None:
        self._system = kernel.service(SYSTEM)
        self._making: dict[str, Making] = {}
        self._failures: dict[str, tuple[FailedPart, ...]] = {}

    def begin(self, slug: str, making: Making) -> None:
        """Keep open what a backup needs; the house counts as frozen from now on."""
        self._making[slug] = making
        self._system.freeze(_purpose(slug))

    def making(self, slug: str) -> Making:
        """What is open for a backup; raises :class:`NotBeingMade`."""
        making = self._making.get(slug)
        if making is None:
            raise NotBeingMade(f"The backup {slug} is not being made any more; make it again")
        return making

    async def end(self, slug: str) -> None:
        """Close what is open; what was not published goes. Nothing to do where nothing is open."""
        making = self._making.pop(slug, None)
        try:
            if making is not None:
                self._failures[slug] = tuple(making.failed)
                await making.closing.aclose()
        finally:
            self._system.thaw(_purpose(slug))

    async def close(self) -> None:
        """End all of them."""
        for slug in tuple(self._making):
            await self.end(slug)

    def failures(self, slug: str) -> tuple[FailedPart, ...]:
        """What a backup was made without; told once."""
        return self._failures.pop(slug, ())

    @contextmanager
    def with_password(self, slug: str, password: Secret | None) -> Iterator[None]:
        """Know a backup's password for the length of the block, and in all that is begun there; the journal must not
        see it."""
        if password is None or not password.reveal():
            yield
            return
        with _PASSWORDS.of({slug: password}):
            yield

    def password(self, slug: str) -> Secret | None:
        """A backup's password, while its job runs; ``None`` for none."""
        return _PASSWORDS.get(slug)


def _purpose(slug: str) -> str:
    return f"backup {slug}"

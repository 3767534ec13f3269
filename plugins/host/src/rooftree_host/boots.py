"""The boots of the host that Rooftree has seen: when they began, kept as documents.

A container engine's log knows no boots; with these its lines can be told apart by when the host booted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import frozen

from rooftree import Collection, Kernel, document
from rooftree.clock import boot_id
from rooftree.interfaces.journal import HostBoot

KEPT: Final = 100
"""Boots that are remembered; engines keep the lines of far fewer."""


@document("host.boots", version=1)
@frozen
class SeenBoot:
    """A boot that Rooftree ran in; its key is the boot's id."""

    began: datetime


class Boots:
    """:class:`~rooftree.interfaces.journal.HostBoots`."""

    def __init__(self, seen: Collection[SeenBoot], current: str) -> None:
        self._seen = seen
        self._current = current

    @classmethod
    async def load(cls, kernel: Kernel) -> Boots:
        """What is remembered, with the boot that we are in."""
        seen = await kernel.collection(SeenBoot)
        current = await boot_id()
        if current not in seen:
            up = timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME))
            oldest = sorted(seen, key=lambda boot: seen[boot].began)[: max(0, len(seen) + 1 - KEPT)]
            await kernel.commit(
                seen.put(current, SeenBoot(datetime.now(UTC) - up)), *(seen.delete(boot) for boot in oldest)
            )
        return cls(seen, current)

    def known(self) -> Sequence[HostBoot]:
        boots = [HostBoot(boot, seen.began) for boot, seen in self._seen.items()]
        return sorted(boots, key=lambda boot: (boot.id == self._current, boot.began))

"""How quickly this machine unpacked the last time: by that a plan says how long it may take."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from rooftree import Collection, Kernel, document

_KEY: Final = "all"
LEAST_BYTES: Final = 8 * 1024 * 1024
"""What is less takes as long as beginning takes, and says little of more."""


@document("backups.rates", version=1)
@frozen
class MeasuredRates:
    """Bytes of the archive in a second."""

    unpacked: float


class Rates:
    """Knows it."""

    def __init__(self, kernel: Kernel, kept: Collection[MeasuredRates]) -> None:
        self._kernel = kernel
        self._kept = kept

    @property
    def unpacked(self) -> float | None:
        """Bytes of an archive that are unpacked and checked in a second; ``None`` where that was never measured."""
        measured = self._kept.get(_KEY)
        return measured.unpacked if measured is not None else None

    async def note_unpacked(self, size_bytes: int, took_s: float) -> None:
        """Unpacking so much took so many seconds."""
        if took_s > 0 and (size_bytes >= LEAST_BYTES or self.unpacked is None):
            await self._kernel.commit(self._kept.put(_KEY, MeasuredRates(size_bytes / took_s)))

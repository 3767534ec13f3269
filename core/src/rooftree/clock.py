"""The time, as the kernel and the plugins ask for it, so that a test can be its master.

Two clocks, for two questions: the wall clock says what time it is and may be put forward and back; the monotonic one
says how much time has passed. Plugins get them as ``kernel.clock``; :class:`rooftree.testing.FakeClock` is theirs to
set.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""random(4)."""


class Clock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """What time it is, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment that does not change; never runs backwards."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return when so much time has passed."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait until the event is set, so long at most; whether it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
        return event.is_set()

    def spread(self, seconds: float) -> float:
        """About so many seconds, a twentieth more or less: what was begun together does not stay together."""
        return seconds * random.uniform(0.95, 1.05)  # noqa: S311  # no secret

    def part_of(self, seconds: float) -> float:
        """Any part of so many seconds: what is due for many at one moment is not done by all in it."""
        return random.uniform(0.0, seconds)  # noqa: S311  # no secret


MACHINE = Clock()
"""The clock that is used where no other is given."""


async def boot_id() -> str:
    """Which boot of the machine this is: 32 hex digits, others after each boot, as in the system journal. What is to be
    done once in a boot, or not again after the next, is noted with it."""
    return (await asyncio.to_thread(BOOT_ID.read_text)).strip().replace("-", "")  # ours: the kernel's

"""Whether a password is known to be leaked, asked of Have I Been Pwned (its range API: haveibeenpwned.com/API/v3).

Only the first five hex digits of a password's SHA-1 leave the house: the service answers with all hashes that begin so,
and the comparison is made here. Where the service cannot be reached there is no answer, and never a long wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import aiohttp
import structlog

from rooftree import Clock, Rate, Service
from rooftree.model import Meter

log = structlog.get_logger(__name__)

USUAL_ADDRESS: Final = "https://api.pwnedpasswords.com"
ANSWER_S: Final = 5.0
ASK: Final = Rate(30, timedelta(minutes=1))
"""How often the service is asked; beyond that, nobody knows."""
LEAVE_ALONE_S: Final = 60.0
"""Seconds that a service which failed is not asked again."""
LARGEST_ANSWER_BYTES: Final = 256 * 1024
"""The service's are of 40 KB."""
REMEMBERED: Final = 256
_PREFIX: Final = 5


class LeakedPasswords:
    """The look-up of leaked passwords.

    :param address: of the service; empty for no look-ups
    """

    def __init__(self, address: str, clock: Clock) -> None:
        self._address = address.rstrip("/")
        self._clock = clock
        self._meter = Meter(ASK, clock)
        self._known: dict[str, bool] = {}
        self._not_before = clock.monotonic()

    async def any_of(self, hashes: Iterable[str]) -> bool | None:
        """Whether one of these SHA-1 hashes (upper-case hex) is known; ``None`` where it cannot be told."""
        if not self._address:
            return None
        for password_hash in hashes:
            verdict = await self._is_leaked(password_hash)
            if verdict is not False:
                return verdict
        return False

    async def _is_leaked(self, password_hash: str) -> bool | None:
        if password_hash in self._known:
            return self._known[password_hash]
        if self._meter.wait_s() or self._clock.monotonic() < self._not_before:
            return None
        self._meter.note()
        try:
            is_leaked = password_hash[_PREFIX:] in await self._leaked_with(password_hash[:_PREFIX])
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            self._not_before = self._clock.monotonic() + LEAVE_ALONE_S
            log.info("leaked_passwords_unknown", reason=str(error) or type(error).__name__)
            return None
        if len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[password_hash] = is_leaked
        return is_leaked

    async def _leaked_with(self, prefix: str) -> set[str]:
        """The rest of every leaked hash that begins so. Padding, which hides how many there are, counts zero times."""
        timeout = aiohttp.ClientTimeout(ANSWER_S)
        headers = {"Add-Padding": "true", "User-Agent": "rooftree"}
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers, raise_for_status=True) as session,
            session.get(f"{self._address}/range/{prefix}") as response,
        ):
            answer = b""
            while len(answer) <= LARGEST_ANSWER_BYTES and (block := await response.content.readany()):
                answer += block
            if len(answer) > LARGEST_ANSWER_BYTES:
                raise ValueError(f"the answer is longer than {LARGEST_ANSWER_BYTES} bytes")
            lines = (line.partition(":") for line in answer.decode("ascii").splitlines())
            return {rest for rest, _, count in lines if int(count) > 0}


LEAKED_PASSWORDS = Service[LeakedPasswords]("addons.leaked_passwords/1")

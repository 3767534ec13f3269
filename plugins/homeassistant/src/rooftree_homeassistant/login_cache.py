"""Who could log in lately, for while Core is away: a slow, salted hash of each name and password that Core let in.

A name is a salted hash as well. What is here lets somebody in only while Core can't be asked, and only for a while: a
month after Core last said yes, or as soon as Core says no.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, field, frozen

from rooftree import Collection, Kernel, document

KEPT: Final = timedelta(days=30)
"""For how long after Core last let somebody in we do so while Core is away."""
NOTED_AGAIN: Final = timedelta(days=1)
"""Age from which it is noted anew that Core let somebody in."""
MOST_LOGINS: Final = 500
_SALT_BYTES: Final = 16
_AT_ONCE: Final = 2
"""Hashes that are made at the same time: each takes 16 MiB and a twentieth of a second of a processor."""


@document("homeassistant.login", version=1)
@frozen
class KnownLogin:
    """A name and password that Core let in; the key is a hash of the name."""

    salt: str = field(repr=False)
    """Hex digits."""
    hash: str = field(repr=False)
    """Of the password: scrypt (RFC 7914), hex digits."""
    confirmed: datetime
    """When Core let them in, to a day."""


class LoginCache:
    """The logins that are known."""

    def __init__(self, kernel: Kernel, logins: Collection[KnownLogin]) -> None:
        self._kernel = kernel
        self._logins = logins
        self._hashing = asyncio.Semaphore(_AT_ONCE)

    async def has(self, username: str, password: str) -> bool:
        """Whether Core let these in lately."""
        login = self._logins.get(self._key(username))
        if login is None or self._is_over(login):
            await self._hash(b"", password)  # who is known must not be told by the time that it takes
            return False
        return await self._fits(login, password)

    async def keep(self, username: str, password: str) -> None:
        """Core let these in."""
        key = self._key(username)
        login, now = self._logins.get(key), self._kernel.clock.now()
        if login is not None and await self._fits(login, password):
            if now - login.confirmed < NOTED_AGAIN:
                return
            login = evolve(login, confirmed=now)
        else:
            salt = os.urandom(_SALT_BYTES)
            login = KnownLogin(salt.hex(), (await self._hash(salt, password)).hex(), now)
        others = sorted(self._logins.items(), key=lambda entry: entry[1].confirmed)
        surplus = [known for known, _ in others if known != key][: max(0, len(others) + 1 - MOST_LOGINS)]
        over = [known for known, other in others if known != key and self._is_over(other)]
        await self._kernel.commit(
            self._logins.put(key, login), *(self._logins.delete(known) for known in dict.fromkeys([*surplus, *over]))
        )

    async def drop(self, username: str, password: str | None = None) -> None:
        """Core does not let them in any more: with this password, or whatever it is."""
        key = self._key(username)
        login = self._logins.get(key)
        if login is not None and (password is None or await self._fits(login, password)):
            await self._kernel.commit(self._logins.delete(key))

    async def clear(self) -> None:
        await self._kernel.commit(*(self._logins.delete(key) for key in self._logins))

    def _is_over(self, login: KnownLogin) -> bool:
        return self._kernel.clock.now() - login.confirmed > KEPT

    def _key(self, username: str) -> str:
        return hashlib.sha256(f"{self._kernel.data.instance_id}\0{username}".encode()).hexdigest()

    async def _fits(self, login: KnownLogin, password: str) -> bool:
        return hmac.compare_digest(await self._hash(bytes.fromhex(login.salt), password), bytes.fromhex(login.hash))

    async def _hash(self, salt: bytes, password: str) -> bytes:
        async with self._hashing:
            return await asyncio.to_thread(hashlib.scrypt, password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)

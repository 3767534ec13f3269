"""Passwords that are known to be leaked, asked of a real server that speaks as the real service does."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import define, field

from rooftree.testing import FakeClock
from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons import leaked_passwords
from rooftree_addons.leaked_passwords import LeakedPasswords
from tests.plugins.addons.house import HELLO, house


def sha1(password: str) -> str:
    """As the service knows a password."""
    return hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


LEAKED, OTHER, PADDED = sha1("letmein"), sha1("correct horse"), sha1("padded")


@define
class Service:
    """Knows one leaked password, and pads."""

    asked: list[str] = field(factory=list)
    status: int = 200
    hang: bool = False
    over: asyncio.Event = field(factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        """The rests of the hashes that begin as asked."""
        prefix = request.match_info["prefix"]
        self.asked.append(prefix)
        if self.hang:
            await self.over.wait()
        lines = [f"{each[5:]}:{count}" for each, count in ((LEAKED, 3), (PADDED, 0)) if each.startswith(prefix)]
        return web.Response(status=self.status, text="\r\n".join([*lines, f"{'0' * 35}:0"]))


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[str]:
    """The address of the service on loopback."""
    app = web.Application()
    app.router.add_get("/range/{prefix}", service.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        service.over.set()
        await runner.cleanup()


async def test_leaked_password_is_known_and_only_five_digits_of_it_are_told() -> None:
    service = Service()
    async with serving(service) as address:
        asked = LeakedPasswords(address, FakeClock())

        assert await asked.any_of([OTHER, LEAKED]) is True
        assert await asked.any_of([OTHER]) is False
        assert await asked.any_of([PADDED]) is False
        assert await asked.any_of([]) is False

    assert service.asked == [OTHER[:5], LEAKED[:5], PADDED[:5]]


@pytest.mark.parametrize("fault", [{"status": 503}, {"hang": True}])
async def test_service_that_fails_is_no_answer_and_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setattr(leaked_passwords, "ANSWER_S", 0.2)
    service, clock = Service(**fault), FakeClock()
    async with serving(service) as address:
        asked = LeakedPasswords(address, clock)

        verdicts = [await asked.any_of([LEAKED]), await asked.any_of([LEAKED])]
        service.status, service.hang = 200, False
        await clock.advance(timedelta(seconds=60))

        assert await asked.any_of([LEAKED]) is True

    assert verdicts == [None, None]
    assert len(service.asked) == 2


async def test_address_that_is_none_is_no_answer() -> None:
    assert await LeakedPasswords("http://127.0.0.1:1", FakeClock()).any_of([LEAKED]) is None
    assert await LeakedPasswords("nonsense", FakeClock()).any_of([LEAKED]) is None
    assert await LeakedPasswords("", FakeClock()).any_of([LEAKED]) is None


async def test_service_is_asked_thirty_times_a_minute_at_most() -> None:
    service, clock = Service(), FakeClock()
    async with serving(service) as address:
        asked = LeakedPasswords(address, clock)
        verdicts = [await asked.any_of([sha1(str(number))]) for number in range(31)]
        await clock.advance(timedelta(minutes=1))

        assert await asked.any_of([sha1("31")]) is False

    assert verdicts == [False] * 30 + [None]


async def test_check_of_options_says_whether_a_password_is_leaked(tmp_path: Path, engine: FakeContainerEngine) -> None:
    async with (
        serving(Service()) as address,
        house(tmp_path, engine, {"plugins.addons.leak_lookup_url": address}) as home,
    ):
        await home.install(config={"schema": {"secret": "password", "count": "int?"}, "options": {"secret": "letmein"}})

        answers = [
            (await home.post(HELLO, "options/validate", body)).data
            for body in ({}, {"secret": "correct horse"}, {"secret": "letmein", "count": "many"})
        ]

    assert [(answer["valid"], answer["pwned"]) for answer in answers] == [(True, True), (True, False), (False, None)]

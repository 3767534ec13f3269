"""Wrong tokens: answered, slowed down and logged, and never a reason to refuse a right one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from rooftree import PUBLIC, Kernel, Plugin, Principal, RateLimited, Role, Routes, role
from rooftree.access import wrong_tokens
from rooftree.access.wrong_tokens import ALLOWED, SOURCES, WrongTokens, source_name
from rooftree.http.sockets import peer_address
from rooftree.interfaces.callers import TOKEN_HEADERS
from rooftree.process.system import System
from rooftree.testing import Client, FakeClock, running_system, token_for
from tests.kernel.raw_http import send

routes = Routes()
WRONG = "5ecre7" * 18


@routes.get("/public", access=PUBLIC)
def public() -> None: ...


@routes.get("/admin", access=role(Role.ADMIN))
def admin() -> None: ...


class Guarded(Plugin):
    name = "guarded"

    async def setup(self, kernel: Kernel) -> None:
        kernel.accept_tokens_in(*TOKEN_HEADERS)

    def routes(self) -> Routes:
        return routes


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def system(tmp_path: Path, clock: FakeClock) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[Guarded], clock=clock) as system:
        yield system


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with Client.over_tcp(system) as client:
        yield client


@pytest.fixture
async def wrong(clock: FakeClock) -> AsyncIterator[WrongTokens]:
    wrong = WrongTokens(clock)
    yield wrong
    wrong.close()


async def exhaust(client: Client, path: str = "/admin") -> None:
    for _ in range(ALLOWED.times):
        assert (await client.get(path, token=WRONG)).status == 403


def is_limited(wrong: WrongTokens, address: str) -> bool:
    """Whether one more wrong token from there is one too many."""
    try:
        wrong.note(address)
    except RateLimited:
        return True
    return False


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int]]:
    """Source and count of each line about wrong tokens."""
    events = [record.msg for record in caplog.records if record.name == wrong_tokens.__name__]
    return [(event["source"], event["count"]) for event in events if isinstance(event, dict)]


async def test_many_wrong_tokens_are_answered_429_with_the_time_to_wait(client: Client, clock: FakeClock) -> None:
    await exhaust(client)
    await clock.advance(timedelta(seconds=45))

    answer = await client.get("/admin", token=WRONG)

    assert (answer.status, answer.headers["Retry-After"]) == (429, "15")
    assert "wrong tokens" in answer.message


async def test_right_token_passes_at_once_from_where_wrong_ones_come(system: System, client: Client) -> None:
    right = await token_for(system, Principal("token", "neighbour", Role.ADMIN))
    await exhaust(client)

    statuses = [(await client.get("/admin", token=token)).status for token in (WRONG, right, WRONG, right)]

    assert statuses == [429, 200, 429, 200]


async def test_no_token_and_public_routes_are_not_limited(client: Client) -> None:
    await exhaust(client)

    assert (await client.get("/admin")).status == 401
    assert (await client.get("/public", token=WRONG)).status == 200
    assert (await client.get("/public")).status == 200


async def test_public_routes_with_an_old_token_do_not_count(client: Client) -> None:
    for _ in range(ALLOWED.times * 2):
        assert (await client.get("/public", token=WRONG)).status == 200

    assert (await client.get("/admin", token=WRONG)).status == 403


async def test_path_that_is_not_there_counts_too(client: Client) -> None:
    await exhaust(client, "/nowhere")

    assert (await client.get("/admin", token=WRONG)).status == 429


async def test_refusals_of_known_callers_do_not_count(system: System, client: Client) -> None:
    weak = await token_for(system, Principal("token", "weak", Role.DEFAULT))
    for _ in range(ALLOWED.times * 2):
        assert (await client.get("/admin", token=weak)).status == 403


async def test_limit_ends_with_time(client: Client, clock: FakeClock) -> None:
    await exhaust(client)
    limited = await client.get("/admin", token=WRONG)
    await clock.advance(ALLOWED.per)

    assert limited.status == 429
    assert (await client.get("/admin", token=WRONG)).status == 403


async def test_asking_on_does_not_make_the_wait_longer(wrong: WrongTokens, clock: FakeClock) -> None:
    for _ in range(ALLOWED.times * 5):
        is_limited(wrong, "10.0.0.1")
    await clock.advance(ALLOWED.per)

    assert not is_limited(wrong, "10.0.0.1")


async def test_users_of_the_unix_socket_are_not_counted(system: System) -> None:
    async with Client.over_unix(system) as local:
        for _ in range(ALLOWED.times * 2):
            assert (await local.get("/admin", token=WRONG)).status == 403


async def test_each_address_is_counted_for_itself(wrong: WrongTokens) -> None:
    for _ in range(ALLOWED.times):
        assert not is_limited(wrong, "172.30.33.1")

    assert is_limited(wrong, "172.30.33.1")
    assert not is_limited(wrong, "172.30.33.2")


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        (("172.30.33.5", 4711), "172.30.33.5"),
        (("::ffff:172.30.33.5", 4711, 0, 0), "172.30.33.5"),
        (("2001:db8:1:2:aaaa::1", 4711, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:bbbb::9", 4711, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 4711, 0, 2), "fe80::/64"),
        (("::1", 4711, 0, 0), "::/64"),
        ("", None),
        (None, None),
    ],
)
def test_source_is_an_address_or_the_network_that_one_machine_can_choose_addresses_from(
    peer: object, name: str | None
) -> None:
    assert source_name(peer_address(peer)) == name


async def test_sources_that_are_remembered_are_bounded_and_the_quietest_goes_first(wrong: WrongTokens) -> None:
    for _ in range(ALLOWED.times):
        is_limited(wrong, "10.255.0.1")
        is_limited(wrong, "10.255.0.2")
    for number in range(SOURCES - 1):
        is_limited(wrong, f"10.0.{number // 256}.{number % 256}")
        is_limited(wrong, "10.255.0.1")

    assert is_limited(wrong, "10.255.0.1")
    assert not is_limited(wrong, "10.255.0.2")
    assert len(wrong._sources) == SOURCES


async def test_one_line_a_minute_says_how_many_came(
    wrong: WrongTokens, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wrong_tokens, "LOG_EVERY_S", 0.05)
    for _ in range(100):
        is_limited(wrong, "10.0.0.1")
    is_limited(wrong, "10.0.0.2")
    at_once = lines(caplog)
    async with asyncio.timeout(5):
        while len(lines(caplog)) < 3:
            await asyncio.sleep(0.01)

    assert at_once == [("10.0.0.1", 1), ("10.0.0.2", 1)]
    assert lines(caplog)[2:] == [("10.0.0.1", 99)]


async def test_lines_that_are_due_are_written_when_the_server_stops(
    wrong: WrongTokens, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(7):
        is_limited(wrong, "10.0.0.1")

    wrong.close()

    assert lines(caplog) == [("10.0.0.1", 1), ("10.0.0.1", 6)]


REFUSED_WITH_A_TOKEN = [
    [("X-Supervisor-Token", WRONG)],
    [("X-Hassio-Key", WRONG)],
    [("Authorization", f"Bearer {WRONG}")],
    [("Authorization", f"Basic {WRONG}")],
    [("Authorization", WRONG)],
    [("X-Supervisor-Token", WRONG), ("X-Supervisor-Token", WRONG + "0")],
    [("X-Supervisor-Token", WRONG), ("Authorization", f"Bearer {WRONG}0")],
    [("X-Supervisor-Token", WRONG * 20)],
    [("X-Supervisor-Token", WRONG * 100)],
    [("X-Supervisor-Token", f"{WRONG}\x01")],
    [("Authorization", f"Bearer {WRONG}"), ("Content-Length", "no number")],
]


@pytest.mark.parametrize("path", [b"/admin", b"/nowhere", b"/admin/", b"//admin", b"/public"])
async def test_no_log_line_of_a_refused_request_has_the_token(
    system: System, caplog: pytest.LogCaptureFixture, path: bytes
) -> None:
    caplog.set_level(logging.DEBUG)

    answers = [await send(system, path, headers=headers) for headers in REFUSED_WITH_A_TOKEN]

    logged = "\n".join(f"{record.getMessage()} {record.exc_text or ''}" for record in caplog.records)
    assert WRONG not in logged
    assert all(WRONG not in answer.text for answer in answers)
    assert path == b"/public" or {answer.status for answer in answers} <= {400, 401, 403}


async def test_token_that_ended_is_in_no_log_line_either(
    system: System, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    right = await token_for(system, Principal("token", "gone", Role.DEFAULT))
    refused = await client.get("/admin", token=right)
    await system.tokens.revoke(next(token.id for token in system.tokens.known("token", "gone").values()))

    assert [refused.status, (await client.get("/admin", token=right)).status] == [403, 403]
    assert right not in caplog.text

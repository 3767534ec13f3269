"""Sessions: opened by Core, used, and over."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from rooftree import Principal, Role
from rooftree.interfaces.core import UserLoggedOut
from rooftree.testing import Client, FakeClock, token_for
from rooftree.testing.containers import FakeContainerEngine
from rooftree_ingress.ingress import INGRESS
from rooftree_ingress.plugin import IngressPlugin
from rooftree_ingress.sessions import IDLE, LONGEST, SessionUser
from tests.plugins.addons.house import house
from tests.plugins.ingress.conftest import PAULUS, CoreWithUsers, IngressHouse

MINUTE = timedelta(minutes=1)


async def is_valid(here: IngressHouse, session: str) -> bool:
    answer = await here.core.post("/ingress/validate_session", json={"session": session})
    assert answer.status in {200, 401}
    return answer.status == 200


async def test_session_is_128_hex_digits_and_none_is_like_another(here: IngressHouse) -> None:
    first, second = await here.open(), await here.open(None)
    assert len(first) == len(second) == 128
    assert int(first, 16) != int(second, 16)


async def test_session_that_is_used_lasts_and_one_that_is_not_ends(here: IngressHouse, clock: FakeClock) -> None:
    used, idle = await here.open(), await here.open()
    for _ in range(3):
        await clock.advance(IDLE - MINUTE)
        assert await is_valid(here, used)
    assert not await is_valid(here, idle)
    await clock.advance(IDLE + MINUTE)
    assert not await is_valid(here, used)


async def test_session_ends_when_it_is_over_and_not_when_that_is_tidied_up(
    here: IngressHouse, clock: FakeClock
) -> None:
    session, sessions = await here.open(), here.system.services.get(INGRESS).sessions
    clock._pass(clock.monotonic() + IDLE.total_seconds() - 1)
    assert sessions.holder(session) is not None
    clock._pass(clock.monotonic() + 2)
    assert sessions.holder(session) is None


async def test_no_session_lasts_for_ever(here: IngressHouse, clock: FakeClock) -> None:
    session = await here.open()
    for _ in range(LONGEST // (10 * MINUTE)):
        assert await is_valid(here, session)
        await clock.advance(10 * MINUTE)
    await clock.advance(MINUTE)
    assert not await is_valid(here, session)


@pytest.mark.parametrize("text", ["", "x", "0" * 128, "\ud800"])
async def test_what_never_was_a_session_is_none(here: IngressHouse, text: str) -> None:
    await here.open()
    if text.isascii():
        assert not await is_valid(here, text)
    else:
        assert here.system.services.get(INGRESS).sessions.holder(text) is None


@pytest.mark.parametrize("path", ["session", "validate_session"])
async def test_only_core_opens_and_validates(here: IngressHouse, path: str) -> None:
    for principal in (Principal("token", "root", Role.ADMIN), Principal("addon", "local_x", Role.ADMIN)):
        token = await token_for(here.system, principal)
        async with Client.over_tcp(here.system, token) as client:
            assert (await client.post(f"/ingress/{path}", json={"session": "x"})).status == 403


async def test_user_is_who_core_knows(here: IngressHouse, core: CoreWithUsers) -> None:
    sessions = here.system.services.get(INGRESS).sessions

    async def user(user_id: str | None) -> SessionUser | None:
        holder = sessions.holder(await here.open(user_id))
        assert holder is not None
        return sessions.use(holder)

    assert await user(PAULUS.id) == SessionUser(PAULUS.id, "Paülus S.", "paulus")
    assert await user("b" * 32) is None
    assert await user(None) is None
    core.answers = False
    assert await user(PAULUS.id) == SessionUser(PAULUS.id)


async def test_logout_ends_the_sessions_of_that_user(here: IngressHouse) -> None:
    mine, also_mine, other = await here.open(), await here.open(), await here.open(None)
    here.system.bus.publish(UserLoggedOut(PAULUS.id))
    await here.home.quiet()
    assert [await is_valid(here, session) for session in (mine, also_mine, other)] == [False, False, True]


async def test_sessions_are_kept_over_a_restart_with_what_is_left_of_them(
    tmp_path: Path, engine: FakeContainerEngine, core: CoreWithUsers, clock: FakeClock
) -> None:
    plugins = [core.plugin(), IngressPlugin]
    async with house(tmp_path, engine, plugins=plugins, clock=clock) as home:
        sessions = home.system.services.get(INGRESS).sessions
        used, idle = await sessions.open(PAULUS.id), await sessions.open(None)
        await clock.advance(10 * MINUTE)
        sessions.validate(used)
    async with house(tmp_path, engine, plugins=plugins, clock=clock) as home:
        sessions = home.system.services.get(INGRESS).sessions
        await clock.advance(6 * MINUTE)
        assert sessions.holder(idle) is None
        holder = sessions.holder(used)
        assert holder is not None
        assert sessions.use(holder) == SessionUser(PAULUS.id, "Paülus S.", "paulus")


async def test_clock_that_was_put_back_over_a_restart_makes_no_session_longer(
    tmp_path: Path, engine: FakeContainerEngine, core: CoreWithUsers, clock: FakeClock
) -> None:
    plugins = [core.plugin(), IngressPlugin]
    async with house(tmp_path, engine, plugins=plugins, clock=clock) as home:
        session = await home.system.services.get(INGRESS).sessions.open(None)
    clock.put(clock.now() - timedelta(days=1))
    async with house(tmp_path, engine, plugins=plugins, clock=clock) as home:
        sessions = home.system.services.get(INGRESS).sessions
        assert sessions.holder(session) is not None
        await clock.advance(IDLE + MINUTE)
        assert sessions.holder(session) is None


async def test_text_of_a_session_is_written_nowhere(here: IngressHouse, tmp_path: Path) -> None:
    session = await here.open()
    await here.home.quiet()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert session.encode() not in written


async def test_sessions_that_are_over_are_forgotten(here: IngressHouse, clock: FakeClock) -> None:
    sessions = here.system.services.get(INGRESS).sessions
    await here.open()
    await clock.advance(IDLE + MINUTE)
    await sessions.tidy()
    assert len(sessions._stored) == 0

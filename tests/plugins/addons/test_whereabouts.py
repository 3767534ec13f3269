"""Where an add-on's token may be used: in its own container, whose address the engine tells."""

from __future__ import annotations

import aiohttp
import pytest
from attrs import evolve

from rooftree.interfaces.containers import Container
from rooftree.testing.containers import FakeContainerEngine
from rooftree_containers.lifetime import TOKEN_USED_ELSEWHERE
from rooftree_containers.whereabouts import addresses_of_host
from tests.plugins.addons.house import HELLO, House
from tests.rig.waiting import until

OWN = "127.0.0.9"
"""The address of the add-on's container: an address of loopback, so that the test can call from there."""
ELSEWHERE = "127.0.0.10"


@pytest.fixture(autouse=True)
def containers_have_addresses_that_we_can_call_from(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = FakeContainerEngine.container

    async def container(self: FakeContainerEngine, name: str) -> Container | None:
        found = await shown(self, name)
        return evolve(found, ip_address=OWN) if found is not None and found.ip_address is not None else found

    monkeypatch.setattr(FakeContainerEngine, "container", container)


async def ask(home: House, token: str, *, source: str) -> int:
    """The status of a call from an address of loopback."""
    connector = aiohttp.TCPConnector(local_addr=(source, 0))
    async with (
        aiohttp.ClientSession(connector=connector, headers={"Authorization": f"Bearer {token}"}) as session,
        session.get(f"http://127.0.0.1:{home.system.port}/addons/self/info") as response,
    ):
        return response.status


def reported(home: House) -> list[str]:
    """The messages of the problems about stolen tokens."""
    return [problem.message for problem in home.system.problems if problem.type == TOKEN_USED_ELSEWHERE]


async def test_token_is_taken_from_its_own_container_only(home: House) -> None:
    await home.run()
    token = home.token()

    assert await ask(home, token, source=OWN) == 200
    assert [await ask(home, token, source=source) for source in (ELSEWHERE, "127.0.0.1")] == [403, 403]
    assert await ask(home, token, source=OWN) == 200


async def test_theft_is_a_problem_that_names_the_add_on_and_both_addresses_until_it_has_another_token(
    home: House,
) -> None:
    await home.run()
    await ask(home, home.token(), source=OWN)
    before = reported(home)
    await ask(home, home.token(), source=ELSEWHERE)

    async def is_reported() -> bool:
        return bool(reported(home))

    await until(is_reported, within_s=3, what="the problem")
    message = reported(home)[0]
    await home.post(HELLO, "restart")

    assert before == []
    assert all(part in message for part in (HELLO, OWN, ELSEWHERE))
    assert reported(home) == []


async def test_add_on_on_the_hosts_network_calls_from_the_hosts_addresses_and_from_no_containers(home: House) -> None:
    await home.run(config={"host_network": True})
    token = home.token()

    assert await ask(home, token, source="127.0.0.1") == 200
    assert await ask(home, token, source=ELSEWHERE) == 403


async def test_address_is_known_before_the_engine_said_that_the_container_started(home: House) -> None:
    """Its program may call at once, and what the engine says comes later."""
    await home.run()
    home.addons.containers.observation.whereabouts.forget(HELLO)

    assert await ask(home, home.token(), source=OWN) == 200


async def test_engine_that_is_away_refuses_nobody_who_is_known(home: House) -> None:
    await home.run()
    token = home.token()
    await ask(home, token, source=OWN)
    home.engine.go_away()

    assert await ask(home, token, source=OWN) == 200
    assert await ask(home, token, source=ELSEWHERE) in {403, 503}


def test_addresses_of_the_host_are_its_own() -> None:
    addresses = addresses_of_host()

    assert {"127.0.0.1", "::1"} <= addresses
    assert not addresses & {"127.0.0.0", "127.255.255.255", "0.0.0.0"}

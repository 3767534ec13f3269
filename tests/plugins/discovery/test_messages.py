"""What add-ons tell Core of themselves: who may, what Core reads, and that it hears of every change."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from aiohasupervisor import SupervisorClient
from aiohasupervisor.models import Discovery, DiscoveryConfig

from rooftree import Principal, Role
from rooftree.interfaces.core import CoreAnswer
from rooftree.testing import FakeClock, token_for
from rooftree.testing.containers import FakeContainerEngine
from rooftree_discovery.plugin import DiscoveryPlugin
from rooftree_discovery.pushes import AGAIN_EVERY, DuePush
from tests.plugins.addons.house import HELLO, House, done, house, refusal
from tests.plugins.discovery.core_desk import CoreDesk, Told
from tests.rig.waiting import until

BROKER = {"discovery": ["mqtt", "matter"]}
CONFIG = {"host": "local-hello", "port": 1883, "password": "hunter2", "nested": {"b": [1, True, None], "a": 1.5}}


async def core_token(home: House) -> str:
    """Core's."""
    return await token_for(home.system, Principal("core", "homeassistant", Role.ADMIN))


async def announce(home: House, config: object = CONFIG, service: str = "mqtt", slug: str = HELLO) -> str:
    """The id that the message gets."""
    body = {"service": service, "config": config}
    return str((await home.client.post("/discovery", json=body, token=home.token(slug))).data["uuid"])


def push(method: str, uuid: str, service: str = "mqtt", slug: str = HELLO) -> Told:
    """How Core is told of a message."""
    content = {"addon": slug, "service": service, "uuid": uuid}
    return Told(method, f"api/hassio_push/discovery/{uuid}", content)


# --- who may what -----------------------------------------------------------------------------------------------------


async def test_official_client_reads_what_an_add_on_announces(home: House) -> None:
    await home.run(config=BROKER)
    connector = aiohttp.UnixConnector(path=str(home.system.settings.kernel.socket))
    async with aiohttp.ClientSession(connector=connector) as session:
        addon = SupervisorClient("http://rooftree", home.token(), session=session)
        core = SupervisorClient("http://rooftree", await core_token(home), session=session)
        uuid = await addon.discovery.set(DiscoveryConfig(service="mqtt", config=CONFIG))
        message = await core.discovery.get(uuid)
        listed = await core.discovery.list()
        await addon.discovery.delete(uuid)
        remaining = await core.discovery.list()

    assert message == Discovery(addon=HELLO, service="mqtt", uuid=uuid, config=CONFIG)
    assert (listed, remaining) == ([message], [])


async def test_listing_names_the_senders_installed_and_on_offer(home: House) -> None:
    await home.install(config=BROKER)
    await home.offer("zigbee", config={"discovery": ["mqtt"]})
    await home.offer("plain")

    listing = (await home.client.get("/discovery", token=await core_token(home))).data

    assert listing == {
        "discovery": [],
        "services": {"mqtt": [HELLO, "local_zigbee"], "matter": [HELLO]},
    }


async def test_sender_of_another_version_in_the_store_is_told_as_it_is_installed(home: House) -> None:
    await home.install(config=BROKER)
    await home.offer("hello", "2.0", config={"discovery": ["matter"]})

    listing = (await home.client.get("/discovery", token=await core_token(home))).data

    assert listing["services"] == {"mqtt": [HELLO], "matter": [HELLO]}


async def test_message_of_an_add_on_that_was_stopped_is_not_listed_and_can_be_read(home: House) -> None:
    await home.run(config=BROKER)
    uuid, token = await announce(home), await core_token(home)
    done(await home.post(HELLO, "stop"))

    listing = (await home.client.get("/discovery", token=token)).data
    message = (await home.client.get(f"/discovery/{uuid}", token=token)).data

    assert listing["discovery"] == []
    assert message == {"addon": HELLO, "service": "mqtt", "uuid": uuid, "config": CONFIG}


async def test_message_is_known_by_add_on_and_service(home: House) -> None:
    await home.run(config=BROKER)
    await home.run("other", config=BROKER)

    uuids = [
        await announce(home),
        await announce(home, {"host": "elsewhere"}),
        await announce(home, service="matter"),
        await announce(home, slug="local_other"),
    ]

    assert uuids[0] == uuids[1]
    assert len(set(uuids)) == 3
    assert all(UUID(uuid).hex == uuid for uuid in uuids)


async def test_service_that_the_configuration_does_not_name_is_refused(home: House) -> None:
    await home.run(config={"discovery": ["matter"]})

    answer = await home.client.post("/discovery", json={"service": "mqtt", "config": {}}, token=home.token())

    assert refusal(answer, 403) == (
        "local_hello may not send this: its configuration does not name it, discovery: [mqtt]"
    )


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"service": "mqtt"}, "config: is required"),
        ({"service": "mqtt", "config": None}, "config: must be an object, not null"),
        ({"service": "mqtt", "config": []}, "config: must be an object, not a list"),
        ({"service": 1, "config": {}}, "service: must be a string, not 1"),
        ({"service": "mqtt", "config": {}, "more": 1}, "more: is not known here; allowed are config, service"),
    ],
)
async def test_what_is_no_message_is_refused(home: House, body: object, sentence: str) -> None:
    await home.run(config=BROKER)

    assert refusal(await home.client.post("/discovery", json=body, token=home.token()), 400) == sentence


async def test_message_that_is_too_large_is_refused(home: House) -> None:
    await home.run(config=BROKER)
    body = {"service": "mqtt", "config": {"text": "x" * 64 * 1024}}

    refusal(await home.client.post("/discovery", json=body, token=home.token()), 413)


async def test_only_the_sender_withdraws_a_message(home: House) -> None:
    await home.run(config=BROKER)
    await home.run("other", config=BROKER)
    uuid = await announce(home)

    other = await home.client.delete(f"/discovery/{uuid}", token=home.token("local_other"))
    done(await home.client.delete(f"/discovery/{uuid}", token=home.token()))
    again = await home.client.delete(f"/discovery/{uuid}", token=home.token())

    assert refusal(other, 403) == "Only the add-on that has sent a message may withdraw it"
    assert refusal(again, 404) == f"There is no discovery message {uuid}"


async def test_who_is_no_add_on_is_told_so(home: House) -> None:
    body = {"service": "mqtt", "config": {}}
    answers = [
        await home.client.post("/discovery", json=body),
        await home.client.post("/discovery", json=body, token=await core_token(home)),
        await home.client.get("/services/mqtt", token=await core_token(home)),
        await home.client.post("/services/mqtt", json={"host": "a", "port": 1}),
        await home.client.delete("/services/mqtt"),
    ]

    assert all(refusal(answer, 403).endswith("may not do this; it is for: addon only") for answer in answers)


# --- that Core hears of it --------------------------------------------------------------------------------------------


async def test_core_is_told_of_what_is_new_changed_and_gone_and_of_nothing_else(home: House, core: CoreDesk) -> None:
    await home.run(config=BROKER)

    uuid = await announce(home)
    assert await core.next() == push("POST", uuid)
    await home.quiet()
    await announce(home)  # the same again
    await announce(home, {"host": "elsewhere"})
    assert await core.next() == push("POST", uuid)
    done(await home.client.delete(f"/discovery/{uuid}", token=home.token()))
    assert await core.next() == push("DELETE", uuid)
    await announce(home, service="matter")
    assert (await core.next()).content["service"] == "matter"  # and so nothing came between
    assert core.told.empty()


async def test_what_changes_while_core_is_away_is_told_when_it_is_back(home: House, core: CoreDesk) -> None:
    await home.run(config=BROKER)
    here = await announce(home, service="matter")
    assert await core.next() == push("POST", here, "matter")
    core.go(home.system)

    done(await home.client.delete(f"/discovery/{here}", token=home.token()))
    fresh = await announce(home)
    await announce(home, {"host": "elsewhere"})
    core.come(home.system)

    assert [await core.next(), await core.next()] == [push("DELETE", here, "matter"), push("POST", fresh)]
    assert core.told.empty()  # of one message the latest


async def test_change_that_comes_while_core_takes_the_one_before_is_told_too(
    home: House, core: CoreDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.run(config=BROKER)
    is_asked, goes_on, at_once = asyncio.Event(), asyncio.Event(), CoreDesk.request

    async def slowly(desk: CoreDesk, method: str, path: str, **options: Any) -> CoreAnswer:
        is_asked.set()
        await goes_on.wait()
        return await at_once(desk, method, path, **options)

    monkeypatch.setattr(CoreDesk, "request", slowly)
    uuid = await announce(home)
    async with asyncio.timeout(5):
        await is_asked.wait()
    await announce(home, {"host": "elsewhere"})
    goes_on.set()

    assert [await core.next(), await core.next()] == [push("POST", uuid)] * 2


async def test_what_core_has_not_heard_of_is_told_after_a_restart(
    tmp_path: Path, engine: FakeContainerEngine, core: CoreDesk
) -> None:
    core.answers = False
    async with house(tmp_path, engine, plugins=[core.plugin(), DiscoveryPlugin]) as home:
        await home.run(config=BROKER)
        uuid = await announce(home)
        async with asyncio.timeout(5):
            assert await core.asked.get() == push("POST", uuid)
    core.answers = True

    async with house(tmp_path, engine, plugins=[core.plugin(), DiscoveryPlugin]):
        assert await core.next() == push("POST", uuid)


async def test_what_core_does_not_take_is_tried_again(tmp_path: Path, core: CoreDesk) -> None:
    clock, engine = FakeClock(), FakeContainerEngine()
    plugins = [core.plugin(), DiscoveryPlugin]
    async with house(tmp_path, engine, plugins=plugins, clock=clock) as home:
        core.status = 404
        await home.run(config=BROKER)
        uuid = await announce(home)
        assert await core.next() == push("POST", uuid)
        core.status = 200

        await clock.advance(AGAIN_EVERY * 1.1)
        assert await core.next() == push("POST", uuid)
        await clock.advance(AGAIN_EVERY * 1.1)
        await clock.advance(timedelta(seconds=1))
        assert core.told.empty()


async def test_core_that_has_started_before_the_add_on_hears_what_that_announces_again(
    home: House, core: CoreDesk
) -> None:
    await home.run(config=BROKER)
    uuid = await announce(home)
    await core.next()
    done(await home.post(HELLO, "stop"))
    core.go(home.system)
    core.come(home.system)
    await home.quiet()
    assert (await home.client.get("/discovery", token=await core_token(home))).data["discovery"] == []
    done(await home.post(HELLO, "start"))

    await announce(home)

    assert await core.next() == push("POST", uuid)


async def test_core_that_has_read_the_message_is_not_told_of_it_again(home: House, core: CoreDesk) -> None:
    await home.run(config=BROKER)
    uuid = await announce(home)
    await core.next()
    core.go(home.system)
    core.come(home.system)
    await home.quiet()
    listing = (await home.client.get("/discovery", token=await core_token(home))).data
    assert [message["uuid"] for message in listing["discovery"]] == [uuid]
    due = await home.system.state.collection(DuePush)

    async def nothing_is_due() -> bool:
        return len(due) == 0

    await announce(home)
    await until(nothing_is_due, within_s=5, what="the end of what Core is told")
    assert core.told.empty()
    done(await home.client.delete(f"/discovery/{uuid}", token=home.token()))

    assert await core.next() == push("DELETE", uuid)


# --- with its add-on --------------------------------------------------------------------------------------------------


async def test_message_goes_with_its_add_on(home: House, core: CoreDesk) -> None:
    await home.run(config=BROKER)
    uuid = await announce(home)
    await core.next()

    done(await home.post(HELLO, "uninstall"))

    assert await core.next() == push("DELETE", uuid)
    refusal(await home.client.get(f"/discovery/{uuid}", token=await core_token(home)), 404)


async def test_message_of_an_add_on_that_went_while_nobody_looked_is_withdrawn(
    tmp_path: Path, engine: FakeContainerEngine, core: CoreDesk
) -> None:
    async with house(tmp_path, engine, plugins=[core.plugin(), DiscoveryPlugin]) as home:
        await home.run(config=BROKER)
        uuid = await announce(home)
        await core.next()
    async with house(tmp_path, engine) as home:
        done(await home.post(HELLO, "uninstall"))

    async with house(tmp_path, engine, plugins=[core.plugin(), DiscoveryPlugin]):
        assert await core.next() == push("DELETE", uuid)


async def test_password_in_a_message_is_shown_to_core_alone(home: House) -> None:
    await home.run(config=BROKER)
    await announce(home)

    paths = ("/discovery", f"/addons/{HELLO}/info")
    answers = [await home.client.get(path, token=token) for path in paths for token in (home.token(), None)]

    assert [answer.status for answer in answers] == [403, 403, 200, 200]
    assert not any("hunter2" in answer.text for answer in answers)

"""The services that add-ons provide to each other: who may, what is taken, and how long it is there."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from rooftree import Plugin, hookimpl
from rooftree.interfaces.hooks import ServiceKind
from rooftree.testing import Answer
from rooftree.testing.containers import FakeContainerEngine
from rooftree_discovery.plugin import DiscoveryPlugin
from tests.plugins.addons.house import HELLO, House, done, house, refusal

BROKER = {"services": ["mqtt:provide"]}
READER = {"services": ["mqtt:want", "mysql:need"]}
OTHER = "local_other"
DATA = {"host": "local-hello", "port": 1883, "username": "addons", "password": "hunter2", "ssl": True}
STORED = {**DATA, "protocol": "3.1.1"}


async def provide(home: House, slug: str = HELLO, data: object = DATA, service: str = "mqtt") -> Answer:
    """Say how the service is reached."""
    return await home.client.post(f"/services/{service}", json=data, token=home.token(slug))


async def read(home: House, slug: str = OTHER, service: str = "mqtt") -> Answer:
    """What an add-on reads of it; bashio sends an empty object along, with every call."""
    return await home.client.get(f"/services/{service}", json={}, token=home.token(slug))


async def listed(home: House) -> dict[str, dict[str, Any]]:
    """The listing, by service."""
    services = (await home.client.get("/services", token=home.token(OTHER))).data["services"]
    return {service["slug"]: service for service in services}


# --- who may what -----------------------------------------------------------------------------------------------------


async def test_who_wants_a_service_reads_what_its_provider_says(home: House) -> None:
    await home.run(config=BROKER)
    await home.run("other", config=READER)
    before = await read(home)

    done(await provide(home))

    assert refusal(before, 400) == f"No add-on provides mqtt now. Start one that can: {HELLO}"
    assert (await read(home)).data == {"addon": HELLO, **STORED}
    assert await listed(home) == {
        "mqtt": {"slug": "mqtt", "available": True, "providers": [HELLO]},
        "mysql": {"slug": "mysql", "available": False, "providers": []},
    }
    assert refusal(await read(home, service="mysql"), 400) == (
        "No add-on provides mysql now. Install and start one that does"
    )


async def test_who_does_not_name_a_service_may_do_nothing_with_it(home: House) -> None:
    await home.run(config=BROKER)
    await home.run("other", config={"services": ["mysql:want"]})
    done(await provide(home))

    refusals = [
        refusal(await read(home), 403),
        refusal(await provide(home, OTHER), 403),
        refusal(await provide(home, OTHER, service="mysql"), 403),  # to want it is not to provide it
        refusal(await home.client.delete("/services/mqtt", token=home.token(OTHER)), 403),
    ]

    provides = "addon:local_other may not do this: its configuration does not say services:"
    assert refusals == [
        "addon:local_other may not read this: its configuration has no entry for it, services: mqtt:want",
        f"{provides} mqtt:provide",
        f"{provides} mysql:provide",
        f"{provides} mqtt:provide",
    ]
    assert (await read(home, HELLO)).data == {"addon": HELLO, **STORED}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_service_that_there_is_not_is_not_found(home: House, method: str) -> None:
    await home.run(config={"services": ["mqtt:provide"]})

    answer = await home.client.request(method, "/services/ntp", json={}, token=home.token())

    assert refusal(answer, 404) == "There is no service ntp; there are mqtt, mysql"


# --- what is taken ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "stored"),
    [
        ({"host": "a", "port": 1}, {"host": "a", "port": 1, "ssl": False, "protocol": "3.1.1"}),
        ({"host": "a", "port": "65535"}, {"host": "a", "port": 65535, "ssl": False, "protocol": "3.1.1"}),
        (
            {"host": "a", "port": 1883, "protocol": "3.1"},
            {"host": "a", "port": 1883, "ssl": False, "protocol": "3.1"},
        ),
    ],
)
async def test_what_is_left_out_is_as_usual_and_a_port_may_be_a_text(
    home: House, data: object, stored: Mapping[str, object]
) -> None:
    await home.run(config=BROKER)

    done(await provide(home, data=data))

    assert (await read(home, HELLO)).data == {"addon": HELLO, **stored}


UNFIT: list[tuple[object, str]] = [
    ({"port": 1883}, "host: is required"),
    ({"host": "a", "port": 0}, "port: must be a port, a whole number from 1 to 65535"),
    ({"host": "a", "port": "65536"}, "port: must be a port, a whole number from 1 to 65535"),
    ({"host": "a", "port": "9" * 5000}, "port: must be a port, a whole number from 1 to 65535"),
    ({"host": "a", "port": "\N{ARABIC-INDIC DIGIT ONE}"}, "port: must be a port, a whole number from 1 to 65535"),
    ({"host": "a", "port": True}, "port: must be a port, a whole number from 1 to 65535"),
    ({"host": "a", "port": 1, "ssl": "false"}, "ssl: must be true or false, not 'false'"),
    ({"host": "a", "port": 1, "protocol": "5"}, "protocol: must be one of '3.1', '3.1.1', not '5'"),
    (
        {"host": "a", "port": 1, "colour": "green"},
        "colour: is not known here; allowed are host, password, port, protocol, ssl, username",
    ),
]


async def test_what_does_not_fit_the_service_is_refused(home: House) -> None:
    await home.run(config=BROKER)

    for data, sentence in UNFIT:
        assert refusal(await provide(home, data=data), 400) == sentence
        refusal(await read(home, HELLO), 400)


async def test_database_is_reached_without_the_words_of_a_broker(home: House) -> None:
    await home.run(config={"services": ["mysql:provide"]})
    data = {"host": "core-mariadb", "port": 3306, "username": "service", "password": "secret"}

    done(await provide(home, data=data, service="mysql"))
    ssl = await provide(home, data={**data, "ssl": True}, service="mysql")

    assert (await read(home, HELLO, "mysql")).data == {"addon": HELLO, **data}
    refusal(ssl, 400)


class Clock(Plugin):
    """Adds services: one of its own, and one that there is."""

    name = "clock"

    @hookimpl
    def service_kinds(self) -> list[ServiceKind]:
        """Time servers, and brokers of other words."""
        return [ServiceKind("ntp", TimeServer), ServiceKind("mqtt", TimeServer)]


@frozen
class TimeServer:
    host: str
    stratum: int = 3


async def test_hook_service_kinds_adds_one_and_changes_none_that_there_is(
    tmp_path: Path, engine: FakeContainerEngine
) -> None:
    async with house(tmp_path, engine, plugins=[DiscoveryPlugin, Clock]) as home:
        await home.run(config={"services": ["ntp:provide", "mqtt:provide"]})

        done(await provide(home, data={"host": "chrony"}, service="ntp"))
        done(await provide(home))
        wrong = await provide(home, data={"host": "chrony", "stratum": "high"}, service="ntp")

        assert (await read(home, HELLO, "ntp")).data == {"addon": HELLO, "host": "chrony", "stratum": 3}
        assert (await read(home, HELLO)).data == {"addon": HELLO, **STORED}
        assert refusal(wrong, 400) == "stratum: must be a whole number, not 'high'"


# --- how long it is there ---------------------------------------------------------------------------------------------


async def test_second_provider_is_refused_while_the_first_is_wanted_to_run(home: House) -> None:
    await home.run(config=BROKER)
    await home.run("other", config=BROKER)
    done(await provide(home))

    answer = await provide(home, OTHER)
    withdrawal = await home.client.delete("/services/mqtt", token=home.token(OTHER))

    assert refusal(answer, 409, "service_already_provided_error") == (
        f"mqtt is provided by {HELLO} already. Stop or uninstall that first"
    )
    assert answer.envelope["extra_fields"] == {"service": "mqtt", "app": HELLO}
    assert refusal(withdrawal, 403) == f"mqtt is provided by {HELLO}, and only that may withdraw it"


async def test_of_two_providers_at_once_the_second_is_refused(home: House) -> None:
    await home.run(config=BROKER)
    await home.run("other", config=BROKER)

    answers = await asyncio.gather(provide(home), provide(home, OTHER))

    assert sorted(answer.status for answer in answers) == [200, 409]


async def test_provider_that_says_it_again_is_taken_at_its_new_word(home: House) -> None:
    await home.run(config=BROKER)
    done(await provide(home))

    done(await provide(home, data={**DATA, "port": 1884}))

    assert (await read(home, HELLO)).data == {"addon": HELLO, **STORED, "port": 1884}


async def test_service_of_a_provider_that_was_stopped_is_not_there_and_another_may_provide_it(home: House) -> None:
    await home.run(config=BROKER)
    await home.run("other", config=BROKER)
    done(await provide(home))

    done(await home.post(HELLO, "stop"))
    when_stopped = await read(home)
    done(await home.post(HELLO, "start"))
    again = await read(home)
    done(await home.post(HELLO, "stop"))
    taken = await provide(home, OTHER, data={**DATA, "host": "local-other"})

    refusal(when_stopped, 400)
    assert again.data == {"addon": HELLO, **STORED}
    done(taken)
    assert (await read(home)).data == {"addon": OTHER, **STORED, "host": "local-other"}


async def test_provider_withdraws_its_service_once(home: House) -> None:
    await home.run(config=BROKER)
    done(await provide(home))

    done(await home.client.delete("/services/mqtt", json={}, token=home.token()))
    again = await home.client.delete("/services/mqtt", token=home.token())

    refusal(await read(home, HELLO), 400)
    assert refusal(again, 404, "service_not_provided_error") == "No add-on provides mqtt"
    assert again.envelope["extra_fields"] == {"service": "mqtt"}


async def test_service_goes_with_its_provider(home: House) -> None:
    await home.run(config=BROKER)
    await home.run("other", config=BROKER)
    done(await provide(home))

    done(await home.post(HELLO, "uninstall"))
    await home.quiet()
    done(await home.install(config=BROKER) and await home.post(HELLO, "start"))

    refusal(await read(home), 400)


def document(database: Path) -> bytes:
    """The one service as it is on the disk."""
    with closing(sqlite3.connect(database)) as connection:
        ((body,),) = connection.execute("SELECT body FROM document WHERE collection = 'discovery.services'")
    return bytes(body)


async def test_service_is_there_when_the_next_boot_begins_and_its_password_is_not_in_plain_documents(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "rooftree.secrets-key"
    key.write_bytes(b"k" * 32)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    async with house(tmp_path, engine, plugins=[DiscoveryPlugin]) as home:
        await home.run(config=BROKER)
        await home.run("other", config=READER)
        done(await provide(home))
        database = home.data / "rooftree.db"

    async with house(tmp_path, engine, plugins=[DiscoveryPlugin]) as home:
        assert (await read(home)).data == {"addon": HELLO, **STORED}
    body = await asyncio.to_thread(document, database)
    assert json.loads(body)["addon"] == HELLO
    assert b"hunter2" not in body

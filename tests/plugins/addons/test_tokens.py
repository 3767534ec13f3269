"""Whom an add-on's token stands for, what it may do, and when it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rooftree.interfaces.containers import EngineRefused, Health
from rooftree.principal import Principal, Role
from rooftree.testing import token_for
from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons import AddonState
from rooftree_store import AddonSlug
from tests.plugins.addons.house import HELLO, House, house, refusal

OTHER = AddonSlug("local_other")


@pytest.mark.parametrize(
    ("config", "role", "grants"),
    [
        ({}, None, set()),
        ({"hassio_role": "admin"}, None, set()),
        ({"hassio_api": True}, Role.DEFAULT, {"hassio_api"}),
        ({"hassio_api": True, "hassio_role": "manager"}, Role.MANAGER, {"hassio_api"}),
        ({"auth_api": True, "homeassistant_api": True}, None, {"auth_api", "homeassistant_api"}),
        ({"services": ["mqtt:want", "mysql:provide"]}, None, {"service:mqtt:want", "service:mysql:provide"}),
    ],
)
async def test_add_on_has_the_role_and_the_grants_of_its_configuration(
    home: House, config: dict[str, Any], role: Role | None, grants: set[str]
) -> None:
    await home.run(config=config)

    assert home.system.tokens.principal(home.token()) == Principal("addon", HELLO, role, frozenset(grants))


async def test_token_works_from_start_to_stop_and_never_again(home: House) -> None:
    await home.run()
    first = home.token()
    while_running = await home.client.get("/addons/self/info", token=first)
    await home.post(HELLO, "stop")
    when_stopped = await home.client.get("/addons/self/info", token=first)
    await home.post(HELLO, "start")
    second = home.token()
    old, new = [await home.client.get("/addons/self/info", token=token) for token in (first, second)]
    await home.post(HELLO, "uninstall")
    when_gone = await home.client.get("/addons/self/info", token=second)

    assert [answer.status for answer in (while_running, when_stopped, old, new, when_gone)] == [
        200, 403, 403, 200, 403
    ]  # fmt: skip


async def test_token_ends_with_the_container_that_a_restart_replaces(home: House) -> None:
    await home.run()
    first = home.token()

    await home.post(HELLO, "restart")

    assert home.token() != first
    assert (await home.client.get("/addons/self/info", token=first)).status == 403


async def test_container_that_cannot_be_made_leaves_no_token(home: House) -> None:
    await home.install()
    home.engine.fail("create", EngineRefused("It would not"))

    await home.post(HELLO, "start")

    assert home.tokens() == set()


async def test_token_outlives_the_daemon_and_is_kept_nowhere_in_the_clear(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run()
        token = home.token()

    async with house(tmp_path, engine) as home:
        answer = await home.client.get("/addons/self/info", token=token)

    kept = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert answer.data["slug"] == HELLO
    assert kept == []


OWN = [
    ("GET", "info"),
    ("GET", "stats"),
    ("GET", "logs"),
    ("GET", "logs/latest"),
    ("GET", "changelog"),
    ("GET", "documentation"),
    ("GET", "options/config"),
    ("POST", "options/validate"),
    ("POST", "options"),
    ("POST", "restart"),
    ("POST", "stop"),
]
"""What ends the token is last."""


@pytest.mark.parametrize("name", ["self", HELLO])
async def test_add_on_may_without_any_role_do_this_to_itself(home: House, name: str) -> None:
    await home.run()
    answers = {}

    for method, path in OWN:
        body = {"boot": "auto"} if path == "options" else None
        answers[path] = await home.client.request(method, f"/addons/{name}/{path}", token=home.token(), json=body)

    assert {path: answer.status for path, answer in answers.items()} == {path: 200 for _, path in OWN}


async def test_add_on_without_a_role_may_not_do_it_to_another(home: House) -> None:
    await home.run()
    other = await home.run("other")
    tried = [*OWN, ("POST", "start"), ("POST", "uninstall"), ("POST", "stdin"), ("POST", "rebuild")]

    answers = [
        (path, (await home.client.request(method, f"/addons/{other}/{path}", token=home.token())).status)
        for method, path in tried
    ]

    assert answers == [(path, 403) for _, path in tried]


@pytest.mark.parametrize(
    ("verb", "role", "named", "as_self"),
    [
        *((verb, role, 403, 403) for verb in ("update", "security", "sys_options") for role in ("manager", "admin")),
        *((verb, "default", 403, 403) for verb in ("update", "security", "sys_options", "install")),
        ("install", "manager", 400, 404),  # it is installed; and the store has no add-on called self
    ],
)
async def test_no_add_on_may_do_this_to_itself(home: House, verb: str, role: str, named: int, as_self: int) -> None:
    await home.run(config={"hassio_api": True, "hassio_role": role})
    body = {"protected": False} if verb == "security" else {}

    answers = [await home.post(name, verb, body, token=home.token()) for name in (HELLO, "self")]

    assert [answer.status for answer in answers] == [named, as_self]
    assert home.installed().protected


@pytest.mark.parametrize(
    ("role", "options"), [("default", {}), ("backup", {}), ("homeassistant", {}), ("manager", {"secret": "x"})]
)
async def test_options_of_another_add_on_are_for_managers(home: House, role: str, options: dict[str, str]) -> None:
    await home.run(config={"hassio_api": True, "hassio_role": role})
    await home.install("other", config={"options": {"secret": "x"}, "schema": {"secret": "str"}})

    info = await home.info(OTHER, token=home.token())

    assert info["options"] == options


async def test_own_options_are_shown_to_an_add_on_without_a_role(home: House) -> None:
    await home.run(config={"options": {"secret": "x"}, "schema": {"secret": "str"}})

    assert (await home.info("self", token=home.token()))["options"] == {"secret": "x"}


async def test_observer_sees_an_add_on_but_not_its_options(home: House) -> None:
    await home.install(config={"options": {"secret": "x"}, "schema": {"secret": "str"}})
    observer = await token_for(home.system, Principal("observer", "observer"))

    info = await home.info(HELLO, token=observer)
    refused = await home.client.get(f"/addons/{HELLO}/stats", token=observer)

    assert info["options"] == {}
    assert refused.status == 403


async def test_home_assistant_alone_says_what_it_manages(home: House) -> None:
    await home.install()
    core = await token_for(home.system, Principal("core", "core", Role.ADMIN))
    body = {"system_managed": True, "system_managed_config_entry": "abc"}

    answer = await home.post(HELLO, "sys_options", body, token=core)
    empty = await home.post(HELLO, "sys_options", {}, token=core)
    await home.post(HELLO, "sys_options", {"system_managed_config_entry": None}, token=core)

    info = await home.info(HELLO)
    assert answer.data == {}
    assert "system_managed" in refusal(empty, 400)
    assert (info["system_managed"], info["system_managed_config_entry"]) == (True, None)


@pytest.mark.parametrize("path", ["info", "stats", "options/config"])
async def test_self_means_nothing_to_who_is_no_add_on(home: House, path: str) -> None:
    answer = await home.client.get(f"/addons/self/{path}")

    assert "add-on's slug" in refusal(answer, 400)


async def test_token_ends_with_a_container_that_ends_and_is_valid_again_when_somebody_starts_that_one(
    home: House,
) -> None:
    await home.run()
    token = home.token()

    home.engine.crash(f"app_{HELLO}")
    await home.quiet()
    ended = await home.client.get("/addons/self/info", token=token)
    await home.engine.start(f"app_{HELLO}")
    await home.quiet()
    runs_again = await home.client.get("/addons/self/info", token=token)
    await home.engine.remove(f"app_{HELLO}")
    await home.quiet()
    gone = await home.client.get("/addons/self/info", token=token)

    assert [answer.status for answer in (ended, runs_again, gone)] == [403, 200, 403]


async def test_token_that_was_taken_from_a_running_add_on_does_not_come_back_with_its_health(home: House) -> None:
    await home.run()
    token = home.token()
    (taken,) = home.system.tokens.known("addon", HELLO).values()
    await home.system.tokens.revoke(taken.id)

    home.engine.set_health(f"app_{HELLO}", Health.UNHEALTHY)
    await home.quiet()

    assert (await home.client.get("/addons/self/info", token=token)).status == 403


async def test_token_of_a_container_that_ended_while_we_were_away_is_not_valid_again(
    tmp_path: Path, engine: FakeContainerEngine
) -> None:
    async with house(tmp_path, engine) as home:
        await home.run(config={"startup": "once"})
        token = home.token()
    engine.crash(f"app_{HELLO}", 0)

    async with house(tmp_path, engine) as home:
        await home.until_settled()

        assert home.addons.state(HELLO) is AddonState.STOPPED
        assert home.tokens() == set()
        assert (await home.client.get("/addons/self/info", token=token)).status == 403


async def test_token_is_left_alone_by_who_saw_the_end_of_what_runs_again_since(home: House) -> None:
    await home.run()
    lifetimes, known = home.addons.containers.lifetimes, home.addons.containers.lifetimes.all_tokens()
    home.engine.crash(f"app_{HELLO}")
    await home.quiet()
    ended = await home.container()

    await lifetimes.resume(HELLO)
    await lifetimes.end_stale_tokens(HELLO, ended, known)

    assert home.tokens() == set(known)


async def test_token_of_what_is_just_being_started_again_is_left_alone(home: House) -> None:
    await home.run()
    lifetimes, known = home.addons.containers.lifetimes, home.addons.containers.lifetimes.all_tokens()
    home.engine.crash(f"app_{HELLO}")
    await home.quiet()
    ended = await home.container()
    starting = home.engine.hold("start")

    resuming = asyncio.create_task(lifetimes.resume(HELLO))
    await starting.reached.wait()
    ending = asyncio.create_task(lifetimes.end_stale_tokens(HELLO, ended, known))
    await home.quiet()
    starting.release()
    await asyncio.gather(resuming, ending)

    assert home.tokens() == set(known)

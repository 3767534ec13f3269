"""Logins of add-ons' users: asked of a stand-in for Core, as add-ons and the proxies before them ask."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_plus

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from rooftree import Principal, RawBody, Role, RooftreeError
from rooftree.clock import MACHINE, Clock
from rooftree.interfaces.core import CoreLost, UserLoggedOut
from rooftree.testing import Answer, Client, FakeClock, token_for
from rooftree_homeassistant import login_cache
from rooftree_homeassistant.credentials import Credentials, NoCredentials, credentials
from rooftree_homeassistant.login_cache import KnownLogin
from rooftree_homeassistant.logins import LOGINS
from tests.plugins.homeassistant.linked import Linked, linked
from tests.rig.core_process import CoreProcess, core_process
from tests.rig.waiting import until

ANNA, RIGHT = "anna", "the right one"
CHALLENGE = 'Basic realm="Home Assistant Authentication"'


def basic(username: str, password: str) -> dict[str, str]:
    """The header that a browser sends."""
    return {"Authorization": f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"}


@define
class Desk:
    """An add-on that logs people in, with a Core behind."""

    core: CoreProcess
    link: Linked
    client: Client
    addon: Client
    token: str

    async def login(self, username: str = ANNA, password: str = RIGHT, **options: Any) -> Answer:
        """Ask as a browser's header is passed on, unless told otherwise."""
        return await self.addon.get("/auth", headers=basic(username, password) | self.sent, **options)

    @property
    def sent(self) -> dict[str, str]:
        """The add-on's own token, beside what its user sent."""
        return {"X-Supervisor-Token": self.token}

    async def noted(self, count: int = 1) -> None:
        """Wait until so many logins are kept for while Core is away."""
        kept = await self.link.system.state.collection(KnownLogin)

        async def check() -> bool:
            return len(kept) == count

        await until(check, within_s=10, what=f"{count} known logins")

    async def all_noted(self) -> None:
        """Wait until everything is noted that Core has said."""
        logins = self.link.system.services.get(LOGINS)

        async def check() -> bool:
            return not logins._notes and not logins._noting.locked()

        await until(check, within_s=10, what="the last of what Core said")

    async def core_goes(self) -> None:
        """Core ends."""
        await self.core.kill()
        await self.link.is_told(CoreLost)

    async def asked(self) -> list[Any]:
        """What Core was asked about logins."""
        return [told["body"] for told in await self.core.told("login")]


@asynccontextmanager
async def opened(folder: Path, *, clock: Clock = MACHINE, **traits: object) -> AsyncIterator[Desk]:
    async with (
        core_process(folder / "core", **traits) as core,
        linked(folder, clock=clock) as link,
        Client.over_unix(link.system) as client,
        Client.over_tcp(link.system) as addon,
    ):
        link.system.server.senders.accept_tokens_in(("X-Supervisor-Token",), "test")
        token = await token_for(link.system, Principal("addon", "local_lamp", Role.DEFAULT, frozenset({"auth_api"})))
        link.over_socket(core)
        await link.reached()
        yield Desk(core, link, client, addon, token)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened(tmp_path) as here:
        yield here


# --- ways to ask ------------------------------------------------------------------------------------------------------


async def test_browser_s_header_is_taken_as_nginx_passes_it_on(desk: Desk) -> None:
    headers = (
        basic(ANNA, RIGHT) | desk.sent | {"Content-Type": "application/json"}
    )  # the request's; its body is not sent

    right = await desk.addon.get("/auth", headers=headers)
    wrong = await desk.addon.get("/auth", headers=headers | basic(ANNA, "another"))

    assert (right.status, right.envelope) == (200, {"result": "ok", "data": {}})
    assert (wrong.status, wrong.headers["WWW-Authenticate"]) == (401, CHALLENGE)
    assert await desk.asked() == [
        {"username": ANNA, "password": RIGHT, "addon": "local_lamp"},
        {"username": ANNA, "password": "another", "addon": "local_lamp"},
    ]


async def test_header_of_a_post_goes_before_its_body(desk: Desk) -> None:
    answer = await desk.addon.post("/auth", headers=basic(ANNA, RIGHT) | desk.sent, json={"username": "x"})

    assert answer.status == 200


@pytest.mark.parametrize("name", ["username", "user"])
async def test_json_and_forms_are_taken_whatever_stands_beside_their_type(desk: Desk, name: str) -> None:
    form = f"{name}={ANNA}&password={quote_plus(RIGHT)}".encode()
    json = b'{"%s": "anna", "password": "the right one"}' % name.encode()
    sent = [
        await desk.addon.post("/auth", headers=desk.sent | {"Content-Type": kind}, body=body)
        for kind, body in (
            ("application/json", json),
            ("Application/JSON; charset=utf-8", json),
            ("application/x-www-form-urlencoded", form),
            ("application/x-www-form-urlencoded; charset=UTF-8", form),
        )
    ]

    assert [answer.status for answer in sent] == [200] * 4


async def test_token_in_authorization_is_the_add_on_s_and_says_nothing_of_its_user(desk: Desk) -> None:
    body = {"username": ANNA, "password": RIGHT}
    headers = {"Authorization": f"Bearer {desk.token}"}

    assert (await desk.addon.post("/auth", headers=headers, json=body)).status == 200
    wrong = await desk.addon.post("/auth", headers=headers, json=body | {"password": "x"})
    assert (wrong.status, "WWW-Authenticate" in wrong.headers) == (401, False)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"body": b"username=anna&password=x", "headers": {"Content-Type": "text/plain"}},
        {"headers": {"Authorization": "Basic !!!"}},
        {"headers": {"Authorization": f"Basic {base64.b64encode(b'no colon').decode()}"}},
        {"body": b"", "headers": {"Content-Type": "application/json"}},
        {"body": b"{", "headers": {"Content-Type": "application/json"}},
        {"body": b"username=%ff", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
    ],
)
async def test_who_sends_no_credentials_is_asked_for_some(desk: Desk, options: dict[str, Any]) -> None:
    answer = await desk.addon.post("/auth", **options | {"headers": options.get("headers", {}) | desk.sent})

    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, CHALLENGE)
    assert answer.envelope["result"] == "error"
    assert not await desk.asked()


@pytest.mark.parametrize("body", [{}, {"username": 1, "password": "x"}, {"username": ANNA, "password": None}, [], "x"])
async def test_credentials_that_are_no_strings_are_refused_with_the_key_that_says_so(desk: Desk, body: Any) -> None:
    answer = await desk.addon.post("/auth", headers=desk.sent, json=body)

    assert (answer.status, answer.envelope["error_key"]) == (401, "auth_invalid_non_string_value_error")
    assert answer.headers["WWW-Authenticate"] == CHALLENGE


async def test_body_that_no_name_and_password_have_is_too_large(desk: Desk) -> None:
    answer = await desk.addon.post("/auth", headers=desk.sent, json={"username": "x" * 20_000, "password": "y"})

    assert answer.status == 413


async def test_only_add_ons_that_declare_it_ask_about_logins(desk: Desk) -> None:
    other = await token_for(desk.link.system, Principal("addon", "local_other", Role.ADMIN))
    headers = basic(ANNA, RIGHT) | {"X-Supervisor-Token": other}

    assert (await desk.addon.get("/auth", headers=headers)).status == 403
    assert (await desk.client.post("/auth", json={"username": ANNA, "password": RIGHT})).status == 403
    assert not await desk.asked()


class Sent:
    """A body as a route gets it."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        async def chunks() -> AsyncIterator[bytes]:
            yield self.content

        return chunks()


@given(header=st.none() | st.text(max_size=60).map(lambda text: f"Basic {text}"), content=st.binary(max_size=200),
       kind=st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/plain"]))  # fmt: skip
def test_whatever_is_sent_is_credentials_or_refused(header: str | None, content: bytes, kind: str) -> None:
    try:
        told = asyncio.run(credentials(header, RawBody(Sent(content), kind)))  # type: ignore[arg-type]
    except RooftreeError as error:
        assert isinstance(error, NoCredentials)
    else:
        assert isinstance(told.username, str)
        assert isinstance(told.password, str)


@given(username=st.text(max_size=20).filter(lambda name: ":" not in name), password=st.text(max_size=20))
def test_credentials_in_a_header_come_out_as_they_went_in(username: str, password: str) -> None:
    header = basic(username, password)["Authorization"]

    assert asyncio.run(credentials(header, RawBody(Sent(b"")))) == Credentials(username, password, by_header=True)  # type: ignore[arg-type]


def test_header_of_a_browser_that_knows_latin_1_only_is_read() -> None:
    header = f"basic {base64.b64encode('jörg:größe'.encode('latin-1')).decode()}"

    told = asyncio.run(credentials(header, RawBody(Sent(b""))))  # type: ignore[arg-type]

    assert (told.username, told.password) == ("jörg", "größe")


# --- what is remembered -----------------------------------------------------------------------------------------------


async def test_yes_holds_for_some_seconds_however_many_ask(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, clock=clock) as desk:
        answers = await asyncio.gather(*(desk.login() for _ in range(20)))
        assert {answer.status for answer in answers} == {200}
        assert len(await desk.asked()) == 1

        clock._pass(clock.monotonic() + 11)
        assert (await desk.login()).status == 200
        assert len(await desk.asked()) == 2


async def test_new_password_works_at_once_and_the_old_one_not_for_long(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, clock=clock) as desk:
        await desk.login()
        await desk.noted()
        await desk.core.become(passwords=[[ANNA, "a new one"]])

        assert (await desk.login(password="a new one")).status == 200
        clock._pass(clock.monotonic() + 11)
        assert (await desk.login()).status == 401
        assert (await desk.login(password="a new one")).status == 200


async def test_while_core_is_away_those_are_let_in_whom_it_let_in_lately(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, clock=clock) as desk:
        await desk.login()
        await desk.noted()
        await desk.core_goes()
        clock._pass(clock.monotonic() + 11)

        assert (await desk.login(" Anna ")).status == 200
        assert (await desk.login(password="another")).status == 401
        assert (await desk.login("somebody")).status == 401

        clock.put(clock.now() + timedelta(days=31))
        assert (await desk.login()).status == 401


async def test_what_is_known_survives_a_restart_of_ours_and_has_no_name_or_password_in_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as desk:
        await desk.login()
        await desk.noted()
        ((key, login),) = (await desk.link.system.state.collection(KnownLogin)).items()
        assert ANNA not in f"{key} {login.salt} {login.hash}"
        assert RIGHT not in f"{login!r} {login.hash}"
    async with linked(tmp_path) as link, Client.over_tcp(link.system) as addon:
        link.system.server.senders.accept_tokens_in(("X-Supervisor-Token",), "test")
        token = await token_for(link.system, Principal("addon", "local_lamp", None, frozenset({"auth_api"})))

        answer = await addon.get("/auth", headers=basic(ANNA, RIGHT) | {"X-Supervisor-Token": token})

        assert answer.status == 200


async def test_equal_passwords_have_unlike_hashes(tmp_path: Path) -> None:
    async with opened(tmp_path, passwords=[[ANNA, RIGHT], ["ben", RIGHT]]) as desk:
        await desk.login()
        await desk.login("ben")
        await desk.noted(2)

        one, other = (await desk.link.system.state.collection(KnownLogin)).values()
        assert one.hash != other.hash


async def test_password_that_core_does_not_take_any_more_is_forgotten(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, clock=clock) as desk:
        await desk.login()
        await desk.noted()
        await desk.core.become(passwords=[])
        clock._pass(clock.monotonic() + 11)

        assert (await desk.login()).status == 401
        await desk.noted(0)
        await desk.core_goes()
        assert (await desk.login()).status == 401


@pytest.mark.parametrize("username", [ANNA, "nobody"])
async def test_who_is_known_is_not_told_by_the_time_that_a_wrong_password_takes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, username: str
) -> None:
    await desk.login()
    await desk.noted()
    await desk.core_goes()
    hashes: list[bytes] = []

    def scrypt(password: bytes, **options: Any) -> bytes:
        hashes.append(password)
        return hashlib.scrypt(password, **options)

    monkeypatch.setattr(login_cache, "hashlib", SimpleNamespace(scrypt=scrypt, sha256=hashlib.sha256))

    assert (await desk.login(username, "another")).status == 401
    assert hashes == [b"another"]


async def test_wrong_password_does_not_forget_the_right_one(desk: Desk) -> None:
    await desk.login()
    await desk.noted()
    assert (await desk.login(password="another")).status == 401
    await desk.all_noted()

    await desk.core_goes()

    assert (await desk.login()).status == 200
    assert len(await desk.link.system.state.collection(KnownLogin)) == 1


async def test_cache_can_be_emptied(desk: Desk) -> None:
    await desk.login()
    await desk.noted()

    assert (await desk.client.delete("/auth/cache")).status == 200

    await desk.login()
    assert len(await desk.asked()) == 2
    await desk.client.delete("/auth/cache")
    await desk.core_goes()
    assert (await desk.login()).status == 401


async def test_user_who_is_logged_out_is_asked_about_again(desk: Desk) -> None:
    await desk.login()
    desk.link.system.bus.publish(UserLoggedOut("a" * 32))
    await desk.link.system.bus.drained()

    await desk.login()

    assert len(await desk.asked()) == 2


async def test_core_that_can_not_tell_is_no_wrong_password(desk: Desk) -> None:
    await desk.core.become(fails=503)

    answer = await desk.login()

    assert (answer.status, answer.envelope["error_key"]) == (500, "auth_home_assistant_api_validation_error")


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_wrong_logins_are_limited_for_each_name_and_a_right_one_that_is_known_passes(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, clock=clock, passwords=[[ANNA, RIGHT], ["ben", "b"]]) as desk:
        await desk.login()
        statuses = [(await desk.login(password=f"guess {number}")).status for number in range(12)]
        assert statuses == [401] * 10 + [403] * 2
        blocked = await desk.login(password="one more")
        assert 0 < int(blocked.headers["Retry-After"]) <= 300
        asked = len(await desk.asked())

        clock._pass(clock.monotonic() + 11)
        assert (await desk.login()).status == 200
        assert (await desk.login("ben", "b")).status == 200
        assert (await desk.login("ANNA ", "another")).status == 403
        assert len(await desk.asked()) == asked + 2
        clock._pass(clock.monotonic() + 300)
        assert (await desk.login(password="another")).status == 401


async def test_password_that_was_right_is_limited_like_any_other_once_core_says_no(tmp_path: Path) -> None:
    clock = FakeClock()
    async with opened(tmp_path, clock=clock) as desk:
        await desk.login()
        await desk.core.become(passwords=[])
        clock._pass(clock.monotonic() + 11)

        statuses = [(await desk.login()).status for _ in range(12)]

        assert statuses == [401] * 11 + [403]  # of the first it was not known beforehand


async def test_wrong_logins_are_limited_for_each_add_on(desk: Desk) -> None:
    statuses = [(await desk.login(f"user {number}", "x")).status for number in range(31)]
    assert statuses == [401] * 30 + [403]

    other = await token_for(desk.link.system, Principal("addon", "local_other", None, frozenset({"auth_api"})))
    headers = basic("user 99", "x") | {"X-Supervisor-Token": other}
    assert (await desk.addon.get("/auth", headers=headers)).status == 401


async def test_many_guesses_at_once_are_many(desk: Desk) -> None:
    await desk.core.become(slow_s=0.2)

    answers = await asyncio.gather(*(desk.login(password=f"guess {number}") for number in range(25)))

    assert sorted(answer.status for answer in answers) == [401] * 10 + [403] * 15


async def test_guesses_are_limited_while_core_is_away(desk: Desk) -> None:
    await desk.login()
    await desk.noted()
    await desk.core_goes()

    statuses = [(await desk.login(password=f"guess {number}")).status for number in range(11)]

    assert statuses == [401] * 10 + [403]


async def test_who_asks_by_a_body_is_told_of_too_many_as_such(desk: Desk) -> None:
    body = {"username": ANNA, "password": "x"}
    answers = [await desk.addon.post("/auth", headers=desk.sent, json=body | {"password": str(n)}) for n in range(11)]

    assert [answer.status for answer in answers] == [401] * 10 + [429]
    assert answers[-1].envelope["extra_fields"]["wait_s"] > 0


async def test_right_logins_are_not_limited(tmp_path: Path) -> None:
    passwords = [[f"user {number}", "p"] for number in range(40)]
    async with opened(tmp_path, passwords=passwords) as desk:
        statuses = {(await desk.login(f"user {number}", "p")).status for number in range(40)}

        assert statuses == {200}


# --- the way back in --------------------------------------------------------------------------------------------------


async def test_new_password_is_set_and_the_old_one_forgotten(desk: Desk) -> None:
    await desk.login()
    await desk.noted()

    answer = await desk.client.post("/auth/reset", json={"username": ANNA, "password": "a new one"})

    assert (answer.status, answer.data) == (200, {})
    assert (await desk.core.told("password_reset"))[0]["body"] == {"username": ANNA, "password": "a new one"}
    assert (await desk.login()).status == 401
    assert (await desk.login(password="a new one")).status == 200


async def test_password_of_nobody_is_not_reset(desk: Desk) -> None:
    answer = await desk.client.post("/auth/reset", json={"username": "nobody", "password": "x"})

    assert (answer.status, answer.envelope["error_key"]) == (400, "auth_password_reset_error")
    assert answer.envelope["extra_fields"] == {"user": "nobody", "auth_list_command": "ha auth list"}


@pytest.mark.parametrize(
    "body", [{}, {"username": ANNA}, {"username": 1, "password": "x"}, {"username": ANNA, "password": 1}]
)
async def test_password_reset_that_says_too_little_is_refused(desk: Desk, body: Any) -> None:
    assert (await desk.client.post("/auth/reset", json=body)).status == 400


async def test_users_with_a_name_to_log_in_with_are_listed(tmp_path: Path) -> None:
    def user(number: int, **facts: object) -> dict[str, object]:
        return {
            "id": f"{number:032x}", "username": None, "name": None, "is_owner": False, "is_active": True,
            "local_only": False, "system_generated": False, "group_ids": ["system-users"], "credentials": [], **facts,
        }  # fmt: skip

    users = [
        user(1, username=ANNA, name="Anna", is_owner=True, group_ids=["system-admin"]),
        user(2, name="by another way"),
        user(3, name="Supervisor", system_generated=True, username="own"),
        user(4, username="ben", is_active=False, local_only=True),
    ]
    async with opened(tmp_path, users=users) as desk:
        listed = (await desk.client.get("/auth/list")).data["users"]

    assert listed == [
        {"username": ANNA, "name": "Anna", "is_owner": True, "is_active": True, "local_only": False,
         "group_ids": ["system-admin"]},
        {"username": "ben", "name": None, "is_owner": False, "is_active": False, "local_only": True,
         "group_ids": ["system-users"]},
    ]  # fmt: skip


async def test_who_asks_for_users_while_core_is_away_is_told_so_in_the_words_that_clients_know(desk: Desk) -> None:
    await desk.core_goes()

    listed = await desk.client.get("/auth/list")
    reset = await desk.client.post("/auth/reset", json={"username": ANNA, "password": "x"})

    assert (listed.status, listed.envelope["error_key"]) == (503, "auth_list_users_error")
    assert (reset.status, reset.envelope["error_key"]) == (400, "auth_password_reset_error")
    assert reset.envelope["extra_fields"] == {"user": ANNA, "auth_list_command": "ha auth list"}
    assert listed.message.startswith("Core can't list its users: Core")
    assert reset.message.startswith(f"No new password for {ANNA}: Core")


async def test_no_password_is_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    await desk.login(password="hunter2")
    await desk.login()
    await desk.client.post("/auth/reset", json={"username": ANNA, "password": "hunter3"})

    assert "hunter" not in caplog.text
    assert RIGHT not in caplog.text
    assert RIGHT not in repr(desk.link.system.services.get(LOGINS)._yes)

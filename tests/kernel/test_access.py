"""Who may call what."""

from __future__ import annotations

import asyncio
import base64
import os
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from rooftree import (
    KNOWN,
    NOBODY,
    PUBLIC,
    Access,
    CallerKind,
    Kernel,
    NotFound,
    Plugin,
    Principal,
    Role,
    Routes,
    grant,
    itself,
    role,
)
from rooftree.access.tokens import digest
from rooftree.interfaces.callers import ADDON, ANY_ADDON, CORE_ONLY, OBSERVER, TOKEN_HEADERS
from rooftree.process.system import System
from rooftree.testing import Client, running_system, token_for
from tests.kernel.raw_http import exchange, send

PRINCIPALS = {
    "nobody": None,
    "default": Principal("addon", "hello", Role.DEFAULT),
    "no role": Principal("addon", "hello"),
    "homeassistant": Principal("addon", "hello", Role.HOMEASSISTANT),
    "backup": Principal("addon", "hello", Role.BACKUP),
    "manager": Principal("addon", "hello", Role.MANAGER),
    "admin": Principal("addon", "hello", Role.ADMIN),
    "other": Principal("addon", "other", Role.ADMIN),
    "granted": Principal("addon", "hello", None, frozenset({"auth_api"})),
    "core": Principal("core", "core", Role.ADMIN),
    "observer": Principal("observer", "observer"),
    "token": Principal("token", "hello", Role.ADMIN),
    "default token": Principal("token", "hello", Role.DEFAULT),
}

WITH_A_ROLE = "default homeassistant backup manager admin other core token"

MATRIX: list[tuple[Access, str]] = [
    (PUBLIC, " ".join(name.replace(" ", "_") for name in PRINCIPALS)),
    (KNOWN, " ".join(name.replace(" ", "_") for name in PRINCIPALS if name != "nobody")),
    (role(Role.DEFAULT), WITH_A_ROLE + " default_token"),
    (role(Role.HOMEASSISTANT), "homeassistant manager admin other core token"),
    (role(Role.BACKUP), "backup manager admin other core token"),
    (role(Role.MANAGER), "manager admin other core token"),
    (role(Role.ADMIN), "admin other core token"),
    (role(Role.ADMIN, not_on=itself("slug", ADDON)), "other core token"),
    (itself("slug", ADDON), "default no_role homeassistant backup manager admin granted"),
    (
        role(Role.MANAGER) | itself("slug", ADDON),
        "default no_role homeassistant backup manager admin granted other core token",
    ),
    (grant("auth_api"), "granted"),
    (CORE_ONLY, "core"),
    (OBSERVER, "observer"),
    (ANY_ADDON, "default no_role homeassistant backup manager admin other granted"),
    (CORE_ONLY | OBSERVER, "core observer"),
    (NOBODY, ""),
    (NOBODY | CORE_ONLY, "core"),
]


@pytest.mark.parametrize(("access", "allowed"), MATRIX, ids=[str(access) for access, _ in MATRIX])
def test_matrix_of_access_and_callers(access: Access, allowed: str) -> None:
    may = {name for name, who in PRINCIPALS.items() if access.allows(who, {"slug": "hello"})}

    assert may == {name.replace("_", " ") for name in allowed.split()}


accesses = st.recursive(
    st.sampled_from([access for access, _ in MATRIX]), lambda inner: st.builds(lambda a, b: a | b, inner, inner)
)


@given(accesses, accesses, st.sampled_from([*PRINCIPALS.values()]), st.sampled_from(["hello", "other", "self", ""]))
def test_either_allows_exactly_what_one_of_them_allows(
    one: Access, two: Access, who: Principal | None, slug: str
) -> None:
    parts = {"slug": slug}

    assert (one | two).allows(who, parts) == (one.allows(who, parts) or two.allows(who, parts))
    assert set((one | two).self_parts) == {*one.self_parts, *two.self_parts}
    assert str(one | two) == f"{one} or {two}"


routes = Routes()


@routes.get("/public", access=PUBLIC)
def public(caller: Principal | None) -> dict[str, str]:
    return {"caller": str(caller)}


@routes.get("/admin", access=role(Role.ADMIN))
def admin(caller: Principal) -> dict[str, str]:
    return {"caller": str(caller)}


@routes.get("/addons/{slug}/info", access=role(Role.MANAGER) | itself("slug", ADDON))
def info(slug: str, caller: Principal) -> dict[str, str]:
    return {"slug": slug, "caller": str(caller)}


@routes.post("/addons/{slug}/update", access=role(Role.MANAGER, not_on=itself("slug", ADDON)))
def update(slug: str) -> dict[str, str]:
    return {"slug": slug}


class Guarded(Plugin):
    name = "guarded"

    async def setup(self, kernel: Kernel) -> None:
        kernel.accept_tokens_in(*TOKEN_HEADERS)

    def routes(self) -> Routes:
        return routes


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[Guarded]) as system:
        yield system


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[System, str]]:
    """One system, with the token of an administrator, for tests that do not change it."""
    async with running_system(tmp_path_factory.mktemp("access"), plugins=[Guarded]) as system:
        yield system, await token_for(system, Principal("token", "hello", Role.ADMIN))


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with Client.over_tcp(system) as client:
        yield client


@pytest.fixture
async def admin_token(system: System) -> str:
    return await token_for(system, Principal("token", "hello", Role.ADMIN))


async def test_self_is_the_add_on_that_calls(system: System, client: Client) -> None:
    token = await token_for(system, Principal("addon", "hello", Role.DEFAULT))

    assert (await client.get("/addons/self/info", token=token)).data["slug"] == "hello"
    assert (await client.get("/addons/hello/info", token=token)).data["slug"] == "hello"
    assert (await client.get("/addons/other/info", token=token)).status == 403


async def test_self_of_somebody_who_is_no_add_on_is_refused(client: Client, admin_token: str) -> None:
    answer = await client.get("/addons/self/info", token=admin_token)

    assert answer.status == 400
    assert answer.message == "self stands for the add-on that calls; write the add-on's slug"


def test_self_may_stand_for_callers_of_several_kinds() -> None:
    lamp = CallerKind("lamp", noun="lamp", id_noun="room")
    access = itself("slug", ADDON) | itself("slug", lamp)

    assert access.self_parts == {"slug": (ADDON, lamp)}
    assert access.allows(Principal("lamp", "kitchen"), {"slug": "kitchen"})
    assert not access.allows(Principal("token", "kitchen", Role.ADMIN), {"slug": "kitchen"})


async def test_headers_of_tokens_are_read_while_a_plugin_that_names_them_runs(system: System, admin_token: str) -> None:
    headers = [("X-Hassio-Key", admin_token)]
    assert (await send(system, b"/admin", headers=headers)).status == 200

    await system.plugins.disable("guarded")

    assert (await send(system, b"/admin", headers=headers)).status == 401
    assert (await send(system, b"/admin", headers=[("Authorization", admin_token)])).status == 503


async def test_add_on_may_not_do_to_itself_what_its_role_allows_on_others(system: System, client: Client) -> None:
    token = await token_for(system, Principal("addon", "hello", Role.MANAGER))

    assert (await client.post("/addons/hello/update", token=token)).status == 403
    assert (await client.post("/addons/self/update", token=token)).status == 403
    assert (await client.post("/addons/other/update", token=token)).data == {"slug": "other"}


async def test_refusal_names_the_caller_and_whom_it_is_for(system: System, client: Client) -> None:
    token = await token_for(system, Principal("addon", "hello", Role.MANAGER))

    answer = await client.get("/admin", token=token)

    assert answer.status == 403
    assert "addon:hello" in answer.message
    assert "role admin" in answer.message


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer {token}")],
        [("Authorization", "bearer {token}")],
        [("Authorization", "{token}")],
        [("X-Supervisor-Token", "{token}")],
        [("x-supervisor-token", " {token} ")],
        [("X-Hassio-Key", "{token}")],
        [("X-Supervisor-Token", "{token}"), ("Authorization", "Bearer {token}")],
        [("X-Supervisor-Token", "{token}"), ("Authorization", "")],
        [("X-Supervisor-Token", "{token}"), ("Authorization", "Basic {basic}")],
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_token_is_taken_from_the_headers_that_clients_use(
    shared: tuple[System, str], headers: list[tuple[str, str]]
) -> None:
    system, admin_token = shared
    basic = base64.b64encode(b"user:password").decode()
    sent = [(name, value.format(token=admin_token, basic=basic)) for name, value in headers]

    assert (await send(system, b"/admin", headers=sent)).data == {"caller": "token:hello"}


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("X-Supervisor-Token", "")],
        [("Cookie", "token={token}")],
        [("X-Token", "{token}")],
        [("X-Supervisor-Token", "{token}"), ("X-Supervisor-Token", "{token}")],
        [("X-Supervisor-Token", "{token}"), ("x-supervisor-token", "other")],
        [("Authorization", "Bearer {token}"), ("Authorization", "Bearer other")],
        [("X-Supervisor-Token", "other"), ("Authorization", "Bearer {token}")],
        [("X-Supervisor-Token", "{token}"), ("Authorization", "Bearer other")],
        [("X-Supervisor-Token", "{token}"), ("X-Hassio-Key", "other")],
        [("Authorization", "Basic {token}:x")],
        [("X-Supervisor-Token", "Bearer {token}")],
        [("X-Supervisor-Token", "{short}")],
        [("X-Supervisor-Token", "{token}0")],
        [("X-Supervisor-Token", "{upper}")],
        [("X-Supervisor-Token", "{digest}")],
        [("X-Supervisor-Token", "\xe4\xff")],
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_else_is_taken_for_a_token(shared: tuple[System, str], headers: list[tuple[str, str]]) -> None:
    system, admin_token = shared
    values = {
        "token": admin_token,
        "short": admin_token[:-1],
        "upper": admin_token.upper(),
        "digest": digest(admin_token),
    }
    sent = [(name, value.format(**values)) for name, value in headers]

    answer = await send(system, b"/admin", headers=sent)

    assert answer.status in {401, 403}
    assert admin_token not in answer.text


async def test_token_of_a_megabyte_is_refused(system: System) -> None:
    answers = [
        await send(system, b"/admin", headers=[("X-Supervisor-Token", "a" * length)])
        for length in (1024, 1025, 8000, 1_000_000)
    ]

    assert [answer.status for answer in answers] == [403, 403, 403, 400]


async def test_token_that_is_longer_than_any_is_nobodys_though_its_digest_is_known(
    system: System, client: Client
) -> None:
    system.tokens.register_kind(ADDON, lambda slug: Principal("addon", slug, Role.ADMIN))
    tokens = ["a" * 1024, "a" * 1025]
    await system.state.commit(*[system.tokens.restored(digest(token), "addon", "hello") for token in tokens])

    assert [(await client.get("/admin", token=token)).status for token in tokens] == [200, 403]


@pytest.mark.parametrize("with_the_right_one", [True, False])
async def test_token_that_is_no_text_is_nobodys(system: System, admin_token: str, with_the_right_one: bool) -> None:
    token = (admin_token.encode() if with_the_right_one else b"") + b"\xe4\xff"

    answer = await exchange(system, b"GET /admin HTTP/1.1\r\nHost: x\r\nX-Supervisor-Token: " + token + b"\r\n\r\n")

    assert answer.status == 403


async def test_two_tokens_are_refused_even_where_none_is_needed(system: System, admin_token: str) -> None:
    headers = [("X-Supervisor-Token", admin_token), ("X-Supervisor-Token", admin_token)]

    assert (await send(system, b"/public", headers=headers)).status == 401


async def test_token_in_the_query_is_no_token(client: Client, admin_token: str) -> None:
    assert (await client.get(f"/admin?token={admin_token}&authorization=Bearer%20{admin_token}")).status == 401


async def test_revoked_token_ends_at_once(system: System, client: Client, admin_token: str) -> None:
    assert (await client.get("/admin", token=admin_token)).status == 200

    await system.tokens.revoke(system.tokens.known()[digest(admin_token)].id)

    assert (await client.get("/admin", token=admin_token)).status == 403
    with pytest.raises(NotFound):
        await system.tokens.revoke("0" * 32)


async def test_each_request_of_a_connection_counts_for_the_token_that_came_with_it(
    system: System, admin_token: str
) -> None:
    hello = await token_for(system, Principal("addon", "hello"))
    sent = [admin_token, admin_token, hello, admin_token[:-1], admin_token + "\x80", "", admin_token]
    connector = aiohttp.TCPConnector(limit=1)
    statuses, transports = [], set()

    async with aiohttp.ClientSession(f"http://127.0.0.1:{system.port}", connector=connector) as session:
        for token in sent:
            async with session.get("/admin", headers={"X-Supervisor-Token": token}) as answer:
                statuses.append(answer.status)
                transports.add(answer.connection and answer.connection.transport)

    assert statuses == [200, 200, 403, 403, 403, 401, 200]
    assert len(transports - {None}) <= 1


async def test_token_that_is_revoked_between_two_requests_of_a_connection_ends_at_once(
    system: System, admin_token: str
) -> None:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{system.port}", connector=aiohttp.TCPConnector(limit=1)) as one:
        headers = {"Authorization": f"Bearer {admin_token}"}
        async with one.get("/admin", headers=headers) as answer:
            before = answer.status
        await system.tokens.revoke(system.tokens.known()[digest(admin_token)].id)
        async with one.get("/admin", headers=headers) as answer:
            after = answer.status

    assert (before, after) == (200, 403)


async def test_several_tokens_of_one_add_on_are_valid_side_by_side(system: System, client: Client) -> None:
    hello = Principal("addon", "hello", Role.ADMIN)
    old, new = await token_for(system, hello), await token_for(system, hello)

    assert (await client.get("/admin", token=old)).status == 200
    await system.state.commit(*map(system.tokens.revocation, [digest(old)]))

    assert (await client.get("/admin", token=old)).status == 403
    assert (await client.get("/admin", token=new)).status == 200
    assert set(system.tokens.known("addon", "hello")) == {digest(new)}


async def test_token_is_nobodys_while_the_plugin_of_its_kind_is_gone(system: System, client: Client) -> None:
    token = await token_for(system, Principal("addon", "hello", Role.ADMIN))
    system.tokens.forget_kind("addon")
    refused = await client.get("/admin", token=token)
    system.tokens.register_kind(ADDON, lambda slug: Principal("addon", slug, Role.ADMIN))

    assert refused.status == 403
    assert (await client.get("/admin", token=token)).status == 200


async def test_token_of_an_add_on_that_its_plugin_does_not_know_any_more_is_refused(
    system: System, client: Client
) -> None:
    token = await token_for(system, Principal("addon", "hello", Role.ADMIN))
    system.tokens.register_kind(ADDON, lambda slug: None)

    assert (await client.get("/admin", token=token)).status == 403


async def test_uncommitted_token_is_not_valid(system: System, client: Client) -> None:
    fresh = system.tokens.new("token", "later", Role.ADMIN)
    before = await client.get("/admin", token=fresh.text)
    await system.state.commit(fresh.change)

    assert before.status == 403
    assert (await client.get("/admin", token=fresh.text)).status == 200


async def test_token_is_stored_nowhere_and_shown_nowhere(system: System, tmp_path: Path) -> None:
    fresh = system.tokens.new("token", "secret", Role.ADMIN)
    await system.state.commit(fresh.change)
    await system.database.copy()

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(fresh.text.encode() in path.read_bytes() for path in files)
    assert fresh.text not in repr(fresh)


async def test_tokens_outlive_a_restart(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[Guarded]) as system:
        token = await token_for(system, Principal("token", "keeper", Role.ADMIN))
        first_admin = (tmp_path / "data" / "admin-token").read_text()

    async with running_system(tmp_path, plugins=[Guarded]) as system, Client.over_tcp(system) as client:
        assert (await client.get("/admin", token=token)).status == 200
        assert (tmp_path / "data" / "admin-token").read_text() == first_admin


async def test_first_start_leaves_the_administrators_token_to_its_user_only(system: System, client: Client) -> None:
    path = system.data.path / "admin-token"

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (await client.get("/admin", token=path.read_text().strip())).data == {"caller": "token:admin"}


async def test_lost_administrators_token_is_made_anew_and_the_old_one_ends(tmp_path: Path) -> None:
    path = tmp_path / "data" / "admin-token"
    async with running_system(tmp_path, plugins=[Guarded]):
        old = path.read_text().strip()
    path.unlink()

    async with running_system(tmp_path, plugins=[Guarded]) as system, Client.over_tcp(system) as client:
        new = path.read_text().strip()
        assert (await client.get("/admin", token=new)).status == 200
        assert (await client.get("/admin", token=old)).status == 403


async def test_own_user_on_the_unix_socket_is_administrator(system: System) -> None:
    async with Client.over_unix(system) as local:
        assert (await local.get("/admin")).data["caller"].startswith("local:")
    assert stat.S_IMODE(system.settings.kernel.socket.stat().st_mode) == 0o660


async def test_token_on_the_unix_socket_counts_more_than_the_peer(system: System) -> None:
    weak = await token_for(system, Principal("addon", "hello", Role.DEFAULT))
    async with Client.over_unix(system) as local:
        assert (await local.get("/admin", token=weak)).status == 403
        assert (await local.get("/admin", token="nobodys")).status == 403


AS_NOBODY = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.sendall(b"GET /admin HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
print(connection.recv(100).split()[1].decode())
"""


async def test_other_user_on_the_unix_socket_is_a_stranger(system: System) -> None:
    require_root()
    path = system.settings.kernel.socket
    path.parent.chmod(0o755)
    path.chmod(0o666)  # without this, nobody else could connect at all

    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", AS_NOBODY, str(path), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await child.communicate()

    assert printed.strip() == b"401"


def require_root() -> None:
    if os.geteuid() != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("needs root, to become another user")
        pytest.skip("needs root, to become another user")


async def test_hundreds_of_lookups_of_wrong_tokens_leave_no_trace_in_memory(system: System, client: Client) -> None:
    before = len(system.tokens.known())
    for number in range(300):
        assert (await client.get("/admin", token=f"{number:0112x}")).status in {403, 429}

    assert len(system.tokens.known()) == before


def test_names_of_roles_are_those_of_the_api() -> None:
    assert [*Role] == ["default", "homeassistant", "backup", "manager", "admin"]


async def test_upgrade_requests_are_authorised_like_others(system: System) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{system.port}/admin"
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        async with asyncio.timeout(5), session.get(url, headers=headers) as answer:
            assert answer.status == 401

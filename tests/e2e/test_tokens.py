"""An add-on's token is worth as much as its container: what else is shown to us opens nothing.

Every answer is compared from inside its container, or on the unix socket, where an administrator may use any token.
From where else one may be used is attacked in ``tests/attacks/test_stolen_tokens.py``.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.rig.addon import Addon
from tests.rig.addon_files import REPOSITORY, addon_files
from tests.rig.daemon import disposable_daemon
from tests.rig.engine import Engine
from tests.rig.git_server import GitServer
from tests.rig.waiting import until

pytestmark = pytest.mark.xdist_group("tokens")

OWN = "/addons/self/info"
"""What every add-on may ask."""
WRONG = {403, 429}
"""What a token is answered that is nobody's: 429 where many of them came from one place, as they do here."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lamp(engine: Engine, git_server: GitServer, base_image: str) -> AsyncIterator[Addon]:
    """An add-on of a daemon that all tests share, installed."""
    repository = git_server.repository("tokens", {**REPOSITORY, **addon_files("lamp", base=base_image)})
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        await daemon.ok("POST", "/store/repositories", {"repository": repository.url})
        slug = (await daemon.ok("GET", "/store/addons"))["addons"][0]["slug"]
        addon = Addon(daemon, engine, slug)
        await addon.install()
        yield addon


@pytest.fixture
async def token(lamp: Addon) -> str:
    """The token of the add-on, which runs."""
    await lamp.start()
    found = lamp.token()
    assert (await lamp.daemon.call("GET", OWN, token=found))[0] == 200
    return found


def answers(lamp: Addon, *headers: tuple[str, str], path: str = OWN) -> int:
    """The status of a request from inside the add-on's container with exactly these headers, as they are."""
    return lamp.status(f"GET {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers))


async def test_token_ends_when_its_add_on_is_stopped(lamp: Addon, token: str) -> None:
    await lamp.stop()

    assert (await lamp.daemon.call("GET", OWN, token=token))[0] in WRONG


async def test_token_ends_when_its_add_on_is_restarted(lamp: Addon, token: str) -> None:
    await lamp.restart()

    assert (await lamp.daemon.call("GET", OWN, token=token))[0] in WRONG
    assert lamp.token() != token and lamp.ask(OWN)[0] == 200


async def test_token_ends_when_its_add_on_is_rebuilt(lamp: Addon, token: str) -> None:
    await lamp.daemon.ok("POST", f"/addons/{lamp.slug}/rebuild", {})

    assert (await lamp.daemon.call("GET", OWN, token=token))[0] in WRONG
    assert lamp.token() != token and lamp.ask(OWN)[0] == 200


async def test_token_ends_when_its_add_on_is_uninstalled_and_stays_so_when_it_comes_back(
    lamp: Addon, token: str
) -> None:
    await lamp.uninstall()
    gone = (await lamp.daemon.call("GET", OWN, token=token))[0]
    await lamp.install()
    await lamp.start()

    assert gone in WRONG
    assert (await lamp.daemon.call("GET", OWN, token=token))[0] in WRONG
    assert lamp.ask(OWN)[0] == 200


@pytest.mark.parametrize("how", [("kill",), ("rm", "--force")], ids=["ends", "is removed"])
async def test_token_ends_when_its_container_does_without_us(lamp: Addon, token: str, how: tuple[str, ...]) -> None:
    lamp.engine.run(*how, lamp.container)

    async def is_refused() -> bool:
        return (await lamp.daemon.call("GET", OWN, token=token))[0] in WRONG

    await until(is_refused, within_s=10, what="the end of the token")
    await lamp.daemon.recovered()
    await lamp.start()
    assert lamp.token() != token and lamp.ask(OWN)[0] == 200


async def test_ended_token_stays_ended_over_a_restart_of_the_daemon(lamp: Addon, token: str) -> None:
    await lamp.restart()
    await lamp.daemon.kill()
    await lamp.daemon.start()
    await lamp.daemon.recovered()

    assert (await lamp.daemon.call("GET", OWN, token=token))[0] in WRONG
    assert (await lamp.daemon.call("GET", OWN, token=lamp.token()))[0] == 200


async def test_token_that_nobody_sent_is_no_token(lamp: Addon, token: str) -> None:
    assert answers(lamp) == 401
    assert answers(lamp, ("Authorization", "")) == 401
    assert answers(lamp, ("Authorization", "Bearer")) in {401, *WRONG}
    assert answers(lamp, ("Authorization", "Bearer ")) in {401, *WRONG}
    assert answers(lamp, ("X-Supervisor-Token", "")) == 401
    assert answers(lamp, ("X-Supervisor-Token", "   ")) == 401


@pytest.mark.parametrize(
    "name", ["X-Token", "X-Auth-Token", "Token", "X-Api-Key", "Proxy-Authorization", "X_Supervisor_Token"]
)
async def test_token_in_a_header_of_another_name_is_not_looked_at(lamp: Addon, token: str, name: str) -> None:
    assert answers(lamp, (name, token)) == 401
    assert answers(lamp, (name, f"Bearer {token}")) == 401


async def test_token_in_the_address_or_a_cookie_is_not_looked_at(lamp: Addon, token: str) -> None:
    assert answers(lamp, path=f"{OWN}?token={token}&access_token={token}") == 401
    assert answers(lamp, ("Cookie", f"token={token}; session={token}")) == 401


@pytest.mark.parametrize(
    "change",
    [str.upper, lambda token: token[:-1], lambda token: token + "0", lambda token: f"{token},{token}", str.swapcase,
     lambda token: f"{token}\u00e9", lambda token: "0" * len(token)],
    ids=["upper", "short", "long", "list", "swapped", "not-ascii", "zeros"],
)  # fmt: skip
async def test_token_that_is_nearly_right_is_wrong(lamp: Addon, token: str, change: object) -> None:
    assert callable(change)
    wrong = change(token)

    assert answers(lamp, ("Authorization", f"Bearer {wrong}")) in {401, *WRONG}
    assert answers(lamp, ("X-Supervisor-Token", wrong)) in {401, *WRONG}


async def test_two_different_tokens_are_refused_and_the_same_twice_over_is_not_a_way_around(
    lamp: Addon, token: str
) -> None:
    admin = lamp.daemon.admin_token
    own, other = ("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {admin}")

    assert answers(lamp, own, own) == 401
    assert answers(lamp, own, other) == 401
    assert answers(lamp, other, own, path="/addons") == 401
    assert answers(lamp, own, ("X-Supervisor-Token", admin), path="/addons") == 401
    assert answers(lamp, own, ("X-Hassio-Key", admin), path="/addons") == 401
    assert answers(lamp, ("X-Supervisor-Token", token), ("X-Supervisor-Token", admin), path="/addons") == 401
    assert answers(lamp, own, ("X-Supervisor-Token", token)) == 200


@pytest.mark.parametrize("length", [1_025, 8_000, 100_000, 1_000_000])
async def test_endless_token_is_refused_and_costs_nobody_anything(lamp: Addon, token: str, length: int) -> None:
    with socket.create_connection(("127.0.0.1", lamp.daemon.port), timeout=10) as connection:
        endless = token * (length // len(token) + 1)
        connection.sendall(f"GET {OWN} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {endless}\r\n\r\n".encode())
        status = int(connection.makefile("rb").readline().split()[1])

    assert status in {400, 401, 431, *WRONG}
    assert (await lamp.daemon.call("GET", OWN, token=token))[0] == 200


async def test_wrong_token_on_the_unix_socket_is_not_made_good_by_who_sends_it(lamp: Addon, token: str) -> None:
    await lamp.stop()
    socket_path = str(lamp.daemon.socket)
    seen = {}
    for name, sent in {"none": None, "ended": token, "nonsense": "x"}.items():
        headers = {} if sent is None else {"Authorization": f"Bearer {sent}"}
        connector = aiohttp.UnixConnector(socket_path)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get("http://localhost/addons", headers=headers) as response,
        ):
            seen[name] = response.status

    assert seen == {"none": 200, "ended": 403, "nonsense": 403}


async def test_tokens_are_in_no_log_and_no_file(lamp: Addon, token: str) -> None:
    daemon = lamp.daemon
    await daemon.call("GET", OWN, token=token)
    await daemon.call("GET", "/addons", token=token)

    kept = [path for path in daemon.data_dir.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert kept == []
    assert token not in daemon.log() and daemon.admin_token not in daemon.log()
    assert token not in str(await daemon.ok("GET", "/supervisor/logs"))

"""Pages of add-ons: who gets to see them, and what the add-on gets to see."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest

from rooftree import Principal, Role
from rooftree.interfaces.core import UserLoggedOut
from rooftree.testing import token_for
from rooftree.testing.containers import FakeContainerEngine
from rooftree_store import AddonSlug
from tests.plugins.addons.host_ports import listening
from tests.plugins.ingress.conftest import PAULUS, IngressHouse
from tests.rig.backends import DEADLINE_S, Backend, Line
from tests.rig.service_process import free_port

CORE_FIELDS = (
    b"X-Hass-Source: core.ingress\r\nX-Ingress-Path: /api/hassio_ingress/spoofed\r\nX-Forwarded-For: 192.0.2.7\r\n"
    b"X-Forwarded-Host: home.example:8123\r\nX-Forwarded-Proto: https\r\n"
)


@asynccontextmanager
async def connected(here: IngressHouse, source: str = "127.0.0.1") -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port, local_addr=(source, 0))
    yield Line(reader, writer)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def asked(here: IngressHouse, path: str, fields: bytes, source: str = "127.0.0.1") -> bytes:
    """The head of the answer."""
    async with connected(here, source) as line:
        line.send(b"GET %b HTTP/1.1\r\nHost: home.example\r\n%b\r\n" % (path.encode(), fields))
        return await line.head()


async def test_page_is_told_who_its_user_is_and_where(here: IngressHouse, backend: Backend) -> None:
    page = await here.run("hello", backend.port)
    session = await here.open()
    cookies = f"Cookie: a=b; ingress_session={session}; c=d\r\n".encode()
    assert b" 200 OK" in await asked(here, f"{page}/a%2Fb/?x=1&&y".replace("%2F", "%20"), CORE_FIELDS + cookies)

    (request,) = backend.requests()
    assert request["target"] == "/a%20b/?x=1&&y"
    assert request["fields"] == [
        ["Host", "home.example"],
        ["X-Forwarded-Host", "home.example:8123"],
        ["X-Forwarded-Proto", "https"],
        ["Cookie", "a=b; c=d"],
        ["X-Forwarded-For", "192.0.2.7, 127.0.0.1"],
        ["X-Ingress-Path", f"/api/hassio_ingress/{page.rpartition('/')[2]}"],
        ["X-Remote-User-Id", PAULUS.id],
        ["X-Remote-User-Name", "paulus"],
        ["X-Remote-User-Display-Name", "Pa\xc3\xbclus S."],
    ]


async def test_what_a_client_claims_of_itself_is_dropped(here: IngressHouse, backend: Backend) -> None:
    page = await here.run("hello", backend.port)
    session = await here.open(None)
    claims = b"".join(
        b"%b: spoofed\r\n" % name
        for name in (
            b"X-Remote-User-Id", b"x-remote-user-name", b"X_Remote_User_Display_Name", b"X-REMOTE-USER-GROUPS",
            b"X-Hass-Is-Admin", b"X_Hass_User_Id", b"X-Ingress-Path", b"X_Ingress_Path", b"X-Forwarded-For",
            b"X_Forwarded_For", b"X-Forwarded-Host", b"X-Forwarded-Proto", b"Forwarded", b"X-Real-IP",
            b"X-Supervisor-Token", b"X-Hassio-Key", b"X-Ha-Access", b"x_ha_access",
        )
    )  # fmt: skip
    connection = b"Connection: X-Forwarded-For, X-Remote-User-Id, X-Ingress-Path, Cookie\r\n"
    cookie = f"Cookie: ingress_session={session}\r\n".encode()
    assert b" 200 OK" in await asked(here, f"{page}/", claims + connection + cookie, source="127.0.0.9")

    (request,) = backend.requests()
    assert request["fields"] == [
        ["Host", "home.example"],
        ["X-Forwarded-For", "127.0.0.9"],
        ["X-Ingress-Path", f"/api/hassio_ingress/{page.rpartition('/')[2]}"],
    ]


async def test_what_cores_client_spelt_otherwise_is_not_cores_word(here: IngressHouse, backend: Backend) -> None:
    page = await here.run("hello", backend.port)
    claims = b"".join(b"X_Forwarded%bspoofed\r\n" % name for name in (b"-For: ", b"_Host: ", b"-Proto: ", b"_Port: "))
    cookie = f"Cookie: ingress_session={await here.open()}\r\n".encode()
    assert b" 200 OK" in await asked(here, f"{page}/", claims + CORE_FIELDS + cookie)

    (request,) = backend.requests()
    assert [field for field in request["fields"] if "forwarded" in field[0].lower()] == [
        ["X-Forwarded-Host", "home.example:8123"],
        ["X-Forwarded-Proto", "https"],
        ["X-Forwarded-For", "192.0.2.7, 127.0.0.1"],
    ]


@pytest.mark.parametrize("blank", ["\x85", "\xa0", "\u2003", "\u3000"])
async def test_session_under_a_name_that_is_not_quite_its_cookies_lets_nobody_in(
    here: IngressHouse, backend: Backend, blank: str
) -> None:
    page, session = await here.run("hello", backend.port), await here.open()
    for name in (f"{blank}ingress_session", f"ingress_session{blank}"):
        cookie = f"Cookie: a=b; {name}={session}\r\n".encode()
        assert (await asked(here, f"{page}/", cookie)).startswith(b"HTTP/1.1 401 ")
    assert backend.requests() == []


@pytest.mark.parametrize("scheme", ["Bearer ", "Basic ", ""])
async def test_token_of_ours_does_not_reach_the_page_but_its_own_does(
    here: IngressHouse, backend: Backend, scheme: str
) -> None:
    page = await here.run("hello", backend.port)
    session = await here.open()
    ours = await token_for(here.system, Principal("core", "homeassistant", Role.ADMIN))
    for token in (ours, here.home.token(), "theirs"):
        fields = f"Authorization: {scheme}{token}\r\nCookie: ingress_session={session}\r\n".encode()
        assert b" 200 OK" in await asked(here, f"{page}/", fields)

    sent = [dict(request["fields"]).get("Authorization") for request in backend.requests()]
    assert sent == [None, None, f"{scheme}theirs"]


async def test_page_cannot_give_its_user_another_session(here: IngressHouse, backend: Backend) -> None:
    page = await here.run("hello", backend.port)
    cookie = f"Cookie: ingress_session={await here.open()}\r\n".encode()
    fields = "Set-Cookie:ingress_session=evil;%20path=/%0d%0aSet-Cookie:%20mine=1%0d%0aContent-Length:0"
    answer = f"HTTP/1.1%20200%20OK%0d%0a{fields}%0d%0a%0d%0a"
    head = await asked(here, f"{page}/?answer={answer}", cookie)

    assert b"Set-Cookie: mine=1" in head
    assert b"evil" not in head


async def test_page_cannot_set_it_behind_its_answer_either(here: IngressHouse, backend: Backend) -> None:
    page = await here.run("hello", backend.port)
    fields = f"TE: trailers\r\nCookie: ingress_session={await here.open()}\r\n".encode()
    answer = (
        "HTTP/1.1%20200%20OK%0d%0aTransfer-Encoding:chunked%0d%0a%0d%0a2%0d%0aok%0d%0a"
        "0%0d%0aSet-Cookie:ingress_session=evil%0d%0aDigest:x%0d%0a%0d%0a"
    )
    async with connected(here) as line:
        line.send(f"GET {page}/?answer={answer} HTTP/1.1\r\nHost: home.example\r\n".encode() + fields + b"\r\n")
        await line.head()
        assert await line.take(7) == b"2\r\nok\r\n"
        assert await line.head() == b"0\r\nDigest: x\r\n\r\n"


async def test_without_a_session_nothing_is_said_of_pages(here: IngressHouse, backend: Backend) -> None:
    page = await here.run("hello", backend.port)
    admin = await token_for(here.system, Principal("token", "root", Role.ADMIN))
    wrong = [b"", b"Cookie: ingress_session=%b\r\n" % (b"0" * 128), f"Authorization: Bearer {admin}\r\n".encode()]
    for fields in wrong:
        for path in (f"{page}/", "/ingress/unknown/"):
            assert (await asked(here, path, fields)).startswith(b"HTTP/1.1 401 ")
    assert backend.requests() == []


async def test_unknown_page_and_add_on_that_does_not_run(here: IngressHouse, backend: Backend) -> None:
    page = await here.run("hello", backend.port)
    plain = await here.home.install("plain")
    cookie = f"Cookie: ingress_session={await here.open()}\r\n".encode()
    for path in ("/ingress/unknown/", f"/ingress/{here.home.installed(plain).ingress_token}/"):
        assert (await asked(here, path, cookie)).startswith(b"HTTP/1.1 503 ")

    await here.home.post("local_hello", "stop")
    assert (await asked(here, f"{page}/", cookie)).startswith(b"HTTP/1.1 502 ")


async def test_nobody_listens_where_the_page_should_be(here: IngressHouse) -> None:
    page = await here.run("hello", free_port())
    cookie = f"Cookie: ingress_session={await here.open()}\r\n".encode()
    assert (await asked(here, f"{page}/", cookie)).startswith(b"HTTP/1.1 502 ")


async def test_page_of_an_uninstalled_add_on_is_gone_at_once(here: IngressHouse, backend: Backend) -> None:
    page = await here.run("hello", backend.port)
    cookie = f"Cookie: ingress_session={await here.open()}\r\n".encode()
    assert b" 200 OK" in await asked(here, f"{page}/", cookie)
    await here.home.post("local_hello", "uninstall")
    assert (await asked(here, f"{page}/", cookie)).startswith(b"HTTP/1.1 503 ")


async def test_path_stays_below_the_page(here: IngressHouse, backend: Backend) -> None:
    page = await here.run("hello", backend.port)
    cookie = f"Cookie: ingress_session={await here.open()}\r\n".encode()
    for path in (
        "/ingress/{token}/../panels", "/ingress/{token}/%2e%2e/panels", "/ingress/{token}/a/%2e%2e%2f%2e%2e/x",
        "/ingress/{token}/a/..;/b", "/ingress/{token}/%252e%252e/x", "/ingress/{token}//x", "/ingress/{token}/%00",
        "/ingress/./{token}/", "//ingress/{token}/", "/ingress/%7Btoken}/",
    ):  # fmt: skip
        head = await asked(here, path.replace("{token}", page.rpartition("/")[2]), cookie)
        assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")), path
        assert backend.requests() == [], path


async def test_every_method_and_large_bodies_go_through(here: IngressHouse, backend: Backend) -> None:
    page = await here.run("hello", backend.port)
    cookies = {"ingress_session": await here.open()}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{here.port}", cookies=cookies) as client:
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
            async with client.request(method, f"{page}/x", data=BytesIO(bytes(3_000_000))) as answer:
                assert answer.status == 200
    assert [(request["method"], request["size"]) for request in backend.requests()] == [
        (method, 3_000_000) for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")
    ]


async def test_logout_ends_what_is_open_and_nobody_elses(here: IngressHouse, websocket_port: int) -> None:
    page = await here.run("hello", websocket_port)
    mine, other = await here.open(), await here.open(None)
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{here.port}") as client,
        client.ws_connect(f"{page}/echo", headers={"Cookie": f"ingress_session={mine}"}) as open_one,
        client.ws_connect(f"{page}/echo", headers={"Cookie": f"ingress_session={other}"}) as other_one,
    ):
        here.system.bus.publish(UserLoggedOut(PAULUS.id))
        async with asyncio.timeout(DEADLINE_S):
            message = await open_one.receive()
        assert message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
        await other_one.send_str("still there")
        assert await other_one.receive_str() == "still there"
        async with client.get(f"{page}/count", headers={"Cookie": f"ingress_session={mine}"}) as answer:
            assert answer.status == 401


def peak_bytes() -> int:
    """The most memory that this process has had since it was last looked at."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")  # begin anew: proc_pid_clear_refs(5)
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.parametrize(
    "mib",
    [64, pytest.param(2048, marks=[pytest.mark.torture, pytest.mark.timeout(600)])],
    ids=["64 MiB", "2 GiB"],
)
async def test_large_bodies_stream_both_ways_and_take_no_memory(here: IngressHouse, backend: Backend, mib: int) -> None:
    piece = bytes(range(256)) * 4096

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(mib):
            yield piece

    page = await here.run("hello", backend.port)
    head = f"HTTP/1.1%20200%20OK%0d%0aContent-Length:%20{mib * len(piece)}%0d%0a%0d%0a"
    cookies = {"ingress_session": await here.open()}
    digest, size = hashlib.sha256(), 0
    async with aiohttp.ClientSession(f"http://127.0.0.1:{here.port}", cookies=cookies) as client:
        await asyncio.to_thread(peak_bytes)
        before = await asyncio.to_thread(peak_bytes)
        async with client.post(f"{page}/up", data=pieces()) as answer:
            assert answer.status == 200
        async with client.get(f"{page}/down?mib={mib}&answer={head}") as answer:
            async for chunk in answer.content.iter_any():
                digest.update(chunk)
                size += len(chunk)
        grown = await asyncio.to_thread(peak_bytes) - before

    sent = backend.requests()[0]
    assert (sent["size"], size) == (mib * len(piece), mib * len(piece))
    assert sent["sha256"] == digest.hexdigest()
    assert grown < 32 * 1024 * 1024


async def test_page_of_an_add_on_that_uses_the_hosts_network_is_at_the_host(
    here: IngressHouse, backend: Backend, engine: FakeContainerEngine
) -> None:
    page = await here.run("hello", backend.port, host_network=True)
    assert here.home.addons.address(AddonSlug("local_hello")) is None
    cookie = f"Cookie: ingress_session={await here.open()}\r\n".encode()
    engine.gateway = "127.0.0.1"
    assert b" 200 OK" in await asked(here, f"{page}/", cookie)

    await here.home.post("local_hello", "stop")  # and who listens there now is somebody else
    assert (await asked(here, f"{page}/", cookie)).startswith(b"HTTP/1.1 502 ")


async def test_page_moves_with_an_update_to_where_the_new_version_has_it(here: IngressHouse, backend: Backend) -> None:
    page, cookie = await here.run("hello", 0), f"Cookie: ingress_session={await here.open()}\r\n".encode()
    picked = (await here.home.info("local_hello"))["ingress_port"]
    ports = []
    for version, port in (("2.0", backend.port), ("3.0", 0)):
        await here.home.offer("hello", version, config={"ingress": True, "ingress_port": port})
        await here.home.client.post("/store/addons/local_hello/update")
        ports.append((await here.home.info("local_hello"))["ingress_port"])
        if port:
            assert b" 200 OK" in await asked(here, f"{page}/", cookie)

    assert picked in range(62000, 65501)
    assert ports == [backend.port, picked]


async def test_page_that_a_new_version_leaves_to_us_gets_a_port(here: IngressHouse) -> None:
    await here.run("other", 0)
    await here.run("hello", 8099)
    await here.home.offer("hello", "2.0", config={"ingress": True, "ingress_port": 0})
    await here.home.client.post("/store/addons/local_hello/update")

    ports = [(await here.home.info(f"local_{name}"))["ingress_port"] for name in ("other", "hello")]
    assert all(port in range(62000, 65501) for port in ports)
    assert ports[0] != ports[1]


async def test_page_is_given_no_port_that_somebody_on_the_host_has(here: IngressHouse) -> None:
    await here.run("first", 0, host_network=True)
    picked = (await here.home.info("local_first"))["ingress_port"]
    await here.home.post("local_first", "uninstall")
    with listening(port=picked):
        await here.run("hello", 0, host_network=True)

        assert (await here.home.info("local_hello"))["ingress_port"] not in {0, None, picked}


async def test_add_ons_info_says_where_its_page_is(here: IngressHouse) -> None:
    pages = {entry: await here.run(name, 8099, ingress_entry=entry) for name, entry in (("a", "/panel"), ("b", "x/y"))}
    await here.home.run("plain")

    infos = {name: (await here.core.get(f"/addons/local_{name}/info")).data for name in ("a", "b", "plain")}

    first = f"/api/hassio_ingress/{pages['/panel'].rpartition('/')[2]}"
    assert (infos["a"]["ingress_entry"], infos["a"]["ingress_url"]) == (first, f"{first}/panel")
    assert infos["b"]["ingress_url"].endswith("/x/y")
    assert (infos["plain"]["ingress_entry"], infos["plain"]["ingress_url"]) == (None, None)

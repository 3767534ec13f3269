"""The connection to Core, held against a stand-in in a process of its own."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from aiohttp import web

from rooftree import Kernel, Plugin, Secret
from rooftree.interfaces.containers import OWN_ADDRESS
from rooftree.interfaces.core import CoreLost, CoreReached, CoreRefused, CoreUnavailable
from rooftree.testing import FakeClock
from rooftree_homeassistant.core_socket import CoreSocket
from rooftree_homeassistant.whereabouts import CoreAddress
from tests.plugins.homeassistant.linked import linked
from tests.rig.core_process import core_process
from tests.rig.service_process import free_port


async def test_core_is_reached_over_its_socket_without_a_token(tmp_path: Path) -> None:
    async with core_process(tmp_path / "core") as core, linked(tmp_path) as link:
        assert not link.core_client.answers
        link.over_socket(core)

        assert await link.reached() == "2026.11.0"
        assert link.core_client.answers
        assert (await link.core_client.state()).runs
        assert (await link.core_client.config())["version"] == "2026.11.0"
        http = await link.core_client.http_config()
        assert http is not None
        assert (http.port, http.ssl, http.server_hosts) == (core.port, False, ("0.0.0.0", "::"))
        assert (await link.core_client.command("stand_in/echo", text="é"))["text"] == "é"
        assert all(told["by"] == "socket" for told in await core.told("request"))


async def test_core_of_before_the_socket_is_reached_with_the_access_token_that_it_gives(tmp_path: Path) -> None:
    async with core_process(tmp_path / "core", version="2026.3.1") as core, linked(tmp_path) as link:
        link.over_tcp(core)

        assert await link.reached() == "2026.3.1"
        assert await link.core_client.http_config() is None
        answer = await link.core_client.request("POST", "api/echo", content={"a": 1})
        assert answer.ok
        asked = await core.told("request", path="/auth/token")
        assert len(asked) == 1, "one token serves for as long as it lasts"


class FromOwnAddress:
    """Our address on the add-on network, as far as a test has one."""

    address: ClassVar[str] = "127.0.0.9"

    async def own_socket(self) -> socket.socket:
        own = socket.socket()
        own.setblocking(False)
        own.bind((self.address, 0))
        return own


class OwnAddressPlugin(Plugin):
    name = "own_address"
    provides = (OWN_ADDRESS,)

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(OWN_ADDRESS, FromOwnAddress())


async def test_core_without_a_socket_is_asked_about_logins_from_where_it_takes_them(tmp_path: Path) -> None:
    """Core compares the address with its variable ``SUPERVISOR``, and answers 401 to all others."""

    async def token(_: web.Request) -> web.Response:
        return web.json_response({"access_token": "t", "expires_in": 1800})

    async def login(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.remote == FromOwnAddress.address else 401)

    application = web.Application()
    application.router.add_post("/auth/token", token)
    application.router.add_post("/api/hassio_auth{rest:.*}", login)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port := free_port()).start()
    try:
        async with linked(tmp_path, plugins=[OwnAddressPlugin]) as link:
            link.move(CoreAddress(container_id="one", version="2026.3.1", socket=None, refresh_token=Secret("r"),
                                  url=f"http://127.0.0.1:{port}"))  # fmt: skip
            paths = ["api/hassio_auth", "api/hassio_auth", "api/hassio_auth/password_reset"]
            answers = await asyncio.gather(*(link.core_client.request("POST", path, content={}) for path in paths))
    finally:
        await runner.cleanup()

    assert [answer.status for answer in answers] == [200, 200, 200]


async def test_access_token_that_core_does_not_take_any_more_is_asked_for_anew(tmp_path: Path) -> None:
    async with core_process(tmp_path / "core", version="2026.3.1") as core, linked(tmp_path) as link:
        link.over_tcp(core)
        await link.reached()
        await core.kill()
        await core.start()  # it has forgotten the tokens that it gave

        assert (await link.core_client.state()).runs


async def test_access_token_is_renewed_before_it_ends(tmp_path: Path) -> None:
    clock = FakeClock()
    async with core_process(tmp_path / "core", version="2026.3.1") as core, linked(tmp_path, clock=clock) as link:
        link.over_tcp(core)
        await link.reached()
        clock._pass(clock.monotonic() + 3_600)

        await link.core_client.state()

        assert len(await core.told("request", path="/auth/token")) == 2


async def test_path_of_a_socket_may_be_longer_than_a_socket_s_may_be(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    async with core_process(tmp_path / "core") as core, linked(tmp_path) as link:
        (folder / "run").symlink_to(core.socket.parent)
        link.over_socket(core, socket=folder / "run" / "core.sock")

        assert await link.reached() == "2026.11.0"


async def test_core_that_ends_is_lost_and_reached_again_when_it_is_back(tmp_path: Path) -> None:
    async with core_process(tmp_path / "core") as core, linked(tmp_path) as link:
        link.over_socket(core)
        await link.reached()

        await core.kill()
        await link.is_told(CoreLost)
        assert not link.core_client.answers
        with pytest.raises(CoreUnavailable, match=r"at its socket: Connection refused$"):
            await link.core_client.state()
        with pytest.raises(CoreUnavailable):
            await link.core_client.command("get_config")
        with pytest.raises(CoreUnavailable):
            await link.core_client.request("GET", "api/config")

        await core.start(version="2026.12.0")
        link.core_client.look_again()
        assert await link.reached(2) == "2026.12.0"
        assert [type(event) for event in link.events if isinstance(event, CoreReached | CoreLost)] == [
            CoreReached,
            CoreLost,
            CoreReached,
        ]


class ClockOfPauses(FakeClock):
    """Notes how long is waited for Core, and lets that pass at once, so many times, from when it is told to."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.notes = False
        self.pauses: list[float] = []
        self.noted = asyncio.Event()

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        task = asyncio.current_task()
        waits = task is not None and task.get_name().endswith(": connection to Core")
        if not waits or not self.notes or len(self.pauses) == self.times:
            return await super().wait(event, seconds)
        self.pauses.append(seconds)
        if len(self.pauses) == self.times:
            self.noted.set()
        return False


async def test_core_is_tried_again_after_growing_pauses(tmp_path: Path) -> None:
    clock = ClockOfPauses(11)
    async with core_process(tmp_path / "core", state="STARTING") as core, linked(tmp_path, clock=clock) as link:
        clock.notes = True
        link.over_socket(core)

        await asyncio.wait_for(clock.noted.wait(), 10)

        assert clock.pauses == [1, 2, 2, 3, 5, 5, 10, 10, 15, 30, 30]


async def test_core_that_starts_is_not_reached_before_it_runs(tmp_path: Path) -> None:
    async with core_process(tmp_path / "core", state="STARTING", migration="offline") as core, linked(tmp_path) as link:
        link.over_socket(core)
        await core.is_told("request", path="/api/core/state")

        state = await link.core_client.state()
        assert (state.state, state.runs, state.migrating_offline) == ("STARTING", False, True)
        assert not link.core_client.answers
        await core.become(state="RUNNING", migration="live")
        link.core_client.look_again()

        await link.reached()
        assert not (await link.core_client.state()).migrating_offline


async def test_container_that_ends_closes_the_connection(tmp_path: Path) -> None:
    async with core_process(tmp_path / "core") as core, linked(tmp_path) as link:
        link.over_socket(core)
        await link.reached()

        link.move(None)

        await link.is_told(CoreLost)
        await core.is_told("disconnected")
        with pytest.raises(CoreUnavailable, match="does not run"):
            await link.core_client.state()


async def test_another_container_is_another_core(tmp_path: Path) -> None:
    async with (
        core_process(tmp_path / "core") as core,
        core_process(tmp_path / "other", version="2026.12.0") as other,
        linked(tmp_path) as link,
    ):
        link.over_socket(core)
        await link.reached()

        link.over_socket(other, container_id="two")

        assert await link.reached(2) == "2026.12.0"
        await core.is_told("disconnected")


async def test_what_core_reports_of_its_port_leaves_the_socket_s_connection_open(tmp_path: Path) -> None:
    async with core_process(tmp_path / "core") as core, linked(tmp_path) as link:
        link.over_socket(core)
        await link.reached()

        link.over_socket(core, url="https://127.0.0.1:1", refresh_token=Secret("another"))
        await link.core_client.command("get_config")

        assert link.core_client.answers
        assert len(await core.told("connected")) == 1


async def test_refusal_of_a_command_has_core_s_word_for_it(tmp_path: Path) -> None:
    async with core_process(tmp_path / "core") as core, linked(tmp_path) as link:
        link.over_socket(core)
        await link.reached()

        with pytest.raises(CoreRefused) as refused:
            await link.core_client.command("no/such")

        assert refused.value.extra_fields == {"code": "unknown_command"}
        assert "Unknown command" in refused.value.message


async def test_commands_side_by_side_get_their_own_results(tmp_path: Path) -> None:
    async with core_process(tmp_path / "core") as core, linked(tmp_path) as link:
        link.over_socket(core)
        await link.reached()

        results = await asyncio.gather(*(link.core_client.command("stand_in/echo", number=n) for n in range(50)))

        assert [result["number"] for result in results] == list(range(50))


async def test_core_that_hangs_is_unavailable_after_the_time_that_was_given(tmp_path: Path) -> None:
    async with core_process(tmp_path / "core") as core, linked(tmp_path) as link:
        link.over_socket(core)
        await link.reached()
        await core.become(hangs=True, slow_s=60)

        with pytest.raises(CoreUnavailable, match=r"within 0\.2 s"):
            await link.core_client.request("GET", "api/config", within_s=0.2)
        with pytest.raises(CoreUnavailable, match=r"within 0\.2 s"):
            await link.core_client.command("get_config", within_s=0.2)


@pytest.mark.parametrize("path", ["/api", "api//x", "api/../auth", "api/%2e%2e", "api/x?y", "", "api/ü", "api/./x"])
async def test_path_that_is_not_canonical_is_never_sent(tmp_path: Path, path: str) -> None:
    async with core_process(tmp_path / "core") as core, linked(tmp_path) as link:
        link.over_socket(core)
        await link.reached()

        with pytest.raises(ValueError, match="canonical"):
            await link.core_client.request("GET", path)


async def test_users_are_those_that_people_are(tmp_path: Path) -> None:
    people = {"name": "Anna", "username": "anna", "is_owner": True, "is_active": True, "local_only": False}
    own = {"name": "Supervisor", "username": None, "is_owner": False, "is_active": True, "local_only": False}
    users = (
        {"id": "a" * 32, "system_generated": False, "group_ids": ["system-admin"], "credentials": [], **people},
        {"id": "b" * 32, "system_generated": True, "group_ids": ["system-admin"], "credentials": [], **own},
    )
    async with core_process(tmp_path / "core", users=users) as core, linked(tmp_path) as link:
        link.over_socket(core)
        await link.reached()

        (user,) = await link.core_client.users()

        assert (user.id, user.username, user.is_owner, user.group_ids) == ("a" * 32, "anna", True, ("system-admin",))


# --- certificates -----------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> Path:
    """A certificate that signed itself, with its key in one file."""
    path = folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}.example", "-keyout", path.with_suffix(".key"), "-out", path],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


@asynccontextmanager
async def tls_core(certificate: Path, port: int = 0) -> AsyncIterator[str]:
    """Something that gives access tokens and a state over TLS; its address."""

    async def token(_: web.Request) -> web.Response:
        return web.json_response({"access_token": "t", "expires_in": 1800})

    async def state(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer t"
        return web.json_response({"state": "STARTING"})

    application = web.Application()
    application.router.add_post("/auth/token", token)
    application.router.add_get("/api/core/state", state)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    await asyncio.to_thread(context.load_cert_chain, certificate, certificate.with_suffix(".key"))
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def at(url: str, container_id: str = "one") -> CoreAddress:
    return CoreAddress(
        container_id=container_id, version="2026.3.1", socket=None, url=url, refresh_token=Secret("refresh")
    )


async def test_certificate_that_nobody_vouches_for_is_taken_until_a_better_one_was_seen(tmp_path: Path) -> None:
    certificates = tmp_path / "data" / "ssl"
    certificates.mkdir(parents=True)
    kept = await asyncio.to_thread(certificate, certificates, "fullchain")
    strange = await asyncio.to_thread(certificate, tmp_path, "strange")
    async with linked(tmp_path) as link:
        async with tls_core(strange) as url:
            link.place.now = at(url)
            assert (await link.core_client.state()).state == "STARTING"
        async with tls_core(kept) as url:
            link.place.now = at(url, "two")
            assert (await link.core_client.state()).state == "STARTING"
        async with tls_core(strange) as url:
            link.place.now = at(url, "three")
            with pytest.raises(CoreUnavailable, match="better one before"):
                await link.core_client.state()


async def test_what_is_no_certificate_in_the_folder_harms_nobody(tmp_path: Path) -> None:
    certificates = tmp_path / "data" / "ssl"
    certificates.mkdir(parents=True)
    kept = await asyncio.to_thread(certificate, certificates, "fullchain")
    (certificates / "a.pem").write_text("no certificate")
    (certificates / "b.crt").mkdir()
    (certificates / "privkey.pem").write_bytes(kept.with_suffix(".key").read_bytes())
    async with linked(tmp_path) as link, tls_core(kept) as url:
        link.place.now = at(url)
        await link.core_client.state()

        assert link.core_client._certificates._was_checked


class Ending:
    """A WebSocket that ends as soon as something was sent."""

    def __init__(self) -> None:
        self.has_ended = asyncio.Event()

    async def send_str(self, text: str) -> None:
        self.has_ended.set()

    def __aiter__(self) -> Ending:
        return self

    async def __anext__(self) -> None:
        await self.has_ended.wait()
        raise StopAsyncIteration


async def test_command_under_way_when_core_goes_is_not_kept_waiting() -> None:
    socket = CoreSocket(Ending())  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group:
        group.create_task(socket.receive())
        with pytest.raises(CoreUnavailable, match="closed before it answered"):
            await socket.command("get_config", {}, 5.0)

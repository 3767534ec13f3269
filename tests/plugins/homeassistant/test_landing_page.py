"""The page on Core's port until Core is there: what it shows in each phase, what it never does, how it goes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooftree.interfaces.containers import PullFailed, RegistryLoginRefused
from rooftree.testing.containers import FakeContainerEngine
from rooftree_containers import ContainerState
from rooftree_homeassistant import landing_page
from rooftree_homeassistant.install import install_core
from rooftree_homeassistant.installation import INSTALLATION, Progress, Stage
from rooftree_homeassistant.landing_view import page, status
from tests.plugins.homeassistant.first_home import FirstHome, Ports, first_home
from tests.plugins.homeassistant.house import NEW, CoreHouse
from tests.rig.service_process import free_port
from tests.rig.waiting import until


@asynccontextmanager
async def waiting_home(
    folder: Path, engine: FakeContainerEngine, patch: pytest.MonkeyPatch, ports: Ports | None = None
) -> AsyncIterator[FirstHome]:
    """A house whose registry has no Core, once its page is shown."""
    async with first_home(folder, engine, patch, ports=ports) as home:
        await home.until_shown(stage="fetching")
        yield home


async def test_page_says_where_the_install_is_to_who_runs_no_script(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with waiting_home(tmp_path, engine, monkeypatch) as home:
        await home.until_shown(trouble="The registry does not have this version.")
        answer = await home.ask("/")

        assert (answer.status, answer.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
        assert f"Fetching version {NEW}".encode() in answer.body
        assert b"The registry does not have this version." in answer.body
        assert b"rooftree call POST /core/update" in answer.body
        assert answer.headers["Retry-After"] == "10"


async def test_page_is_there_for_every_path_and_on_the_usual_port_too(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with waiting_home(tmp_path, engine, monkeypatch) as home:
        whole = (await home.ask("/")).body
        for path in ("/lovelace/default_view", "/api/", "/auth/token?code=x", "/%2e%2e/", "/supervisor/info"):
            answer = await home.ask(path)
            assert (answer.status, answer.body) == (503, whole)
        assert (await home.ask("/", port=home.ports.usual)).body == whole
        assert (await home.ask()).told["ports"] == sorted([home.ports.core, home.ports.usual])


async def test_nothing_but_looking_is_answered(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with waiting_home(tmp_path, engine, monkeypatch) as home:
        for method in ("POST", "DELETE", "OPTIONS", "CONNECT"):
            assert (await home.ask("/core/update", method=method)).status == 405
        head = await home.ask("/", method="HEAD")
        assert (head.status, head.body) == (503, b"")
        assert int(head.headers["Content-Length"]) > 0


async def test_nothing_of_a_request_comes_back(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with waiting_home(tmp_path, engine, monkeypatch) as home:
        answer = await home.ask(
            "/<script>evil</script>?evil", head="X-Forwarded-Host: evil.example\r\nOrigin: http://evil.example\r\n"
        )

        assert b"evil" not in answer.body
        assert b"192.0.2.1" not in answer.body
        assert not any("evil" in value or "192.0.2.1" in value for value in answer.headers.values())
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_what_an_error_names_is_for_who_may_read_problems(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "https://me:hunter2@registry.home.example"
    monkeypatch.setattr("rooftree_homeassistant.home_assistant.generic_machine", lambda _: "generic-x86-64")
    engine.publish_image(f"ghcr.io/home-assistant/generic-x86-64-homeassistant:{NEW}")
    engine.fail("pull", PullFailed(f"proxy {secret} said no"), times=2)
    engine.fail("pull", RegistryLoginRefused(f"{secret} wants a login"), times=10_000)
    async with first_home(tmp_path, engine, monkeypatch) as home:
        await home.until_shown(trouble="The registry refuses the login, or wants one.")
        for path in ("/", "/landing/status"):
            text = (await home.ask(path)).body
            assert b"hunter2" not in text
            assert b"registry.home" not in text
        problem = home.problem("core_install_waits")
        assert problem is not None
        assert secret in problem.message

        token = (home.system.data.path / "admin-token").read_text().strip()
        assert token.encode() not in (await home.ask("/")).body


async def test_what_went_wrong_is_over_once_more_has_come_than_before(home: CoreHouse) -> None:
    installation = home.system.services.get(INSTALLATION)
    installation.enter(Stage.FETCHING, NEW)
    installation.fetched(50, 100)
    installation.note(PullFailed("reset by peer"))

    installation.fetched(25, 100)  # again from the beginning
    assert installation.progress.trouble is not None
    assert home.problem("core_install_waits") is not None

    installation.fetched(51, 100)
    assert (installation.progress.trouble, installation.progress.fetched_bytes) == (None, 51)
    assert home.problem("core_install_waits") is None


def test_script_and_style_of_the_page_are_those_that_its_policy_allows() -> None:
    text = page(Progress()).decode()

    for tag in ("script", "style"):
        (inner,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in landing_page.POLICY
    assert "default-src 'none'" in landing_page.POLICY
    assert not re.search(r"(src|href)=", text)  # nothing from elsewhere


@given(st.text(), st.text())
def test_no_text_becomes_markup(version: str, trouble: str) -> None:
    text = page(Progress(stage=Stage.FETCHING, version=f"<b>{version}", trouble=f"<i>{trouble}")).decode()

    assert "<b>" not in text
    assert "<i>" not in text


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (Progress(), "Waiting for the container engine"),
        (Progress(stage=Stage.LOOKING), "Looking for the newest version"),
        (Progress(stage=Stage.FETCHING, version="1", fetched_bytes=2**29, total_bytes=2**30), "50%, 0.50 of 1.00 GiB"),
        (Progress(stage=Stage.STARTING, version="1"), "Starting version 1"),
        (Progress(stage=Stage.STOPPED), "rooftree call POST /core/update"),
        (Progress(stage=Stage.FAILED, version="1"), "Version 1 is installed, and could not be started"),
        (Progress(stage=Stage.LOOKING, trouble="No network."), "No network."),
    ],
)
def test_each_phase_has_its_words(progress: Progress, words: str) -> None:
    assert words.encode() in page(progress)
    assert words.encode() in status(progress, ())


async def test_ports_are_free_before_core_is_started_and_the_page_was_there_until_then(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    creating, starting = engine.hold("create"), engine.hold("start")
    async with waiting_home(tmp_path, engine, monkeypatch) as home:
        engine.publish_image(home.image(NEW))
        await creating.reached.wait()
        assert await home.listens(home.ports.core)

        creating.release()
        await starting.reached.wait()
        for port in (home.ports.core, home.ports.usual):
            bind_as_core(port)
        starting.release()
        await home.until_installed()


def bind_as_core(port: int) -> None:
    """Listen there as Core does; raises ``OSError`` where somebody else does."""
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # as Core does
        socket.create_server((address, port), family=family).close()


async def test_page_that_somebody_reads_slowly_does_not_keep_the_port(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with waiting_home(tmp_path, engine, monkeypatch) as home, connected(home.ports.core) as (_, slow):
        slow.write(b"GET / HT")
        await slow.drain()

        engine.publish_image(home.image(NEW))
        await home.until_installed()
        bind_as_core(home.ports.core)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the page."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def test_port_that_somebody_has_is_a_problem_until_it_is_free(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = Ports(free_port(), free_port())
    stranger = socket.create_server(("0.0.0.0", ports.core))  # as they do
    async with first_home(tmp_path, engine, monkeypatch, ports=ports) as home:
        await until(lambda: has_problem(home), within_s=5, what="the problem")
        problem = home.problem("core_port_taken")
        assert problem is not None
        assert str(ports.core) in problem.message
        assert (await home.ask(port=ports.usual)).told["ports"] == [ports.usual]  # the page is there all the same

        stranger.close()
        await home.until_shown(stage="fetching", ports=sorted([ports.core, ports.usual]))
        assert not await has_problem(home)


async def has_problem(home: CoreHouse) -> bool:
    return home.problem("core_port_taken") is not None


async def test_page_follows_the_port_that_is_set(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with waiting_home(tmp_path, engine, monkeypatch) as home:
        monkeypatch.setattr(landing_page, "LOOK_S", 60)  # it is not by chance that it looks
        other = free_port()
        await home.client.post("/core/options", json={"port": other})

        await until(lambda: home.listens(other), within_s=5, what="the page at the new port")
        assert not await home.listens(home.ports.core)


async def test_clients_that_send_nothing_or_nonsense_hold_nobody_up(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing_page, "ANSWER_S", 0.3)
    async with waiting_home(tmp_path, engine, monkeypatch) as home:
        async with AsyncExitStack() as stack:
            silent = [await stack.enter_async_context(connected(home.ports.core)) for _ in range(5)]
            assert all([await is_let_go(reader) for reader, _ in silent])  # each in its time
        for nonsense in (b"\x16\x03\x01\x02\x00" + bytes(500), b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000):
            async with connected(home.ports.core) as (reader, writer):
                writer.write(nonsense)
                assert await is_let_go(reader)
        assert (await home.ask("/")).status == 503


async def test_no_more_connections_are_held_than_there_may_be(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing_page, "MOST_CONNECTIONS", 5)
    async with waiting_home(tmp_path, engine, monkeypatch) as home, AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(connected(home.ports.core))
        beyond, _ = await stack.enter_async_context(connected(home.ports.core))
        async with asyncio.timeout(landing_page.ANSWER_S / 2):  # the others are not let go so soon
            assert await is_let_go(beyond)


async def is_let_go(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of a connection; whether nothing came before it."""
    try:
        return await reader.read() == b""
    except OSError:
        return True


async def test_core_that_somebody_starts_has_its_port(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with waiting_home(tmp_path, engine, monkeypatch) as home:
        await home.system.jobs.cancel(home.job().uuid)
        await home.until_shown(stage="stopped")

        engine.publish_image(home.image(NEW))
        await home.system.jobs.run(install_core(version=NEW))
        await home.until_state(ContainerState.STARTED)
        assert not await home.listens(home.ports.core)


async def test_page_goes_with_its_plugin(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with waiting_home(tmp_path, engine, monkeypatch) as home:
        await home.system.jobs.cancel(home.job().uuid)  # nobody waits for its end
        await home.until_shown(stage="stopped")

        await home.system.plugins.disable("homeassistant")

        assert not await home.listens(home.ports.core)
        assert not await home.listens(home.ports.usual)

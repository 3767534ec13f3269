"""The version feed: when it is read, what is kept, and what one wrong key spoils."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from rooftree.interfaces.network import InternetChanged
from rooftree.interfaces.versions import VERSION_FEED, VersionFeed, VersionsChanged, VersionsUnknown
from rooftree.process.system import System
from rooftree.testing import Client, FakeClock, running_system
from rooftree_supervisor import version_feed
from rooftree_supervisor.plugin import SupervisorPlugin
from rooftree_supervisor.version_file import Versions, understood
from tests.plugins.supervisor.version_server import VersionServer
from tests.rig.waiting import until

FILE: dict[str, Any] = {
    "channel": "stable",
    "supervisor": "2026.07.5",
    "homeassistant": {"default": "2026.8.2", "generic-x86-64": "2026.8.3", "qemuarm-64": "2026.8.3"},
    "hassos": {"yellow": "18.2"},
    "hassos-upgrade": {"15": "15.2"},
    "ota": "https://os.example/{version}/{os_name}_{board}-{version}.raucb",
    "dns": "2026.02.0",
    "images": {
        "core": "registry.example/{machine}-homeassistant",
        "dns": "registry.example/{arch}-hassio-dns",
        "cli": "registry.example/hassio-cli",
    },
}


@pytest.fixture
async def server() -> AsyncIterator[VersionServer]:
    """A server of the file above, and of one for the channel beta."""
    beta = FILE | {"channel": "beta", "hassos": {"yellow": "19.0"}}
    async with VersionServer.serving(stable=json.loads(json.dumps(FILE)), beta=beta) as serving:
        yield serving


@asynccontextmanager
async def feeding(
    folder: Path, server: VersionServer, clock: FakeClock | None = None
) -> AsyncIterator[tuple[System, VersionFeed, asyncio.Queue[VersionsChanged]]]:
    """A system that reads there, its feed, and the changes that it tells."""
    changes: asyncio.Queue[VersionsChanged] = asyncio.Queue()
    async with running_system(
        folder, plugins=[SupervisorPlugin], settings=server.setting, clock=clock or FakeClock()
    ) as system:
        system.bus.subscribe(VersionsChanged, changes.put_nowait, "test")
        yield system, system.services.get(VERSION_FEED), changes


async def test_nobody_is_asked_before_a_domain_goes_by_the_versions(tmp_path: Path, server: VersionServer) -> None:
    async with feeding(tmp_path, server) as (system, feed, changes), Client.over_unix(system) as client:
        await client.post("/reload_updates")
        assert (server.asked, feed.newest_os("yellow")) == ([], None)

        feed.keep_fresh()
        await changes.get()

        assert (server.asked, feed.newest_os("yellow")) == (["stable"], "18.2")


async def test_everything_in_the_file_is_told_of_what_it_is_about(tmp_path: Path, server: VersionServer) -> None:
    async with feeding(tmp_path, server) as (_, feed, _):
        await feed.read()

        assert feed.channel == "stable"
        assert [feed.newest_core(machine) for machine in (None, "generic-x86-64", "tinker")] == [
            "2026.8.2", "2026.8.3", None
        ]  # fmt: skip
        assert (feed.newest_os("yellow"), feed.newest_os("green")) == ("18.2", None)
        assert (feed.last_os_of_major(15), feed.last_os_of_major(16)) == ("15.2", None)
        assert feed.os_bundle == FILE["ota"]
        assert (feed.newest_service("dns"), feed.newest_service("cli")) == ("2026.02.0", None)
        assert feed.image("core", machine="yellow") == "registry.example/yellow-homeassistant"
        assert feed.image("dns", arch="amd64") == "registry.example/amd64-hassio-dns"
        assert feed.image("cli") == "registry.example/hassio-cli"
        assert (feed.image("core"), feed.image("observer", arch="amd64")) == (None, None)


async def test_machine_that_uses_the_image_of_another_gets_that_until_it_has_its_own(
    tmp_path: Path, server: VersionServer
) -> None:
    async with feeding(tmp_path, server) as (_, feed, _):
        await feed.read()
        assert feed.newest_core("generic-aarch64") == "2026.8.3"
        assert feed.image("core", machine="generic-aarch64") == "registry.example/qemuarm-64-homeassistant"

        server.files["stable"]["homeassistant"]["generic-aarch64"] = "2026.9.0"
        await feed.read()
        assert feed.newest_core("generic-aarch64") == "2026.9.0"
        assert feed.image("core", machine="generic-aarch64") == "registry.example/generic-aarch64-homeassistant"


async def test_versions_are_read_daily_and_a_change_is_told_once(tmp_path: Path, server: VersionServer) -> None:
    clock = FakeClock()
    async with feeding(tmp_path, server, clock) as (_, feed, changes):
        feed.keep_fresh()
        await changes.get()

        await asked_again(server, clock, timedelta(days=1))
        assert changes.empty()

        server.files["stable"]["hassos"]["yellow"] = "18.3"
        await asked_again(server, clock, timedelta(days=1))
        assert (await changes.get()).parts == ("os",)
        assert (feed.newest_os("yellow"), changes.empty()) == ("18.3", True)


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("homeassistant", {"default": "2026.9.0"}, ("core",)),
        ("images", {"core": "registry.example/core"}, ("core", "services")),
        ("images", {**FILE["images"], "core": "registry.example/core"}, ("core",)),
        ("images", {**FILE["images"], "dns": "registry.example/dns"}, ("services",)),
        ("hassos-upgrade", {"15": "15.9"}, ("os",)),
        ("ota", "https://os.example/{version}", ("os",)),
        ("dns", "2027.01.0", ("services",)),
        ("supervisor", "2027.01.0", None),
    ],
)
async def test_change_is_told_of_what_it_is_of(
    tmp_path: Path, server: VersionServer, key: str, value: object, parts: tuple[str, ...] | None
) -> None:
    async with feeding(tmp_path, server) as (system, feed, changes):
        await feed.read()
        assert (await changes.get()).parts == ("core", "os", "services")
        server.files["stable"][key] = value

        await feed.read()

        await system.bus.drained()
        assert (None if changes.empty() else (await changes.get()).parts) == parts


async def asked_again(server: VersionServer, clock: FakeClock, after: timedelta) -> None:
    """Let so much time pass, before which nobody asks, and at the end of which somebody does."""
    await until(lambda: sleeps(clock, after), within_s=5, what="the pause")
    count = len(server.asked)
    await clock.advance(after - timedelta(seconds=1))
    assert len(server.asked) == count
    await clock.advance(timedelta(seconds=1))
    await until(lambda: has(server, count + 1), within_s=5, what="another reading")


async def sleeps(clock: FakeClock, seconds: timedelta) -> bool:
    return any(sleeper.due - clock.monotonic() == seconds.total_seconds() for sleeper in clock._sleepers)


async def has(server: VersionServer, count: int) -> bool:
    return len(server.asked) == count


async def test_reading_that_failed_is_tried_again_soon_then_less_often(tmp_path: Path, server: VersionServer) -> None:
    clock = FakeClock()
    file = server.files.pop("stable")
    async with feeding(tmp_path, server, clock) as (_, feed, changes):
        feed.keep_fresh()
        for pause in (30, 120, 900, 900):
            await asked_again(server, clock, timedelta(seconds=pause))

        server.files["stable"] = file
        await asked_again(server, clock, timedelta(seconds=900))
        await changes.get()
        await asked_again(server, clock, timedelta(days=1))


async def test_failed_reading_is_tried_again_when_the_network_is_back(tmp_path: Path, server: VersionServer) -> None:
    clock = FakeClock()
    file = server.files.pop("stable")
    async with feeding(tmp_path, server, clock) as (system, feed, changes):
        feed.keep_fresh()
        await until(lambda: sleeps(clock, timedelta(seconds=30)), within_s=5, what="the pause")
        server.files["stable"] = file

        system.bus.publish(InternetChanged("supervisor", False))
        system.bus.publish(InternetChanged("supervisor", True))
        await changes.get()
        await until(lambda: sleeps(clock, timedelta(days=1)), within_s=5, what="the pause")

        server.gate.clear()  # whoever reads now is seen to do so
        system.bus.publish(InternetChanged("supervisor", True))  # and nothing is missing
        await system.bus.drained()
        for _ in range(10):
            await asyncio.sleep(0)
        assert await sleeps(clock, timedelta(days=1))
        assert len(server.asked) == 2


async def test_what_was_read_is_kept_over_a_restart_while_the_server_is_away(
    tmp_path: Path, server: VersionServer
) -> None:
    async with feeding(tmp_path, server) as (_, feed, _):
        await feed.read()
    server.files.clear()

    async with feeding(tmp_path, server) as (_, feed, changes):
        assert (feed.newest_os("yellow"), feed.newest_core("generic-x86-64")) == ("18.2", "2026.8.3")
        with pytest.raises(VersionsUnknown, match=r"stable\.json can't be read: 404"):
            await feed.read()
        assert (feed.newest_os("yellow"), changes.empty()) == ("18.2", True)


async def test_restart_that_reads_the_same_tells_no_change(tmp_path: Path, server: VersionServer) -> None:
    async with feeding(tmp_path, server) as (_, feed, changes):
        await feed.read()
        await changes.get()

    async with feeding(tmp_path, server) as (_, feed, changes):
        await feed.read()
        assert changes.empty()


async def test_other_channel_is_read_at_once_and_the_versions_of_the_first_are_not_shown_for_it(
    tmp_path: Path, server: VersionServer
) -> None:
    async with feeding(tmp_path, server) as (system, feed, changes), Client.over_unix(system) as client:
        feed.keep_fresh()
        await changes.get()
        server.gate.clear()

        assert (await client.post("/supervisor/options", json={"channel": "beta"})).status == 200
        assert (feed.channel, feed.newest_os("yellow")) == ("beta", None)
        server.gate.set()
        await changes.get()

        assert (server.asked, feed.newest_os("yellow")) == (["stable", "beta"], "19.0")


async def test_option_that_is_no_channel_has_nothing_read(tmp_path: Path, server: VersionServer) -> None:
    async with feeding(tmp_path, server) as (system, feed, changes), Client.over_unix(system) as client:
        feed.keep_fresh()
        await changes.get()

        await client.post("/supervisor/options", json={"country": "DE"})
        await feed.read()  # whatever was due before is through

        assert server.asked == ["stable", "stable"]


async def test_user_who_wants_it_read_is_told_what_went_wrong(tmp_path: Path, server: VersionServer) -> None:
    async with feeding(tmp_path, server) as (system, feed, _), Client.over_unix(system) as client:
        await feed.read()
        server.files["stable"] = b"<html>Sign in to the hotel's network</html>"

        answer = await client.post("/reload_updates")

        assert (answer.status, answer.envelope["error_key"]) == (503, "versions_unknown_error")
        assert server.url in answer.message


async def test_server_that_does_not_answer_is_waited_for_once(
    tmp_path: Path, server: VersionServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_feed, "ANSWER_S", 0.3)
    server.gate.clear()
    async with feeding(tmp_path, server) as (_, feed, _):
        outcomes = await asyncio.gather(*(feed.read() for _ in range(3)), return_exceptions=True)

    assert {str(outcome).rpartition(": ")[2] for outcome in outcomes} == {"did not come within 0.3 s"}


async def test_those_who_ask_at_once_are_answered_with_one_reading(tmp_path: Path, server: VersionServer) -> None:
    async with feeding(tmp_path, server) as (_, feed, changes):
        await asyncio.gather(*(feed.read() for _ in range(5)))
        await changes.get()  # the feed's own first reading was among them, or finds the same
        assert len(server.asked) <= 2
        assert changes.empty()


async def test_operator_may_want_nothing_to_be_asked(tmp_path: Path) -> None:
    settings = {"plugins.supervisor.version_file": "off"}
    async with running_system(tmp_path, plugins=[SupervisorPlugin], settings=settings) as system:
        feed = system.services.get(VERSION_FEED)
        feed.keep_fresh()

        with pytest.raises(VersionsUnknown, match=r"version_file in \[plugins\.supervisor\] is off"):
            await feed.read()


@pytest.mark.parametrize(
    "wrong",
    [
        {"hassos": {"yellow": 18.2}},
        {"hassos": ["18.2"]},
        {"hassos": {"yellow": "18.2", "green": "../../etc"}},
        {"homeassistant": None},
        {"dns": {"version": 1}},
        {"images": {"core": "registry.example/{machine}-homeassistant", "dns": "no image; rm -rf /"}},
        {"ota": "file:///etc/passwd"},
        {"hassos-upgrade": {"15": None}},
    ],
)
def test_key_with_something_wrong_spoils_nothing_but_itself(wrong: dict[str, Any]) -> None:
    with capture_logs() as logged:
        versions = understood(json.dumps(FILE | wrong).encode(), "stable")

    whole = understood(json.dumps(FILE).encode(), "stable")
    key = next(iter(wrong))
    (attribute,) = {"hassos": ["os"], "homeassistant": ["core"], "dns": ["services"], "images": ["images"],
                    "ota": ["os_bundle"], "hassos-upgrade": ["last_of_major"]}[key]  # fmt: skip
    others = [name for name in ("core", "os", "last_of_major", "os_bundle", "services", "images") if name != attribute]
    assert [getattr(versions, name) for name in others] == [getattr(whole, name) for name in others]
    assert getattr(versions, attribute) != getattr(whole, attribute) or key == "hassos"
    assert [entry["keys"][0].partition(".")[0] for entry in logged] == [key]


def test_board_beside_one_with_a_slip_has_its_version() -> None:
    versions = understood(json.dumps(FILE | {"hassos": {"yellow": "18.2", "green": 1}}).encode(), "stable")

    assert versions.os == {"yellow": "18.2"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "zero-length, empty document"),
        (b"[]", "no JSON object"),
        (b'{"channel": "beta"}', "its channel is 'beta', not 'stable'"),
        (b"{}", "its channel is None"),
    ],
)
def test_file_that_is_none_or_another_channels_is_refused(text: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        understood(text, "stable")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
KEYS = st.sampled_from([*FILE, "audio", "cli", "unknown"])


@given(st.dictionaries(KEYS, JSON | st.dictionaries(st.text(max_size=9), JSON, max_size=3), max_size=9))
def test_whatever_the_file_says_is_understood_as_texts_or_not_at_all(content: dict[str, Any]) -> None:
    versions = understood(json.dumps(content).encode(), None)

    assert isinstance(versions, Versions)
    tables = (versions.core, versions.os, versions.last_of_major, versions.services, versions.images)
    assert all(isinstance(text, str) and " " not in text for table in tables for text in table.values())


@given(st.binary(max_size=60))
def test_bytes_that_are_no_version_file_are_refused_as_that(text: bytes) -> None:
    try:
        understood(text, None)
    except ValueError:
        return
    assert isinstance(json.loads(text), dict)

"""The host's services, its name and its clock: what is changed, what is refused, what systemd says."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from rooftree.errors import Invalid
from rooftree.testing import Client
from rooftree_host.hostname import HostnameInvalid, refuse_no_hostname
from rooftree_host.units import UnitName
from tests.bus.machine import HOSTNAME, SYSTEMD, TIMESYNC
from tests.bus.private_bus import services
from tests.plugins.host.house import House, house
from tests.plugins.recordings import difference, needs_recordings, recorded


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A house for all tests that change nothing; they run on its event loop."""
    with tempfile.TemporaryDirectory(prefix="rooftree-") as sockets:
        async with house(tmp_path_factory.mktemp("house"), Path(sockets)) as found:
            yield found


async def test_services_are_those_that_systemd_has_loaded(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        found = (await home.client.get("/host/services")).data["services"]

    assert [service["name"] for service in found] == ["cron.service", "dbus.service", "docker.service", "ssh.service"]
    assert found[3] == {"name": "ssh.service", "description": "OpenBSD Secure Shell server", "state": "active"}


@pytest.mark.parametrize(
    ("verb", "method"), [("start", "StartUnit"), ("stop", "StopUnit"), ("reload", "ReloadOrRestartUnit")]
)
@pytest.mark.parametrize("name", ["ssh", "ssh.service"])
async def test_service_is_changed_and_the_end_of_it_waited_for(
    tmp_path: Path, socket_folder: Path, verb: str, method: str, name: str
) -> None:
    async with house(tmp_path, socket_folder) as home:
        answer = await home.client.post(f"/host/service/{name}/{verb}")
        calls = await home.machine.calls()

    assert answer.data == {}
    assert (method, ["ssh.service", "replace"]) in calls


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("name", "verb", "status", "reason"),
    [
        ("docker", "stop", 400, "docker.service must not be stopped from here"),
        ("dbus.service", "stop", 400, "dbus.service must not be stopped"),
        ("rooftree-test", "stop", 400, "rooftree-test.service must not be stopped"),  # which is our own unit
        ("rooftree-test", "reload", 400, "rooftree-test.service is Rooftree itself"),
        ("dbus-org.freedesktop.login1", "stop", 400, "systemd-logind.service must not be stopped"),  # an alias
        ("systemd-journald@x", "stop", 400, "systemd-journald@x.service must not be stopped"),
        ("systemd-reboot", "start", 400, "systemd-reboot.service ends the machine at once"),
        ("systemd-poweroff", "reload", 400, "systemd-poweroff.service ends the machine at once"),
        ("nothing", "start?plan=1", 404, "no service nothing.service"),
        ("nothing", "start", 404, "no service nothing.service"),
        ("broken", "start", 500, "could not start broken.service (failed)"),
        ("multi-user.target", "stop", 400, "no target units"),
        ("a%20b", "stop", 404, "service unit"),
    ],
)
async def test_what_cannot_be_done_is_said(home: House, name: str, verb: str, status: int, reason: str) -> None:
    await home.machine.calls()

    answer = await home.client.post(f"/host/service/{name}/{verb}")
    calls = {called for called, _ in await home.machine.calls()}

    assert (answer.status, answer.envelope["result"]) == (status, "error")
    assert reason in answer.envelope["message"]
    assert calls & {"StartUnit", "StopUnit", "ReloadOrRestartUnit"} <= ({"StartUnit"} if name == "broken" else set())


async def test_alias_is_changed_by_the_units_own_name(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        answer = await home.client.post("/host/service/sshd/stop")
        calls = await home.machine.calls()

    assert answer.data == {}
    assert ("StopUnit", ["ssh.service", "replace"]) in calls


async def test_every_unit_that_add_ons_or_the_way_to_them_need_goes_on(tmp_path: Path, socket_folder: Path) -> None:
    needed = (
        "NetworkManager", "containerd", "dbus-broker", "dbus", "docker", "haos-agent", "hassos-supervisor", "os-agent",
        "rooftree", "systemd-journal-gatewayd", "systemd-journald", "systemd-logind", "systemd-networkd",
        "systemd-resolved", "systemd-udevd", "udisks2",
    )  # fmt: skip
    async with house(tmp_path, socket_folder) as home:
        plain = [await home.client.post(f"/host/service/{name}.service/stop") for name in needed]
        instance = [await home.client.post(f"/host/service/{name}@x/stop") for name in needed]
        stopped = [call for call in await home.machine.calls() if call[0] == "StopUnit"]

    for answers in (plain, instance):
        refusals = dict(zip(needed, (answer.envelope.get("error_key") for answer in answers), strict=True))
        assert refusals == dict.fromkeys(needed, "host_service_guarded_error")
    assert stopped == []


async def test_no_unit_whose_start_ends_the_machine_is_started(tmp_path: Path, socket_folder: Path) -> None:
    ways = (
        "halt", "hibernate", "hybrid-sleep", "kexec", "poweroff", "reboot", "soft-reboot", "suspend",
        "suspend-then-hibernate",
    )  # fmt: skip
    async with house(tmp_path, socket_folder) as home:
        answers = {
            (way, verb): (await home.client.post(f"/host/service/systemd-{way}/{verb}")).envelope.get("error_key")
            for way in ways
            for verb in ("start", "reload")
        }
        begun = [call for call in await home.machine.calls() if call[0] in {"StartUnit", "ReloadOrRestartUnit"}]

    assert set(answers.values()) == {"host_service_guarded_error"}, answers
    assert begun == []


async def test_unit_whose_name_systemd_escaped_is_changed(tmp_path: Path, socket_folder: Path) -> None:
    unit = r"systemd-cryptsetup@dm\x2dcrypt.service"
    async with house(tmp_path, socket_folder) as home:
        answer = await home.client.post(f"/host/service/{quote(unit, safe='')}/stop")
        calls = await home.machine.calls()

    assert answer.data == {}
    assert ("StopUnit", [unit, "replace"]) in calls


async def test_guarded_service_can_be_reloaded(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        assert (await home.client.post("/host/service/docker/reload")).data == {}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/host/services"), ("POST", "/host/service/ssh/stop"), ("POST", "/host/reboot")]
)
async def test_host_without_systemd_says_so(tmp_path: Path, socket_folder: Path, method: str, path: str) -> None:
    async with house(tmp_path, socket_folder, HOSTNAME) as home:
        answer = await home.client.request(method, path)

    assert answer.status == 503
    assert "systemd" in answer.envelope["message"]


@given(st.text(max_size=30))
def test_any_text_is_a_services_name_or_refused(text: str) -> None:
    try:
        unit = UnitName.parse(text).unit
    except (Invalid, ValueError):
        return
    assert re.fullmatch(r"[A-Za-z0-9:_.\\@-]+\.service", unit)


@needs_recordings
async def test_services_have_the_recorded_shape(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        found = (await home.client.get("/host/services")).data

    assert difference(recorded("host.services")["answer"]["data"], found) == []


# --- the name ---------------------------------------------------------------------------------------------------------


async def test_name_is_set_for_good_and_shown(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        first = await home.client.post("/host/options", json={"hostname": "cellar"})
        calls = await home.machine.calls()
        again = await home.client.post("/host/options", json={"hostname": "cellar"})
        shown = (await home.client.get("/host/info")).data["hostname"]

        assert [name for name, _ in await home.machine.calls() if name == "SetStaticHostname"] == []
    assert (first.data, again.data, shown) == ({}, {}, "cellar")
    assert ("SetStaticHostname", ["cellar", False]) in calls


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "name", ["", "-attic", "attic-", "at tic", "attic..home", "a" * 65, "ätic", "attic.", "a/b", "attic\n"]
)
async def test_name_that_is_none_is_refused_before_anybody_is_asked(home: House, name: str) -> None:
    answer = await home.client.post("/host/options", json={"hostname": name})

    assert (answer.status, answer.envelope["error_key"]) == (400, "host_invalid_hostname")
    assert json.dumps(await home.machine.calls()).count("SetStaticHostname") == 0


async def test_name_that_hostnamed_refuses_is_invalid(tmp_path: Path, socket_folder: Path) -> None:
    error = "org.freedesktop.DBus.Error.InvalidArgs"
    async with house(tmp_path, socket_folder, allow={"undo_failed"}) as home:
        await home.machine.order(
            do="fail", service=HOSTNAME, method="SetStaticHostname", error=error, text="Invalid hostname 'x'"
        )
        answer = await home.client.post("/host/options", json={"hostname": "x"})

    assert (answer.status, answer.envelope["error_key"]) == (400, "host_invalid_hostname")
    assert "Invalid hostname 'x'" in answer.envelope["message"]


async def test_options_without_an_option_are_refused(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        answer = await home.client.post("/host/options", json={})

    assert answer.status == 400
    assert "hostname" in answer.envelope["message"]


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]{1,10})?", fullmatch=True))
def test_every_host_name_is_taken(name: str) -> None:
    refuse_no_hostname(name)


@given(st.text(min_size=1, max_size=70))
def test_whatever_is_taken_is_safe(name: str) -> None:
    try:
        refuse_no_hostname(name)
    except HostnameInvalid:
        return
    assert len(name) <= 64
    assert re.fullmatch(r"[A-Za-z0-9.-]+", name)


# --- the clock --------------------------------------------------------------------------------------------------------


async def test_time_servers_are_set_and_set_again_when_timesyncd_comes_back(
    tmp_path: Path, socket_folder: Path
) -> None:
    async with house(tmp_path, socket_folder, HOSTNAME) as home:
        async with services(home.bus.address, TIMESYNC) as clock:
            before = (await home.client.get("/time/info")).data
            answer = await home.client.post("/time/options", json={"servers": ["ntp.example", "192.0.2.7"]})
            after = (await home.client.get("/time/info")).data
            assert ("SetRuntimeNTPServers", [["ntp.example", "192.0.2.7"]]) in await clock.calls()
        async with services(home.bus.address, TIMESYNC):
            again = await until_servers(home.client, ["ntp.example", "192.0.2.7"])
            await home.client.post("/time/options", json={"servers": []})
            cleared = (await home.client.get("/time/info")).data

    assert before == {"config": {"servers": [], "fallback_servers": ["time.example", "192.0.2.1"]}}
    assert answer.data == {}
    assert after["config"]["servers"] == again == ["ntp.example", "192.0.2.7"]
    assert cleared["config"]["servers"] == []


@pytest.mark.parametrize("body", [None, {"servers": ["ntp.example"]}, {"fallback_servers": []}], ids=str)
async def test_host_without_timesyncd_is_said_to_have_none(
    tmp_path: Path, socket_folder: Path, body: dict[str, object] | None
) -> None:
    async with house(tmp_path, socket_folder, HOSTNAME) as home:
        if body is None:
            answer = await home.client.get("/time/info")
        else:
            answer = await home.client.post("/time/options", json=body)

    assert (answer.status, "systemctl status systemd-timesyncd" in answer.envelope["message"]) == (503, True)


async def test_timesyncd_that_hangs_is_not_waited_for_twice(
    tmp_path: Path, socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooftree_host.system_bus.READ_S", 0.5)
    async with house(tmp_path, socket_folder, TIMESYNC) as home:
        await home.client.post("/host/reload")
        await home.machine.order(do="hang", service=TIMESYNC)
        async with asyncio.timeout(10):  # less than the 25 s that D-Bus gives a call
            answer = await home.client.post("/time/options", json={"servers": ["ntp.example"]})
            again = await home.client.post("/time/options", json={"servers": ["ntp.example"]})

    assert (answer.status, again.status) == (503, 503)
    assert "does not answer" in again.envelope["message"]


async def until_servers(client: Client, servers: list[str]) -> list[str]:
    """The servers, once they are these."""
    async with asyncio.timeout(10):
        while True:
            answer = await client.get("/time/info")
            if answer.status == 200 and answer.data["config"]["servers"] == servers:
                return servers
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"servers": ["ok.example", "not a name"]}, 400, "servers[1]"),
        ({"servers": ["x"] * 17}, 400, "16 at most"),
        ({"fallback_servers": ["x.example"]}, 409, "FallbackNTP"),
        ({"servers": "x"}, 400, "servers"),
    ],
)
async def test_time_servers_that_cannot_be_are_refused(
    tmp_path: Path, socket_folder: Path, body: dict[str, object], status: int, reason: str
) -> None:
    async with house(tmp_path, socket_folder) as home:
        answer = await home.client.post("/time/options", json=body)

        assert (answer.status, answer.envelope["result"]) == (status, "error")
        assert reason in answer.envelope["message"]
        assert "SetRuntimeNTPServers" not in str(await home.machine.calls())


async def test_fallback_servers_that_are_so_already_are_no_change(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder) as home:
        same = {"servers": [], "fallback_servers": ["time.example", "192.0.2.1"]}

        assert (await home.client.post("/time/options", json=same)).data == {}


async def test_systemd_that_hangs_fails_the_request_and_not_the_house(
    tmp_path: Path, socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooftree_machine.systemd.LOOK_S", 0.5)
    monkeypatch.setattr("rooftree_host.system_bus.READ_S", 0.5)
    async with house(tmp_path, socket_folder) as home:
        await home.machine.order(do="hang", service=SYSTEMD)
        answer = await home.client.post("/host/service/ssh/start")
        other = await home.client.get("/host/info")

    assert (answer.status, other.status) == (503, 200)
    assert "systemd1 did not answer" in answer.envelope["message"]


async def test_unit_that_takes_for_ever_is_given_up(
    tmp_path: Path, socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooftree_host.units.UNIT_S", 0.5)
    async with house(tmp_path, socket_folder) as home:
        answer = await home.client.post("/host/service/endless/start")

    assert (answer.status, "did not start endless.service" in answer.envelope["message"]) == (500, True)

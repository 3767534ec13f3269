"""Rooftree and the real services of a host: what it says of them, does to them, and does without them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from rooftree.interfaces.bus import BusMethod, BusObject
from rooftree_host import bus_objects
from rooftree_host.bus_properties import declared
from rooftree_host.facts import SOURCES
from rooftree_machine import hostnamed, systemd
from tests.host.rig.bus import bus_of, method_of, properties_of
from tests.host.rig.host import Host
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.waiting import until

pytestmark = pytest.mark.xdist_group("host")

METHODS: Sequence[tuple[BusObject, BusMethod]] = [
    (hostnamed.HOSTNAME, hostnamed.SET_STATIC_HOSTNAME),
    (bus_objects.LOGIN, bus_objects.REBOOT_BY_LOGIN),
    (bus_objects.LOGIN, bus_objects.POWER_OFF_BY_LOGIN),
    (systemd.SYSTEMD, systemd.REBOOT),
    (systemd.SYSTEMD, systemd.POWER_OFF),
    (systemd.SYSTEMD, systemd.SUBSCRIBE),
    (systemd.SYSTEMD, systemd.LIST_UNITS),
    (systemd.SYSTEMD, systemd.LIST_UNITS_BY_NAMES),
    (systemd.SYSTEMD, systemd.START_UNIT),
    (systemd.SYSTEMD, systemd.STOP_UNIT),
    (systemd.SYSTEMD, systemd.RELOAD_UNIT),
    (systemd.SYSTEMD, systemd.RESTART_UNIT),
    (systemd.SYSTEMD, systemd.GET_UNIT_BY_PID),
]

OF_THE_HOST = (
    "/host/services",
    "/host/disks/default/usage",
    "/host/logs",
    "/host/logs/boots",
    "/hardware/info",
    "/hardware/audio",
    "/os/info",
    "/os/datadisk/list",
    "/info",
)
"""Answered whatever the host lacks."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(engine: Engine) -> AsyncIterator[Daemon]:
    """A daemon on the host."""
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        yield daemon


async def info(house: Daemon) -> dict[str, object]:
    """``/host/info``."""
    found: dict[str, object] = await house.ok("GET", "/host/info")
    return found


# --- what is declared is so -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "at"), SOURCES, ids=lambda value: getattr(value, "__name__", None))
async def test_declared_properties_are_those_of_the_real_service(host: Host, kind: type, at: BusObject) -> None:
    async with bus_of(host) as bus:
        real = properties_of(await bus.interface(at.service, at.path, at.interface))

    assert {said.name: said.signature for said in declared(kind).values()}.items() <= real.items()


@pytest.mark.parametrize(("at", "method"), METHODS, ids=lambda value: getattr(value, "name", None))
async def test_declared_methods_are_those_of_the_real_service(host: Host, at: BusObject, method: BusMethod) -> None:
    async with bus_of(host) as bus:
        real = method_of(await bus.interface(at.service, at.path, at.interface), method.name)

    assert (method.takes, method.returns) == real


# --- what is said -----------------------------------------------------------------------------------------------------


async def test_host_is_described_by_its_own_services(host: Host, house: Daemon) -> None:
    found = await info(house)

    assert found["hostname"] == host.run("hostnamectl", "--static").strip()
    assert found["kernel"] == host.run("uname", "-r").strip()
    assert found["timezone"] == host.run("timedatectl", "show", "--property=Timezone", "--value").strip()
    assert found["agent_version"] is not None
    assert {"disk", "hostname", "journal", "network", "os_agent", "reboot", "services", "shutdown", "timedate"} <= {
        *(found["features"] if isinstance(found["features"], list) else ())
    }
    assert isinstance(found["boot_timestamp"], int)
    assert abs(found["boot_timestamp"] / 1e6 - time.time()) < 86_400
    assert isinstance(found["startup_time"], float)
    assert 0 < found["startup_time"] < 600


async def test_name_is_changed_for_real_and_seen_when_somebody_else_changes_it(host: Host, house: Daemon) -> None:
    await house.ok("POST", "/host/options", {"hostname": "attic"})
    by_us = host.run("hostnamectl", "--static").strip()
    await info(house)
    host.run("hostnamectl", "set-hostname", "cellar")

    async def seen() -> bool:
        return (await info(house))["hostname"] == "cellar"

    assert by_us == "attic"
    await until(seen, within_s=5, what="the name that somebody else gave it")


async def test_service_is_stopped_and_started_for_real(host: Host, house: Daemon) -> None:
    await house.ok("POST", "/host/service/rauc/start")
    running = await state_of(house, "rauc.service")
    await house.ok("POST", "/host/service/rauc/stop")
    stopped = host.run("systemctl", "show", "--property=ActiveState", "--value", "rauc.service").strip()
    status, guarded = await house.call("POST", "/host/service/dbus/stop")
    by_alias = await house.call("POST", "/host/service/dbus-org.freedesktop.login1/stop")
    missing = await house.call("POST", "/host/service/nothing-of-that-name/start")

    assert (running, stopped) == ("active", "inactive")
    assert (status, guarded["error_key"]) == (400, "host_service_guarded_error")
    assert by_alias[0] == 400
    assert "systemd-logind.service must not be stopped" in by_alias[1]["message"]
    assert missing[0] == 404


async def state_of(house: Daemon, unit: str) -> str | None:
    """What is said of a service."""
    found = (await house.ok("GET", "/host/services"))["services"]
    return next((service["state"] for service in found if service["name"] == unit), None)


async def test_logs_of_the_host_are_those_of_its_journal(host: Host, house: Daemon) -> None:
    host.run("logger", "--tag", "doorbell", "somebody is at the door")

    async def shown() -> str | None:
        async with house.request("GET", "/host/logs/identifiers/doorbell?verbose") as answer:
            text = await answer.text()
        return text if "at the door" in text else None

    assert " doorbell[" in await until(shown, within_s=10, what="the line")
    assert "doorbell" in (await house.ok("GET", "/host/logs/identifiers"))["identifiers"]
    assert (await house.ok("GET", "/host/logs/boots"))["boots"]["0"] == host.boot_id


# --- what is missing, and comes back ----------------------------------------------------------------------------------


async def test_network_manager_that_is_masked_is_told_and_costs_nothing_else_and_is_found_again(
    host: Host, house: Daemon
) -> None:
    async def has_network() -> bool:
        features = (await info(house))["features"]
        return isinstance(features, list) and "network" in features

    async def has_none() -> bool:
        return not await has_network()

    before = await info(house)
    host.run("systemctl", "mask", "--runtime", "--now", "NetworkManager.service")
    try:
        await until(has_none, within_s=10, what="that the network can't be steered")
        without = await info(house)
        refused = {path: status for path in OF_THE_HOST if (status := (await house.call("GET", path))[0]) != 200}
        named = await house.call("POST", "/host/options", {"hostname": "attic"})
    finally:
        host.run("systemctl", "unmask", "--runtime", "NetworkManager.service")
    host.run("systemctl", "start", "NetworkManager.service")
    await until(has_network, within_s=10, what="NetworkManager again")

    # Another host on the same bridge (make host-shell, a second run) may have taken the name that LLMNR gives out.
    changing = {"features", "disk_free", "disk_used", "startup_time", "dt_utc", "llmnr_hostname"}
    assert {key: value for key, value in without.items() if key not in changing} == {
        key: value for key, value in before.items() if key not in changing
    }
    assert (refused, named[0], host.run("hostnamectl", "--static").strip()) == ({}, 200, "attic")


async def test_hostnamed_that_is_masked_costs_its_fields_and_no_time(host: Host, house: Daemon) -> None:
    host.run("systemctl", "mask", "--runtime", "--now", "systemd-hostnamed.service")
    try:
        await house.ok("POST", "/host/reload")
        first = await info(house)
        began = time.monotonic()
        second = await info(house)
        took_s = time.monotonic() - began
        status, refused = await house.call("POST", "/host/options", {"hostname": "attic"})
    finally:
        host.run("systemctl", "unmask", "--runtime", "systemd-hostnamed.service")

    assert (first["chassis"], second["chassis"]) == (None, None)
    assert first["hostname"] == second["hostname"] is not None, "the kernel tells it too"
    assert second["virtualization"] is not None
    assert took_s < 2
    assert (status, refused["error_key"]) == (503, "host_bus_unavailable_error")


async def test_gateway_that_dies_ends_a_followed_log_with_a_line_that_says_so(host: Host, house: Daemon) -> None:
    async with house.request("GET", "/host/logs/follow?lines=2") as answer:
        await answer.content.readline()
        host.run("systemctl", "kill", "--signal=KILL", "systemd-journal-gatewayd.service")
        async with asyncio.timeout(20):
            rest = (await answer.content.read()).decode()

    assert "journal" in rest.splitlines()[-1]
    assert (await house.call("GET", "/supervisor/ping"))[0] == 200


async def test_reboot_turns_the_host_off_and_everything_is_found_again(host: Host, daemon: Daemon) -> None:
    await daemon.start()
    await daemon.ok("POST", "/host/reboot")
    host.wait_until_off()

    async def noticed() -> bool:
        return (await info(daemon))["boot_timestamp"] is None

    await until(noticed, within_s=10, what="that the bus has gone")
    refused, _ = await daemon.call("GET", "/host/services")
    await daemon.stop()
    host.boot()
    await daemon.start()

    async def back() -> bool:
        return (await info(daemon))["boot_timestamp"] is not None

    assert refused == 503
    await until(back, within_s=60, what="the host again")


async def test_bus_that_is_killed_is_found_again(host: Host, daemon: Daemon) -> None:
    await daemon.start()
    before = await info(daemon)
    lost_before = daemon.log().count("no_system_bus")

    host.run("systemctl", "kill", "--signal=KILL", "dbus.service")

    async def lost() -> bool:
        return daemon.log().count("no_system_bus") > lost_before

    async def back() -> bool:
        return (await info(daemon))["hostname"] == before["hostname"]

    await until(lost, within_s=10, what="that we notice")
    await until(back, within_s=60, what="the bus again")
    await daemon.stop()
    host.restart()  # its other services do not all get over that

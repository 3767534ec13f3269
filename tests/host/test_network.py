"""The network of a real host: NetworkManager as it is, what it tells of real interfaces, and the kernel without it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_interface
from typing import Any

import pytest
import pytest_asyncio

from rooftree.interfaces.bus import BusMethod, BusObject
from rooftree_host.bus_properties import declared
from rooftree_network.bus_objects import (
    ACTIVATE,
    ACTIVE,
    ADD_CONNECTION,
    CHECK_CONNECTIVITY,
    CHECKPOINT_ADJUST,
    CHECKPOINT_CREATE,
    CHECKPOINT_DESTROY,
    CHECKPOINT_ROLLBACK,
    CONNECTION_BY_UUID,
    DELETE,
    DEVICE,
    DISCONNECT,
    GET_APPLIED,
    GET_SECRETS,
    GET_SETTINGS,
    IP4,
    IP6,
    MANAGER,
    NETWORK_MANAGER,
    PROFILE,
    REAPPLY,
    SETTINGS,
    TAKE_SETTINGS,
    UPDATE,
    ActiveConnection,
    Device,
    Ip4Config,
    Ip6Config,
    Manager,
    StoredProfile,
)
from tests.host.rig.bus import bus_of, method_of, properties_of
from tests.host.rig.host import Host
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.waiting import until

pytestmark = pytest.mark.xdist_group("host")

PATH = "/org/freedesktop/NetworkManager"
THERE: list[tuple[type[Any], BusObject]] = [
    (Manager, MANAGER),
    (Device, DEVICE.at(f"{PATH}/Devices/2")),
    (ActiveConnection, ACTIVE.at(f"{PATH}/ActiveConnection/1")),
    (Ip4Config, IP4.at(f"{PATH}/IP4Config/1")),
    (Ip6Config, IP6.at(f"{PATH}/IP6Config/1")),
    (StoredProfile, PROFILE.at(f"{PATH}/Settings/1")),
]
"""What is there from the boot on: a wire, the loopback's connection and addresses. There are no radios and no VLANs."""
METHODS = [
    *((MANAGER, method) for method in (
        ACTIVATE, CHECK_CONNECTIVITY, CHECKPOINT_ADJUST, CHECKPOINT_CREATE, CHECKPOINT_DESTROY, CHECKPOINT_ROLLBACK,
    )),
    *((DEVICE.at(f"{PATH}/Devices/2"), method) for method in (DISCONNECT, GET_APPLIED, REAPPLY)),
    *((SETTINGS, method) for method in (ADD_CONNECTION, CONNECTION_BY_UUID)),
    *((PROFILE.at(f"{PATH}/Settings/1"), method) for method in (
        DELETE, GET_SECRETS, GET_SETTINGS, TAKE_SETTINGS, UPDATE,
    )),
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(engine: Engine) -> AsyncIterator[Daemon]:
    """A daemon on the host."""
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        yield daemon


@pytest.fixture
def lan(host: Host) -> Iterator[str]:
    """An interface that NetworkManager has set up: ``lan0``, one end of a cable within the host."""
    host.run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "far0")
    host.run("ip", "link", "set", "far0", "up")
    host.run("nmcli", "device", "set", "lan0", "managed", "yes")
    host.run(
        "nmcli", "connection", "add", "type", "ethernet", "ifname", "lan0", "con-name", "Supervisor lan0",
        "ipv4.method", "manual", "ipv4.addresses", "192.0.2.7/24", "ipv4.dns", "192.0.2.53", "ipv4.route-metric", "77",
        "ipv6.method", "manual", "ipv6.addresses", "2001:db8::7/64", "ipv6.addr-gen-mode", "stable-privacy",
        "ipv6.ip6-privacy", "2", "connection.mdns", "yes", "connection.llmnr", "no",
    )  # fmt: skip
    host.run("nmcli", "--wait", "20", "connection", "up", "Supervisor lan0")
    yield "lan0"
    host.run("nmcli", "connection", "delete", "Supervisor lan0")
    host.run("ip", "link", "delete", "lan0")


def read_inside(host: Host) -> dict[str, dict[str, Any]]:
    """The interfaces by name, as our reader has them from where NetworkManager can see it."""
    command = ["nsenter", f"--target={host.process}", "--pid", sys.executable, "-m", "tests.host.rig.network_reading"]
    done = subprocess.run([*command, host.bus_address], capture_output=True, text=True, check=True)
    interfaces: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return interfaces


async def interfaces(house: Daemon) -> dict[str, dict[str, Any]]:
    info = await house.ok("GET", "/network/info")
    return {interface["interface"]: interface for interface in info["interfaces"]}


# --- what is declared is so -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "at"), THERE, ids=lambda value: getattr(value, "__name__", None))
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


async def test_interface_of_network_manager_is_told_as_its_profile_says(host: Host, lan: str) -> None:
    shown = read_inside(host)[lan]

    assert (shown["type"], shown["enabled"], shown["connected"], shown["primary"]) == ("ethernet", True, True, False)
    assert shown["ipv4"] == {
        "method": "static",
        "address": ["192.0.2.7/24"],
        "nameservers": ["192.0.2.53"],
        "gateway": None,
        "route_metric": 77,
        "ready": True,
    }
    assert shown["ipv6"]["method"] == "static"
    assert "2001:db8::7/64" in shown["ipv6"]["address"]
    assert (shown["ipv6"]["addr_gen_mode"], shown["ipv6"]["ip6_privacy"]) == ("stable-privacy", "enabled")
    assert (shown["mdns"], shown["llmnr"]) == ("announce", "off")


async def test_hosts_own_wire_is_primary_and_nothing_of_its_container_engine_is_shown(
    host: Host, house: Daemon
) -> None:
    shown = await interfaces(house)
    route = json.loads(host.run("ip", "-j", "-4", "route", "show", "default"))[0]

    assert [name for name, entry in shown.items() if entry["primary"]] == [route["dev"]]
    assert shown[route["dev"]]["ipv4"]["gateway"] == route["gateway"]
    assert not {"docker0", "lo"} & shown.keys()
    assert (await house.ok("GET", "/network/interface/default/info"))["interface"] == route["dev"]


async def test_change_of_an_address_and_of_a_cable_is_seen(host: Host, house: Daemon, lan: str) -> None:
    before = (await interfaces(house))[lan]
    host.run("nmcli", "connection", "modify", "Supervisor lan0", "ipv4.addresses", "192.0.2.99/24")
    host.run("nmcli", "device", "reapply", lan)

    async def has_the_address() -> bool:
        return (await interfaces(house))[lan]["ipv4"]["address"] == ["192.0.2.99/24"]

    await until(has_the_address, within_s=10, what="the address")
    host.run("nmcli", "device", "disconnect", lan)

    async def is_disconnected() -> bool:
        shown = (await interfaces(house))[lan]
        return not shown["connected"] and not shown["enabled"]

    await until(is_disconnected, within_s=10, what="the end of the connection")

    assert before["ipv4"]["address"] == ["192.0.2.7/24"]
    assert before["ipv4"]["ready"] is True


async def test_kernel_answers_while_network_manager_is_masked(host: Host, house: Daemon) -> None:
    before = await interfaces(house)
    host.run("systemctl", "mask", "--runtime", "--now", "NetworkManager.service")
    try:

        async def has_gone() -> bool:
            return "network" not in (await house.ok("GET", "/host/info"))["features"]

        await until(has_gone, within_s=10, what="the end of NetworkManager")
        without = await interfaces(house)
    finally:
        host.run("systemctl", "unmask", "--runtime", "NetworkManager.service")
    host.run("systemctl", "start", "NetworkManager.service")

    (wire,) = (entry for entry in without.values() if entry["primary"])
    assert wire["interface"] in before
    assert wire["mac"] == before[wire["interface"]]["mac"]
    assert set(before[wire["interface"]]["ipv4"]["address"]) <= {*wire["ipv4"]["address"]}
    assert all(ip_interface(address) for address in wire["ipv6"]["address"])
    assert NETWORK_MANAGER in host.run("busctl", "list", "--acquired", "--no-legend")

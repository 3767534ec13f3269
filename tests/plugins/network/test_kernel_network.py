"""Interfaces as the kernel has them, in network namespaces of the test's own: real links of the real kernel."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooftree.process.system import System
from rooftree.testing import Client, running_system
from rooftree_network import kernel_network, rtnetlink
from rooftree_network.kernel_interfaces import interface_of, shown_links, tunnels_of
from rooftree_network.kernel_network import DefaultRoute, KernelNetwork, Link, nameservers_in, read_kernel
from rooftree_network.models import Vlan
from rooftree_network.plugin import NetworkPlugin
from rooftree_network.rtnetlink import changes_default_route
from tests.requirements import missing
from tests.rig.waiting import until

NOBODY_ASKED = {"plugins.network.internet_endpoints": []}


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


@pytest.fixture
def namespace() -> Iterator[None]:
    """A network with nothing in it but a loopback; what the test starts is in it too."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        missing("needs root and ip, to make networks of its own")
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.unshare(os.CLONE_NEWNET)
        ip("link set lo up")
        yield
    finally:
        os.setns(here, os.CLONE_NEWNET)
        os.close(here)


def cable(name: str, *, up: bool = True) -> None:
    """An interface with something at its other end."""
    ip(f"link add {name} type veth peer name {name}-far")
    ip(f"link set {name}-far up")
    if up:
        ip(f"link set {name} up")


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[Client]:
    async with (
        running_system(folder, plugins=[NetworkPlugin], settings=NOBODY_ASKED) as system,
        Client.over_unix(system) as client,
    ):
        yield client


async def interfaces(client: Client) -> dict[str, dict[str, Any]]:
    """By name."""
    info = (await client.get("/network/info")).data
    return {interface["interface"]: interface for interface in info["interfaces"]}


@pytest.mark.usefixtures("namespace")
async def test_interface_that_leads_out_is_told_with_its_addresses_and_way(tmp_path: Path) -> None:
    cable("lan0")
    ip("address add 192.0.2.7/24 dev lan0")
    ip("address add 2001:db8::7/64 dev lan0 nodad")
    ip("route add default via 192.0.2.1 dev lan0 metric 100")
    async with house(tmp_path) as client:
        (lan,) = (await interfaces(client)).values()
        by_mac = (await client.get(f"/network/interface/{lan['mac'].lower()}/info")).data
        by_word = (await client.get("/network/interface/Default/info")).data

    assert (lan["interface"], lan["type"], lan["primary"], lan["enabled"], lan["connected"]) == (
        "lan0", "ethernet", True, True, True,
    )  # fmt: skip
    assert lan["ipv4"] | {"nameservers": []} == {
        "method": "static",
        "address": ["192.0.2.7/24"],
        "nameservers": [],
        "gateway": "192.0.2.1",
        "route_metric": 100,
        "ready": True,
    }
    assert lan["ipv6"]["method"] == "static"
    assert "2001:db8::7/64" in lan["ipv6"]["address"]
    assert lan["ipv6"]["gateway"] is None
    assert by_mac == by_word == lan


@pytest.mark.usefixtures("namespace")
async def test_addresses_given_for_a_time_are_automatic_and_those_of_the_link_none(tmp_path: Path) -> None:
    cable("lan0")
    ip("address add 192.0.2.7/24 dev lan0 valid_lft 3600 preferred_lft 1800")
    ip("route add default via 192.0.2.1 dev lan0")
    async with house(tmp_path) as client:
        lan = (await interfaces(client))["lan0"]

    assert (lan["ipv4"]["method"], lan["ipv6"]["method"]) == ("auto", "disabled")


@pytest.mark.usefixtures("namespace")
async def test_bridge_that_leads_out_is_shown_and_what_containers_have_is_not(tmp_path: Path) -> None:
    ip("link add name docker0 type bridge")
    ip("link set docker0 up")
    cable("veth12")
    ip("link set veth12 master docker0")
    ip("link add name br0 type bridge")
    cable("lan0")
    ip("link set lan0 master br0")
    ip("link set br0 up")
    ip("address add 192.0.2.7/24 dev br0")
    ip("route add default via 192.0.2.1 dev br0")
    async with house(tmp_path) as client:
        shown = await interfaces(client)

    assert {name: (entry["type"], entry["kind"], entry["primary"]) for name, entry in shown.items()} == {
        "br0": ("ethernet", "bridge", True),
    }


def link(name: str, kind: str = "", **facts: Any) -> Link:
    """A link; of hardware, unless another kind is named."""
    usual = {
        "mac": "02:00:00:00:00:01", "is_up": True, "has_carrier": True, "master": None, "parent": None, "vlan_id": None,
        "is_wireless": False, "temporary_addresses": 0, "generation": 0, "addresses": (),
    }  # fmt: skip
    return Link(name=name, kind=kind, **(usual | facts))


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute of netlink."""
    return struct.pack("=HH", len(value) + 4, kind) + value + b"\0" * (-len(value) % 4)


async def test_vlan_names_its_number_and_what_it_lies_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """By messages that are made here: not every kernel that tests run on can make a VLAN."""
    info = attribute(1, b"vlan\0") + attribute(2, attribute(5, b"\x81\0") + attribute(1, struct.pack("=H", 42)))
    eth0 = struct.pack("=BxHiII", 0, 1, 2, 0x1, 0) + attribute(3, b"eth0\0") + attribute(1, bytes(6))
    vlan = struct.pack("=BxHiII", 0, 1, 5, 0x10001, 0) + attribute(3, b"eth0.42\0") + attribute(1, bytes(6))
    vlan += attribute(5, struct.pack("=i", 2)) + attribute(18, info)

    def dump(ask: int, *_: object) -> list[bytes]:
        return [eth0, vlan] if ask == 18 else []

    monkeypatch.setattr(rtnetlink, "_dump", dump)
    network = await read_kernel()

    (_, shown) = shown_links(network)
    interface = interface_of(shown, network, None)
    assert (interface.type, interface.vlan) == ("vlan", Vlan(id=42, parent="eth0"))


def test_route_by_two_links_is_two_ways_and_one_by_another_family_has_no_gateway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hops = b"".join(struct.pack("=HBBi", 8 + 8, 0, 0, link) + attribute(5, bytes((192, 0, 2, link))) for link in (2, 3))
    route = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 0, 0, 1, 0) + attribute(9, hops)
    elsewhere = struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, 0, 0, 1, 0) + attribute(4, struct.pack("=i", 2))
    by_ipv6 = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 0, 0, 1, 0) + attribute(4, struct.pack("=i", 4))
    by_ipv6 += attribute(18, struct.pack("=H", 10) + bytes(16))
    monkeypatch.setattr(
        rtnetlink, "_dump", lambda ask, answer, head: [route, elsewhere, by_ipv6] if head[0] == 2 else []
    )

    assert [(way.link, way.gateway) for way in rtnetlink.default_routes()] == [
        (2, "192.0.2.2"),
        (3, "192.0.2.3"),
        (4, None),
    ]


def test_tunnels_that_are_switched_on_are_told_apart_from_interfaces() -> None:
    network = KernelNetwork(
        links=[link("wg0", "wireguard"), link("tun0", "tun"), link("sit0", "sit", is_up=False), link("eth0")]
    )

    assert [(tunnel.interface, tunnel.kind) for tunnel in tunnels_of(network)] == [
        ("wg0", "wireguard"),
        ("tun0", "tun"),
    ]
    assert [entry.name for entry in shown_links(network)] == ["eth0"]


def test_hardware_counts_whatever_it_is_set_up_for_and_bridges_with_hardware_in_them() -> None:
    network = KernelNetwork(
        links=[
            link("eth0", master="br0"),
            link("wlan0", is_wireless=True),
            link("bond0", "bond"),
            link("br0", "bridge"),
            link("virbr0", "bridge"),
            link("eth0.5", "vlan", parent="eth0", vlan_id=5),
            link("eth0.5.6", "vlan", parent="eth0.5", vlan_id=6),
            link("shim0", "macvlan", parent="eth0"),
            link("tun0", "tun"),
            link("lo", "loopback"),
        ],
        routes=[DefaultRoute(family=4, link="shim0", gateway="192.0.2.1", metric=0)],
    )
    shown = {entry.interface: entry for entry in (interface_of(link, network, None) for link in shown_links(network))}

    assert {name: entry.kind for name, entry in shown.items()} == {
        "eth0": "ethernet",
        "wlan0": "wireless",
        "bond0": "bond",
        "br0": "bridge",
        "eth0.5": "vlan",
        "eth0.5.6": "vlan",
        "shim0": "macvlan",
    }
    assert shown["eth0"].ipv6.addr_gen_mode == "eui64"


def test_vlans_that_lie_on_each_other_in_a_circle_are_not_followed_for_ever() -> None:
    network = KernelNetwork(links=[link("a", "vlan", parent="b", vlan_id=1), link("b", "vlan", parent="a", vlan_id=2)])

    assert shown_links(network) == []


@pytest.mark.usefixtures("namespace")
async def test_change_is_seen_at_once_and_nothing_is_asked_while_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = []
    real = kernel_network._read

    def counted() -> KernelNetwork:
        readings.append(1)
        return real()

    monkeypatch.setattr(kernel_network, "_read", counted)
    cable("lan0")
    ip("route add default dev lan0")
    async with house(tmp_path) as client:
        await interfaces(client)
        first = len(readings)
        for _ in range(20):
            before = await interfaces(client)
        quiet = len(readings)
        ip("address add 192.0.2.9/24 dev lan0")

        async def seen() -> bool:
            return (await interfaces(client))["lan0"]["ipv4"]["address"] == ["192.0.2.9/24"]

        await until(seen, within_s=2, what="the new address")

    assert (before["lan0"]["ipv4"]["address"], first, quiet) == ([], 1, 1)


@pytest.mark.usefixtures("namespace")
async def test_network_without_anything_in_it_and_kernel_that_says_nothing_are_answered_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as client:
        empty = (await client.get("/network/info")).data
        nothing_primary = await client.get("/network/interface/default/info")

    def refused(*_: object) -> list[bytes]:
        raise PermissionError("no netlink here")

    monkeypatch.setattr(rtnetlink, "_dump", refused)
    async with house(tmp_path) as client:
        unknown = (await client.get("/network/info")).data

    assert empty == unknown
    assert empty == {
        "interfaces": [],
        "docker": {"interface": "hassio", "address": "172.30.32.0/23", "gateway": "172.30.32.1", "dns": "172.30.32.3"},
        "host_internet": None,
        "supervisor_internet": True,
        "why_offline": None,
        "tunnels": [],
    }
    assert (nothing_primary.status, nothing_primary.message) == (
        404,
        "Interface default does not exist: no interface of the host leads to the internet",
    )


@pytest.mark.usefixtures("namespace")
async def test_hostile_name_of_an_interface_is_a_name(tmp_path: Path) -> None:
    name = "a\"<&'x"
    cable("lan0", up=False)
    subprocess.run(["ip", "link", "set", "lan0", "name", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    subprocess.run(["ip", "route", "add", "default", "dev", name], check=True)
    async with house(tmp_path) as client:
        shown = await interfaces(client)
        single = await client.get("/network/interface/a%22%3C%26%27x/info")

    assert [*shown] == [name]
    assert single.data["interface"] == name


@pytest.mark.usefixtures("namespace")
async def test_jobs_are_refused_for_want_of_a_network_only_where_no_interface_has_a_connection(tmp_path: Path) -> None:
    cable("lan0")
    async with running_system(tmp_path, plugins=[NetworkPlugin], settings=NOBODY_ASKED) as system:
        without_any = await condition(system, "internet_host")
        ip("route add default dev lan0")
        reasons: list[str] = []

        async def refused() -> bool:
            reasons.extend(filter(None, [await condition(system, "internet_system")]))
            return bool(reasons)

        await until(refused, within_s=2, what="that there is no network")
        ip("address add 192.0.2.9/24 dev lan0")

        async def connected() -> bool:
            return await condition(system, "internet_host") is None

        await until(connected, within_s=2, what="that there is a network")

    assert without_any is None, "nobody knows of any interface: nothing is certain"
    assert "no interface (lan0) has a connection and an address" in reasons[0]


async def condition(system: System, name: str) -> str | None:
    """Why a condition of jobs does not hold."""
    try:
        await system.conditions.require("a_job", [name])
    except Exception as error:
        return str(error)
    return None


@given(st.binary(max_size=200))
def test_whatever_the_kernel_tells_is_read_to_its_end(datagram: bytes) -> None:
    assert changes_default_route(datagram) in {True, False}


@given(st.text())
def test_any_resolv_conf_can_be_read(text: str) -> None:
    nameservers_in(text)


def test_name_servers_of_this_host_itself_are_left_out() -> None:
    text = "# made by hand\nnameserver 192.0.2.53\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver x\n"

    assert nameservers_in(text + "search example\nnameserver\n") == ["192.0.2.53", "fe80::1"]

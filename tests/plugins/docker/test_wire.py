"""The rules for the add-on network's wire as they are written, and what happens where they can't be.

That they keep hostile add-ons from each other's addresses is shown in ``tests/attacks/test_wire.py``.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from rooftree_docker.bridge_ports import ports_there
from rooftree_docker.wire import NOT_HERE, NetworkWire, bound_port, makes_pairs, wire_of
from rooftree_docker.wire_rules import BoundPort, Wire, derived_mac, guard_rules, port_rules
from tests.requirements import needs

WIRE = Wire(
    interface="hassio",
    subnet=IPv4Network("172.30.32.0/23"),
    gateway=IPv4Address("172.30.32.1"),
    supervisor=IPv4Address("172.30.32.2"),
    paired=True,
)
WITH_IPV6 = evolve(WIRE, ipv6_subnet=IPv6Network("fd0c:ac1e:2100::/48"), ipv6_gateway=IPv6Address("fd0c:ac1e:2100::1"))
PORT = BoundPort(port="veth1a2b3c4", mac="02:42:ac:1e:21:00", address=IPv4Address("172.30.33.0"))
STRANGER = BoundPort(port="veth5d6e7f8", mac="fe:ed:00:00:00:01", address=IPv4Address("172.30.33.1"))
NETWORK: dict[str, Any] = {
    "Name": "hassio",
    "Options": {"com.docker.network.bridge.name": "hassio"},
    "IPAM": {"Config": [{"Subnet": "172.30.32.0/23", "Gateway": "172.30.32.1"}]},
    "Containers": {
        "a" * 64: {"MacAddress": "02:42:AC:1E:21:00", "IPv4Address": "172.30.33.0/23", "IPv6Address": ""},
        "b" * 64: {"MacAddress": "fe:ed:00:00:00:01", "IPv4Address": "172.30.33.1/23", "IPv6Address": ""},
    },
}
DOCKER_20 = {"Components": [{"Name": "Engine", "Version": "20.10.24+dfsg1"}]}


def test_wire_is_what_the_engine_says_of_its_network() -> None:
    six = {"Subnet": "fd0c:ac1e:2100::/48", "Gateway": "fd0c:ac1e:2100::1"}
    both = NETWORK | {"IPAM": {"Config": [*NETWORK["IPAM"]["Config"], six]}}

    assert wire_of(NETWORK) == evolve(WIRE, paired=False)
    assert wire_of(both) == evolve(WITH_IPV6, paired=False)
    assert wire_of({**NETWORK, "IPAM": {"Config": [{"Subnet": "172.30.32.0/23"}]}}).gateway == WIRE.gateway


@pytest.mark.parametrize(
    ("version", "pairs"),
    [
        (DOCKER_20, True),
        ({"Components": [{"Name": "Engine", "Version": "27.5.1"}]}, True),
        ({"Components": [{"Name": "Engine", "Version": "28.0.0"}]}, False),
        ({"Components": [{"Name": "Engine", "Version": "dev"}]}, False),
        ({"Components": [{"Name": "Podman Engine", "Version": "4.3.1"}]}, False),
        ({"Version": "20.10.24"}, False),
        ({}, False),
    ],
)
def test_pairs_are_demanded_only_of_engines_that_make_them(version: dict[str, Any], pairs: bool) -> None:
    """Of any other one each container would be cut off."""
    assert makes_pairs(version) is pairs


def test_guard_lets_nobody_but_our_own_port_have_our_address_and_nobody_the_gateways() -> None:
    rules = guard_rules(WIRE, by_bridge=True).splitlines()

    assert 'meta ibrname != "hassio" accept' in rules
    assert 'iifname != "rt*" meta protocol arp arp saddr ip 172.30.32.2 drop' in rules
    assert 'iifname != "rt*" meta protocol ip ip saddr 172.30.32.2 drop' in rules
    assert f'iifname != "rt*" ether saddr {derived_mac(WIRE.supervisor)} drop' in rules
    assert {f"meta protocol {words} 172.30.32.1 drop" for words in ("arp arp saddr ip", "ip ip saddr")} <= set(rules)


def test_address_whose_hardware_address_somebody_chose_is_a_pair_too() -> None:
    rules = guard_rules(WIRE, [STRANGER], by_bridge=True)

    assert "02:42:ac:1e:21:ff . 172.30.33.255" not in rules  # the broadcast address is nobody's
    assert "02:42:ac:1e:21:fe . 172.30.33.254" in rules
    assert f"{STRANGER.mac} . {STRANGER.address}" in rules


@pytest.mark.parametrize("wire", [evolve(WIRE, paired=False), evolve(WIRE, subnet=IPv4Network("172.16.0.0/12"))])
def test_no_pairs_where_the_engine_makes_none_or_there_would_be_too_many(wire: Wire) -> None:
    assert "pairs" not in guard_rules(wire, by_bridge=True)


def test_port_may_claim_what_the_engine_gave_it_and_nothing_else_of_the_network() -> None:
    rules = port_rules(WIRE, [PORT])

    assert f"chain port_{PORT.port} {{\nether saddr != {PORT.mac} drop\n" in rules
    assert f"arp saddr ip {WIRE.subnet} arp saddr ip != {PORT.address} drop" in rules
    assert f"ip saddr {WIRE.subnet} ip saddr != {PORT.address} drop" in rules
    assert f'"{PORT.port}" : jump port_{PORT.port}' in rules


@pytest.mark.parametrize("mac", ["", "02:42", "02:42:ac:1e:21:00 drop", "zz:42:ac:1e:21:00"])
def test_what_the_engine_says_becomes_no_rule_unless_it_is_an_address(mac: str) -> None:
    with pytest.raises(ValueError, match="is not a hardware address"):
        bound_port("veth1", {"MacAddress": mac, "IPv4Address": "172.30.33.0/23"})
    with pytest.raises(ValueError, match="Only decimal digits permitted"):
        bound_port("veth1", {"MacAddress": PORT.mac, "IPv4Address": "172.30.33.0; drop"})


@needs(shutil.which("nft") is not None, "needs the command nft (package nftables)")
@pytest.mark.parametrize("interface", ["hassio", "rt-a.b_hassio"])
@pytest.mark.parametrize("wire", [WIRE, WITH_IPV6, evolve(WIRE, paired=False)], ids=["ipv4", "ipv6", "random"])
def test_nft_understands_the_rules(wire: Wire, interface: str) -> None:
    wire = evolve(wire, interface=interface)
    six = evolve(PORT, ipv6_address=IPv6Address("fd0c:ac1e:2100::2"))
    nothing = BoundPort(port="veth0", mac=PORT.mac, address=None)
    for rules in (
        guard_rules(wire, [STRANGER], by_bridge=False),
        port_rules(wire, [six, STRANGER, nothing]),
        port_rules(wire, []),
    ):
        done = subprocess.run(
            ["nft", "--check", "--file", "-"], input=rules, capture_output=True, text=True, check=False
        )
        if "Operation not permitted" in done.stderr:
            pytest.skip("nft checks rules only for root")
        assert done.stderr == ""


def a_wire(told: list[str | None]) -> NetworkWire:
    """A wire of an engine that has the network, and whose containers have ended meanwhile."""

    async def describe() -> dict[str, Any]:
        return NETWORK

    async def inspect(_container: str) -> None:
        return None

    async def version() -> dict[str, Any]:
        return DOCKER_20

    return NetworkWire(describe, inspect, version, told.append)


@pytest.fixture
def bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bridge is there."""
    monkeypatch.setattr("rooftree_docker.wire._is_here", lambda _interface: True)


@pytest.mark.usefixtures("bridge")
async def test_missing_nft_is_said_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    told: list[str | None] = []
    wire = a_wire(told)

    await wire.guard(NETWORK)
    await wire.guard(NETWORK)

    assert told == ["the command nft is not installed (package nftables)"]


@pytest.mark.usefixtures("bridge")
async def test_guard_that_is_refused_is_reported_until_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    command = tmp_path / "nft"
    command.write_text("#!/bin/sh\necho 'Error: Operation not permitted (you must be root)' >&2\nexit 1\n")
    command.chmod(0o755)
    told: list[str | None] = []
    wire = a_wire(told)

    await wire.guard(NETWORK)
    command.write_text("#!/bin/sh\ncat >/dev/null\n")
    await wire._mend_tables()

    assert told == [
        "the command nft failed: Error: Operation not permitted (you must be root)",
        None,
    ]


async def test_tables_of_a_network_that_went_while_nobody_ran_go_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    command, given = tmp_path / "nft", tmp_path / "given"
    tables = "table bridge rooftree_guard_gone\ntable bridge rooftree_ports_gone\ntable bridge of_somebody"
    command.write_text(
        f"#!/bin/sh\nif [ $1 = list ]; then echo '{tables}'; else cat >{given}.part; mv {given}.part {given}; fi\n"
    )
    command.chmod(0o755)
    told: list[str | None] = []

    keeping = asyncio.create_task(a_wire(told).run())
    async with asyncio.timeout(10):
        while not given.exists():
            await asyncio.sleep(0.01)
    keeping.cancel()

    assert [line for line in given.read_text().splitlines() if "delete" in line] == [
        "delete table bridge rooftree_guard_gone",
        "delete table bridge rooftree_ports_gone",
    ]
    assert told == []


@pytest.mark.usefixtures("bridge")
async def test_kernel_that_cannot_tell_bridges_gets_rules_that_go_by_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    command, given = tmp_path / "nft", tmp_path / "given"
    command.write_text(
        f"#!/bin/sh\ncat >{given}\nif grep -q ibrname {given}; then echo 'Operation not supported' >&2; exit 1; fi\n"
    )
    command.chmod(0o755)
    told: list[str | None] = []

    await a_wire(told).guard(NETWORK)

    assert told == [None]
    assert "arp saddr ip 172.30.32.2 drop" in given.read_text()


async def test_network_that_this_machine_does_not_carry_is_said() -> None:
    told: list[str | None] = []

    await a_wire(told).guard(NETWORK | {"Options": {"com.docker.network.bridge.name": "rt-not-here"}})

    assert told == [NOT_HERE]
    assert ports_there("rt-not-here") == frozenset()

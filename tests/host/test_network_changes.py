"""Changing the network of a real host: a real NetworkManager, a cable with a router and a real dnsmasq at its other
end, over the official client. What is changed is tried; what does not work goes back, whoever is killed in between."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

import aiohasupervisor.exceptions as refusals
import pytest
import pytest_asyncio
from aiohasupervisor import SupervisorClient
from aiohasupervisor.models import (
    InterfaceAddrGenMode,
    InterfaceIp6Privacy,
    InterfaceMethod,
    IPv4Config,
    IPv6Config,
    MulticastDnsMode,
    NetworkInterfaceConfig,
    VlanConfig,
)

from tests.host.rig.bus import bus_of
from tests.host.rig.host import Host
from tests.host.rig.lan import ROUTER, ROUTER6, Lan, lan
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.waiting import until

pytestmark = pytest.mark.xdist_group("host")

HOME = IPv4Config(
    method=InterfaceMethod.STATIC,
    address=[IPv4Interface("192.0.2.7/24")],
    gateway=IPv4Address(ROUTER),
    nameservers=[IPv4Address("192.0.2.53")],
    route_metric=900,
)
"""How the interface is at first."""
FIRST = (
    "ipv4.method", "manual", "ipv4.addresses", "192.0.2.7/24", "ipv4.gateway", ROUTER, "ipv4.dns", "192.0.2.53",
    "ipv4.route-metric", "900", "ipv4.routes", "198.51.100.0/24 192.0.2.1", "ipv4.dns-search", "example.org",
    "ipv6.method", "auto", "802-3-ethernet.mtu", "1400",
)  # fmt: skip
RECONNECTS_NEVER_S = 1.0
"""What a change may take that needs no reconnect."""
CONFIRMS_S = 5


def moved(address: str, **more: Any) -> dict[str, Any]:
    """A body that gives the interface another fixed address."""
    return {"ipv4": {"method": "static", "address": [address], "gateway": ROUTER, "route_metric": 900}, **more}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(host: Host) -> AsyncIterator[Daemon]:
    """A daemon on the host, where NetworkManager sees it."""
    async with disposable_daemon(host.visible_engine) as daemon:
        await daemon.start()
        yield daemon


@pytest.fixture
def cable(host: Host) -> Iterator[Lan]:
    """The cable, with a fixed address at our end."""
    with lan(host) as cable:
        cable.profile(*FIRST)
        yield cable


@asynccontextmanager
async def calling(house: Daemon) -> AsyncIterator[SupervisorClient]:
    async with SupervisorClient(house.url, house.admin_token) as client:
        yield client


def connection_of(cable: Lan) -> str:
    """Another text after every reconnect."""
    return cable.nm("--terse", "--fields", "GENERAL.DBUS-PATH", "connection", "show", f"Supervisor {cable.near}")


async def until_given_back(cable: Lan, address: str, within_s: float) -> None:
    """Wait until it is the only one again: the other goes a moment before it comes."""

    async def is_back() -> bool:
        return await asyncio.to_thread(cable.addresses) == {address}

    await until(is_back, within_s=within_s, what=f"{address} and no other")


# --- without a reconnect ----------------------------------------------------------------------------------------------


async def test_fixed_address_is_changed_within_a_second_without_a_reconnect_and_keeps_what_nobody_named(
    house: Daemon, cable: Lan
) -> None:
    before, config = connection_of(cable), attrs_of(HOME, address=[IPv4Interface("192.0.2.9/24")])
    async with calling(house) as client:
        began = time.monotonic()
        await client.network.update_interface(cable.near, NetworkInterfaceConfig(ipv4=config))
        took_s = time.monotonic() - began
        shown = await client.network.interface_info(cable.near)

    assert took_s <= RECONNECTS_NEVER_S
    assert connection_of(cable) == before
    assert cable.addresses() == {"192.0.2.9/24"}
    assert shown.ipv4 is not None
    assert (shown.ipv4.address, shown.ipv4.gateway) == ([IPv4Interface("192.0.2.9/24")], IPv4Address(ROUTER))
    assert cable.settings("ipv4.addresses", "ipv4.dns", "ipv4.routes", "ipv4.dns-search", "802-3-ethernet.mtu") == {
        "ipv4.addresses": "192.0.2.9/24",
        "ipv4.dns": "192.0.2.53",
        "ipv4.routes": "198.51.100.0/24 192.0.2.1",
        "ipv4.dns-search": "example.org",
        "802-3-ethernet.mtu": "1400",
    }
    assert not cable.host.run("ls", "/run/NetworkManager/system-connections").count("Supervisor")


def attrs_of(config: IPv4Config, **changes: Any) -> IPv4Config:
    """The same, with some of it otherwise."""
    return IPv4Config(**{**{name: getattr(config, name) for name in config.__slots__}, **changes})


async def test_what_is_so_already_is_left_untouched(house: Daemon, cable: Lan) -> None:
    before = (connection_of(cable), cable.host.run("stat", "--format=%y", profile_file(cable)))
    async with calling(house) as client:
        await client.network.update_interface(cable.near, NetworkInterfaceConfig(ipv4=HOME, enabled=True))
    plan = await house.ok("POST", f"/network/interface/{cable.near}/update?plan=1", {"enabled": True})

    assert (connection_of(cable), cable.host.run("stat", "--format=%y", profile_file(cable))) == before
    assert plan["steps"] == []


def profile_file(cable: Lan) -> str:
    return f"/etc/NetworkManager/system-connections/Supervisor {cable.near}.nmconnection"


async def test_plan_shows_what_becomes_otherwise_and_whether_the_connection_drops(house: Daemon, cable: Lan) -> None:
    before = cable.addresses()
    plan = await house.ok("POST", f"/network/interface/{cable.near}/update?plan=1", moved("192.0.2.9/24"))

    notes = plan["steps"][0]["notes"]
    assert notes[0] == "ipv4.addresses: 192.0.2.7/24 → 192.0.2.9/24"
    assert "What is connected over 192.0.2.7 loses its connection" in notes
    assert [(step["kind"], step["downtime"]) for step in plan["steps"]] == [
        ("network.reapply_profile/1", False),
        ("network.judge_reach/1", False),
        ("network.keep_profile/1", False),
    ]
    assert cable.addresses() == before


async def test_every_section_is_written_as_it_was_said(house: Daemon, cable: Lan) -> None:
    ipv6 = IPv6Config(
        method=InterfaceMethod.STATIC,
        address=[IPv6Interface("2001:db8:1::7/64")],
        gateway=IPv6Address(ROUTER6),
        nameservers=[IPv6Address("2001:db8:1::53")],
        route_metric=901,
    )
    names = {"mdns": MulticastDnsMode.RESOLVE, "llmnr": MulticastDnsMode.OFF}
    async with calling(house) as client:
        await client.network.update_interface(cable.near, NetworkInterfaceConfig(ipv6=ipv6, **names))
        fixed = await client.network.interface_info(cable.near)
        by_itself = IPv6Config(
            method=InterfaceMethod.AUTO,
            addr_gen_mode=InterfaceAddrGenMode.EUI64,
            ip6_privacy=InterfaceIp6Privacy.ENABLED_PREFER_PUBLIC,
        )
        await client.network.update_interface(cable.near, NetworkInterfaceConfig(ipv6=by_itself))
        given = await client.network.interface_info(cable.near)

    assert fixed.ipv6 is not None and given.ipv6 is not None
    assert fixed.ipv6.method is InterfaceMethod.STATIC
    assert IPv6Interface("2001:db8:1::7/64") in fixed.ipv6.address
    assert (fixed.ipv6.gateway, fixed.ipv6.route_metric) == (IPv6Address(ROUTER6), 901)
    assert fixed.ipv6.nameservers == [IPv6Address("2001:db8:1::53")]
    assert (fixed.mdns, fixed.llmnr) == (MulticastDnsMode.RESOLVE, MulticastDnsMode.OFF)
    assert (given.ipv6.addr_gen_mode, given.ipv6.ip6_privacy) == (
        InterfaceAddrGenMode.EUI64,
        InterfaceIp6Privacy.ENABLED_PREFER_PUBLIC,
    )
    assert (given.mdns, given.ipv6.route_metric) == (MulticastDnsMode.RESOLVE, None)


async def test_addresses_come_from_dhcp_and_router_advertisements_and_ipv6_that_is_disabled_is_off(
    house: Daemon, cable: Lan
) -> None:
    cable.give_out_addresses()
    auto, off = InterfaceMethod.AUTO, InterfaceMethod.DISABLED
    async with calling(house) as client:
        config = NetworkInterfaceConfig(ipv4=IPv4Config(method=auto), ipv6=IPv6Config(method=auto))
        await client.network.update_interface(cable.near, config)

        async def has_both() -> bool:
            return any(address.startswith("2001:db8:1:") for address in cable.addresses())

        await until(has_both, within_s=20, what="an address of the router's advertisement")
        given = cable.addresses()
        await client.network.update_interface(cable.near, NetworkInterfaceConfig(ipv6=IPv6Config(method=off)))
    shown = cable.host.run("ip", "-6", "-brief", "address", "show", "dev", cable.near)

    assert any(address.startswith("192.0.2.1") and address != "192.0.2.7/24" for address in given)
    assert "inet6" not in shown and "fe80" not in shown
    assert cable.settings("ipv4.method", "ipv6.method") == {"ipv4.method": "auto", "ipv6.method": "disabled"}


# --- what does not work goes back -------------------------------------------------------------------------------------


async def test_gateway_that_does_not_answer_takes_the_change_back(house: Daemon, cable: Lan) -> None:
    async with calling(house) as client:
        config = attrs_of(HOME, address=[IPv4Interface("192.0.2.9/24")], gateway=IPv4Address("192.0.2.99"))
        with pytest.raises(refusals.HostNetworkInterfaceUpdateError, match=r"192\.0\.2\.99 does not answer"):
            await client.network.update_interface(cable.near, NetworkInterfaceConfig(ipv4=config))

    assert cable.addresses() == {"192.0.2.7/24"}
    assert cable.settings("ipv4.addresses", "ipv4.gateway") == {
        "ipv4.addresses": "192.0.2.7/24",
        "ipv4.gateway": ROUTER,
    }


async def test_change_that_somebody_confirms_stays(house: Daemon, cable: Lan) -> None:
    await house.ok("POST", f"/network/interface/{cable.near}/update", moved("192.0.2.9/24", confirm_within=60))
    trial = await until(waiting_of(house), within_s=10, what="the trial")
    on_disk = cable.settings("ipv4.addresses")
    await house.ok("POST", "/kernel/v1/network/confirm")
    second, _ = await house.call("POST", "/kernel/v1/network/confirm")

    assert trial["interface"] == cable.near and 50 < trial["within_s"] <= 60
    assert on_disk == {"ipv4.addresses": "192.0.2.7/24"}, "what is tried is not on the disk"
    assert cable.settings("ipv4.addresses") == {"ipv4.addresses": "192.0.2.9/24"}
    assert cable.addresses() == {"192.0.2.9/24"}
    assert second == 409


def waiting_of(house: Daemon) -> Any:
    async def waiting() -> Any:
        return (await house.ok("GET", "/kernel/v1/network/trial"))["waiting"]

    return waiting


async def test_change_that_nobody_confirms_goes_back(house: Daemon, cable: Lan) -> None:
    body = moved("192.0.2.9/24", confirm_within=CONFIRMS_S)
    answer = await house.ok("POST", f"/network/interface/{cable.near}/update", body)
    await until(waiting_of(house), within_s=10, what="the trial")
    tried = cable.addresses()
    job = await house.job(answer["job_id"])

    assert tried == {"192.0.2.9/24"}
    assert "Nobody confirmed the change to lan0 within 5 s" in job["errors"][0]["message"]
    assert cable.addresses() == {"192.0.2.7/24"}
    assert cable.settings("ipv4.addresses") == {"ipv4.addresses": "192.0.2.7/24"}


async def test_network_manager_gives_the_address_back_when_the_daemon_is_killed_in_between(
    house: Daemon, cable: Lan
) -> None:
    body = moved("203.0.113.9/24", confirm_within=CONFIRMS_S)
    body["ipv4"]["gateway"] = "203.0.113.1"
    answer = await house.ok("POST", f"/network/interface/{cable.near}/update", body)
    await until(waiting_of(house), within_s=10, what="the trial")
    tried = cable.addresses()
    await house.kill()
    try:
        await until_given_back(cable, "192.0.2.7/24", within_s=30)
    finally:
        await house.start()
    job = await house.job(answer["job_id"])

    assert tried == {"203.0.113.9/24"}, "the old address was lost"
    assert cable.addresses() == {"192.0.2.7/24"}
    assert cable.settings("ipv4.addresses") == {"ipv4.addresses": "192.0.2.7/24"}
    assert job["errors"][0]["type"] == "JobInterrupted"
    assert [problem for problem in (await house.ok("GET", "/kernel/v1/problems"))["problems"]
            if problem["type"] == "undo_failed"] == []  # fmt: skip


@pytest.mark.parametrize("failpoint", ["step:network.reapply_profile/1:do", "step:network.keep_profile/1:do"])
async def test_daemon_that_is_killed_at_a_step_leaves_the_old_network_or_the_new_one(
    house: Daemon, cable: Lan, failpoint: str
) -> None:
    await house.kill()
    await house.start(failpoints=f"{failpoint}=kill")
    with pytest.raises(Exception, match=r"."):
        await house.ok("POST", f"/network/interface/{cable.near}/update", moved("192.0.2.9/24"))
    await house.ended()
    await house.start()

    async def no_job_is_open() -> bool:
        return all(job["done"] for job in (await house.ok("GET", "/jobs/info"))["jobs"])

    await until(no_job_is_open, within_s=40, what="the end of the recovery")
    address = {"192.0.2.9/24"} if "keep" in failpoint else {"192.0.2.7/24"}

    assert cable.addresses() == address
    assert {cable.settings("ipv4.addresses")["ipv4.addresses"]} == address
    assert await checkpoints(cable.host) == []


async def checkpoints(host: Host) -> list[str]:
    async with bus_of(host) as bus:
        nm = "org.freedesktop.NetworkManager"
        return list((await bus.properties(nm, "/org/freedesktop/NetworkManager", nm))["Checkpoints"])


async def test_change_goes_back_when_network_manager_is_killed_in_between(house: Daemon, cable: Lan) -> None:
    answer = await house.ok("POST", f"/network/interface/{cable.near}/update", moved("192.0.2.9/24", confirm_within=60))
    await until(waiting_of(house), within_s=10, what="the trial")
    cable.host.systemctl("kill", "--signal=KILL", "NetworkManager.service")
    job = await house.job(answer["job_id"])

    assert job["errors"]
    assert cable.addresses() == {"192.0.2.7/24"}
    assert cable.settings("ipv4.addresses") == {"ipv4.addresses": "192.0.2.7/24"}


async def test_another_programs_trial_is_not_ended_by_ours(house: Daemon, cable: Lan) -> None:
    nm, path = "org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager"
    call = ("busctl", "call", nm, path, nm)
    device = cable.host.run(*call, "GetDeviceByIpIface", "s", cable.near).split('"')[1]
    theirs = cable.host.run(*call, "CheckpointCreate", "aouu", "1", device, "60", "0").split('"')[1]
    status, body = await house.call("POST", f"/network/interface/{cable.near}/update", moved("192.0.2.9/24"))
    after = await checkpoints(cable.host)
    cable.host.run(*call, "CheckpointDestroy", "o", theirs)

    assert (status, after) == (409, [theirs])
    assert "Another program is trying out a change to lan0" in body["message"]


# --- in and out of use ------------------------------------------------------------------------------------------------


async def test_interface_is_taken_out_of_use_and_set_up_again(house: Daemon, cable: Lan) -> None:
    cable.profile("ipv4.method", "manual", "ipv4.addresses", "192.0.2.7/24", "ipv6.method", "disabled")
    async with calling(house) as client:
        await client.network.update_interface(cable.near, NetworkInterfaceConfig(enabled=False))
        off = await client.network.interface_info(cable.near)
        gone = cable.addresses()
        with pytest.raises(refusals.HostNetworkInterfaceUpdateNotFoundError, match="out of use"):
            await client.network.update_interface(cable.near, NetworkInterfaceConfig(ipv4=HOME))
        await client.network.update_interface(cable.near, NetworkInterfaceConfig(ipv4=HOME, enabled=True))
        on = await client.network.interface_info(cable.near)

    assert (off.enabled, off.connected, gone) == (False, False, set())
    assert (on.enabled, on.connected) == (True, True)
    assert cable.addresses() >= {"192.0.2.7/24"}
    assert cable.settings("connection.id", "connection.interface-name", "connection.autoconnect", "ipv6.method") == {
        "connection.id": "Supervisor lan0",
        "connection.interface-name": "lan0",
        "connection.autoconnect": "yes",
        "ipv6.method": "auto",
    }


async def test_only_way_out_is_not_taken_out_of_use_unless_somebody_confirms(house: Daemon, cable: Lan) -> None:
    body = {"enabled": False}
    status, refused = await house.call("POST", f"/network/interface/{cable.near}/update", body)
    before = connection_of(cable)
    answer = await house.ok("POST", f"/network/interface/{cable.near}/update", {**body, "confirm_within": CONFIRMS_S})
    await until(waiting_of(house), within_s=10, what="the trial")
    off = cable.addresses()
    await house.job(answer["job_id"])

    assert status == 400 and "nothing else leads out of this host" in refused["message"]
    assert before
    assert off == set()
    assert cable.addresses() >= {"192.0.2.7/24"}
    assert cable.settings("ipv4.addresses") == {"ipv4.addresses": "192.0.2.7/24"}


async def test_profile_for_several_interfaces_is_copied_for_the_one_that_is_changed(
    house: Daemon, cable: Lan, host: Host
) -> None:
    cable.nm("connection", "delete", "Supervisor lan0")
    host.run("ip", "link", "add", "lan1", "type", "veth", "peer", "name", "far1")
    try:
        host.run("ip", "link", "set", "far1", "up")
        cable.nm("device", "set", "lan1", "managed", "yes")
        everything = (
            "type",
            "ethernet",
            "ifname",
            "*",
            "con-name",
            "everything",
            "connection.multi-connect",
            "multiple",
        )
        cable.nm("connection", "add", *everything, "ipv4.method", "link-local", "802-3-ethernet.mtu", "1400")
        for near in (cable.near, "lan1"):
            cable.nm("--wait", "20", "connection", "up", "everything", "ifname", near)
        await house.ok("POST", f"/network/interface/{cable.near}/update", moved("192.0.2.9/24"))
        used = dict(
            line.split(":") for line in cable.nm("--terse", "--fields", "DEVICE,CONNECTION", "device").splitlines()
        )
        copied = cable.nm(
            "--terse",
            "--fields",
            "802-3-ethernet.mtu,connection.interface-name",
            "connection",
            "show",
            used[cable.near],
        )
        other = cable.nm("--terse", "--fields", "ipv4.method", "connection", "show", "everything")
    finally:
        host.run("ip", "link", "delete", "lan1")

    assert used["lan1"] == "everything"
    assert copied.splitlines() == ["802-3-ethernet.mtu:1400", "connection.interface-name:lan0"]
    assert other == "ipv4.method:link-local"


async def test_bridge_is_shown_as_what_it_is_and_changed(house: Daemon, cable: Lan) -> None:
    settings = ("ipv4.method", "manual", "ipv4.addresses", "203.0.113.7/24", "ipv6.method", "disabled")
    cable.nm(
        "connection", "add", "type", "bridge", "ifname", "br7", "con-name", "Supervisor br7", "stp", "no", *settings
    )
    try:
        cable.nm("--wait", "20", "connection", "up", "Supervisor br7")
        async with calling(house) as client:
            config = IPv4Config(method=InterfaceMethod.STATIC, address=[IPv4Interface("203.0.113.8/24")])
            await client.network.update_interface("br7", NetworkInterfaceConfig(ipv4=config))
        shown = await house.ok("GET", "/network/interface/br7/info")
    finally:
        cable.nm("connection", "delete", "Supervisor br7")

    assert (shown["type"], shown["kind"], shown["ipv4"]["address"]) == ("ethernet", "bridge", ["203.0.113.8/24"])


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"ipv4": {"nameservers": ["192.0.2.53"]}}, "ipv4: a section without a method is static"),
        ({"ipv4": {"method": "static"}}, "ipv4.address: method static needs an address"),
        ({"ipv4": {"method": "static", "address": ["192.0.2.9/24"], "gateway": "203.0.113.1"}}, "ipv4.gateway: 203"),
        ({"wifi": {"ssid": "attic"}}, "wifi: lan0 is no wireless interface"),
        ({"colour": "blue"}, "colour"),
        ({}, "says nothing"),
    ],
)
async def test_what_can_not_be_meant_is_refused_and_changes_nothing(
    house: Daemon, cable: Lan, body: dict[str, Any], sentence: str
) -> None:
    status, answer = await house.call("POST", f"/network/interface/{cable.near}/update", body)

    assert (status, sentence in answer["message"]) == (400, True), answer
    assert cable.addresses() == {"192.0.2.7/24"}


async def test_interface_with_a_hostile_name_is_changed_as_any_other(house: Daemon, host: Host) -> None:
    name = "l'a$(id);&2e\"<"
    with lan(host, name) as cable:
        cable.profile("ipv4.method", "manual", "ipv4.addresses", "192.0.2.7/24", "ipv6.method", "disabled")
        await house.ok(
            "POST", "/network/interface/l'a$(id);&2e%22%3C/update",
            {"ipv4": {"method": "static", "address": ["192.0.2.9/24"]}},
        )  # fmt: skip
        addresses = cable.addresses()

    assert addresses == {"192.0.2.9/24"}


async def test_vlan_is_added_or_refused_by_the_kernel_and_leaves_nothing(house: Daemon, cable: Lan) -> None:
    refused = {}
    async with calling(house) as client:
        for number in (0, 4095, 99999999999):
            with pytest.raises(refusals.SupervisorBadRequestError, match="id: must be from 1 to 4094"):
                await client.network.save_vlan(cable.near, number)
        config = VlanConfig(ipv4=IPv4Config(method=InterfaceMethod.STATIC, address=[IPv4Interface("203.0.113.7/24")]))
        try:
            await client.network.save_vlan(cable.near, 7, config)
        except refusals.HostNetworkActivationFailedError as error:
            refused["reason"] = str(error)
        else:
            shown = await client.network.interface_info("lan0.7")
            with pytest.raises(refusals.SupervisorBadRequestError, match="already"):
                await client.network.save_vlan(cable.near, 7, config)
            await client.network.update_interface("lan0.7", NetworkInterfaceConfig(enabled=False))

    profiles = json.dumps(cable.nm("--terse", "--fields", "NAME", "connection", "show"))
    assert "lan0.7" not in profiles
    if refused:
        assert "Failed to create VLAN interface" in refused["reason"], "a kernel without VLANs"
    else:
        assert shown.vlan is not None and (shown.vlan.id, shown.vlan.parent) == (7, "lan0")
    assert await checkpoints(cable.host) == []


async def test_without_network_manager_a_change_says_what_to_do(house: Daemon, cable: Lan) -> None:
    cable.host.run("systemctl", "mask", "--runtime", "--now", "NetworkManager.service")
    try:

        async def has_gone() -> bool:
            return "network" not in (await house.ok("GET", "/host/info"))["features"]

        await until(has_gone, within_s=10, what="the end of NetworkManager")
        status, body = await house.call("POST", "/network/interface/default/update", {"enabled": True})
    finally:
        cable.host.run("systemctl", "unmask", "--runtime", "NetworkManager.service")
        cable.host.run("systemctl", "start", "NetworkManager.service")

    assert status == 503
    assert "not set up by NetworkManager" in body["message"] and "/etc/systemd/network" in body["message"]

"""Interfaces and the host's internet as NetworkManager has them: a stand-in on a real bus. The real one is in
``tests/host``."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from rooftree.interfaces.bus import SYSTEM_BUS
from rooftree.interfaces.network import NETWORK, InternetChanged
from rooftree.process.system import System
from rooftree.testing import Client, running_system
from rooftree_host.plugin import HostPlugin
from rooftree_host.system_bus import HostBus
from rooftree_network import host_network, kernel_network
from rooftree_network.kernel_network import Address, DefaultRoute, KernelNetwork
from rooftree_network.plugin import NetworkPlugin
from rooftree_resolution.plugin import ResolutionPlugin
from rooftree_supervisor.plugin import SupervisorPlugin
from tests.bus.machine import NETWORK_MANAGER as NM
from tests.bus.network_machine import PATH
from tests.bus.private_bus import PrivateBus, Services, private_bus, services
from tests.plugins.network.test_kernel_network import link
from tests.rig.waiting import until

LAN = Address(text="198.51.100.9/24", family=4, reaches_out=True, dynamic=True, tentative=False)
KERNEL = KernelNetwork(
    links=[
        link("eth0", mac="02:00:00:00:00:01", addresses=[LAN]),
        link("eth2", mac="02:00:00:00:00:08", addresses=[LAN]),
        link("eth9", mac="02:00:00:00:00:99"),
    ],
    routes=[DefaultRoute(family=4, link="eth2", gateway="198.51.100.1", metric=0)],
    nameservers=["198.51.100.53", "2001:db8::53"],
)
"""What the kernel says: of these only ``eth2`` is one that NetworkManager knows and leaves alone; ``eth9`` of the host
has another address."""


@frozen
class House:
    system: System
    client: Client
    bus: PrivateBus
    manager: Services

    async def info(self) -> dict[str, Any]:
        info: dict[str, Any] = (await self.client.get("/network/info")).data
        return info

    async def interfaces(self) -> dict[str, dict[str, Any]]:
        return {interface["interface"]: interface for interface in (await self.info())["interfaces"]}

    async def change(self, path: str, interface: str, **values: Any) -> None:
        await self.manager.change(NM, path, interface, **values)

    async def until_info(self, condition: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """The first answer of which that is true."""
        infos = []

        async def reached() -> bool:
            infos.append(await self.info())
            return bool(condition(infos[-1]))

        await until(reached, within_s=5, what=what)
        return infos[-1]


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(kernel_network, "_read", lambda: KERNEL)
    monkeypatch.setattr(host_network, "KEPT_S", 60.0)  # what is not told of would be seen in a while
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="rooftree-")
    with folder as sockets:
        async with (
            private_bus(Path(sockets)) as bus,
            services(bus.address, machine="tests.bus.network_machine") as manager,
            running_system(
                tmp_path,
                plugins=[HostPlugin, NetworkPlugin, ResolutionPlugin, SupervisorPlugin],
                settings={"plugins.host.bus": bus.address, "plugins.network.internet_endpoints": []},
            ) as system,
            Client.over_unix(system) as client,
        ):
            yield House(system, client, bus, manager)


# --- what is shown ----------------------------------------------------------------------------------------------------


async def test_wire_is_told_as_its_profile_and_its_connection_say(house: House) -> None:
    eth0 = (await house.interfaces())["eth0"]

    assert eth0 == {
        "interface": "eth0",
        "type": "ethernet",
        "kind": "ethernet",
        "enabled": True,
        "connected": True,
        "primary": True,
        "mac": "02:00:00:00:00:01",
        "ipv4": {
            "method": "auto",
            "address": ["192.0.2.7/24"],
            "nameservers": ["192.0.2.53"],
            "gateway": "192.0.2.1",
            "route_metric": 100,
            "ready": True,
        },
        "ipv6": {
            "method": "auto",
            "address": ["2001:db8::7/64", "fe80::7/64"],
            "nameservers": ["2001:db8::53"],
            "gateway": "fe80::1",
            "route_metric": None,
            "ready": True,
            "addr_gen_mode": "stable-privacy",
            "ip6_privacy": "enabled",
        },
        "wifi": None,
        "vlan": None,
        "mdns": "announce",
        "llmnr": "off",
    }


async def test_everything_a_client_knows_is_shown_and_nothing_else(house: House) -> None:
    shown = await house.interfaces()

    assert {name: (entry["type"], entry["enabled"], entry["connected"]) for name, entry in shown.items()} == {
        "eth0": ("ethernet", True, True),
        "eth0.42": ("vlan", True, True),
        "eth1": ("ethernet", False, False),
        "eth2": ("ethernet", True, True),
        "wlan0": ("wireless", True, True),
        "wlan1": ("wireless", True, True),
    }
    assert shown["eth0.42"]["vlan"] == {"id": 42, "parent": "eth0"}
    assert (shown["eth0.42"]["ipv4"]["method"], shown["eth0.42"]["ipv6"]["method"]) == ("static", "disabled")
    assert shown["wlan0"]["wifi"] == {
        "mode": "infrastructure", "auth": "wpa-psk", "ssid": "Café �", "signal": 67, "key_management": "wpa-psk",
    }  # fmt: skip
    assert shown["wlan0"]["ipv6"]["method"] == "disabled"
    assert shown["wlan1"]["wifi"] is None, "there is no word for how it logs in"
    assert (shown["eth1"]["ipv4"]["method"], shown["eth1"]["mdns"]) == ("disabled", None)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(1, "ethernet"), (10, "bond"), (13, "bridge"), (15, "team"), (18, "macvlan"), (20, "veth")],
)
async def test_interface_is_shown_as_what_it_is_and_in_a_word_that_clients_know(
    house: House, number: int, kind: str
) -> None:
    await house.change(f"{PATH}/Devices/1", f"{NM}.Device", DeviceType=number)

    eth0 = (await house.interfaces())["eth0"]
    assert (eth0["kind"], eth0["type"], eth0["ipv4"]["address"]) == (kind, "ethernet", ["192.0.2.7/24"])


@pytest.mark.parametrize(
    ("number", "kind"),
    [(8, "modem"), (16, "tun"), (17, "ip-tunnel"), (19, "vxlan"), (23, "ppp"), (29, "wireguard")],
)
async def test_way_to_another_network_is_a_tunnel_of_its_kind(house: House, number: int, kind: str) -> None:
    await house.change(f"{PATH}/Devices/6", f"{NM}.Device", DeviceType=number)

    assert [(tunnel["interface"], tunnel["kind"]) for tunnel in (await house.info())["tunnels"]] == [("tun0", kind)]


async def test_vpn_is_shown_where_clients_do_not_stumble_over_it(house: House) -> None:
    info = await house.info()

    assert info["tunnels"] == [{"interface": "tun0", "kind": "tun", "connected": True, "address": []}]
    assert "tun0" not in [entry["interface"] for entry in info["interfaces"]]


async def test_card_that_network_manager_leaves_alone_is_as_the_kernel_has_it(house: House) -> None:
    eth2 = (await house.interfaces())["eth2"]

    assert (eth2["ipv4"]["method"], eth2["ipv4"]["address"], eth2["ipv4"]["gateway"]) == (
        "auto", ["198.51.100.9/24"], "198.51.100.1",
    )  # fmt: skip
    assert (eth2["primary"], eth2["ipv4"]["nameservers"]) == (False, [])


async def test_interface_is_found_by_name_address_and_word_and_else_not(house: House) -> None:
    by_name = (await house.client.get("/network/interface/eth0.42/info")).data
    by_mac = (await house.client.get("/network/interface/02:00:00:00:00:02/info")).data
    by_word = (await house.client.get("/network/interface/DEFAULT/info")).data
    unknown = await house.client.get("/network/interface/eth7/info")

    assert by_name == by_mac
    assert by_word["interface"] == "eth0"
    assert (unknown.status, unknown.message) == (
        404,
        "Interface eth7 does not exist; the interfaces of the host are eth0, eth0.42, eth1, eth2, wlan0, wlan1",
    )


async def test_profile_that_we_may_not_read_is_guessed_from_what_is_there(house: House) -> None:
    await house.manager.order(do="remember", service=NM, unreadable=True)
    shown = await house.interfaces()

    assert {name: (shown[name]["ipv4"]["method"], shown[name]["ipv6"]["method"]) for name in ("eth0", "eth0.42")} == {
        "eth0": ("auto", "auto"),
        "eth0.42": ("static", "disabled"),
    }
    assert (shown["eth0"]["mdns"], shown["wlan0"]["wifi"]) == (None, None)


async def test_primary_interface_of_another_program_is_the_one_with_a_gateway(house: House) -> None:
    await house.change(PATH, NM, PrimaryConnection="/")

    assert [name for name, entry in (await house.interfaces()).items() if entry["primary"]] == ["eth0"]


async def test_primary_interface_of_another_program_is_the_one_that_the_kernel_prefers(house: House) -> None:
    await house.change(PATH, NM, PrimaryConnection="/")
    await house.change(f"{PATH}/IP4Config/3", f"{NM}.IP4Config", Gateway="203.0.113.1")

    assert [name for name, entry in (await house.interfaces()).items() if entry["primary"]] == ["wlan0"]


@pytest.mark.parametrize(
    ("interface", "name", "value"),
    [
        ("IP4Config", "Gateway", "the router"),
        ("IP4Config", "Gateway", "fe80::1"),
        ("IP6Config", "Gateway", "192.0.2.1"),
    ],
)
async def test_interface_that_cannot_be_made_sense_of_spoils_none_of_the_others(
    house: House, interface: str, name: str, value: str
) -> None:
    await house.change(f"{PATH}/{interface}/1", f"{NM}.{interface}", **{name: value})

    assert {*await house.interfaces()} == {"eth0.42", "eth1", "eth2", "wlan0", "wlan1"}


# --- what changes -----------------------------------------------------------------------------------------------------


async def test_change_that_is_told_is_seen(house: House) -> None:
    await house.interfaces()
    await house.change(f"{PATH}/ActiveConnection/1", f"{NM}.Connection.Active", State=3)
    await house.manager.order(do="remember", service=NM, method="manual")

    info = await house.until_info(lambda info: not info["interfaces"][0]["connected"], "that it is not connected")

    assert info["interfaces"][0]["ipv4"]["method"] == "static"


async def test_nothing_is_asked_while_nothing_changes(house: House) -> None:
    for _ in range(2):
        await house.info()
    await house.manager.calls()
    for _ in range(20):
        await house.info()

    assert await house.manager.calls() == []


async def test_profile_that_was_edited_and_not_told_of_is_seen_when_the_network_is_reloaded(house: House) -> None:
    await house.info()
    await house.info()
    await house.manager.order(do="remember", service=NM, method="manual")
    before = (await house.interfaces())["eth0"]["ipv4"]["method"]
    reloaded = await house.client.post("/network/reload")

    assert (before, reloaded.status) == ("auto", 200)
    assert (await house.interfaces())["eth0"]["ipv4"]["method"] == "static"


async def test_objects_that_are_gone_are_watched_no_more(house: House) -> None:
    bus = house.system.services.get(SYSTEM_BUS)
    assert isinstance(bus, HostBus)
    await house.info()
    rules = set(bus._client._rules) if bus._client else set()
    for number in range(20, 60):  # as wireless cards do that roam
        path = f"{PATH}/AccessPoint/{number}"
        await house.manager.order(
            do="put", service=NM, path=path, interface=f"{NM}.AccessPoint", values={"Strength": ["y", number]}
        )
        await house.change(f"{PATH}/Devices/3", f"{NM}.Device.Wireless", ActiveAccessPoint=path)
        await house.until_info(
            lambda info, number=number: info["interfaces"][4]["wifi"]["signal"] == number, "the access point"
        )
    after = set(bus._client._rules) if bus._client else set()

    assert len(rules) > 10
    assert len(after - rules) == 1, "one access point in place of another"


async def test_without_network_manager_the_kernel_is_asked_and_it_is_found_again(house: House) -> None:
    before = await house.info()
    await house.manager.order(do="vanish", service=NM)
    without = await house.until_info(lambda info: len(info["interfaces"]) == 3, "the kernel's interfaces")
    await house.manager.order(do="appear", service=NM)
    again = await house.until_info(lambda info: len(info["interfaces"]) == 6, "NetworkManager's interfaces")

    assert [entry["interface"] for entry in without["interfaces"]] == ["eth2", "eth0", "eth9"]
    assert without["host_internet"] is None
    assert without["interfaces"][0]["ipv4"]["nameservers"] == ["198.51.100.53"]
    assert again["interfaces"] == before["interfaces"]


async def test_network_manager_that_hangs_costs_time_once_and_the_kernel_answers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooftree_host.system_bus.READ_S", 0.2)
    await house.manager.order(do="hang", service=NM)
    await house.client.post("/host/reload")
    info = await house.info()
    began = asyncio.get_running_loop().time()
    again = await house.info()

    assert (
        {entry["interface"] for entry in info["interfaces"]}
        == {"eth0", "eth2", "eth9"}
        == {entry["interface"] for entry in again["interfaces"]}
    )
    assert asyncio.get_running_loop().time() - began < 0.2
    await house.manager.order(do="answer", service=NM)


async def test_bus_that_is_lost_costs_nothing_but_what_it_knew(house: House) -> None:
    await house.info()
    await house.bus.kill()

    info = await house.until_info(lambda info: info["host_internet"] is None, "that the bus is gone")

    assert {entry["interface"] for entry in info["interfaces"]} == {"eth0", "eth2", "eth9"}


# --- the internet -----------------------------------------------------------------------------------------------------


async def test_others_hear_when_the_hosts_internet_comes_and_goes(house: House) -> None:
    told: list[InternetChanged] = []
    house.system.bus.subscribe(InternetChanged, told.append, "test")
    await house.until_info(lambda info: info["host_internet"] is True, "the host's internet")
    await house.change(PATH, NM, Connectivity=2)
    offline = await house.until_info(lambda info: info["host_internet"] is False, "that it has gone")
    await house.change(PATH, NM, ConnectivityCheckEnabled=False)
    await house.until_info(lambda info: info["host_internet"] is None, "that nobody looks")

    assert offline["host_internet"] is False
    assert [event.reached for event in told if event.whose == "host"][-2:] == [False, None]


async def test_reload_lets_network_manager_look_again(house: House) -> None:
    await house.until_info(lambda info: info["host_internet"] is True, "the host's internet")
    await house.manager.order(do="remember", service=NM, connectivity=1)
    await house.client.post("/network/reload")

    await house.until_info(lambda info: info["host_internet"] is False, "what it has seen")

    assert house.system.services.get(NETWORK).host_internet is False


async def test_interface_without_an_ipv4_address_is_a_problem_until_it_has_one(house: House) -> None:
    async def wrong(flags: int) -> list[str | None]:
        await house.change(f"{PATH}/ActiveConnection/1", f"{NM}.Connection.Active", StateFlags=flags)
        ready = bool(flags & 0x8)
        await house.until_info(lambda info: info["interfaces"][0]["ipv4"]["ready"] is ready, "what IPv4 is")
        assert (await house.client.post("/resolution/check/network_interface_ipv4/run")).status == 200
        return [problem.reference for problem in house.system.problems if problem.type == "ipv4_connection_problem"]

    without, again = await wrong(0x14), await wrong(0x1C)

    assert (without, again) == (["eth0"], [])

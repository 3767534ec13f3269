"""The range of the add-on network, and what may be in its way."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from rooftree_docker.network import (
    FALLBACK_SUBNETS,
    USUAL_SUBNET,
    NetworkSettings,
    addon_network,
    engine_ranges,
    first_overlap,
    interface_name,
    network_body,
    route_ranges,
)

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
tun0\t00201EAC\t00000000\t0001\t0\t0\t0\t00FEFFFF\t0\t0\t0
"""


def test_routes_are_read_without_the_default_route_and_our_own_bridge() -> None:
    found = route_ranges(ROUTES, without_interfaces={"docker0"})

    assert [taken.subnet for taken in found] == [IPv4Network("172.30.32.0/23")]
    assert "tun0" in found[0].by


def test_overlap_names_what_is_in_the_way() -> None:
    taken = engine_ranges(
        [{"Name": "other", "IPAM": {"Config": [{"Subnet": "172.30.0.0/16"}, {"Subnet": "fd00::/64"}]}}]
    )

    blocker = first_overlap(USUAL_SUBNET, taken)

    assert blocker is not None and "other" in blocker.by
    assert first_overlap(IPv4Network("10.0.0.0/8"), taken) is None


def test_addresses_are_where_add_ons_have_always_found_them() -> None:
    made = network_body("hassio", USUAL_SUBNET, {}, NetworkSettings())
    shown = addon_network({"Name": "hassio", "Options": made["Options"], "IPAM": made["IPAM"]})

    assert made["IPAM"]["Config"] == [
        {"Subnet": "172.30.32.0/23", "IPRange": "172.30.33.0/24", "Gateway": "172.30.32.1"}
    ]
    assert (shown.interface, shown.gateway, shown.supervisor) == ("hassio", "172.30.32.1", "172.30.32.2")


def test_fallback_ranges_overlap_neither_the_usual_one_nor_each_other() -> None:
    ranges = [USUAL_SUBNET, *FALLBACK_SUBNETS]

    assert not any(a.overlaps(b) for index, a in enumerate(ranges) for b in ranges[index + 1 :])
    assert all(subnet.is_private for subnet in ranges)


def test_long_network_names_still_give_a_valid_interface() -> None:
    long, other = interface_name("a-very-long-prefix_hassio"), interface_name("a-very-long-prefix_hassix")

    assert len(long) <= 15
    assert long != other


def test_ipv6_and_packet_size_are_asked_for_when_they_are_set() -> None:
    usual = network_body("hassio", USUAL_SUBNET, {}, NetworkSettings())
    made = network_body("hassio", USUAL_SUBNET, {}, NetworkSettings(ipv6=True, mtu=1400))
    second = network_body("second_hassio", USUAL_SUBNET, {}, NetworkSettings(ipv6=True))

    assert (usual["EnableIPv6"], made["EnableIPv6"]) == (False, True)
    assert made["IPAM"]["Config"][1] == {"Subnet": "fd0c:ac1e:2100::/48", "Gateway": "fd0c:ac1e:2100::1"}
    assert made["Options"]["com.docker.network.driver.mtu"] == "1400"
    assert "com.docker.network.driver.mtu" not in usual["Options"]
    own = IPv6Network(second["IPAM"]["Config"][1]["Subnet"])
    assert own.is_private and own.prefixlen == 48 and own != IPv6Network("fd0c:ac1e:2100::/48")


def test_network_without_ipv6_range_in_front_is_read_all_the_same() -> None:
    made = network_body("hassio", USUAL_SUBNET, {}, NetworkSettings(ipv6=True))
    described = {"Name": "hassio", "Options": {}, "IPAM": {"Config": made["IPAM"]["Config"][::-1]}}

    assert addon_network(described).gateway == "172.30.32.1"

"""What an interface is to be like, read from profiles of NetworkManager's and written into them."""

from __future__ import annotations

import ipaddress
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooftree import Invalid, Secret
from rooftree.interfaces.bus import Variant
from rooftree.model import structure
from rooftree_network.changes import InterfaceUpdate, VlanUpdate, WifiChange, WifiKeyRequired, changed, changed_wifi
from rooftree_network.interface_setup import (
    InterfaceSetup,
    IpSetup,
    Settings,
    WifiSetup,
    differences,
    lost_addresses,
    setup_of,
    written,
)

AS_NETWORK_MANAGER_HAS_IT: Settings = {
    "connection": {"id": Variant("s", "Supervisor eth0"), "uuid": Variant("s", "u"), "zone": Variant("s", "home")},
    "802-3-ethernet": {"mtu": Variant("u", 1400)},
    "802-1x": {"eap": Variant("as", ["tls"])},
    "ipv4": {
        "method": Variant("s", "manual"),
        "address-data": Variant("aa{sv}", [{"address": Variant("s", "192.0.2.7"), "prefix": Variant("u", 24)}]),
        "addresses": Variant("aau", [[117571776, 24, 16908480]]),
        "gateway": Variant("s", "192.0.2.1"),
        "dns": Variant("au", [889323712]),
        "dns-data": Variant("as", ["192.0.2.53"]),
        "dns-search": Variant("as", ["example.org"]),
        "route-data": Variant("aa{sv}", [{"dest": Variant("s", "198.51.100.0"), "prefix": Variant("u", 24)}]),
    },
    "ipv6": {"method": Variant("s", "auto"), "ip6-privacy": Variant("i", 2)},
}


def addresses(family: int) -> st.SearchStrategy[str]:
    hosts = st.ip_addresses(v=4 if family == 4 else 6).map(str)
    return st.builds("{}/{}".format, hosts, st.integers(1, 32 if family == 4 else 128))


def ip_setups(family: int) -> st.SearchStrategy[IpSetup]:
    servers = st.lists(st.ip_addresses(v=4 if family == 4 else 6).map(str), max_size=3).map(tuple)
    metrics = st.sampled_from([-1, 0, 100, 2**32 - 1])
    fixed = st.builds(
        IpSetup,
        method=st.just("manual"),
        addresses=st.lists(addresses(family), min_size=1, max_size=3).map(tuple),
        gateway=st.none() | st.ip_addresses(v=4 if family == 4 else 6).map(str),
        nameservers=servers,
        metric=metrics,
    )
    only_ipv6 = {"generation": st.sampled_from([0, 1, 2, 3]), "privacy": st.sampled_from([-1, 0, 1, 2])}
    more = only_ipv6 if family == 6 else {}
    by_itself = st.builds(IpSetup, method=st.just("auto"), nameservers=servers, metric=metrics, **more)
    return fixed | by_itself | st.builds(IpSetup, method=st.just("disabled"))


SSIDS = st.binary(min_size=1, max_size=32).map(bytes.hex)
WIFI = st.builds(WifiSetup, ssid=SSIDS, key_management=st.sampled_from([None, "none", "wpa-psk", "sae", "owe"]))
NAMES = st.sampled_from([-1, 0, 1, 2])
SETUPS = st.builds(InterfaceSetup, ipv4=ip_setups(4), ipv6=ip_setups(6), wifi=st.none() | WIFI, mdns=NAMES, llmnr=NAMES)


@given(SETUPS, SETUPS)
def test_what_is_written_is_read_again_whatever_was_there_before(first: InterfaceSetup, second: InterfaceSetup) -> None:
    kept = attrs.evolve(second, wifi=second.wifi or first.wifi)
    settings = written(written(AS_NETWORK_MANAGER_HAS_IT, first, generation=3), kept, generation=3)

    assert setup_of(settings) == kept


@given(SETUPS)
def test_nothing_is_written_over_what_says_so_already(setup: InterfaceSetup) -> None:
    once = written({}, setup, generation=3)

    assert written(once, setup_of(once), generation=3) == once
    assert list(differences(setup, setup_of(once))) == []


def test_what_nobody_named_stays_and_old_spellings_of_what_is_changed_go() -> None:
    old = setup_of(AS_NETWORK_MANAGER_HAS_IT)
    new = attrs.evolve(old, ipv4=IpSetup(method="manual", addresses=("192.0.2.9/24",)), mdns=1)
    settings = written(AS_NETWORK_MANAGER_HAS_IT, new, generation=3)

    assert {name: settings[name] for name in ("802-3-ethernet", "802-1x", "ipv6")} == {
        name: AS_NETWORK_MANAGER_HAS_IT[name] for name in ("802-3-ethernet", "802-1x", "ipv6")
    }
    assert settings["ipv4"].keys() == {"method", "address-data", "dns-search", "route-data"}
    assert settings["connection"]["zone"].value == "home"
    assert list(differences(old, new)) == [
        "ipv4.addresses: 192.0.2.7/24 → 192.0.2.9/24",
        "ipv4.gateway: 192.0.2.1 → unset",
        "ipv4.nameservers: 192.0.2.53 → none",
        "mdns: unset → 1",
    ]
    assert lost_addresses(old, new, ["192.0.2.7/24", "2001:db8::1/64", "fe80::1/64"]) == ["192.0.2.7/24"]


def test_older_network_manager_gets_a_word_that_it_knows() -> None:
    setup = InterfaceSetup(ipv6=IpSetup(method="auto"))

    assert written({}, setup, generation=1)["ipv6"]["addr-gen-mode"] == Variant("i", 1)


@pytest.mark.parametrize(
    ("before", "after", "keys"),
    [
        ("wpa-psk", None, None),
        ("none", "wpa-psk", {"key-mgmt", "psk"}),
        (None, "none", {"key-mgmt", "auth-alg", "wep-key0", "wep-tx-keyidx", "wep-key-type"}),
        ("wpa-psk", "sae", {"key-mgmt", "psk"}),
    ],
)
def test_nothing_of_another_way_to_log_in_is_left(before: str | None, after: str | None, keys: set[str] | None) -> None:
    first = InterfaceSetup(wifi=WifiSetup(ssid=b"a".hex(), key_management=before))
    old = written({}, first, generation=3, key="12345678" if before else None)
    new = attrs.evolve(first, wifi=WifiSetup(ssid=b"b".hex(), key_management=after))
    settings = written(old, new, generation=3, key="12345" if after else None)

    assert settings.get("802-11-wireless-security", {}).keys() == (keys or set())


# --- what is asked for ------------------------------------------------------------------------------------------------


def update_of(**said: Any) -> InterfaceUpdate:
    return structure(said, InterfaceUpdate)


def test_section_that_is_given_is_the_whole_of_it_and_others_stay() -> None:
    old = setup_of(AS_NETWORK_MANAGER_HAS_IT)
    new = changed(old, update_of(ipv4={"address": ["192.0.2.9/24"], "nameservers": ["192.0.2.54"]}))

    assert new.ipv4 == IpSetup(method="manual", addresses=("192.0.2.9/24",), nameservers=("192.0.2.54",))
    assert new.ipv6 == old.ipv6


def test_section_without_a_method_comes_by_itself_for_a_vlan_only() -> None:
    vlan = structure({"ipv4": {"nameservers": ["192.0.2.54"]}}, VlanUpdate)

    assert changed(InterfaceSetup(), vlan, usual_method="auto").ipv4.method == "auto"
    with pytest.raises(Invalid, match="would be left without one"):
        changed(InterfaceSetup(), vlan)


@pytest.mark.parametrize(
    "said",
    [
        {"ipv4": {"method": "static", "address": ["192.0.2.9"], "gateway": "fe80::1"}},
        {"ipv4": {"method": "static", "address": ["2001:db8::9/64"]}},
        {"ipv6": {"method": "static", "address": ["2001:db8::9%lan0/64"]}},
        {"ipv4": {"method": "auto", "route_metric": -1}},
        {"ipv4": {"method": "auto", "route_metric": True}},
        {"ipv4": {"method": "sometimes"}},
        {"ipv4": {"method": "auto", "nameservers": ["192.0.2.53"] * 65}},
        {"enabled": "no"},
        {"mdns": "loudly"},
        {"enabled": True, "confirm_within": 4},
        {"enabled": True, "confirm_within": 601},
        {"confirm_within": 60},
    ],
)
def test_body_that_means_nothing_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        update_of(**said)


@given(st.text(min_size=1, max_size=40))
def test_name_of_a_network_is_the_text_that_was_said_or_is_refused(text: str) -> None:
    is_one = len(text.encode(errors="surrogatepass")) <= 32 and "\ufffd" not in text
    try:
        setup = changed_wifi(None, WifiChange(ssid=text), [])
    except Invalid:
        assert not is_one
    else:
        assert is_one and bytes.fromhex(setup.ssid).decode() == text


def test_network_whose_name_is_no_text_is_known_by_those_in_range() -> None:
    name = b"caf\xe9 \xff"
    shown = name.decode(errors="replace")

    assert bytes.fromhex(changed_wifi(None, WifiChange(ssid=shown), [b"other", name]).ssid) == name
    with pytest.raises(Invalid, match="no network of that name is in range"):
        changed_wifi(None, WifiChange(ssid=shown), [b"other"])


@given(st.binary(min_size=1, max_size=32), st.lists(st.binary(max_size=32), max_size=3))
def test_any_network_in_range_is_known_again_by_the_name_that_is_shown(name: bytes, others: list[bytes]) -> None:
    shown = name.decode(errors="replace")
    alike = [other for other in others if other.decode(errors="replace") != shown]

    assert changed_wifi(None, WifiChange(ssid=shown), [*alike, name]).ssid == name.hex()


def test_network_that_was_shown_in_a_word_that_clients_know_stays_what_it_is() -> None:
    old = WifiSetup(ssid=b"attic".hex(), key_management="sae")

    assert changed_wifi(old, WifiChange(ssid="attic", method="wpa-psk"), []) == old
    with pytest.raises(WifiKeyRequired):
        changed_wifi(old, WifiChange(ssid="cellar", method="wpa-psk"), [])


@pytest.mark.parametrize(
    ("auth", "key"),
    [
        ("wpa-psk", "short"),
        ("wpa-psk", "x" * 64),
        ("wep", "four"),
        ("wep", "g" * 26),
        ("open", "12345678"),
    ],
)
def test_key_that_can_be_none_is_refused_and_not_told(auth: str, key: str) -> None:
    with pytest.raises(Invalid) as refused:
        changed_wifi(None, WifiChange(ssid="attic", auth=auth, psk=Secret(key)), [])  # type: ignore[arg-type]

    assert key not in refused.value.message


def test_gateway_is_one_that_can_be_reached() -> None:
    assert ipaddress.ip_address("fe80::1").is_link_local
    fixed = {"method": "static", "address": ["2001:db8::9/64"]}

    assert changed(InterfaceSetup(), update_of(ipv6={**fixed, "gateway": "fe80::1"})).ipv6.gateway == "fe80::1"
    with pytest.raises(Invalid, match="in none of the networks"):
        changed(InterfaceSetup(), update_of(ipv6={**fixed, "gateway": "2001:db8:1::1"}))

"""How an interface is to be: read from a profile of NetworkManager's, written into one, compared.

A profile has many more settings than those that we know (routes, 802.1X, MTU …); writing leaves them as they are.
The words and numbers are NetworkManager's (nm-settings-dbus(5)).
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import attrs
from attrs import frozen

from rooftree.interfaces.bus import Variant
from rooftree_network.models import is_link_local
from rooftree_network.wifi_keys import KEY_MANAGEMENT, key_settings

type Settings = Mapping[str, Mapping[str, Variant]]
"""A profile, by section."""
type Family = Literal[4, 6]

AUTO, MANUAL, DISABLED = "auto", "manual", "disabled"
IPV4, IPV6, CONNECTION, WIFI, SECURITY = "ipv4", "ipv6", "connection", "802-11-wireless", "802-11-wireless-security"
_UNSET: Final = -1
_DEFAULT_GENERATION: Final = 3
"""``NM_SETTING_IP6_CONFIG_ADDR_GEN_MODE_DEFAULT``."""
_IP_KEYS: Final = (
    "method", "addresses", "address-data", "gateway", "route-metric", "dns", "dns-data", "addr-gen-mode", "ip6-privacy",
)  # fmt: skip


@frozen(kw_only=True)
class IpSetup:
    """One family of addresses."""

    method: str = DISABLED
    addresses: Sequence[str] = ()
    """With prefix length; of a method other than :data:`MANUAL`, those that are there besides."""
    gateway: str | None = None
    nameservers: Sequence[str] = ()
    metric: int = _UNSET
    generation: int = _DEFAULT_GENERATION
    """``addr-gen-mode``; of IPv6 that comes by itself only."""
    privacy: int = _UNSET
    """``ip6-privacy``; likewise."""


@frozen(kw_only=True)
class WifiSetup:
    """A wireless network."""

    ssid: str
    """In hexadecimal: it is bytes, and need not be a text."""
    mode: str = "infrastructure"
    key_management: str | None = None
    """NetworkManager's word; ``None`` for one that is open."""


@frozen(kw_only=True)
class InterfaceSetup:
    """An interface, as far as it is ours to say. There is no secret in it."""

    ipv4: IpSetup = IpSetup()
    ipv6: IpSetup = IpSetup()
    wifi: WifiSetup | None = None
    mdns: int = _UNSET
    llmnr: int = _UNSET
    binds: str | None = None
    """The name of the one interface that the profile is for; ``None`` where it says so otherwise, or is for many."""


def setup_of(settings: Settings) -> InterfaceSetup:
    """What a profile says."""
    connection, wifi = settings.get(CONNECTION, {}), settings.get(WIFI)
    return InterfaceSetup(
        ipv4=_ip(settings.get(IPV4, {}), 4),
        ipv6=_ip(settings.get(IPV6, {}), 6),
        wifi=_wifi(wifi, settings.get(SECURITY)) if wifi is not None else None,
        mdns=_value(connection, "mdns", _UNSET),
        llmnr=_value(connection, "llmnr", _UNSET),
        binds=_value(connection, "interface-name", None),
    )


def written(settings: Settings, setup: InterfaceSetup, *, generation: int, key: str | None = None) -> Settings:
    """The same profile, made to say what ``setup`` does. What says it already is left as it is, with all that we do not
    know of.

    :param generation: what stands for :data:`_DEFAULT_GENERATION`, which not every NetworkManager knows
    :param key: of the wireless network, in the clear; ``None`` keeps the one that there is
    """
    now = setup_of(settings)
    result = {name: dict(section) for name, section in settings.items()}
    connection = result.setdefault(CONNECTION, {})
    for name, old, new in (("mdns", now.mdns, setup.mdns), ("llmnr", now.llmnr, setup.llmnr)):
        if old != new:
            connection[name] = Variant("i", new)
    if setup.binds is not None and setup.binds != now.binds:
        connection["interface-name"] = Variant("s", setup.binds)
    if now.ipv4 != setup.ipv4 or IPV4 not in result:
        result[IPV4] = _written_ip(result.get(IPV4, {}), setup.ipv4, 4, generation)
    if now.ipv6 != setup.ipv6 or IPV6 not in result:
        result[IPV6] = _written_ip(result.get(IPV6, {}), setup.ipv6, 6, generation)
    if setup.wifi is not None and (setup.wifi != now.wifi or key is not None):
        _write_wifi(result, setup.wifi, key)
    return result


def differences(old: InterfaceSetup, new: InterfaceSetup) -> Iterator[str]:
    """What is to be otherwise, each in a line: ``ipv4.method: auto → manual``."""
    for name in (IPV4, IPV6, "wifi"):
        before, after = getattr(old, name), getattr(new, name)
        kind = type(after or before)
        if kind is type(None):
            continue
        for attribute in attrs.fields(kind):
            was, will = (getattr(setup, attribute.name) if setup else None for setup in (before, after))
            if was != will:
                shown = _ssid if attribute.name == "ssid" else _shown
                yield f"{name}.{attribute.name}: {shown(was)} → {shown(will)}"
    for name in ("mdns", "llmnr"):
        if getattr(old, name) != getattr(new, name):
            yield f"{name}: {_shown(getattr(old, name))} → {_shown(getattr(new, name))}"


def lost_addresses(old: InterfaceSetup, new: InterfaceSetup, live: Sequence[str]) -> list[str]:
    """Which of the addresses that an interface has now it is going to lose for sure."""
    kept = {address.partition("/")[0] for setup in (new.ipv4, new.ipv6) for address in setup.addresses}
    ended = {4: old.ipv4 != new.ipv4 and new.ipv4.method != AUTO, 6: old.ipv6 != new.ipv6 and new.ipv6.method != AUTO}
    return [
        address
        for address in live
        if not is_link_local(address) and ended[6 if ":" in address else 4] and address.partition("/")[0] not in kept
    ]


# --- reading ----------------------------------------------------------------------------------------------------------


def _ip(section: Mapping[str, Variant], family: Family) -> IpSetup:
    method = _value(section, "method", DISABLED if not section else AUTO)
    comes_by_itself = family == 6 and method == AUTO
    return IpSetup(
        method=method,
        addresses=tuple(
            f"{entry['address'].value}/{entry['prefix'].value}" for entry in _value(section, "address-data", ())
        ),
        gateway=_value(section, "gateway", None) or None,
        nameservers=tuple(_nameserver(entry) for entry in _value(section, "dns", ())),
        metric=_value(section, "route-metric", _UNSET),
        generation=_value(section, "addr-gen-mode", _DEFAULT_GENERATION) if comes_by_itself else _DEFAULT_GENERATION,
        privacy=_value(section, "ip6-privacy", _UNSET) if comes_by_itself else _UNSET,
    )


def _nameserver(entry: int | bytes) -> str:
    if isinstance(entry, bytes):
        return socket.inet_ntop(socket.AF_INET6, entry)
    return socket.inet_ntop(socket.AF_INET, entry.to_bytes(4, sys.byteorder))


def _wifi(section: Mapping[str, Variant], security: Mapping[str, Variant] | None) -> WifiSetup:
    return WifiSetup(
        ssid=bytes(_value(section, "ssid", b"")).hex(),
        mode=_value(section, "mode", "infrastructure") or "infrastructure",
        key_management=_value(security, "key-mgmt", None) if security is not None else None,
    )


def _value(section: Mapping[str, Variant], name: str, otherwise: Any) -> Any:
    entry = section.get(name)
    return otherwise if entry is None else entry.value


# --- writing ----------------------------------------------------------------------------------------------------------


def _written_ip(section: Mapping[str, Variant], setup: IpSetup, family: Family, generation: int) -> dict[str, Variant]:
    result = {name: value for name, value in section.items() if name not in _IP_KEYS}
    result["method"] = Variant("s", setup.method)
    if setup.addresses:
        pairs = (address.split("/") for address in setup.addresses)
        entries = [{"address": Variant("s", host), "prefix": Variant("u", int(bits))} for host, bits in pairs]
        result["address-data"] = Variant("aa{sv}", entries)
        if setup.gateway is not None:
            result["gateway"] = Variant("s", setup.gateway)
    if setup.nameservers:
        result["dns"] = _dns(setup.nameservers, family)
    if setup.metric != _UNSET:
        result["route-metric"] = Variant("x", setup.metric)
    if family == 6 and setup.method == AUTO:
        chosen = generation if setup.generation == _DEFAULT_GENERATION else setup.generation
        result["addr-gen-mode"] = Variant("i", chosen)
        result["ip6-privacy"] = Variant("i", setup.privacy)
    return result


def _dns(nameservers: Sequence[str], family: Family) -> Variant:
    """In network byte order, as NetworkManager wants them: IPv4 as numbers of this machine, IPv6 as bytes."""
    if family == 6:
        return Variant("aay", [socket.inet_pton(socket.AF_INET6, server) for server in nameservers])
    packed = (socket.inet_pton(socket.AF_INET, server) for server in nameservers)
    return Variant("au", [int.from_bytes(address, sys.byteorder) for address in packed])


def _write_wifi(result: dict[str, dict[str, Variant]], setup: WifiSetup, key: str | None) -> None:
    section = result.setdefault(WIFI, {})
    section["ssid"] = Variant("ay", bytes.fromhex(setup.ssid))
    section["mode"] = Variant("s", setup.mode)
    section.pop("security", None)  # an old way to name the section below, which NetworkManager fills in itself
    old = result.pop(SECURITY, {})
    if setup.key_management is None:
        return
    same = _value(old, "key-mgmt", None) == setup.key_management
    kept = old if same else {}
    result[SECURITY] = {**kept, "key-mgmt": Variant("s", setup.key_management)}
    if setup.key_management == KEY_MANAGEMENT["wep"]:
        result[SECURITY]["auth-alg"] = Variant("s", "open")
    if key is not None:
        result[SECURITY] |= {name: Variant(*entry) for name, entry in key_settings(setup.key_management, key).items()}


# --- telling ----------------------------------------------------------------------------------------------------------


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    return "unset" if value in {None, _UNSET} else str(value)


def _ssid(value: str | None) -> str:
    return "none" if value is None else bytes.fromhex(value).decode(errors="replace")

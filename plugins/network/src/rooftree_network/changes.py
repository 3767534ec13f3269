"""What clients ask for, and what an interface is to be like then.

A section that is given (``ipv4``, ``ipv6``, ``wifi``) stands for the whole of it, as clients of this API rely on: what
it leaves out is as usual again. Sections that are not given stay.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import ClassVar, Final, Literal

import attrs
from attrs import field, frozen, validators

from rooftree import Invalid, ParsedString, Secret
from rooftree_network.interface_setup import AUTO, DISABLED, MANUAL, InterfaceSetup, IpSetup, WifiSetup
from rooftree_network.models import AddressGeneration, Method, NamesMode, Privacy, WifiMode
from rooftree_network.wifi_keys import KEY_MANAGEMENT, OPEN, SHOWN, check_key, needs_key

METHODS: Final = {"auto": AUTO, "static": MANUAL, "disabled": DISABLED}
NAMES: Final = {"default": -1, "off": 0, "resolve": 1, "announce": 2}
GENERATIONS: Final = {"eui64": 0, "stable-privacy": 1, "default-or-eui64": 2, "default": 3}
PRIVACY: Final = {"default": -1, "disabled": 0, "enabled-prefer-public": 1, "enabled": 2}
SHORTEST_S, LONGEST_S = 5, 600
"""What may be waited for a confirmation."""
LONGEST_SSID: Final = 32
"""Bytes."""
HIGHEST_METRIC: Final = 2**32 - 1
_REPLACED: Final = "\ufffd"


class _Address(ParsedString):
    """An address that the standard library can read; without a zone (``%eth0``), which no profile has."""

    __slots__ = ()
    kind: ClassVar[type[ipaddress.IPv4Address | ipaddress.IPv6Address]]

    @classmethod
    def check(cls, text: str) -> None:
        """Raise ``ValueError`` for anything else."""
        try:
            if "%" in text:
                raise ValueError
            cls.kind(text)
        except ValueError:
            raise ValueError(f"must be {cls.allowed}, not {text!r}") from None


class Ipv4Address(_Address):
    """An IPv4 address."""

    __slots__ = ()
    kind = ipaddress.IPv4Address
    allowed = "an IPv4 address such as 192.0.2.1"


class Ipv4WithPrefix(_Address):
    """An IPv4 address with its prefix length."""

    __slots__ = ()
    kind = ipaddress.IPv4Interface
    allowed = "an IPv4 address with its prefix length, such as 192.0.2.9/24"


class Ipv6Address(_Address):
    """An IPv6 address."""

    __slots__ = ()
    kind = ipaddress.IPv6Address
    allowed = "an IPv6 address such as 2001:db8::1"


class Ipv6WithPrefix(_Address):
    """An IPv6 address with its prefix length."""

    __slots__ = ()
    kind = ipaddress.IPv6Interface
    allowed = "an IPv6 address with its prefix length, such as 2001:db8::9/64"


_A_METRIC: Final = validators.optional(validators.and_(validators.ge(0), validators.le(HIGHEST_METRIC)))
_A_FEW: Final = validators.optional(validators.max_len(64))


@frozen(kw_only=True)
class Ipv4Change:
    """IPv4 of an interface, whole."""

    method: Method | None = None
    address: Sequence[Ipv4WithPrefix] | None = field(default=None, validator=_A_FEW)
    gateway: Ipv4Address | None = None
    nameservers: Sequence[Ipv4Address] | None = field(default=None, validator=_A_FEW)
    route_metric: int | None = field(default=None, validator=_A_METRIC)


@frozen(kw_only=True)
class Ipv6Change:
    """IPv6 of an interface, whole."""

    method: Method | None = None
    address: Sequence[Ipv6WithPrefix] | None = field(default=None, validator=_A_FEW)
    gateway: Ipv6Address | None = None
    nameservers: Sequence[Ipv6Address] | None = field(default=None, validator=_A_FEW)
    route_metric: int | None = field(default=None, validator=_A_METRIC)
    addr_gen_mode: AddressGeneration | None = None
    ip6_privacy: Privacy | None = None


@frozen(kw_only=True)
class WifiChange:
    """The wireless network of an interface, whole."""

    mode: WifiMode | None = None
    auth: Literal["open", "wep", "wpa-psk", "sae", "owe"] | None = None
    """How one logs in; ``wpa-psk`` is WPA2 and WPA3 alike."""
    method: Literal["open", "wep", "wpa-psk"] | None = None
    """The same, in the word of the official client."""
    ssid: str = ""
    psk: Secret | None = None
    """The key, of WEP too; without it the one that is kept for this network is used."""


@frozen(kw_only=True)
class VlanUpdate:
    """A VLAN that is to be."""

    ipv4: Ipv4Change | None = None
    ipv6: Ipv6Change | None = None
    mdns: NamesMode | None = None
    llmnr: NamesMode | None = None
    confirm_within: int | None = field(
        default=None, validator=validators.optional([validators.ge(SHORTEST_S), validators.le(LONGEST_S)])
    )
    """Seconds within which somebody has to confirm it over ``/kernel/v1/network/confirm``, else it is taken back; ours,
    clients do without."""


@frozen(kw_only=True)
class InterfaceUpdate(VlanUpdate):
    """What is to be otherwise with an interface."""

    wifi: WifiChange | None = None
    enabled: bool | None = None
    """``False`` takes it out of use; what it was like is forgotten."""

    def __attrs_post_init__(self) -> None:
        said = attrs.asdict(self, recurse=False)
        if all(value is None for name, value in said.items() if name != "confirm_within"):
            raise ValueError("says nothing: give one of enabled, ipv4, ipv6, wifi, mdns, llmnr")


def changed(old: InterfaceSetup, update: VlanUpdate, *, usual_method: Method = "static") -> InterfaceSetup:
    """What an interface is to be like, wireless aside.

    :param usual_method: of a section that does not say
    :raises Invalid: where it would be left without an address by what somebody did not say
    """
    return attrs.evolve(
        old,
        ipv4=old.ipv4 if update.ipv4 is None else _ip("ipv4", update.ipv4, usual_method),
        ipv6=old.ipv6 if update.ipv6 is None else _ip("ipv6", update.ipv6, usual_method),
        mdns=old.mdns if update.mdns is None else NAMES[update.mdns],
        llmnr=old.llmnr if update.llmnr is None else NAMES[update.llmnr],
    )


def _ip(name: str, change: Ipv4Change | Ipv6Change, usual_method: Method) -> IpSetup:
    method = change.method or usual_method
    addresses = [str(ipaddress.ip_interface(text)) for text in change.address or ()]
    if method == "static" and not addresses:
        if change.method is None:
            raise Invalid(
                f"{name}: a section without a method is static, and there is no address in it: the interface would be "
                "left without one. Say method: auto, give address, or say method: disabled if that is meant"
            )
        raise Invalid(f"{name}.address: method static needs an address with its prefix length")
    is_static = method == "static"
    nameservers = change.nameservers or () if method != "disabled" else ()
    if is_static and change.gateway is not None:
        _check_gateway(name, change.gateway, addresses)
    return IpSetup(
        method=METHODS[method],
        addresses=tuple(addresses) if is_static else (),
        gateway=str(ipaddress.ip_address(change.gateway)) if is_static and change.gateway is not None else None,
        nameservers=tuple(str(ipaddress.ip_address(server)) for server in nameservers),
        metric=-1 if change.route_metric is None else change.route_metric,
        **_ipv6_only(change) if isinstance(change, Ipv6Change) and method == "auto" else {},
    )


def _ipv6_only(change: Ipv6Change) -> dict[str, int]:
    return {
        "generation": GENERATIONS[change.addr_gen_mode or "default"],
        "privacy": PRIVACY[change.ip6_privacy or "default"],
    }


def _check_gateway(name: str, gateway: str, addresses: Sequence[str]) -> None:
    at = ipaddress.ip_address(gateway)
    networks = [ipaddress.ip_interface(address).network for address in addresses]
    if not at.is_link_local and not any(at in network for network in networks):
        raise Invalid(
            f"{name}.gateway: {gateway} is in none of the networks of the addresses "
            f"({', '.join(map(str, networks))}): nothing could be sent to it"
        )


class WifiKeyRequired(Invalid):
    """The network wants a key, and nobody knows it."""

    error_key = "host_network_wifi_psk_required_error"


def changed_wifi(old: WifiSetup | None, change: WifiChange, seen: Sequence[bytes]) -> WifiSetup:
    """The wireless network that is wanted.

    :param old: the one that the interface is set for
    :param seen: the names of the networks in range, which need not be texts
    :raises Invalid: where that cannot be one
    """
    ssid = _ssid(change.ssid, [*([bytes.fromhex(old.ssid)] if old is not None else []), *seen])
    if change.auth is not None and change.method is not None and change.auth != change.method:
        raise Invalid("wifi: auth and method are two words for the same, and say different things")
    auth = change.auth or change.method or OPEN
    management = KEY_MANAGEMENT[auth]
    same_network = old is not None and old.ssid == ssid.hex()
    if old is not None and same_network and old.key_management in SHOWN and SHOWN[old.key_management] == auth:
        management = old.key_management  # it was shown in the word that clients know, and comes back in it
    if needs_key(management):
        kept = old is not None and same_network and old.key_management == management
        if change.psk is None and not kept:
            raise WifiKeyRequired(f"wifi.psk: the network {change.ssid} needs a key", interface=None)
        if change.psk is not None:
            check_key(auth, change.psk.reveal())
    elif change.psk is not None:
        raise Invalid("wifi.psk: an open network has no key; say which auth it has")
    return WifiSetup(ssid=ssid.hex(), mode=change.mode or "infrastructure", key_management=management)


def _ssid(text: str, known: Sequence[bytes]) -> bytes:
    """The name of a network that is shown like that: one that is no text is told by those that are known."""
    if not text:
        raise Invalid("wifi.ssid: is needed, the name of the network")
    if _REPLACED in text:
        for name in known:
            if name.decode(errors="replace") == text:
                return name
        raise Invalid("wifi.ssid: the name of this network is no text, and no network of that name is in range")
    name = text.encode()
    if len(name) > LONGEST_SSID:
        raise Invalid(f"wifi.ssid: is {len(name)} bytes long; {LONGEST_SSID} are allowed")
    return name

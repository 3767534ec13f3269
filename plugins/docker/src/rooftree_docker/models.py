"""The shapes of the docker domain's answers and bodies, as the contract has them."""

from __future__ import annotations

from attrs import field, frozen

from rooftree import UNSET, Unset

SMALLEST_MTU = 68
"""Bytes; RFC 791. IPv6 needs 1280 (RFC 8200)."""
LARGEST_MTU = 65535


def _is_mtu(_: object, __: object, value: int | Unset | None) -> None:
    if isinstance(value, int) and not SMALLEST_MTU <= value <= LARGEST_MTU:
        raise ValueError(f"mtu: must be from {SMALLEST_MTU} to {LARGEST_MTU}, not {value}")


@frozen
class ShownLogin:
    """A login that is stored for a registry; its password is never shown."""

    username: str


@frozen
class RegistryList:
    """The registries that a login is stored for."""

    registries: dict[str, ShownLogin]
    """By host name."""


@frozen(kw_only=True)
class DockerOptionsChange:
    """What may be set; what is absent stays, what is null goes back to the usual."""

    enable_ipv6: bool | Unset | None = UNSET
    mtu: int | Unset | None = field(default=UNSET, validator=_is_mtu)


@frozen(kw_only=True)
class DockerInfo:
    """Facts about the container engine."""

    version: str
    enable_ipv6: bool | None
    """``None`` where nobody decided."""
    mtu: int | None
    storage: str
    logging: str
    registries: dict[str, ShownLogin]

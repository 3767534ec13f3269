"""The shapes of the docker domain's answers, as the contract has them."""

from __future__ import annotations

from attrs import frozen


@frozen
class RegistryLogin:
    """A login that is stored for a registry; its password is never shown."""

    username: str


@frozen(kw_only=True)
class DockerInfo:
    """Facts about the container engine."""

    version: str
    enable_ipv6: bool | None
    """``None`` where nobody decided."""
    mtu: int | None
    storage: str
    logging: str
    registries: dict[str, RegistryLogin]

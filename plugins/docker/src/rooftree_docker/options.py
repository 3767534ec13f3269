"""What is set of Docker through the API, and the service that its routes use."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import evolve, frozen

from rooftree import Collection, Invalid, Kernel, RooftreeError, Service, Unset, document
from rooftree.interfaces.containers import ContainerEngine
from rooftree_docker.registry_logins import RegistryLogins

SMALLEST_IPV6_MTU = 1280
"""Bytes; RFC 8200."""
_ONLY = "docker"


@document("docker.options", version=1)
@frozen
class DockerOptions:
    """How the add-on network is made; ``None`` is the usual: without IPv6, and with the engine's packet size."""

    enable_ipv6: bool | None = None
    mtu: int | None = None


class SetNetwork(Protocol):
    """Lets the engine's driver know how the network is to be."""

    def __call__(self, *, ipv6: bool, mtu: int | None) -> None:
        """Want it so from now on; ``mtu`` is in bytes."""


class Docker:
    """Docker, beyond what every container engine offers."""

    def __init__(
        self,
        kernel: Kernel,
        engine: ContainerEngine,
        logins: RegistryLogins,
        stored: Collection[DockerOptions],
        set_network: SetNetwork,
    ) -> None:
        self.engine = engine
        self.logins = logins
        self._kernel = kernel
        self._stored = stored
        self._set_network = set_network
        self._apply()

    @property
    def options(self) -> DockerOptions:
        return self._stored.get(_ONLY, DockerOptions())

    async def set_options(self, **given: Any) -> None:
        """Set what is not ``Unset``; the network is made anew as soon as no container is on it."""
        wanted = evolve(self.options, **{name: value for name, value in given.items() if not isinstance(value, Unset)})
        if wanted.enable_ipv6 and wanted.mtu is not None and wanted.mtu < SMALLEST_IPV6_MTU:
            raise Invalid(f"mtu: must be {SMALLEST_IPV6_MTU} or more with IPv6, not {wanted.mtu}")
        if wanted == self.options:
            return
        await self._kernel.commit(self._stored.put(_ONLY, wanted))
        self._apply()
        if self.engine.available:
            try:
                await self.engine.network()
            except RooftreeError as error:  # it is tried again when an add-on is started
                self._kernel.degraded(f"The add-on network could not be made as it is set: {error.message}")

    def _apply(self) -> None:
        self._set_network(ipv6=bool(self.options.enable_ipv6), mtu=self.options.mtu)


DOCKER = Service[Docker]("docker/1")

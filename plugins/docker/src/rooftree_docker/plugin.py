"""The Docker Engine: containers, images and the network that add-ons share."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from ipaddress import IPv4Network
from typing import Any

import structlog
from attrs import field, frozen

from rooftree import Kernel, Plugin, Problem, RooftreeError, Routes, Task, Unavailable, hookimpl
from rooftree.interfaces.backups import SettingsKeeper
from rooftree.interfaces.containers import (
    CONTAINER_ENGINE,
    OWN_ADDRESS,
    ContainerChanged,
    EngineConnected,
    EngineLost,
    RegistryRateLimited,
)
from rooftree_docker.api_socket import ApiSocket
from rooftree_docker.assessment import Remark
from rooftree_docker.engine import DockerEngine
from rooftree_docker.engine_client import Deadlines
from rooftree_docker.image_reference import DOCKER_HUB
from rooftree_docker.network import USUAL_SUBNET, NetworkSettings, RangeMoved
from rooftree_docker.options import DOCKER, Docker, DockerOptions
from rooftree_docker.registry_logins import RegistryLogins, StoredLogin
from rooftree_docker.routes import routes
from rooftree_docker.signatures import SignedImages

log = structlog.get_logger(__name__)

CONFIGURATION = "docker_configuration"
RATE_LIMIT = "docker_ratelimit"
REBOOT_REQUIRED = "reboot_required"
NETWORK_REFERENCE = "addon_network"
"""Tells this reason for a reboot from the operating system's."""
UNGUARDED = "addon_network_unguarded"
UNSUPPORTED = frozenset({"podman", "rootless", "userns"})
"""Kinds of engines on which some add-ons can't work, whatever is configured."""
LISTENER = "add-ons"
"""Our name for the socket at which add-ons reach us."""
RETRY_S = 5.0
"""Seconds between looks at whether the add-ons' way to us is still open."""


def _is_subnet(_: object, __: object, text: str) -> None:
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise ValueError(f"must be a range of IPv4 addresses, such as {USUAL_SUBNET}: {error}") from None
    if network.prefixlen > 28:
        raise ValueError(f"must have room for add-ons, such as {USUAL_SUBNET}, not {text}")


def _is_prefix(_: object, __: object, text: str) -> None:
    if re.fullmatch(r"([a-zA-Z0-9][a-zA-Z0-9_.-]{0,39})?", text) is None:
        raise ValueError(f"must be up to 40 of a-z A-Z 0-9 - _ ., the first no sign, such as second_, not {text!r}")


@frozen
class DockerSettings:
    """``[plugins.docker]`` in rooftree.toml."""

    socket: str | None = None
    """Where the engine listens: ``unix:///run/docker.sock``; unless set, ``DOCKER_HOST``, else Docker's own place."""
    prefix: str = field(default="", validator=_is_prefix)
    """Put before the names of containers and of the network: for a second instance on one engine."""
    subnet: str = field(default=str(USUAL_SUBNET), validator=_is_subnet)
    """The range of the add-on network; where it is taken, a free one is chosen and reported."""
    deadlines: Deadlines = field(factory=Deadlines)
    """``[plugins.docker.deadlines]``: how many seconds the engine may take, for slow disks and for tests."""
    signed_images: tuple[SignedImages, ...] = ()
    """``[[plugins.docker.signed_images]]``: images that are only fetched when they are signed, and by whom."""


class DockerPlugin(Plugin):
    """Provides the container engine, on Docker."""

    name = "docker"
    provides = (CONTAINER_ENGINE, OWN_ADDRESS, DOCKER)
    settings = DockerSettings

    async def setup(self, kernel: Kernel) -> None:
        """Make the driver; whether Docker is there is found out while everything runs."""
        self.kernel = kernel
        settings = kernel.settings(DockerSettings)
        self.logins = RegistryLogins(kernel, await kernel.collection(StoredLogin))
        self.engine = DockerEngine(
            settings.socket or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock",
            data_dir=kernel.data.path,
            instance_id=kernel.data.instance_id,
            publish=kernel.publish,
            prefix=settings.prefix,
            network=NetworkSettings(subnet=IPv4Network(settings.subnet)),
            login_for=self.logins.login_for,
            report_pull=self.report_pull,
            report_range=self.report_range,
            report_network_waits=self.report_network_waits,
            report_wire=self.report_wire,
            deadlines=settings.deadlines,
            signed_images=settings.signed_images,
        )
        kernel.defer(self.engine.close)  # containers run on
        options = await kernel.collection(DockerOptions)
        kernel.provide(DOCKER, Docker(kernel, self.engine, self.logins, options, self.engine.set_network))
        self._version: str | None = None
        """The engine's, as it was when it was reached."""
        self.api_socket: ApiSocket | None = None
        kernel.defer(self._close_api_socket)
        self._look_again = asyncio.Event()
        kernel.provide(CONTAINER_ENGINE, self.engine)
        kernel.provide(OWN_ADDRESS, self)
        kernel.on(EngineConnected, self.connected)
        kernel.on(EngineLost, self.lost)
        kernel.on(ContainerChanged, self.container_changed)

    def routes(self) -> Routes:
        """Facts about the engine."""
        return routes

    def tasks(self) -> Iterable[Task]:
        """Watch the engine, and keep the add-ons' way to us open."""
        yield Task("watch the engine", self.engine.watch)
        yield Task("keep the API reachable for add-ons", self.keep_reachable)
        yield Task("bind the add-ons' ports", self.engine.wire.run)
        yield Task("remove images without a name", self.remove_nameless_images, every=timedelta(days=1))

    async def connected(self, _: EngineConnected) -> None:
        """The engine is there: say what of it limits what can be done."""
        self._look_again.set()
        self.engine.wire.look_at_tables()
        self.kernel.recovered()
        self.kernel.problems.clear("engine_unavailable")
        with suppress(RooftreeError):  # it is gone again
            info, remarks = await self.engine.introduction()
            self._version = info.version
            self._report_remarks(remarks)

    def _report_remarks(self, remarks: Sequence[Remark]) -> None:
        if not remarks:
            self.kernel.problems.clear(CONFIGURATION)
            return
        self.kernel.problems.report(
            Problem(
                CONFIGURATION,
                message=". ".join(remark.message for remark in remarks),
                severity="unsupported" if any(remark.kind in UNSUPPORTED for remark in remarks) else "issue",
                extra={"kinds": [remark.kind for remark in remarks]},
            )
        )

    async def remove_nameless_images(self) -> None:
        """Take away what we built and nothing refers to any more."""
        if self.engine.available:
            with suppress(Unavailable):
                freed = await self.engine.remove_nameless_images()
                if freed:
                    log.info("nameless_images_removed", bytes=freed)

    def report_pull(self, registry: str, refused: RegistryRateLimited | None) -> None:
        """A registry gave what it was asked for, or was asked too often."""
        if registry != DOCKER_HUB:
            return
        if refused is None:
            self.kernel.problems.clear(RATE_LIMIT)
        else:
            self.kernel.problems.report(Problem(RATE_LIMIT, message=refused.message, suggestions=("registry_login",)))

    def report_network_waits(self, waits: bool) -> None:
        """The network is not as set, because containers are on it; or it is."""
        if not waits:
            self.kernel.problems.clear(REBOOT_REQUIRED, reference=NETWORK_REFERENCE)
            return
        self.kernel.problems.report(
            Problem(
                REBOOT_REQUIRED,
                reference=NETWORK_REFERENCE,
                message="IPv6 or the packet size of the add-on network is not as set yet, because add-ons are on it. "
                "It is made anew when none is: stop them all, or reboot",
                suggestions=("execute_reboot",),
            )
        )

    def container_changed(self, event: ContainerChanged) -> None:
        """A container that has started has a port of the network, which is its own."""
        if event.action in {"start", "die"}:
            self.engine.wire.look_again()

    def report_wire(self, reason: str | None) -> None:
        """Add-ons can take each other's addresses on their network, and ours; or they can't."""
        if reason is None:
            self.kernel.problems.clear(UNGUARDED)
            return
        self.kernel.problems.report(
            Problem(
                UNGUARDED,
                message="An add-on that may send raw frames (NET_RAW) can take over other add-ons' addresses on the "
                f"add-on network, or Rooftree's, and read what is sent there: {reason}. On the engine's host, as root "
                "and with the package nftables, Rooftree keeps that from happening",
            )
        )

    def lost(self, event: EngineLost) -> None:
        """The engine is not there (any more)."""
        self.kernel.degraded(event.reason)
        self.kernel.problems.report(
            Problem("engine_unavailable", message=f"The container engine does not answer: {event.reason}")
        )

    async def keep_reachable(self) -> None:
        """Open the socket where add-ons expect us, and open it anew when its network was made anew."""
        while True:
            self._look_again.clear()
            if self.engine.available and (self.api_socket is None or not await self.api_socket.attached()):
                await self._open_api_socket()
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S if self.api_socket is not None else RETRY_S / 10):
                    await self._look_again.wait()

    async def _open_api_socket(self) -> None:
        await self._close_api_socket()
        try:
            made = await self.engine.open_api_socket()
            await self.kernel.listen(LISTENER, made.socket)
        except (RooftreeError, OSError) as error:
            self.kernel.problems.report(Problem("api_unreachable", message=f"Add-ons cannot reach the API: {error}"))
            return
        self.api_socket = made
        self.kernel.problems.clear("api_unreachable")
        log.info("addons_can_reach_us", address=made.address, how=made.how)

    async def _close_api_socket(self) -> None:
        made, self.api_socket = self.api_socket, None
        if made is not None:
            await self.kernel.unlisten(LISTENER)
            await made.close()

    async def own_socket(self) -> socket.socket | None:
        """A socket whose connections come from where add-ons reach us."""
        return await self.api_socket.outgoing() if self.api_socket is not None else None

    def report_range(self, moved: RangeMoved | None) -> None:
        """The add-on network lies elsewhere than configured, or where it should."""
        if moved is None:
            self.kernel.problems.clear("addon_network_moved")
        else:
            self.kernel.problems.report(Problem("addon_network_moved", message=str(moved)))

    @hookimpl
    def backup_settings(self) -> SettingsKeeper:
        """The logins at registries."""
        return self.logins

    @hookimpl
    async def info(self) -> Mapping[str, Any]:
        """The engine's version as it is known: nobody waits for an engine that hangs."""
        if self._version is None and self.engine.available:
            with suppress(Unavailable):
                self._version = (await self.engine.info()).version
        return {"docker": self._version} if self._version is not None else {}

    @hookimpl
    async def supervisor_info(self) -> Mapping[str, Any]:
        """Our address on the add-on network as it is known."""
        known = self.engine.known_network
        if known is None and self.engine.available:
            with suppress(Unavailable):
                known = await self.engine.network()
        return {"ip_address": known.supervisor} if known is not None else {}

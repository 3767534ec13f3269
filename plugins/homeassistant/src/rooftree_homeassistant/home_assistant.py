"""Core as it is installed and set up here: what is kept of it, which versions there are, and where it is reached."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final

from attrs import evolve, frozen

from rooftree import Collection, Conflict, Kernel, Problem, RooftreeError, Service, document
from rooftree.interfaces.containers import CONTAINER_ENGINE, EngineConnected
from rooftree.interfaces.machine import RECOGNIZED_MACHINE
from rooftree.interfaces.versions import VERSION_FEED
from rooftree.state import Change
from rooftree_containers import ManagedContainers
from rooftree_containers.standing import StandingContainer
from rooftree_homeassistant.core_options import CoreOptions, CoreOptionsChange
from rooftree_homeassistant.core_state import CoreHttpConfig
from rooftree_homeassistant.replaced_core import ReplacedCore
from rooftree_homeassistant.whereabouts import CoreAddress, CoreMoved
from rooftree_machine.home_assistant_os import newer
from rooftree_machine.machine_types import generic_machine, host_architecture

NAME: Final = "homeassistant"
"""What Core is called in this domain, and the key of both its documents."""
CONTEXT: Final = "core"
"""The context of its problems, and the kind of its locks."""
REBUILD_DUE: Final = "rebuild_due"
RECOVERY_MODE: Final = "core_recovery_mode"
CONTAINER: Final = "homeassistant"
"""The logical name of its container."""
SOCKET_FOLDER: Final = "run/core"
"""Below the data folder: where Core's socket lies. Core's container has it as ``/run/supervisor``."""
SOCKET: Final = "core.sock"
FIRST_WITH_SOCKET: Final = "2026.4.0.dev202603250907"
"""The first version of Core that offers its API on a socket."""
_USUAL_IMAGE: Final = "ghcr.io/home-assistant/{machine}-homeassistant"
"""What the version feed says as long as it was never read."""
_USUAL_GATEWAY: Final = "172.30.32.1"
"""The host's address on the add-on network, as the API documents it; shown until the engine has told its own."""


@document("homeassistant.core", version=1)
@frozen(kw_only=True)
class CoreContainer(StandingContainer):
    """What is kept of Core once it is installed."""

    start_took_s: float | None = None
    """Seconds from the start of its container until it had come up, the last time."""


@frozen
class ContainerSettings:
    """What the operator decides about Core's container."""

    install: bool = True
    """Whether it is installed where it is not."""
    privileged: bool = True
    probation: timedelta = timedelta(minutes=10)
    keep_history: bool = False
    """Whether an update copies Core's database too, and puts it back with the version before."""


class CoreNotRunning(Conflict):
    """Core's container does not run."""

    status = 400
    error_key = "homeassistant_not_running_error"


def has_socket(version: str) -> bool:
    """Whether that version of Core offers its API on a socket."""
    return not newer(FIRST_WITH_SOCKET, version)


class HomeAssistant:
    """Core. Is also where its API is, a :class:`~rooftree_homeassistant.whereabouts.CoreWhereabouts`."""

    def __init__(
        self,
        kernel: Kernel,
        options: Collection[CoreOptions],
        installed: Collection[CoreContainer],
        replaced: Collection[ReplacedCore],
        container_settings: ContainerSettings,
    ) -> None:
        self.kernel = kernel
        self.container_settings = container_settings
        self._options = options
        self._installed = installed
        self.replaced = replaced
        """What a restore took the place of and may still come back."""
        self.restore_job: str | None = None
        """The job whose restore Core's container is being made for."""
        self._gateway: str | None = None
        self._changing = asyncio.Lock()
        self.containers: ManagedContainers
        kernel.on(EngineConnected, self.learn_gateway)

    # --- what is kept ------------------------------------------------------------------------------------------------

    @property
    def options(self) -> CoreOptions:
        """What is set of it."""
        return self._options[NAME]

    @property
    def installed(self) -> CoreContainer | None:
        """What is kept of its container; ``None`` while it is not installed."""
        return self._installed.get(NAME)

    async def put(self, container: CoreContainer) -> None:
        """Let it be installed."""
        await self.kernel.commit(self._installed.put(NAME, container))

    async def remove(self) -> None:
        """Let it be installed no longer; its container is gone."""
        await self.kernel.commit(self._installed.delete(NAME))
        self.containers.forget(NAME)
        self.kernel.publish(CoreMoved())

    def changing_options(self, **changes: Any) -> Change:
        """Let these options be that, for :meth:`~rooftree.Kernel.commit`."""
        return self._options.update(NAME, lambda options: evolve(options, **changes))

    def changing_container(self, **changes: Any) -> Change:
        """The same for what is kept of its container."""
        return self._installed.update(NAME, lambda container: evolve(container, **changes))

    @contextmanager
    def restored_by(self, job_id: str) -> Iterator[None]:
        """A container that is made in this block knows which job restores Core."""
        self.restore_job = job_id
        try:
            yield
        finally:
            self.restore_job = None

    async def set_options(self, change: CoreOptionsChange) -> None:
        """Keep what is given. Raises :class:`~rooftree.Invalid` where nothing is."""
        given, before = change.given(), self.options
        await self.kernel.commit(self._options.update(NAME, partial(evolve, **given)))
        self.kernel.publish(CoreMoved())
        if self.options.duplicate_log_file != before.duplicate_log_file:
            reason = "Whether it also writes its log to a file was changed."
            self.containers.observation.restart_due(NAME, reason)
        if "image" in given:
            self._tell_rebuild_due()

    async def note_start(self, took_s: float) -> None:
        """Keep how long it took to come up."""
        with suppress(KeyError):  # it has gone meanwhile
            await self.kernel.commit(self._installed.update(NAME, partial(evolve, start_took_s=round(took_s, 1))))

    async def note_http(self, http: CoreHttpConfig | None) -> None:
        """Keep where Core says that its page is."""
        if http is None or (http.port, http.ssl) == (self.options.port, self.options.ssl):
            return
        await self.kernel.commit(self._options.update(NAME, partial(evolve, port=http.port, ssl=http.ssl)))
        self.kernel.publish(CoreMoved())

    def note_recovery_mode(self, is_on: bool) -> None:
        """Say that Core runs without what its user has configured, for as long as it does."""
        if is_on:
            message = (
                "Home Assistant Core has started in recovery mode, because it can't use its configuration: have it "
                "checked (/core/check), mend what that says, and restart Core"
            )
            self.kernel.problems.report(Problem(RECOVERY_MODE, CONTEXT, NAME, message))
        else:
            self.kernel.problems.clear(RECOVERY_MODE, CONTEXT, NAME)

    def _tell_rebuild_due(self) -> None:
        installed = self.installed
        if installed is not None and (image := self.image_of(installed.version)) != installed.image:
            message = f"Home Assistant Core is set to the image {image}, and runs as {installed.image}: rebuild it"
            self.kernel.problems.report(Problem(REBUILD_DUE, CONTEXT, NAME, message, ("execute_rebuild",)))
        self.note_rebuilt()

    def note_rebuilt(self) -> None:
        """Core may be what it is set to be: then nothing is due."""
        installed = self.installed
        if installed is None or self.image_of(installed.version) == installed.image:
            self.kernel.problems.clear(REBUILD_DUE, CONTEXT, NAME)

    # --- versions ----------------------------------------------------------------------------------------------------

    @property
    def machine(self) -> str:
        """Which machine this is, in the words of the API."""
        recognized = self.kernel.find(RECOGNIZED_MACHINE)
        return (recognized.machine if recognized else None) or generic_machine(self.architecture)

    @property
    def architecture(self) -> str:
        """``amd64``, ``aarch64`` …"""
        return host_architecture()

    @property
    def newest(self) -> str | None:
        """The newest version for this machine; ``None`` while the feed was never read, or has none."""
        feed = self.kernel.find(VERSION_FEED)
        if feed is None:
            return None
        if self.installed is not None:
            feed.keep_fresh()
        return feed.newest_core(self.machine)

    @property
    def update(self) -> str | None:
        """The newest version, where it is certainly a later one than what is installed."""
        newest, installed = self.newest, self.installed
        return newest if newest and installed and newer(newest, installed.version) else None

    @property
    def image(self) -> str:
        """The image that it is installed from, without a tag: the user's, or this machine's."""
        if self.options.image is not None:
            return self.options.image
        feed = self.kernel.find(VERSION_FEED)
        told = feed.image("core", machine=self.machine) if feed is not None else None
        return told or _USUAL_IMAGE.format(machine=self.machine)

    def image_of(self, version: str) -> str:
        """The image that a version is installed from, with its tag."""
        return f"{self.image}:{version}"

    # --- where it is -------------------------------------------------------------------------------------------------

    async def learn_gateway(self, _: EngineConnected | None = None) -> None:
        """Ask the engine for the host's address on the add-on network: what listens on the host's network is there."""
        try:
            self._gateway = (await self.kernel.service(CONTAINER_ENGINE).network()).gateway
        except RooftreeError:  # it is away; its coming brings us here again
            return
        self.kernel.publish(CoreMoved())

    @property
    def ip_address(self) -> str:
        """Where Core is reached by its port, for clients, which want an address in any case."""
        return self._gateway or _USUAL_GATEWAY

    def address(self) -> CoreAddress | None:
        """Where its API is; ``None`` while its container does not run."""
        shown = self.containers.observation.shown(NAME)
        installed = self.installed
        if shown is None or installed is None or not self.containers.observation.runs(NAME):
            return None
        options = self.options
        scheme = "https" if options.ssl else "http"
        with_socket = has_socket(installed.version)
        return CoreAddress(
            container_id=shown.id,
            version=installed.version,
            socket=self.kernel.data.path / SOCKET_FOLDER / SOCKET if with_socket else None,
            url=f"{scheme}://{self._gateway}:{options.port}" if self._gateway else None,
            refresh_token=options.refresh_token,
        )


HOME_ASSISTANT = Service[HomeAssistant]("homeassistant/1")

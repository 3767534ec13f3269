"""The container engine as the domains see it.

Names are logical: the driver adds the instance's prefix, its labels and its network, and touches only containers that
carry our instance id. Paths are :class:`DataPath` (below the data folder) or :class:`HostPath` (a device or system
path): only the driver knows where the data folder lies on the engine's host. Addresses come from the engine.

Every call raises :class:`~rooftree.errors.Unavailable` while the engine cannot be reached, and the more telling errors
named at the method otherwise.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from attrs import field, frozen

from rooftree.errors import Conflict, Failed, NotFound, RateLimited, Unavailable
from rooftree.events import Event
from rooftree.services import Service


class EngineUnavailable(Unavailable):
    """The container engine does not answer."""

    error_key = "container_engine_unavailable_error"


class ImageNotFound(NotFound):
    """The registry, or the engine, has no such image."""

    error_key = "image_not_found_error"


class ImageForOtherPlatform(Failed):
    """The image is not made for the platform it is to run on. ``extra_fields``: ``image``."""

    status = 400
    error_key = "image_platform_error"


class ContainerNotFound(NotFound):
    """The engine has no such container."""

    error_key = "docker_container_not_found_error"


class ContainerNotRunning(Conflict):
    """The container exists and does not run."""

    status = 400
    error_key = "docker_container_not_running_error"


class StdinBusy(RateLimited):
    """The container has not read yet what other calls sent to its standard input. ``extra_fields``: ``wait_s``."""

    error_key = "docker_container_stdin_busy_error"


class StdinNotRead(Conflict):
    """The program in the container does not read its standard input."""

    error_key = "docker_container_stdin_not_read_error"


class PortConflict(Conflict):
    """Another process on the host listens on a port the container wants. ``extra_fields``: ``port`` (int)."""

    status = 400
    error_key = "docker_container_port_conflict"


class RegistryRateLimited(RateLimited):
    """The registry answered that we pulled too often. ``extra_fields``: ``registry``; ``wait_s``, the seconds after
    which it may be asked again, where it says so."""

    error_key = "container_registry_rate_limit_exceeded"


class RegistryLoginRefused(Failed):
    """The registry refused the stored login, or wants one."""

    status = 400
    error_key = "docker_registry_auth_error"


class EngineDiskFull(Failed):
    """The engine has no space left for an image or a container."""

    status = 400
    error_key = "docker_no_space_on_device"


class PullFailed(Failed):
    """The image could not be fetched, for a reason that has no class of its own."""

    error_key = "image_pull_failed_error"


class ImageImportRefused(Failed):
    """An export of an image is not one, or holds another image than it is said to. ``extra_fields``: ``image``."""

    status = 400
    error_key = "container_image_import_error"


class BuildFailed(Failed):
    """A build step of a Dockerfile failed. The message ends with the last lines of the build's output."""

    error_key = "app_build_failed_unknown_error"


class EngineRefused(Failed):
    """The engine refused a call; the message is the engine's own."""

    error_key = "container_engine_refused_error"


@frozen
class DataPath:
    """A path below the data folder, such as ``DataPath("apps/data/local_hello")``: never absolute, no ``..``."""

    path: str = field()

    @path.validator
    def _inside(self, _: object, path: str) -> None:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\0" in path:
            raise ValueError(f"{path!r} does not lie below the data folder")


@frozen
class HostPath:
    """A device or system path on the engine's host, such as ``HostPath("/run/dbus")``."""

    path: str = field()

    @path.validator
    def _absolute(self, _: object, path: str) -> None:
        if not PurePosixPath(path).is_absolute() or "\0" in path:
            raise ValueError(f"{path!r} is not an absolute path")


@frozen
class Mount:
    """A folder or file of the host, shown to a container at ``target``."""

    source: DataPath | HostPath
    target: str
    read_only: bool = False
    propagation: Literal["rprivate", "rslave"] = "rprivate"
    recursive: bool = True
    """``False`` leaves mounts below ``source`` out of a read-only bind (``/dev``)."""


@frozen
class Ulimit:
    """A resource limit of a container's processes; units are those of ``setrlimit(2)``."""

    name: str
    soft: int
    hard: int


@frozen
class Port:
    """A port of the container, published on the host."""

    container: int
    host: int
    protocol: Literal["tcp", "udp"] = "tcp"


@frozen(kw_only=True)
class ContainerSpec:
    """Everything the engine is told about a container. Plain data: domains add to it with ``attrs.evolve``."""

    name: str
    """Logical name, such as ``app_local_hello``; the engine's own name may carry a prefix."""
    image: str
    """Name and tag, such as ``127.0.0.1:5000/amd64-addon-hello:1.0``."""
    hostname: str | None = None
    environment: Mapping[str, str] = field(factory=dict)
    labels: Mapping[str, str] = field(factory=dict)
    mounts: tuple[Mount, ...] = ()
    network: Literal["addons", "host"] = "addons"
    ports: tuple[Port, ...] = ()
    extra_hosts: Mapping[str, str] = field(factory=dict)
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    """Linux capabilities that it has besides the engine's usual ones, such as ``NET_ADMIN``."""
    privileged: bool = False
    """Every capability and every device of the host, for a program that is as trusted as the host itself."""
    dropped_capabilities: tuple[str, ...] = ()
    """Of the engine's usual ones, those that it has not."""
    security_options: tuple[str, ...] = ()
    device_rules: tuple[str, ...] = ()
    """Device cgroup rules such as ``c 188:* rwm``."""
    devices: tuple[str, ...] = ()
    """Host device nodes to create inside, such as ``/dev/ttyUSB0``."""
    ulimits: tuple[Ulimit, ...] = ()
    pids_limit: int | None = None
    """How many processes and threads it may have; ``None``: as many as the host."""
    tmpfs: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    """What is run with the command as its arguments, in place of the image's own; ``()`` for the command alone."""
    init: bool = True
    stdin: bool = False
    host_pid: bool = False
    host_uts: bool = False
    host_ipc: bool = False
    oom_score_adjust: int = 0
    cpu_realtime_runtime_us: int | None = None
    stop_timeout_s: int = 10


class ContainerStatus(enum.StrEnum):
    """What the engine says of a container."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


class Health(enum.StrEnum):
    """The verdict of a container's health check; ``NONE`` where its image has none."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@frozen(kw_only=True)
class Container:
    """A container of this instance, as the engine shows it."""

    id: str
    name: str
    """The logical name."""
    image: str
    image_id: str
    status: ContainerStatus
    health: Health
    exit_code: int | None
    """``None`` while it runs or has never run."""
    labels: Mapping[str, str]
    ip_address: str | None
    """On the add-on network, or ``None`` (host network, not running)."""
    started_at: datetime | None
    ipv6_address: str | None = None
    """The same, of IPv6, where the network has it."""
    on_host_network: bool = False
    """Whether it has no network of its own, but the host's."""
    log_driver: str = ""
    """Where the engine puts what it writes: ``json-file``, ``journald`` …"""
    ports: tuple[Port, ...] = ()
    """What it publishes on the host while it runs, as it was made."""


@frozen(kw_only=True)
class Image:
    """An image the engine has."""

    id: str
    """The engine's content id, ``sha256:…``."""
    tags: tuple[str, ...]
    architecture: str
    """Go's word for it: ``amd64``, ``arm64``; empty where it does not tell."""
    size: int
    """Bytes."""
    has_health_check: bool
    digests: tuple[str, ...] = ()
    """What registries know it by, ``name@sha256:…``; none for one that was built here."""
    labels: Mapping[str, str]
    system: str = "linux"
    """Empty where it does not tell."""
    variant: str = ""
    """Of the architecture: ``v7``; empty where it does not tell."""
    environment: Mapping[str, str] = field(factory=dict)
    """What the programs in it are told by its own variables."""


@frozen(kw_only=True)
class Progress:
    """How far a pull or build is. ``total`` is what is known by now, and may grow; both in bytes (or build steps)."""

    done: int
    total: int
    line: str = ""
    """What the engine printed, for a build's log."""


@frozen(kw_only=True)
class ContainerStats:
    """One reading of a running container. Sizes in bytes since its start; percents of the whole machine."""

    cpu_percent: float
    memory_usage: int
    memory_limit: int
    memory_percent: float
    network_rx: int
    network_tx: int
    blk_read: int
    blk_write: int


@frozen(kw_only=True)
class LogLine:
    """One line a container wrote, without its line end."""

    time: datetime
    stream: Literal["stdout", "stderr"]
    text: bytes


@frozen(kw_only=True)
class ExecResult:
    """What a command inside a container answered."""

    exit_code: int
    output: bytes


@frozen(kw_only=True)
class AddonNetwork:
    """The network that add-ons share."""

    name: str
    interface: str
    subnet: str
    gateway: str
    supervisor: str
    """Where containers on it reach our API, on port 80."""


@frozen(kw_only=True)
class EngineInfo:
    """Facts about the engine."""

    version: str
    api_version: str
    storage: str
    logging: str
    cgroup: str
    """``"1"`` or ``"2"``."""
    architecture: str
    """Rooftree's word for it: ``amd64``, ``aarch64`` …"""
    operating_system: str
    root_dir: str


class ContainerEngine(Protocol):
    """Runs containers, on Docker or on what takes its place."""

    @property
    def available(self) -> bool:
        """Whether the engine answered last time: what :class:`EngineConnected` said to those who listened in time.

        A ``False`` here never replaces trying.
        """
        ...

    async def info(self) -> EngineInfo:
        """Facts about the engine."""
        ...

    async def network(self) -> AddonNetwork:
        """The add-on network, made when it is not there."""
        ...

    async def host_path(self, path: DataPath) -> HostPath:
        """Where something below the data folder lies on the engine's host, which is another place than ours when we run
        in a container. Raises ``Unavailable`` where that can't be told, or it does not lie there."""
        ...

    def pull(self, image: str, *, platform: str | None = None) -> AsyncIterator[Progress]:
        """Fetch ``name:tag`` from its registry; ``name:tag@sha256:…`` fetches that very image, whatever the tag means
        by now, and names it so. Raises the registry errors of this module.

        One that is made for another platform than the engine's, or the one that is given, is refused
        (:class:`ImageForOtherPlatform`), and what came of it taken away.
        """
        ...

    async def size_of_pull(self, image: str, *, platform: str | None = None) -> int | None:
        """Bytes that a pull of ``name:tag`` fetches at most, as its registry tells within seconds; what the engine has
        already is counted too. ``None`` where that is not known."""
        ...

    def build(
        self,
        image: str,
        context: DataPath | HostPath,
        *,
        dockerfile: str,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        platform: str | None = None,
    ) -> AsyncIterator[Progress]:
        """Build ``name:tag`` from a folder. Raises :class:`BuildFailed`, and :class:`ImageForOtherPlatform` where it is
        built on what is made for another platform."""
        ...

    async def image(self, image: str) -> Image | None:
        """What the engine has under ``name:tag``, or ``None``."""
        ...

    async def tag_image(self, image: str, further: str) -> None:
        """Give what the engine has under ``image`` the name ``further`` too, in place of what has that name; both are
        ``name:tag``. Raises :class:`ImageNotFound`."""
        ...

    async def remove_image(self, image: str) -> bool:
        """Take ``name:tag`` away. ``False`` when it was not there or a container still uses it."""
        ...

    async def export_image(self, image: str, file: Path) -> None:
        """Write ``name:tag`` into a file that is made by this, as :meth:`import_image` reads it; what a failure leaves
        of it is for the caller to remove. Raises :class:`ImageNotFound`."""
        ...

    async def import_image(self, image: str, file: Path) -> None:
        """Take ``name:tag`` over from such a file, in place of what has that name. One that would bring another name,
        is made for another platform, or must be signed and can't be looked at for that, is refused with nothing done:
        :class:`ImageImportRefused`, :class:`ImageForOtherPlatform`."""
        ...

    async def containers(self) -> Sequence[Container]:
        """Every container of this instance."""
        ...

    async def container(self, name: str) -> Container | None:
        """The container of that logical name, or ``None``."""
        ...

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container and attach it to its network; its engine id. One of that name of ours is replaced.

        Raises :class:`ImageNotFound`, :class:`EngineRefused`, and ``Conflict`` for a stranger's container of the name.
        """
        ...

    async def start(self, name: str) -> None:
        """Start it; nothing to do when it runs. Raises :class:`ContainerNotFound`, :class:`PortConflict`."""
        ...

    async def stop(self, name: str, timeout_s: int) -> None:
        """Ask it to end, end it after ``timeout_s``. Nothing to do when it is gone or has ended."""
        ...

    async def remove(self, name: str) -> None:
        """Take it away with its anonymous volumes, running or not, and what was set aside of that name. Nothing to do
        when it is gone."""
        ...

    async def set_aside(self, name: str) -> None:
        """Let an ended container make room for another of its logical name, in place of one that was set aside earlier:
        no other call shows or finds it, and no event tells of it but ``destroy``. Nothing to do when there is none."""
        ...

    async def put_back(self, name: str) -> bool:
        """Let the container that was set aside have its name again, in place of what has it now. ``False``, with
        nothing done, when none was."""
        ...

    async def drop_aside(self, name: str) -> None:
        """Take the container away that was set aside. Nothing to do when none was."""
        ...

    async def execute(self, name: str, command: Sequence[str]) -> ExecResult:
        """Run a command inside; raises :class:`ContainerNotRunning`."""
        ...

    async def write_stdin(self, name: str, data: bytes) -> None:
        """Feed a running container's standard input, one call at a time, until the program inside has read it or it
        is given up. Raises :class:`ContainerNotRunning`, :class:`StdinBusy`, :class:`StdinNotRead`."""
        ...

    def logs(
        self, name: str, *, follow: bool = False, tail: int | None = None, since: datetime | None = None
    ) -> AsyncIterator[LogLine]:
        """What it wrote, then on as it comes with ``follow``. Raises ContainerNotFound.

        :param tail: of the last so many lines only
        :param since: those of them that were written at this time or later
        """
        ...

    def log_text(
        self, name: str, *, follow: bool = False, tail: int | None = None, since: datetime | None = None
    ) -> AsyncIterator[bytes]:
        """The same as text, for readers that need no times: whole lines, in pieces of any number of them."""
        ...

    def name_on_engine(self, name: str) -> str:
        """What the engine calls the container of that logical name, whether it is there or not."""
        ...

    async def stats(self, name: str) -> ContainerStats:
        """One reading; raises :class:`ContainerNotRunning`."""
        ...


CONTAINER_ENGINE = Service[ContainerEngine]("container_engine/1")


class OwnAddress(Protocol):
    """Our own address on the add-on network, :attr:`AddonNetwork.supervisor`. What is passed on to add-ons comes from
    there, and many take it from nowhere else."""

    async def own_socket(self) -> socket.socket | None:
        """A TCP socket, not blocking and not connected yet, that connects from there. ``None`` where there is none to
        be had: then what connects comes from there by itself, or can't."""
        ...


OWN_ADDRESS = Service[OwnAddress]("own_address/1")


@frozen
class EngineConnected(Event):
    """The engine answers (again), and its event stream is being read from now on."""


@frozen
class EngineLost(Event):
    """The engine stopped answering."""

    reason: str


@frozen
class ContainerChanged(Event):
    """A container of ours started, ended, was removed, or its health changed."""

    name: str
    id: str
    action: Literal["start", "die", "destroy", "health"]
    exit_code: int | None = None
    health: Health = Health.NONE

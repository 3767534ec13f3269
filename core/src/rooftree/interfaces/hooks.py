"""The hooks through which domains contribute to each other: one small function each, its docstring the contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Literal

from attrs import field, frozen

from rooftree.errors import RooftreeError
from rooftree.events import Problem
from rooftree.interfaces.backups import BackupLocation, BackupSource, SettingsKeeper
from rooftree.interfaces.containers import ContainerSpec, Mount
from rooftree.interfaces.hardware import Device
from rooftree.interfaces.mounts import Mount as StorageMount
from rooftree.jobs import JobCall
from rooftree.plugins import hookspec


@frozen(kw_only=True)
class AvailableUpdate:
    """Something that could be updated; fields as in the answer of ``/available_updates``."""

    update_type: str
    """``core``, ``supervisor``, ``os`` or ``addon``."""
    version_latest: str
    panel_path: str
    name: str | None = None
    """Add-ons only."""
    icon: str | None = None
    """Add-ons only: the path of the icon, where there is one."""


@hookspec
def available_updates() -> list[AvailableUpdate]:
    """What the domain has updates for. Called for each ``GET /available_updates``; answer from memory."""
    raise NotImplementedError


@hookspec
def reload_updates() -> RooftreeError | Coroutine[Any, Any, RooftreeError | None] | None:
    """Ask anew, over the network, which versions there are of what the domain updates. Called when a user asks for it
    (``POST /reload_updates``); the answer comes when it is done. What went wrong is returned for the client to read,
    not raised, as :class:`RepositoriesChange` explains; ``None`` for nothing."""
    raise NotImplementedError


@hookspec
def info() -> Mapping[str, Any] | Coroutine[Any, Any, Mapping[str, Any]]:
    """The domain's part of ``GET /info``: keys of that answer with their values (``{"docker": "27.0"}``)."""
    raise NotImplementedError


@hookspec
def supervisor_info() -> Mapping[str, Any] | Coroutine[Any, Any, Mapping[str, Any]]:
    """The domain's part of ``GET /supervisor/info``: keys of that answer with their values (``{"addons": […]}``)."""
    raise NotImplementedError


@hookspec
def hardware_added(device: Device) -> Coroutine[Any, Any, None] | None:
    """A device appeared on this host. Called once for each, in no order among plugins; those that were there when
    Rooftree started are not told of."""
    raise NotImplementedError


@hookspec
def hardware_removed(device: Device) -> Coroutine[Any, Any, None] | None:
    """A device vanished from this host."""
    raise NotImplementedError


@frozen
class RepositoriesChange:
    """The store's answer to :func:`set_repositories`."""

    call: JobCall[None] | None = None
    """The job that changes them."""
    refusal: RooftreeError | None = None
    """Why they can't be taken over, for the client to read. Returned, not raised: what a hook raises counts as a fault
    of its plugin, and never reaches the client."""


@hookspec
def set_repositories(sources: list[str]) -> RepositoriesChange | Coroutine[Any, Any, RepositoriesChange]:
    """The job that makes ``sources`` (as given to ``POST /supervisor/options``) the add-on repositories: what is
    missing is added, what is not among them is removed, built-in ones stay; either all of it happens or nothing. It is
    returned, not run: it is a part of the job that changes the options."""
    raise NotImplementedError


type OwnerKind = Literal["addon", "homeassistant", "service"]


@frozen
class ContainerOwner:
    """Whose container it is."""

    kind: OwnerKind
    name: str
    """An add-on's slug, ``homeassistant``, or the name of a base service."""


@frozen(kw_only=True)
class ContainerAdditions:
    """What a domain adds to another's container."""

    environment: Mapping[str, str] = field(factory=dict, repr=False)
    """Variables; in place of what the owner gives them, except its tokens."""
    mounts: tuple[Mount, ...] = ()
    """Folders and files, at targets where the owner shows nothing yet."""
    extra_hosts: Mapping[str, str] = field(factory=dict)
    """Addresses by name, for its ``/etc/hosts``."""
    dns: tuple[str, ...] = ()
    """Addresses of the name servers it asks."""
    dns_search: tuple[str, ...] = ()
    device_rules: tuple[str, ...] = ()
    """Device cgroup rules such as ``c 116:* rwm``."""


@hookspec
def container_spec(
    owner: ContainerOwner, draft: ContainerSpec
) -> ContainerAdditions | Coroutine[Any, Any, ContainerAdditions | None] | None:
    """What the domain adds to a container that is about to be created, as ``draft`` says; ``None`` for nothing. Every
    domain sees the same draft. Answer the same for the same state: what is added now is there until the container is
    created again. The draft holds the container's token: keep it to yourself."""
    raise NotImplementedError


@hookspec
def addon_facts(slug: str) -> Mapping[str, Any] | Coroutine[Any, Any, Mapping[str, Any] | None] | None:
    """What the domain knows of an installed add-on: keys of the answer of ``GET /addons/{addon}/info`` with their
    values (``{"ingress_panel": True}``). Called for each such request; answer from memory."""
    raise NotImplementedError


@frozen(kw_only=True)
class EndingWork:
    """What a domain does before the host goes down."""

    name: str
    """For the log: ``add-ons``."""
    order: int
    """The lowest first; those of one number side by side. Add-ons have 10, Core 20, base services 30."""
    run: Callable[[], Awaitable[None]]
    """Must leave what is desired as it is: the host may come back."""
    within_s: float
    """Seconds after which the host goes down all the same."""
    ends: tuple[str, ...] = ()
    """What runs now and would be ended, by name; for who asks what ending the host would do."""


@hookspec
def before_host_ends() -> list[EndingWork]:
    """What has to be done before the host is switched off or started again. Answer with the work, don't do it."""
    raise NotImplementedError


@hookspec
def objections_to_host_end() -> str | Coroutine[Any, Any, str | None] | None:
    """Why the host should not be ended now, as a sentence without its full stop; ``None`` where nothing speaks
    against it. The user may do it all the same."""
    raise NotImplementedError


@frozen(kw_only=True)
class HealthCheck:
    """Something that a domain looks at from time to time, rather than hearing of it."""

    slug: str
    """What clients call it: ``network_interface_ipv4``."""
    run: Callable[[], Awaitable[None]]
    """Looks now: reports what is wrong as problems, and clears what no longer is."""


@hookspec
def health_checks() -> list[HealthCheck]:
    """What the domain checks. They are run after the start, once an hour and when a user asks for it, unless somebody
    has switched them off."""
    raise NotImplementedError


@hookspec
def remedy(problem: Problem, suggestion: str) -> JobCall[None] | Coroutine[Any, Any, JobCall[None] | None] | None:
    """The job that carries out what is suggested against a problem, where that is the domain's to do; ``None`` where it
    is not. It is returned, not run: when it has succeeded, the problem is cleared. The first answer counts."""
    raise NotImplementedError


@frozen
class ServiceKind:
    """A kind of services that add-ons provide to each other, such as MQTT brokers."""

    name: str
    """As in an add-on's configuration, ``services: [mqtt:want]``: letters ``a-z``, digits, ``_`` and ``-``."""
    data: type[Any]
    """What a provider has to say of its service: a frozen attrs class with a field for each key. What is sent is
    converted strictly; fields that are ``UNSET`` are left out of what those read that want the service."""


@hookspec
def service_kinds() -> list[ServiceKind]:
    """The kinds of services that the domain adds to those that add-ons can provide to each other. Called for each
    request to ``/services…``; answer from memory."""
    raise NotImplementedError


@hookspec
def services_offered(slug: str) -> Coroutine[Any, Any, None] | None:
    """Return when it is known how the services are reached that an add-on provides, which was just started: those that
    want them are started then. Called at the start of the system; like every hook, it has 10 seconds."""
    raise NotImplementedError


@hookspec
def backup_source() -> BackupSource:
    """The domain, as the owner of parts of backups: what it has to back up, and how that is put back. Asked whenever a
    backup is made or restored; answer with the same object."""
    raise NotImplementedError


@hookspec
def backup_facts() -> Mapping[str, Any]:
    """What the domain knows of the whole installation that is written into every backup, and looked at before one is
    restored: ``repositories``, the sources of the add-on repositories beside those that every installation has, and
    ``supervisor_version``, the version that clients see. Asked for each backup; answer from memory."""
    raise NotImplementedError


@hookspec
def backup_settings() -> SettingsKeeper:
    """The domain's settings that belong to the supervisor's own part of a backup, such as logins and mounts. Asked for
    each backup, and when that part is restored; answer with the same object."""
    raise NotImplementedError


@hookspec
def backup_locations() -> list[BackupLocation]:
    """Places for backups that the domain has, beside the folders of the data folder and of mounts. Asked whenever
    backups or mounts are listed; answer from memory."""
    raise NotImplementedError


@hookspec
def mount_users(mount: StorageMount) -> list[str] | Coroutine[Any, Any, list[str]]:
    """Who uses network storage, or a disk, that somebody may want to remove: a sentence without its full stop for each,
    such as "The add-on Music sees it at /media/films". Called for the plan of its removal, and for the log of it."""
    raise NotImplementedError

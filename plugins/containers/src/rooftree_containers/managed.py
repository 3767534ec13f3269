"""A managed container, as its domain describes it; and what a domain tells, and keeps, of its containers.

A domain says what a container is (:class:`ManagedContainer`), and this library runs it: desired and shown, the
watchdog, the stages of a boot, updates with a way back. A description is a value, made anew from what the domain knows
each time that it is asked for: nobody holds on to one.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, Self

from attrs import field, frozen

from rooftree import Failed, Invalid, JobCall, RooftreeError, Step
from rooftree.interfaces.containers import Container, ContainerSpec, DataPath
from rooftree.interfaces.hooks import OwnerKind
from rooftree.state import Change
from rooftree_containers.snapshot import SnapshotFailed, SnapshotRefused
from rooftree_containers.update_backup import UpdateBackup


class Desired(enum.StrEnum):
    """What is wanted of a container: set by the verbs, kept over restarts, and what reality is compared with."""

    STARTED = "started"
    STOPPED = "stopped"


class ContainerState(enum.StrEnum):
    """What a managed container is doing, in the words of the API."""

    STARTED = "started"
    STOPPED = "stopped"
    STARTUP = "startup"
    ERROR = "error"
    UNKNOWN = "unknown"


class Stage(enum.IntEnum):
    """When a container is started after a boot of the host, the lowest first; the host's end goes the other way."""

    BASE = 0
    """What all others need, such as name resolution."""
    INITIALIZE = 10
    SYSTEM = 20
    SERVICES = 30
    CORE = 40
    APPLICATION = 50
    ONCE = 60
    """What runs once and ends by itself: nothing starts it again that has ended, and it is let finish."""


type Probe = Callable[[], Awaitable[str | None]]
"""Asks a running container whether it does its work: what is wrong, as the rest of a sentence, or ``None``."""


async def _nothing(*_: object) -> None:
    """What a description does not say."""


async def _no_image() -> Sequence[Step]:
    return ()


async def _no_notes() -> list[str]:
    return []


@frozen(kw_only=True)
class ManagedContainer:
    """One container that is looked after."""

    name: str
    """What it is called in its domain."""
    version: str
    image: str
    """Name and tag of the image it runs as."""
    desired: Desired
    specification: Callable[[str], Awaitable[ContainerSpec]]
    """Everything the engine is told, given a token: a fresh one for a container that is about to be made, valid once
    that is there; empty where the domain's containers have none, and where it is only looked at what would be told. It
    looks, and changes nothing."""
    prepare: Callable[[], Awaitable[None]] = _nothing
    """Puts everything in its place for a container that is about to be made: folders, options. Then the specification
    is asked for."""
    makes: frozenset[str] = frozenset()
    """What :attr:`prepare` makes of the mounts' sources, relative to the data folder."""
    missing_image: Callable[[], Awaitable[Sequence[Step]]] = _no_image
    """The steps that bring the image back if somebody took it away, such as ``rooftree_containers.steps.PullImage``;
    none while it is there. Without it the start says that there is no image."""
    reused: bool = False
    """Whether its container is started again as it is, with what its program has put into it, as long as a new one
    would be made just so; otherwise each start makes a fresh one."""
    stage: Stage = Stage.APPLICATION
    provides: frozenset[str] = frozenset()
    """What others of its stage may wait for, besides its name."""
    after: frozenset[str] = frozenset()
    """It starts after those of its stage that provide one of these, or are called so; and ends before them."""
    offered: Callable[[], Awaitable[None]] = _nothing
    """Waits until what it provides is really there, once it was started in its stage; not for long, and never raises.
    Those that come after it are started then."""
    starts_with_host: bool | None = None
    """What is desired of it after a boot of the host; ``None``: what was desired before."""
    stop_timeout_s: int = 10
    """Seconds that its program gets to end by itself."""
    asked_stop_timeout_s: Callable[[], Awaitable[int | None]] = _nothing
    """The same as its image wants it, which counts more; ``None``: it wants nothing."""
    watched: bool = True
    """Whether the watchdog brings it back when it fails."""
    probe: Probe | None = None
    """Asked by the watchdog, every two minutes while it runs; two complaints in a row are a restart, or the way back
    where its version is on probation and it has a ``ready``."""
    ready: Probe | None = None
    """What must be content with a new version, beside the engine's health check: within ``ready_within`` of its start,
    and again at the end of its probation. What is wrong then brings the version before it back."""
    ready_within: timedelta = timedelta(minutes=2)
    kept_for_roll_back: Mapping[str, DataPath] = field(factory=dict)
    """The folders that an update copies, and that come back with the version before it, by the name of the copy."""
    stays_at_roll_back: Collection[str] = ()
    """The names of files and folders in these that are too large to be copied, or are not to be lost with an update
    that fails: they stay as they are."""
    probation: timedelta = timedelta(minutes=10)
    """How long a new version has to run well before what it replaced is given up."""
    # What a domain does besides, at its moment:
    refuse: Callable[[], Awaitable[None]] = _nothing
    """Raises where it can't run as it is set up; asked before anything is stopped for it."""
    refuse_conflicts: Callable[[], Awaitable[None]] = _nothing
    """Raises where something else has what it needs of the host, such as a port. What its own running container has is
    its own. Asked before anything is stopped for it, and again before it is started."""
    check: Callable[[ContainerSpec], None] = lambda _: None
    """Raises for a specification that must not be, once other domains have added to it."""
    start_refused: Callable[[RooftreeError], RooftreeError] = lambda error: error
    """What to raise in the place of the engine's refusal."""
    created: Callable[[str], Awaitable[None]] = _nothing
    """Called with the id of the container that was made."""
    set_aside: Callable[[], Awaitable[None]] = _nothing
    """Called before its container makes room for another, which may fail: keeps what that one was given."""
    put_back: Callable[[str], Awaitable[None]] = _nothing
    """Called with the id of the container that has its place again: gives it what was kept."""
    drop_aside: Callable[[], Awaitable[None]] = _nothing
    """Called when the other one runs: what was kept is of no use any more."""
    notes: Callable[[], Awaitable[list[str]]] = _no_notes
    """What somebody should know before it is made, in sentences; shown in plans."""

    async def seconds_to_end(self) -> int:
        """How long its program gets to end by itself."""
        asked_s = await self.asked_stop_timeout_s()
        return self.stop_timeout_s if asked_s is None else asked_s


@frozen
class ImageVersion:
    """What a container is, as far as an update changes it."""

    version: str
    image: str


@frozen(kw_only=True)
class Probation:
    """A version that has not proved itself yet."""

    version: str
    """The new one."""
    was: ImageVersion
    """The old one."""
    kept: UpdateBackup
    began: datetime
    failure: str | None = None
    """Why the version failed in the very job that installed it, until that has been taken back. It is kept here, and
    not in memory, so that a kill meanwhile does not let the failure pass for an interruption."""
    later_failed: bool = False
    """Whether an update from this version was tried meanwhile and failed: that this one proves itself says nothing of
    the other, which stays the one that failed."""


@frozen(kw_only=True)
class ProbationState:
    """Whether a container's version still has to prove itself, as it is answered."""

    version: str
    back_to: str | None
    """The version that comes back if it fails; ``None`` when there is none (any more)."""
    began: datetime | None
    failed_version: str | None
    """The version that was rolled back last, until a later one has proved itself."""

    @classmethod
    def of(cls, version: str, probation: Probation | None, failed_version: str | None) -> Self:
        """What is kept of its update."""
        return cls(
            version=version,
            back_to=probation.was.version if probation else None,
            began=probation.began if probation else None,
            failed_version=failed_version,
        )


@frozen(kw_only=True)
class RolledBack:
    """An update failed, and the version before it is back with its data."""

    name: str
    version: str
    """The one that failed."""
    back_to: str
    reason: str
    set_aside: str
    """Where the data lies that the failed version left, relative to the data folder."""


class UpdateRolledBack(Failed):
    """A new version failed as soon as it was started, and the one before it came back. It is to blame, and nothing of
    ours."""

    status = 400
    error_key = "update_rolled_back_error"


class NothingToRollBack(Invalid):
    """The version has proved itself, or was never updated."""

    error_key = "no_roll_back_available_error"


@frozen(kw_only=True)
class ContainerErrors:
    """The errors of one domain, for clients that tell them apart by their keys."""

    rolled_back: type[UpdateRolledBack] = UpdateRolledBack
    nothing_to_roll_back: type[NothingToRollBack] = NothingToRollBack
    no_room: type[SnapshotRefused] = SnapshotRefused
    snapshot_failed: type[SnapshotFailed] = SnapshotFailed
    names_it: str = "container"
    """The extra field of the first two that has the name."""


@frozen(kw_only=True)
class DomainNames:
    """How a domain's containers are called."""

    plugin: str
    """The domain's plugin: where steps find it again."""
    owner: OwnerKind
    """Of :class:`~rooftree.interfaces.hooks.ContainerOwner`."""
    context: str
    """The context of problems, and the kind of locks."""
    tokens: str | None = None
    """The kind of the token that each container has; ``None``: they have none."""
    kept_folder: str
    """Below the data folder: where updates keep copies of what they change. In no container, and on the disk of what is
    copied, best."""
    failures: tuple[str, ...] = ()
    """The types of problems of its own that a container has until it runs well, or is gone."""
    errors: ContainerErrors = field(factory=ContainerErrors)


class ContainerDomain(Protocol):
    """A domain whose containers are looked after: what it knows of them, and what it keeps.

    What changes something returns changes, for :meth:`~rooftree.Kernel.commit`: all that belongs together is one
    transaction. Their commit raises ``KeyError`` for a container that is gone.
    """

    @property
    def names(self) -> DomainNames:
        """How its containers are called."""
        ...

    # --- which there are ---

    def known(self) -> Collection[str]:
        """The names of its containers. To describe one may take a while, so who needs few of them looks here first."""
        ...

    def find(self, name: str) -> ManagedContainer | None:
        """One of them, or ``None``."""
        ...

    def get(self, name: str) -> ManagedContainer:
        """The same; raises the domain's own error."""
        ...

    def as_version(self, name: str, version: ImageVersion) -> ManagedContainer:
        """The same, as it would be in another version, set up as it is."""
        ...

    def title(self, name: str) -> str:
        """What people call it, within a sentence: ``the lamp``."""
        ...

    def container_name(self, name: str) -> str:
        """The logical name of its container, whether either is there or not."""
        ...

    def name_of(self, container: str) -> str | None:
        """Whose container it is that has this logical name, among those that there are."""
        ...

    def is_needed_by_others(self, image: str, name: str) -> bool:
        """Whether one of its containers other than that one runs as the image."""
        ...

    # --- what is kept of them ---

    def desiring(self, name: str, desired: Desired) -> Change:
        """Want that of it."""
        ...

    @property
    def last_boot(self) -> str | None:
        """The boot of the host that its containers were last brought up in."""
        ...

    def noting_boot(self, boot_id: str) -> Sequence[Change]:
        """Note that they are brought up in that one."""
        ...

    def probation(self, name: str) -> Probation | None:
        """What its version has to prove."""
        ...

    def putting_probation(self, name: str, probation: Probation | None) -> Sequence[Change]:
        """Let that be what its version has to prove."""
        ...

    def noting_failed(self, name: str, version: str | None) -> Sequence[Change]:
        """Note the version that was rolled back last: it is not to be installed again unless somebody asks for it.
        ``None`` once another has proved itself."""
        ...

    def putting_version(self, name: str, version: ImageVersion) -> Sequence[Change]:
        """Let it be another version: the one that a probation says it was, or one of the domain's own making."""
        ...

    async def remove(self, *folders: str) -> None:
        """Delete folders, relative to the data folder, now or in their time. Never fails for what lies there."""
        ...

    @property
    def failed_data_stays(self) -> timedelta:
        """For how long the data of versions that failed is kept."""
        ...

    # --- what it is told ---

    def state_changed(self, name: str, state: ContainerState) -> None:
        """A container started, ended or failed. Called for one that is not known, too."""
        ...

    async def container_removed(self, name: str) -> None:
        """Its container was taken away."""
        ...

    def version_changed(self, name: str) -> None:
        """What :meth:`putting_version` answered is committed."""
        ...

    def rolled_back(self, rollback: RolledBack) -> None:
        """An update was rolled back."""
        ...

    # --- containers of ours that are not known ---

    def claims(self, container: Container) -> str | None:
        """Whose container it is, known or not, by its labels."""
        ...

    def is_behind(self, name: str, container: Container) -> bool:
        """Whether what is known of it is older than what the container shows."""
        ...

    async def take_over(self, name: str, container: Container) -> str | None:
        """Make it known from what its container and its folders tell, and say so as a problem, when something stored
        was lost; why that can't be, as the rest of a sentence, or ``None``."""
        ...


def all_of(domain: ContainerDomain) -> list[ManagedContainer]:
    """All containers of a domain, described."""
    return [container for name in domain.known() if (container := domain.find(name)) is not None]


@frozen(kw_only=True)
class ContainerJobs:
    """The calls of a domain's jobs, by the container's name, that this library runs by itself.

    What nobody asked for just now may have to wait behind what somebody did: ``start``, ``stop`` and ``restart`` ask
    whether it is still wanted when their turn has come.
    """

    start: Callable[[str], JobCall[None]]
    stop: Callable[[str], JobCall[None]]
    restart: Callable[[str], JobCall[None]]
    """For the watchdog; limited in how often it may begin, for it must not go on for ever with one that runs for a
    moment each time."""
    renew: Callable[[str], JobCall[None]] | None = None
    """The same with a fresh container, where that is something else (:attr:`ManagedContainer.reused`): what the
    watchdog tries next."""
    end: Callable[[str], JobCall[None]]
    """End it with the system; what is desired stays."""
    roll_back: Callable[[str, str, str], JobCall[None]]
    """The second is the update that is meant, by the folder of its copies; the third says why."""
    keep_update: Callable[[str, str], JobCall[None]]


@frozen(kw_only=True)
class ContainerSteps:
    """The steps with one container, by its name: the library's own kinds, or those of a domain."""

    set_desired: Callable[[str, Desired], Step]
    check_start: Callable[[str, ImageVersion | None], Step]
    """The second: the version that it will be; ``None``: the one that it is."""
    create: Callable[[str, bool], Step]
    """The second: whether another step of the job changes the version."""
    create_fresh: Callable[[str], Step]
    """The same, for one that would be :attr:`~ManagedContainer.reused` otherwise."""
    start: Callable[[str, bool], Step]
    """The second: whether one that fails as soon as it runs fails the job, as in an update."""
    stop: Callable[[str], Step]
    remove: Callable[[str, int], Step]
    """The second: seconds that it gets to end."""
    keep_data: Callable[[str, UpdateBackup], Step]
    keep_failed_log: Callable[[str, UpdateBackup], Step]
    put_back_data: Callable[[str, UpdateBackup], Step]
    put_back_version: Callable[[str, str], Step]
    """The second: why."""
    end_probation: Callable[[str, str], Step]
    """The second: the update that is meant, by the folder of its copies."""
    drop_kept_data: Callable[[str, str], Step]
    """The same."""

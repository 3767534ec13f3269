"""What the routes of this domain take and answer; keys and types are the API's."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal, Self

import attrs
from attrs import field, frozen

from rooftree import UNSET, AuditEntry, JobInfo, ParsedString, Role, Unset
from rooftree.interfaces.hooks import AvailableUpdate
from rooftree.settings import LogLevel

Channel = Literal["stable", "beta", "dev"]
BlockingIoDetection = Literal["on", "off", "on-at-startup", "on_at_startup"]
"""``on_at_startup`` is how the published reference spells the third."""

DROP_NET_RAW: Final = "app_drop_net_raw"
OFFERED_FLAGS: Final = (DROP_NET_RAW,)
"""Features that can be switched on and off; each is an option of that name."""
FEATURE_FLAGS: Final = (
    *OFFERED_FLAGS,
    "app_reduced_capabilities",
    "supervisor_v2_api",
    "supervisor_websocket_v2_api",
)
"""Features that clients may ask to be switched on. Those that are not offered are known by name and stay off."""


class JobId(ParsedString):
    """The id of a job."""

    __slots__ = ()

    pattern = r"[0-9a-f]{32}"
    allowed = "the id of a job, 32 hex digits"


class TokenId(ParsedString):
    """The id of a token; not the token."""

    __slots__ = ()

    pattern = r"[0-9a-f]{32}"
    allowed = "the id of a token, 32 hex digits"


class TokenName(ParsedString):
    """What people call a token."""

    __slots__ = ()

    pattern = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
    allowed = "1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first"


# --- supervisor ---------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class InstalledAddon:
    """An add-on in the deprecated list of ``/supervisor/info``."""

    name: str
    slug: str
    version: str | None
    version_latest: str | None
    update_available: bool
    state: str
    repository: str
    icon: bool


@frozen(kw_only=True)
class KnownRepository:
    """A repository in the deprecated list of ``/supervisor/info``."""

    name: str
    slug: str


@frozen(kw_only=True)
class SupervisorInfo:
    """The answer of ``/supervisor/info``."""

    version: str
    """The compatibility level."""
    rooftree: str
    """Rooftree's own version."""
    version_latest: str
    update_available: bool
    channel: Channel
    arch: str
    supported: bool
    healthy: bool
    ip_address: str
    timezone: str
    logging: LogLevel
    debug: bool
    debug_block: bool
    diagnostics: bool | None
    auto_update: bool
    detect_blocking_io: bool
    country: str | None
    feature_flags: dict[str, bool]
    wait_boot: int
    """Seconds."""
    addons: list[InstalledAddon] = field(factory=list)
    addons_repositories: list[KnownRepository] = field(factory=list)


@frozen(kw_only=True)
class SupervisorUpdate:
    """The body of ``POST /supervisor/update``."""

    version: str | None = None


@frozen
class Limits:
    """An attrs validator for a number, where one is given."""

    low: int
    high: int

    def __call__(self, _: object, field: attrs.Attribute[Any], value: object) -> None:
        """Raise ``ValueError`` naming the field."""
        if isinstance(value, int) and not self.low <= value <= self.high:
            raise ValueError(f"{field.alias}: must be from {self.low} to {self.high}, not {value}")


def _feature_flags(_: object, __: object, value: object) -> None:
    for name, wanted in value.items() if isinstance(value, dict) else ():
        if name not in FEATURE_FLAGS:
            raise ValueError(f"feature_flags.{name}: is not known here; there are {', '.join(FEATURE_FLAGS)}")
        if wanted and name not in OFFERED_FLAGS:
            raise ValueError(f"feature_flags.{name}: must be false, because Rooftree does not offer this feature")


def _false(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is True:
        raise ValueError(f"{field.alias}: must be false, because Rooftree does not offer this")


@frozen(kw_only=True)
class OptionsChange:
    """The body of ``POST /supervisor/options``: what is absent stays."""

    channel: Channel | Unset = UNSET
    timezone: str | Unset | None = UNSET
    country: str | Unset | None = UNSET
    logging: LogLevel | Unset = UNSET
    debug: bool | Unset = UNSET
    debug_block: bool | Unset = UNSET
    diagnostics: bool | Unset | None = UNSET
    auto_update: bool | Unset = UNSET
    detect_blocking_io: BlockingIoDetection | Unset = UNSET
    content_trust: bool | Unset = field(default=UNSET, validator=_false)
    """Signatures of images; the official client still knows it."""
    force_security: bool | Unset = field(default=UNSET, validator=_false)
    """Refuse leaked passwords; the official client sends it here too."""
    wait_boot: int | Unset = field(default=UNSET, validator=Limits(1, 60))
    """Seconds."""
    feature_flags: dict[str, bool] | Unset = field(default=UNSET, validator=_feature_flags)
    addons_repositories: list[str] | Unset = UNSET

    def given(self) -> dict[str, Any]:
        """What is not absent."""
        return attrs.asdict(self, recurse=False, filter=lambda _, value: value is not UNSET)


# --- root ---------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Info:
    """The answer of ``/info``; ``None`` where the domain that knows is not there."""

    supervisor: str
    """The compatibility level."""
    homeassistant: str | None = None
    hassos: str | None = None
    docker: str = ""
    """Empty where no engine is known: clients read no null here."""
    hostname: str | None
    operating_system: str
    features: list[str] = field(factory=list)
    machine: str
    machine_id: str | None
    arch: str
    state: str
    supported_arch: list[str]
    supported: bool
    channel: Channel
    logging: LogLevel
    timezone: str


@frozen(kw_only=True)
class UpdateRow:
    """One thing in ``/available_updates``; ``name`` and ``icon`` are there for add-ons that have them."""

    update_type: str
    version_latest: str
    panel_path: str
    name: str | Unset = UNSET
    icon: str | Unset = UNSET

    @classmethod
    def of(cls, update: AvailableUpdate) -> Self:
        """The row for ``update``."""
        return cls(
            update_type=update.update_type,
            version_latest=update.version_latest,
            panel_path=update.panel_path,
            name=UNSET if update.name is None else update.name,
            icon=UNSET if update.icon is None else update.icon,
        )


@frozen
class AvailableUpdates:
    """The answer of ``/available_updates``."""

    available_updates: list[UpdateRow]


# --- jobs ---------------------------------------------------------------------------------------------------------


@frozen
class JobsInfo:
    """The answer of ``/jobs/info``."""

    ignore_conditions: list[str]
    jobs: list[JobInfo]


@frozen(kw_only=True)
class JobOptionsChange:
    """The body of ``POST /jobs/options``: what is absent stays."""

    ignore_conditions: list[str] | Unset = UNSET
    """The conditions that are not looked at; the whole list."""


# --- the kernel ---------------------------------------------------------------------------------------------------


@frozen
class AuditPage:
    """The answer of ``/kernel/v1/audit``, the newest entries first."""

    entries: list[AuditEntry]
    next: int | None
    """Give it as ``before`` for the page after this one; ``None`` at the end."""


@frozen(kw_only=True)
class TokenRow:
    """A token, without the token."""

    id: str
    kind: str
    """``token`` for those made here, else what it was made for: ``addon`` …"""
    name: str
    role: Role | None
    created: datetime


@frozen
class TokenList:
    """The answer of ``GET /kernel/v1/tokens``."""

    tokens: list[TokenRow]


@frozen
class TokenRequest:
    """The body of ``POST /kernel/v1/tokens``."""

    name: TokenName
    role: Role = Role.DEFAULT


@frozen(kw_only=True)
class TokenMade:
    """The answer of ``POST /kernel/v1/tokens``, the only time that a token is shown."""

    id: str
    name: str
    role: Role
    token: str = field(repr=False)

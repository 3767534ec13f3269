"""The options of ``/supervisor/options``: kept as one document, below what the operator says in ``rooftree.toml``.

``logging`` and ``detect_blocking_io`` take effect at once. The others are preferences that other domains act on, or
that clients want to find again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import attrs
from attrs import evolve, field, frozen
from attrs.validators import optional

from rooftree import (
    Collection,
    Conflict,
    Invalid,
    JobCall,
    Kernel,
    Service,
    StateChange,
    Step,
    Steps,
    Unavailable,
    document,
    job,
    step,
)
from rooftree.interfaces.hooks import set_repositories
from rooftree.interfaces.preferences import PreferencesChanged
from rooftree.process import set_level
from rooftree.settings import LogLevel, Settings, between
from rooftree_containers.timezone import host_timezone
from rooftree_supervisor.models import OFFERED_FLAGS, Channel, OptionsChange

_KEY: Final = "options"

type GivenOptions = dict[str, Any]
"""Some of the fields of :class:`Options`, by name."""


@document("supervisor.options", version=1)
@frozen(kw_only=True)
class Options:
    """What was set through the API."""

    channel: Channel = "stable"
    timezone: str | None = None
    """``None``: the machine's."""
    country: str | None = None
    logging: LogLevel | None = None
    """``None``: as the operator started us."""
    debug: bool = False
    debug_block: bool = False
    diagnostics: bool | None = None
    """``None`` until somebody has chosen."""
    auto_update: bool = False
    detect_blocking_io: bool = False
    """From the start on."""
    wait_boot: int = 5
    """Seconds."""
    app_drop_net_raw: bool = True
    """The feature flag of that name: an add-on may send raw frames (``NET_RAW``) only where its configuration declares
    it. From its next start on.

    On unless somebody switches it off, although the engine gives the capability to everybody: with it, an add-on on
    the host's network reads every token that passes the add-ons' bridge, which no rule on the bridge can prevent, and
    the rules there are all that keeps the others from each other's addresses. What is lost is little. The engine opens
    ICMP sockets to everybody (``net.ipv4.ping_group_range``), with which Alpine's ``ping`` works; it does not where an
    image gives its ``ping`` the capability as a file's (Debian's iputils), which the kernel then refuses to run, or
    has one that knows raw sockets only. Those, scanners and DHCP servers declare ``privileged: [NET_RAW]``, which
    their rating shows.
    """


_ADDRESS: Final = re.compile(r"off|https?://[!-~]+")


def _address(_: object, __: object, value: str) -> None:
    if not _ADDRESS.fullmatch(value):
        raise ValueError(f"must be an address that begins with http:// or https://, or off, not {value!r}")


def _find_zone(name: str) -> None:
    """Raise ``ValueError`` unless the time zone database has ``name``. Reads the disk."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"must be a time zone, such as Europe/Berlin, not {name!r}") from None


def _zone(_: object, __: object, value: str) -> None:
    _find_zone(value)


_UNTOUCHED: Final = Options()
"""What is in effect until somebody chooses otherwise."""


@frozen(kw_only=True)
class SupervisorSettings:
    """The table ``[plugins.supervisor]``: what stands here can't be changed through the API. All of it is optional.

    The level of logging is ``log_level`` in the table ``[kernel]``.
    """

    channel: Channel | None = None
    timezone: str | None = field(default=None, validator=optional(_zone))
    country: str | None = None
    debug: bool | None = None
    debug_block: bool | None = None
    diagnostics: bool | None = None
    auto_update: bool | None = None
    detect_blocking_io: bool | None = None
    wait_boot: int | None = field(default=None, validator=optional(between(1, 60)))
    version_file: str | None = field(default=None, validator=optional(_address))
    """Where the newest versions are told, ``{channel}`` being the user's; ``off``: nowhere, and nobody is asked. Not
    in the API."""
    app_drop_net_raw: bool | None = None
    """In the API it is one of ``feature_flags``."""


class Preferences:
    """The options in effect, and how they are changed."""

    def __init__(
        self, kernel: Kernel, settings: Settings, operator: SupervisorSettings, stored: Collection[Options]
    ) -> None:
        self._kernel = kernel
        self._settings = settings
        options = attrs.fields_dict(Options)
        self._operator = attrs.asdict(operator, filter=lambda field, value: field.name in options and value is not None)
        if settings.is_set("kernel.log_level"):
            self._operator["logging"] = settings.kernel.log_level
        self._stored = stored
        self._changing = asyncio.Lock()

    @classmethod
    async def load(cls, kernel: Kernel, settings: Settings) -> Preferences:
        """Read them, and put into effect what the process does not do by itself."""
        operator = kernel.settings(SupervisorSettings)
        preferences = cls(kernel, settings, operator, await kernel.collection(Options))
        set_level(preferences.log_level)
        if preferences.now.detect_blocking_io:
            _detect_blocking_io(True)
        await preferences._keep_time()
        return preferences

    @property
    def now(self) -> Options:
        """The options in effect."""
        chosen = self._stored.get(_KEY, _UNTOUCHED)
        return evolve(chosen, **self._operator) if self._operator else chosen

    @property
    def wait_boot_s(self) -> int:
        """Seconds that each stage of the add-ons' start takes at least."""
        return self.now.wait_boot

    @property
    def timezone(self) -> str | None:
        """The time zone that the user chose."""
        return self.now.timezone

    @property
    def channel(self) -> str:
        """Where updates come from."""
        return self.now.channel

    @property
    def drop_net_raw(self) -> bool:
        """Whether add-ons may send raw frames only where their configuration declares ``NET_RAW``."""
        return self.now.app_drop_net_raw

    @property
    def log_level(self) -> LogLevel:
        """From which level on we log."""
        return self.now.logging or self._settings.kernel.log_level

    async def change(self, asked: OptionsChange) -> JobCall[None] | StateChange:
        """What changes that which is given, all of it or nothing. It is a job where others have to do something for it,
        and nobody waits for its end: repositories may have to be fetched.

        Raises :class:`Invalid`; :class:`Conflict` for what the operator decided otherwise;
        :class:`Unavailable` for ``addons_repositories`` while no store is there to take them.
        """
        given = asked.given()
        if not given:
            allowed = ", ".join(sorted(attrs.fields_dict(OptionsChange)))
            raise Invalid(f"The body has no option in it; give at least one of {allowed}")
        for name in ("content_trust", "force_security"):
            given.pop(name, None)  # checked by the model: nothing that could be kept
        flags = given.pop("feature_flags", {})
        given |= {name: flags[name] for name in OFFERED_FLAGS if name in flags}
        repositories = given.pop("addons_repositories", None)
        detection = given.pop("detect_blocking_io", None)
        if detection is not None:
            given["detect_blocking_io"] = detection in {"on-at-startup", "on_at_startup"}
        self._refuse_contradiction(given if detection is None else given | {"detect_blocking_io": detection != "off"})
        if given.get("timezone") is not None:
            await _require_timezone(given["timezone"])
        detect = None if detection is None else detection != "off"
        if repositories is None:
            return StateChange(partial(self.keep, given, detect))
        calls = tuple(await self._hand_over(repositories))
        return change_options(given=given, detect=detect, calls=calls).detached()

    def _refuse_contradiction(self, given: Mapping[str, Any]) -> None:
        for name, value in given.items():
            if name in self._operator and self._operator[name] != value:
                origin = self._settings.origin(_setting(name))
                raise Conflict(
                    f"{name} is set by the operator ({origin}) and can't be changed here; change or remove it there",
                    option=name,
                    origin=origin,
                )

    async def _hand_over(self, repositories: list[str]) -> list[JobCall[None]]:
        """What the domain that keeps repositories does with the list."""
        answers = await self._kernel.call(set_repositories, repositories)
        if not answers:
            raise Unavailable(
                "addons_repositories: no plugin took them over. Either none that keeps repositories is enabled, or it "
                "failed; /kernel/v1/plugins shows which run, and the log says why"
            )
        for answer in answers:
            if answer.refusal is not None:
                raise answer.refusal
        return [answer.call for answer in answers if answer.call is not None]

    @property
    def chosen(self) -> Options:
        """The options as they were set through the API, whatever the operator says."""
        return self._stored.get(_KEY, _UNTOUCHED)

    async def keep(self, given: GivenOptions, detect: bool | None) -> None:
        """Keep options, and put them into effect.

        :param detect: whether blocking calls are looked for from now on; ``None`` leaves that as it is
        """
        async with self._changing:
            after = evolve(self.chosen, **given)
            is_new = after != self.chosen
            if is_new:
                await self._kernel.commit(self._stored.put(_KEY, after))
        set_level(self.log_level)
        await self._keep_time()
        if is_new:
            self._kernel.publish(PreferencesChanged())
        if detect is not None:
            _detect_blocking_io(detect)

    async def _keep_time(self) -> None:
        """Let times of day be those of the zone that was chosen; of the host's without one."""
        chosen = self.timezone
        await self._kernel.tasks.keep_time_of(await asyncio.to_thread(host_timezone) if chosen is None else chosen)


@step("supervisor.keep_options/1")
class KeepOptions(Step):
    """Keep options, and put them into effect."""

    given: GivenOptions
    detect: bool | None
    """Whether blocking calls are looked for from now on; ``None`` where that was not asked."""

    async def before(self, preferences: Preferences) -> GivenOptions:
        chosen = attrs.asdict(preferences.chosen)
        return {name: chosen[name] for name in self.given}

    async def do(self, preferences: Preferences) -> None:
        await preferences.keep(self.given, self.detect)

    async def undo(self, before: GivenOptions, preferences: Preferences) -> None:
        await preferences.keep(before, None if self.detect is None else not self.detect)


@job("supervisor_options")
async def change_options(
    preferences: Preferences, given: GivenOptions, detect: bool | None, calls: tuple[JobCall[None], ...]
) -> Steps:
    """Change options, and what other domains have to do for them."""
    return [KeepOptions(given, detect), *calls]


PREFERENCES = Service[Preferences]("supervisor.preferences/1")


def _setting(option: str) -> str:
    """Where the operator sets ``option``."""
    return "kernel.log_level" if option == "logging" else f"plugins.supervisor.{option}"


async def _require_timezone(name: str) -> None:
    """Raise :class:`Invalid` unless the time zone database has ``name``."""
    try:
        await asyncio.to_thread(_find_zone, name)
    except ValueError as error:
        raise Invalid(f"timezone: {error}") from None


def _detect_blocking_io(on: bool) -> None:
    """Let asyncio log whatever holds the event loop for more than its ``slow_callback_duration`` (0.1 s)."""
    asyncio.get_running_loop().set_debug(on)


def detects_blocking_io() -> bool:
    """Whether what holds the event loop is logged."""
    return asyncio.get_running_loop().get_debug()

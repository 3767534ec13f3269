"""The shapes of Core's answers and bodies, as the contract has them."""

from __future__ import annotations

from typing import Self

from attrs import frozen

from rooftree import ParsedString
from rooftree_homeassistant.home_assistant import HomeAssistant


class CoreVersion(ParsedString):
    """A version of Core. It becomes the tag of an image."""

    __slots__ = ()

    pattern = r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}"
    allowed = "a version such as 2026.11.0 or 2026.12.0b3"


@frozen(kw_only=True)
class StopRequest:
    """The body of ``/core/stop``."""

    force: bool = False
    """Whether Core is ended even while it changes its database."""


@frozen(kw_only=True)
class RestartRequest:
    """The body of ``/core/restart`` and ``/core/rebuild``."""

    force: bool = False
    """Whether Core is ended even while it changes its database."""
    safe_mode: bool = False
    """Whether Core leaves out what its user has added."""


@frozen(kw_only=True)
class UpdateRequest:
    """The body of ``/core/update``."""

    version: CoreVersion | None = None
    """Absent or null: the newest."""
    backup: bool = False
    background: bool = False


@frozen(kw_only=True)
class CoreInfo:
    """The answer of ``/core/info``."""

    version: str | None
    """``None`` while Core is not installed."""
    version_latest: str | None
    """``None`` while the version feed was never read, or has none for this machine."""
    update_available: bool
    machine: str
    arch: str
    ip_address: str
    """Where Core is reached by its port."""
    image: str
    """Without a tag."""
    boot: bool
    port: int
    ssl: bool
    watchdog: bool
    audio_input: str | None
    audio_output: str | None
    backups_exclude_database: bool
    duplicate_log_file: bool

    @classmethod
    def of(cls, core: HomeAssistant) -> Self:
        """The answer for Core as it is."""
        options, installed = core.options, core.installed
        return cls(
            version=installed.version if installed else None,
            version_latest=core.newest,
            update_available=core.update is not None,
            machine=core.machine,
            arch=core.architecture,
            ip_address=core.ip_address,
            image=core.image,
            boot=options.boot,
            port=options.port,
            ssl=options.ssl,
            watchdog=options.watchdog,
            audio_input=options.audio_input,
            audio_output=options.audio_output,
            backups_exclude_database=options.backups_exclude_database,
            duplicate_log_file=options.duplicate_log_file,
        )

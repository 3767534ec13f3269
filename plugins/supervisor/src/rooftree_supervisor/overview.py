"""The answers to "what are you?": our own part, with what other domains contribute through hooks."""

from __future__ import annotations

from typing import Final

from rooftree import Invalid, Kernel, Service
from rooftree.interfaces import hooks
from rooftree.interfaces.machine import RECOGNIZED_MACHINE
from rooftree.plugins import merged, understood
from rooftree_machine.own_names import own_hostname
from rooftree_supervisor.host import Host
from rooftree_supervisor.models import (
    DROP_NET_RAW,
    FEATURE_FLAGS,
    AvailableUpdates,
    Info,
    SupervisorInfo,
    UpdateRow,
)
from rooftree_supervisor.preferences import Preferences, detects_blocking_io
from rooftree_supervisor.version import COMPATIBILITY_LEVEL

_LOOPBACK: Final = "127.0.0.1"
"""Our address while nobody has an add-on network to show. Clients parse it, so it is never empty."""


class NoUpdate(Invalid):
    """There is no version of ours to go to."""

    error_key = "supervisor_no_update_available_error"


class Overview:
    """Puts the overviews together, anew at each call."""

    def __init__(self, kernel: Kernel, preferences: Preferences, host: Host) -> None:
        self._kernel = kernel
        self._preferences = preferences
        self._host = host

    async def info(self, state: str) -> Info:
        """The answer of ``/info``.

        :param state: of the system, in the words of the API
        """
        options = self._preferences.now
        recognized = self._kernel.find(RECOGNIZED_MACHINE)
        own = {
            "supervisor": COMPATIBILITY_LEVEL,
            "hostname": own_hostname(),
            "operating_system": self._host.operating_system,
            "machine": (recognized.machine if recognized else None) or self._host.machine,
            "machine_id": self._host.machine_id,
            "arch": self._host.arch,
            "supported_arch": [self._host.arch],
            "state": state,
            "supported": self._kernel.problems.supported,
            "channel": options.channel,
            "logging": self._preferences.log_level,
            "timezone": options.timezone or self._host.timezone,
        }
        return merged(Info, own, await self._kernel.call(hooks.info))

    async def supervisor_info(self) -> SupervisorInfo:
        """The answer of ``/supervisor/info``."""
        options = self._preferences.now
        problems = self._kernel.problems
        own = {
            "version": COMPATIBILITY_LEVEL,
            "rooftree": self._host.rooftree,
            # Rooftree is updated by what installed it (a package, an image), which nobody here can ask.
            "version_latest": COMPATIBILITY_LEVEL,
            "update_available": False,
            "channel": options.channel,
            "arch": self._host.arch,
            "supported": problems.supported,
            "healthy": problems.healthy,
            "ip_address": _LOOPBACK,
            "timezone": options.timezone or self._host.timezone,
            "logging": self._preferences.log_level,
            "debug": options.debug,
            "debug_block": options.debug_block,
            "diagnostics": options.diagnostics,
            "auto_update": options.auto_update,
            "detect_blocking_io": detects_blocking_io(),
            "country": options.country,
            "feature_flags": dict.fromkeys(FEATURE_FLAGS, False) | {DROP_NET_RAW: options.app_drop_net_raw},
            "wait_boot": options.wait_boot,
        }
        return merged(SupervisorInfo, own, await self._kernel.call(hooks.supervisor_info))

    def no_update(self, version: str | None) -> NoUpdate:
        """Why we are not updated from within, to a version or to the newest."""
        wanted = "" if version is None or version == COMPATIBILITY_LEVEL else f" to {version}"
        return NoUpdate(
            f"Rooftree {self._host.rooftree} is not updated{wanted} from within, and knows of no newer version: update "
            "it by what installed it, such as the package or the image"
        )

    async def available_updates(self) -> AvailableUpdates:
        """Everything that has an update waiting, in the order in which the domains name it."""
        answers = await self._kernel.call(hooks.available_updates)
        known = understood(list[hooks.AvailableUpdate], answers, "available_updates")
        return AvailableUpdates([UpdateRow.of(update) for updates in known for update in updates])

    async def reload_updates(self) -> None:
        """Let every domain ask which versions there are; raises what went wrong with the first that could not."""
        for failure in filter(None, await self._kernel.call(hooks.reload_updates)):
            raise failure


OVERVIEW = Service[Overview]("supervisor.overview/1")

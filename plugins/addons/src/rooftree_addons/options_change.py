"""What a user sets of an add-on: the body of ``/addons/{addon}/options``, and what it changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from attrs import frozen

from rooftree import UNSET, Invalid, Unset
from rooftree_addons.installed import AddonOptions, BootCannotChange, InstalledAddon
from rooftree_addons.ports import refuse_doubled_ports
from rooftree_containers.audio_device import AudioDeviceName
from rooftree_store import Boot, Startup

log = structlog.get_logger(__name__)

SETTABLE = "boot, auto_update, network, options, watchdog, ingress_panel, audio_input, audio_output"


@frozen(kw_only=True)
class OptionsChange:
    """What a user may set; what is absent stays, what is null goes back to its default."""

    boot: Boot | Unset = UNSET
    auto_update: bool | Unset = UNSET
    network: dict[str, int | str | None] | Unset | None = UNSET
    options: AddonOptions | Unset | None = UNSET
    audio_output: AudioDeviceName | Unset | None = UNSET
    audio_input: AudioDeviceName | Unset | None = UNSET
    ingress_panel: bool | Unset = UNSET
    watchdog: bool | Unset = UNSET

    def changes(self, addon: InstalledAddon) -> dict[str, Any]:
        """The fields of an add-on that it changes, with their new values; raises ``Invalid`` and
        :class:`~rooftree_addons.installed.BootCannotChange`."""
        changes: dict[str, Any] = {}
        if self.boot is not UNSET:
            if addon.config.boot is Boot.MANUAL_ONLY:
                raise BootCannotChange(f"Add-on {addon.slug} can be started by hand only", addon=str(addon.slug))
            if self.boot is Boot.MANUAL_ONLY:
                raise Invalid("boot: must be one of 'auto', 'manual', not 'manual_only'")
            changes["boot"] = self.boot
        if self.network is not UNSET:
            changes["network"] = None if self.network is None else _network(addon, self.network)
        if self.options is not UNSET:
            changes["options"] = _known(addon, self.options or {})
        if self.watchdog is not UNSET:
            changes["watchdog"] = self.watchdog and addon.config.startup is not Startup.ONCE
        for name in ("auto_update", "audio_output", "audio_input", "ingress_panel"):
            value = getattr(self, name)
            if value is not UNSET:
                changes[name] = value
        if not changes:
            raise Invalid(f"Send at least one of {SETTABLE}")
        return changes


def _known(addon: InstalledAddon, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the add-on's schema knows; the rest would be dropped at each start anyway."""
    schema = addon.config.schema
    if schema is None:
        return dict(options)
    unknown = [key for key in options if key not in schema.root.fields]
    if unknown:
        log.warning("unknown_options_dropped", addon=addon.slug, keys=unknown[:20], count=len(unknown))
    return {key: value for key, value in options.items() if key in schema.root.fields}


def _network(addon: InstalledAddon, wanted: Mapping[str, int | str | None]) -> dict[str, int | None]:
    offered = addon.config.ports or {}
    ports: dict[str, int | None] = {}
    for port, host in wanted.items():
        if port not in offered:
            allowed = ", ".join(offered) or "none"
            raise Invalid(f"network.{port}: is no port of {addon.slug}; its ports are {allowed}")
        try:
            number = None if host is None else int(host)
        except ValueError:
            number = -1
        if number is not None and not 0 <= number <= 65535:
            raise Invalid(f"network.{port}: must be a port from 1 to 65535, or null for none, not {host!r}")
        ports[port] = number or None
    refuse_doubled_ports(ports)
    return ports

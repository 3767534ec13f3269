"""What a new configuration of an add-on asks for that the installed one did not.

The user saw the installed one's before the installation. More than that is given only where somebody who may decide
about it asks for the new one: neither when an add-on is updated by itself, nor when it calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rooftree.access import INCLUDES, Role
from rooftree_addons.installed import InstalledAddon
from rooftree_store import AddonConfig

_FLAGS: Final = (
    "audio",
    "auth_api",
    "devicetree",
    "docker_api",
    "full_access",
    "gpio",
    "hassio_api",
    "homeassistant_api",
    "host_dbus",
    "host_ipc",
    "host_network",
    "host_pid",
    "host_uts",
    "journald",
    "kernel_modules",
    "realtime",
    "uart",
    "udev",
    "usb",
    "video",
)
"""Each gives something by being set."""


def asks_for_more(installed: AddonConfig, offered: AddonConfig) -> tuple[str, ...]:
    """The declarations of what is offered that reach further than what is installed, as its author writes them."""
    return tuple(_more(installed, offered))


def _more(installed: AddonConfig, offered: AddonConfig) -> Iterator[str]:
    yield from (name for name in _FLAGS if getattr(offered, name) and not getattr(installed, name))
    if installed.apparmor and not offered.apparmor:
        yield "apparmor: false"
    if Role(installed.hassio_role) not in INCLUDES[Role(offered.hassio_role)]:
        yield f"hassio_role: {offered.hassio_role}"
    for name in ("privileged", "devices", "services", "discovery"):
        before = getattr(installed, name) or ()
        if any(entry not in before for entry in getattr(offered, name) or ()):
            yield name
    shown = {entry.type: entry.read_only for entry in installed.map}
    for entry in offered.map:
        if shown.get(entry.type, True) > entry.read_only or entry.type not in shown:
            yield f"map: {entry.type}:{'ro' if entry.read_only else 'rw'}"


def is_as_installed(addon: InstalledAddon, offered: AddonConfig) -> bool:
    """Whether what is offered is declared as what is installed, in every word."""
    return addon.config.normalised() == offered.normalised()

"""What an add-on's configuration declares beyond a container of its own, and what a new one declares that the installed
one did not.

The user sees it in the plan, before the installation. More than that is given only where somebody who may decide about
it asks for the new one: neither when an add-on is updated by itself, nor when it calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from rooftree.principal import INCLUDES, Role
from rooftree_addons.installed import InstalledAddon
from rooftree_store import AddonConfig, device_places

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
_NOT_WHILE_PROTECTED: Final = ("docker_api", "full_access", "host_pid")
SHOWN_WORDS: Final = 40
"""As many as a sentence names."""


def declared(config: AddonConfig) -> tuple[str, ...]:
    """What reaches beyond a container of its own, as the add-on's author writes it."""
    return tuple(dict.fromkeys(_words(config)))


def _words(config: AddonConfig) -> Iterator[str]:
    yield from (name for name in _FLAGS if getattr(config, name))
    if not config.apparmor:
        yield "apparmor: false"
    if Role(config.hassio_role) is not Role.DEFAULT:
        yield f"hassio_role: {config.hassio_role}"
    yield from (f"privileged: {name}" for name in config.privileged or ())
    yield from (f"devices: {path}" for path in config.devices or ())
    yield from (f"options: {place}: device" for place in (device_places(config.schema) if config.schema else ()))
    yield from (f"services: {entry.service}:{entry.role}" for entry in config.services or ())
    yield from (f"discovery: {name}" for name in config.discovery or ())
    yield from (f"map: {entry.type}:{'ro' if entry.read_only else 'rw'}" for entry in config.map)


def asks_for_more(installed: AddonConfig, offered: AddonConfig) -> tuple[str, ...]:
    """The declarations of what is offered that reach further than what is installed."""
    words_before = set(declared(installed))
    words_before.update(f"map: {entry.type}:ro" for entry in installed.map)
    words_before.update(f"hassio_role: {role}" for role in Role if Role(installed.hassio_role) in INCLUDES[role])
    return tuple(word for word in declared(offered) if word not in words_before)


def is_as_installed(addon: InstalledAddon, profile: str | None, offered: AddonConfig, its_profile: str | None) -> bool:
    """Whether what is offered is declared as what is installed, in every word, the AppArmor profile's too."""
    return (addon.config.normalised(), profile) == (offered.normalised(), its_profile)


def sentences(addon: InstalledAddon, before: AddonConfig | None = None) -> list[str]:
    """What an add-on declares, for who has to decide about it; single devices are told of with the hardware.

    :param before: what is installed: then only what is new
    """
    config = addon.config
    words = declared(config) if before is None else asks_for_more(before, config)
    words_shown = [word for word in words if not word.startswith("devices: ")]
    held_back = [word for word in words_shown if addon.protected and word in _NOT_WHILE_PROTECTED]
    given = [word for word in words_shown if word not in held_back]
    heading = "declared" if before is None else f"new in version {config.version}"
    return [
        *([f"{heading}: {_listed(given)}"] if given else []),
        *([f"{heading}, but held back while it is protected: {_listed(held_back)}"] if held_back else []),
    ]


def _listed(words: Iterable[str]) -> str:
    words = list(words)
    more = len(words) - SHOWN_WORDS
    return ", ".join(words[:SHOWN_WORDS]) + (f" and {more} more" if more > 0 else "")

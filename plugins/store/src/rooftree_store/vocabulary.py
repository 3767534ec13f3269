"""The words that an add-on's configuration may use: architectures, machines, capabilities, kinds of folders …"""

from __future__ import annotations

import enum
from typing import Final

SUPPORTED_ARCHITECTURES: Final = ("aarch64", "amd64")
DEPRECATED_ARCHITECTURES: Final = ("armhf", "armv7", "i386")
ARCHITECTURES: Final = SUPPORTED_ARCHITECTURES + DEPRECATED_ARCHITECTURES
ELSEWHERE: Final = {
    "arm": "armv7",
    "arm/v6": "armhf",
    "arm/v7": "armv7",
    "arm64": "aarch64",
    "armv6": "armhf",
    "i686": "i386",
    "x86": "i386",
    "x86-64": "amd64",
    "x86_64": "amd64",
}
"""What others call the architectures."""

DEPRECATED_MACHINES: Final = (
    "odroid-xu",
    "qemuarm",
    "qemux86",
    "raspberrypi",
    "raspberrypi2",
    "raspberrypi3",
    "raspberrypi4",
    "tinker",
)
"""The machines with a 32-bit system; the reference page does not list them, this is our reading of "deprecated"."""
MACHINES: Final = (
    "generic-aarch64",
    "generic-x86-64",
    "green",
    "intel-nuc",
    "khadas-vim3",
    "odroid-c2",
    "odroid-c4",
    "odroid-m1",
    "odroid-n2",
    "qemuarm-64",
    "qemux86-64",
    "raspberrypi3-64",
    "raspberrypi4-64",
    "raspberrypi5-64",
    "yellow",
    *DEPRECATED_MACHINES,
)

CAPABILITIES: Final = (
    "BPF",
    "CHECKPOINT_RESTORE",
    "DAC_READ_SEARCH",
    "IPC_LOCK",
    "NET_ADMIN",
    "NET_RAW",
    "PERFMON",
    "SYS_ADMIN",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
)


class Startup(enum.StrEnum):
    """The phase of the host's start that an add-on belongs to; ``once`` is never started by itself."""

    INITIALIZE = "initialize"
    SYSTEM = "system"
    SERVICES = "services"
    APPLICATION = "application"
    ONCE = "once"


class Boot(enum.StrEnum):
    """Whether an add-on starts with the host; ``manual_only`` cannot be changed by the user."""

    AUTO = "auto"
    MANUAL = "manual"
    MANUAL_ONLY = "manual_only"


class Stage(enum.StrEnum):
    """How finished its author thinks it is."""

    STABLE = "stable"
    EXPERIMENTAL = "experimental"
    DEPRECATED = "deprecated"


class HassioRole(enum.StrEnum):
    """What an add-on may do with our API."""

    DEFAULT = "default"
    HOMEASSISTANT = "homeassistant"
    BACKUP = "backup"
    MANAGER = "manager"
    ADMIN = "admin"


class BackupMode(enum.StrEnum):
    """Whether an add-on keeps running while it is backed up."""

    HOT = "hot"
    COLD = "cold"


class MapType(enum.StrEnum):
    """A folder of the host that an add-on can ask for; the last four are older names."""

    DATA = "data"
    HOMEASSISTANT_CONFIG = "homeassistant_config"
    APP_CONFIG = "app_config"
    ALL_APP_CONFIGS = "all_app_configs"
    LOCAL_APPS = "local_apps"
    SSL = "ssl"
    BACKUP = "backup"
    SHARE = "share"
    MEDIA = "media"
    CONFIG = "config"
    ADDON_CONFIG = "addon_config"
    ALL_ADDON_CONFIGS = "all_addon_configs"
    ADDONS = "addons"


LEGACY_MAP_TYPES: Final = frozenset({MapType.ADDON_CONFIG, MapType.ALL_ADDON_CONFIGS, MapType.ADDONS})

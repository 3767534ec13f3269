"""An add-on's container: what its configuration and its user's choices mean to the engine."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal

from rooftree.interfaces.containers import AddonNetwork, ContainerSpec, DataPath, HostPath, Mount, Port, Ulimit
from rooftree_addons.device_grants import Grants
from rooftree_addons.devices import realtime_budget_us
from rooftree_addons.installed import InstalledAddon
from rooftree_addons.sandbox import Sandbox
from rooftree_containers.cid_file import cid_mount
from rooftree_store import AddonConfig, AddonSlug, MapEntry, MapType, UlimitPair

LABEL_SLUG: Final = "io.rooftree.slug"
OPTIONS_FILE: Final = "options.json"
NET_RAW: Final = "NET_RAW"
"""The capability for raw frames: to listen to what others send, and to send in their name."""
CONFIG_FOLDERS: Final = "app_configs"
"""Below the data folder; in it, each add-on has the folder that it shows its user."""
MKNOD: Final = "MKNOD"
"""The capability to make device nodes. The engine lets every container open the host's console (5:1), under whatever
name it has; and a node of a disk in a shared folder is opened by whoever finds it there on the host."""
MOST_VARIABLE_BYTES: Final = 128 * 1024 - 1
"""One variable of the environment, its name and ``=`` included (MAX_ARG_STRLEN, execve(2))."""
CONSOLE: Final = "/dev/console"
OOM_SCORE: Final = 200
REALTIME_RUNTIME_US: Final = 190_000
"""Of each period of a second, how long the processes of a ``realtime`` add-on may run before all others."""
MEMLOCK_BYTES: Final = 128 * 1024 * 1024

MAPPED_FOLDERS: Final = ("app_configs", "apps/data", "apps/local", "backup", "homeassistant", "media", "share", "ssl")
"""The folders below the data folder that add-ons may be shown; they are there from the first start."""

_TARGETS: Final[Mapping[MapType, tuple[str, str]]] = {
    MapType.CONFIG: ("homeassistant", "/config"),
    MapType.HOMEASSISTANT_CONFIG: ("homeassistant", "/homeassistant"),
    MapType.ALL_APP_CONFIGS: (CONFIG_FOLDERS, "/app_configs"),
    MapType.ALL_ADDON_CONFIGS: (CONFIG_FOLDERS, "/addon_configs"),
    MapType.LOCAL_APPS: ("apps/local", "/local_apps"),
    MapType.ADDONS: ("apps/local", "/addons"),
    MapType.SSL: ("ssl", "/ssl"),
    MapType.BACKUP: ("backup", "/backup"),
    MapType.SHARE: ("share", "/share"),
    MapType.MEDIA: ("media", "/media"),
}
_OVERRIDDEN_BY: Final = {
    MapType.HOMEASSISTANT_CONFIG: MapType.CONFIG,
    MapType.ALL_ADDON_CONFIGS: MapType.ALL_APP_CONFIGS,
    MapType.ADDONS: MapType.LOCAL_APPS,
}
"""An older way of asking for a folder gives way to the newer one beside it."""
_ALL_CONFIGS: Final = (MapType.ALL_APP_CONFIGS, MapType.ALL_ADDON_CONFIGS)


def data_folder(slug: AddonSlug) -> str:
    """Where an add-on's own data lies, relative to the data folder."""
    return f"apps/data/{slug}"


def config_folder(slug: AddonSlug) -> str:
    """Where an add-on's configuration for its user lies, relative to the data folder."""
    return f"{CONFIG_FOLDERS}/{slug}"


def wants_config_folder(config: AddonConfig) -> bool:
    """Whether the add-on has a configuration folder of its own."""
    types = {entry.type for entry in config.map}
    return MapType.CONFIG not in types and bool(types & {MapType.APP_CONFIG, MapType.ADDON_CONFIG})


def container_spec(
    addon: InstalledAddon,
    network: AddonNetwork,
    token: str,
    *,
    timezone: str,
    hardware: Grants,
    sandbox: Sandbox,
    own_profile: bool = False,
    drop_net_raw: bool = True,
    config_folders: Iterable[str] = (),
) -> ContainerSpec:
    """Everything the engine is told. Looks at system paths: call it in a thread.

    :param hardware: the devices that it gets
    :param sandbox: how far it is kept from the kernel
    :param own_profile: whether the add-on's own AppArmor profile is loaded
    :param drop_net_raw: whether it may send raw frames only where its configuration declares that
    :param config_folders: the names in the folder of all configurations, for those that may write them all
    """
    config = addon.config
    unprotected = not addon.protected
    return ContainerSpec(
        name=addon.container,
        image=addon.image,
        hostname=None if config.host_uts else addon.hostname,
        environment=_environment(addon, token, timezone),
        labels={LABEL_SLUG: addon.slug},
        mounts=(*_folders(addon, config_folders), *_system_mounts(config, unprotected), cid_mount(addon.container)),
        network="host" if config.host_network else "addons",
        ports=() if config.host_network else published_ports(addon),
        extra_hosts={"supervisor": network.supervisor, "hassio": network.supervisor},
        capabilities=_capabilities(config),
        dropped_capabilities=_dropped(config, unprotected, drop_net_raw),
        security_options=(*sandbox.security_options, *_profile(addon, own_profile)),
        device_rules=hardware.rules,
        pids_limit=sandbox.pids_limit,
        ulimits=_ulimits(config),
        tmpfs=(*(("/tmp",) if config.tmpfs else ()), *(() if config.host_ipc else ("/dev/shm",))),  # noqa: S108  # the container's
        init=config.init,
        stdin=config.stdin,
        host_pid=config.host_pid and unprotected,
        host_uts=config.host_uts,
        host_ipc=config.host_ipc,
        oom_score_adjust=OOM_SCORE,
        cpu_realtime_runtime_us=REALTIME_RUNTIME_US if _has_realtime(config) else None,
        stop_timeout_s=config.timeout,
    )


def published_ports(addon: InstalledAddon) -> tuple[Port, ...]:
    """The ports that are published on the host."""
    ports = []
    for name, host in (addon.ports or {}).items():
        number, _, protocol = name.partition("/")
        if host:
            kind: Literal["tcp", "udp"] = "udp" if protocol == "udp" else "tcp"
            ports.append(Port(int(number), host, kind))
    return tuple(ports)


def _profile(addon: InstalledAddon, own_profile: bool) -> tuple[str, ...]:
    """The AppArmor profile; the engine's own where nothing is said."""
    if not addon.config.apparmor:
        return ("apparmor=unconfined",)
    return (f"apparmor={addon.slug}",) if own_profile else ()


def _environment(addon: InstalledAddon, token: str, timezone: str) -> dict[str, str]:
    environment = dict(addon.config.environment or {})
    if addon.config.legacy:
        scalars = {k: str(v) for k, v in addon.effective_options.items() if isinstance(v, str | int | float)}
        environment |= {name: value for name, value in scalars.items() if _can_be_variable(name, value)}
    return {**environment, "TZ": timezone, "SUPERVISOR_TOKEN": token, "HASSIO_TOKEN": token}


def _can_be_variable(name: str, value: str) -> bool:
    """Whether an option can be handed over so. It stands in the file of the options in any case."""
    text = f"{name}={value}"
    return bool(name) and "=" not in name and "\0" not in text and len(text.encode()) < MOST_VARIABLE_BYTES


def map_targets(config: AddonConfig) -> dict[MapType, str]:
    """Where in the container the add-on's folders are shown, by what it asked for; its own data are always."""
    entries = {entry.type: entry for entry in config.map}
    data = entries.get(MapType.DATA)
    targets = {MapType.DATA: (data and data.path) or "/data"}
    if wants_config_folder(config):
        kind = MapType.APP_CONFIG if MapType.APP_CONFIG in entries else MapType.ADDON_CONFIG
        targets[kind] = entries[kind].path or "/config"
    for kind, (_, target) in _TARGETS.items():
        if kind in entries and _OVERRIDDEN_BY.get(kind) not in entries:
            targets[kind] = entries[kind].path or target
    return targets


def writes_all_configs(config: AddonConfig) -> bool:
    """Whether the add-on may write what the users of all others configure."""
    shown = map_targets(config)
    return any(entry.type in _ALL_CONFIGS and entry.type in shown and not entry.read_only for entry in config.map)


def mapped_source(slug: AddonSlug, kind: MapType) -> str:
    """Which folder an add-on is shown for a map type, relative to the data folder."""
    if kind is MapType.DATA:
        return data_folder(slug)
    return _TARGETS[kind][0] if kind in _TARGETS else config_folder(slug)


def _folders(addon: InstalledAddon, config_folders: Iterable[str]) -> list[Mount]:
    entries = {entry.type: entry for entry in addon.config.map}
    targets = map_targets(addon.config)
    mounts = [_mount(addon.slug, kind, target, entries.get(kind)) for kind, target in targets.items()]
    if writes_all_configs(addon.config):
        top = next(targets[kind] for kind in _ALL_CONFIGS if kind in targets).rstrip("/")
        taken = {posixpath.normpath(target) for target in targets.values()}
        shown = ((name, f"{top}/{name}") for name in config_folders)
        mounts += [
            Mount(DataPath(f"{CONFIG_FOLDERS}/{name}"), target)
            for name, target in shown
            if posixpath.normpath(target) not in taken
        ]
    return mounts


def _mount(slug: AddonSlug, kind: MapType, target: str, entry: MapEntry | None) -> Mount:
    """One of the folders that an add-on is shown.

    The folder of all configurations is never writable itself, for then its names were: an add-on could put a link in
    the place of a folder that is mounted at somebody's next start. Each folder in it is mounted by itself instead.
    """
    source = mapped_source(slug, kind)
    if entry is None or kind is MapType.DATA:
        return Mount(DataPath(source), target)
    shared = kind in {MapType.SHARE, MapType.MEDIA}
    propagation: Literal["rslave", "rprivate"] = "rslave" if shared else "rprivate"
    read_only = entry.read_only or kind in _ALL_CONFIGS
    return Mount(DataPath(source), target, read_only=read_only, propagation=propagation)


def _system_mounts(config: AddonConfig, unprotected: bool) -> list[Mount]:
    """What of the host's system an add-on is shown; a path that the host does not have is left out."""
    mounts = [Mount(HostPath("/dev"), "/dev", read_only=True, recursive=False)]
    if not _has_all_devices(config, unprotected) and Path(CONSOLE).exists():  # ours: the host's own
        mounts.append(Mount(HostPath("/dev/null"), CONSOLE))
    wanted: list[tuple[bool, str, str, bool]] = [
        (config.gpio, "/sys/class/gpio", "/sys/class/gpio", False),
        (config.gpio, "/sys/devices/platform/soc", "/sys/devices/platform/soc", False),
        (config.devicetree, "/sys/firmware/devicetree/base", "/device-tree", True),
        (config.udev, "/run/udev", "/run/udev", True),
        (config.kernel_modules, "/lib/modules", "/lib/modules", True),
        (config.docker_api and unprotected, "/run/docker.sock", "/run/docker.sock", True),
        (config.host_dbus, "/run/dbus", "/run/dbus", True),
        (config.journald, "/var/log/journal", "/var/log/journal", True),
        (config.journald, "/run/log/journal", "/run/log/journal", True),
    ]
    mounts += [
        Mount(HostPath(source), target, read_only=read_only)
        for is_wanted, source, target, read_only in wanted
        if is_wanted and Path(source).exists()  # ours: the host's own
    ]
    return mounts


def _capabilities(config: AddonConfig) -> tuple[str, ...]:
    extra = [*(["SYS_MODULE"] if config.kernel_modules else []), *(["SYS_NICE"] if config.realtime else [])]
    return tuple(dict.fromkeys([*(config.privileged or ()), *extra]))


def _dropped(config: AddonConfig, unprotected: bool, drop_net_raw: bool) -> tuple[str, ...]:
    """The engine's usual capabilities that the add-on goes without."""
    raw = () if not drop_net_raw or NET_RAW in _capabilities(config) else (NET_RAW,)
    return raw if _has_all_devices(config, unprotected) else (*raw, MKNOD)


def _has_all_devices(config: AddonConfig, unprotected: bool) -> bool:
    return config.full_access and unprotected


def _has_realtime(config: AddonConfig) -> bool:
    return config.realtime and realtime_budget_us() >= REALTIME_RUNTIME_US


def _ulimits(config: AddonConfig) -> tuple[Ulimit, ...]:
    limits = [Ulimit("rtprio", 90, 99), Ulimit("memlock", MEMLOCK_BYTES, MEMLOCK_BYTES)] if config.realtime else []
    for name, value in config.ulimits.items():
        pair = value if isinstance(value, UlimitPair) else UlimitPair(value, value)
        limits.append(Ulimit(name, pair.soft, pair.hard))
    return tuple(limits)

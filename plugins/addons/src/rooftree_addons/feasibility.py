"""What no engine can make a container of, said in the words of the add-on's configuration before anything is touched.

The format lets these values through: only a container needs them. What is known here was found by trying configurations
on a real engine; what only the image tells (a folder that is to be shown in the place of one of its files), or the
engine itself (a capability that it is too old for), it says itself at the start.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from rooftree import Invalid, RooftreeError
from rooftree_addons.container import MOST_VARIABLE_BYTES, map_targets, mapped_source, writes_all_configs
from rooftree_addons.installed import InstalledAddon
from rooftree_files import Folder
from rooftree_store import AddonConfig, MapType, UlimitPair

ULIMITS: Final = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
"""The resources of setrlimit(2), by the engine's names."""
_FILES: Final = {
    "/run/cid": "the container's id",
    "/etc/hosts": "the container's names",
    "/etc/hostname": "the container's name",
    "/etc/resolv.conf": "the container's name servers",
}
"""Files that every container is shown: nothing can lie below them, and no folder that can't be written in above."""
_TAKEN_TARGETS: Final = {"/dev": "the host's devices", **_FILES}
_KERNELS: Final = ("/proc", "/sys")
_LONGEST_NAME: Final = 255
FEWEST_FILES: Final = 7
"""As many files does the engine itself have open before the add-on's program begins."""
MOST_ENVIRONMENT_BYTES: Final = 2_000_000
"""All of them together; a quarter of the usual stack, less what others add."""


class AddonConfigUnusable(Invalid):
    """No container can be made of the add-on's configuration. ``extra_fields``: ``app``."""

    error_key = "app_config_unusable_error"


def refuse_infeasible(addon: InstalledAddon, data: Path) -> None:
    """Raise :class:`AddonConfigUnusable` naming every key with a value that cannot be. Blocks for a moment.

    :param data: the data folder, which tells whether what is to be shown within another folder has its place there
    """
    config = addon.config
    faults = [
        *_ports(config),
        *_ulimits(config),
        *_targets(config),
        *_places(addon, data),
        *_environment(config),
    ]
    if faults:
        raise AddonConfigUnusable(
            f"Add-on {addon.slug} cannot be started with its configuration: {'; '.join(faults)}. Tell its author",
            app=str(addon.slug),
        )


def _ports(config: AddonConfig) -> Iterator[str]:
    for name in config.ports or {}:
        if not 1 <= int(name.partition("/")[0]) <= 65535:
            yield f"ports.{name}: must be a port from 1 to 65535"


def _ulimits(config: AddonConfig) -> Iterator[str]:
    for name, value in config.ulimits.items():
        pair = value if isinstance(value, UlimitPair) else UlimitPair(value, value)
        if name not in ULIMITS:
            yield f"ulimits.{name}: must be one of {', '.join(ULIMITS)}"
        elif pair.hard >= 0 and not 0 <= pair.soft <= pair.hard:
            yield f"ulimits.{name}: the soft limit must not be above the hard one ({pair.hard})"
        elif name == "nofile" and not 0 <= pair.hard <= _most_files():
            yield f"ulimits.nofile: must be at most {_most_files()} on this host (fs.nr_open)"
        elif name == "nofile" and pair.soft < FEWEST_FILES:
            yield f"ulimits.nofile: must be at least {FEWEST_FILES}, which the engine needs to start it"


def _most_files() -> int:
    """How many files the kernel lets a process open at most (proc_sys_fs(5))."""
    return int(Path("/proc/sys/fs/nr_open").read_text())  # ours: the kernel's


def _targets(config: AddonConfig) -> Iterator[str]:
    taken = _TAKEN_TARGETS | _system_targets(config)
    for kind, target, path in _normalised_targets(config):
        if target == "/" or _is_below(target, *_KERNELS):
            yield f"map.{kind}: {path} is no place for a folder; choose another path than /, and none in /proc or /sys"
        elif any(len(part.encode()) > _LONGEST_NAME for part in target.split("/")):
            yield f"map.{kind}: no part of the path may be longer than {_LONGEST_NAME} bytes"
        elif target.startswith("/dev/") and not _is_below(target, "/dev/shm"):  # noqa: S108  # the container's
            yield f"map.{kind}: {path} lies in the host's /dev, where nothing can be made; only /dev/shm is its own"
        elif (other := next((file for file in _FILES if target.startswith(f"{file}/")), None)) is not None:
            yield f"map.{kind}: {path} lies below {other}, which is a file"
        elif (other := taken.setdefault(target, f"map.{kind}")) != f"map.{kind}":
            yield f"map.{kind}: {path} is the place of {other} already"


def _normalised_targets(config: AddonConfig) -> list[tuple[MapType, str, str]]:
    """Where what is mapped is shown, as the engine understands that, and as it is written."""
    targets = map_targets(config)
    return [(kind, posixpath.normpath("/" + path.lstrip("/")), path) for kind, path in targets.items()]


def _system_targets(config: AddonConfig) -> dict[str, str]:
    """What of the host is shown at the same place always, by the key that asks for it."""
    keys = {
        "/run/dbus": config.host_dbus and "host_dbus",
        "/var/log/journal": config.journald and "journald",
        "/run/log/journal": config.journald and "journald",
        "/run/udev": config.udev and "udev",
        "/lib/modules": config.kernel_modules and "kernel_modules",
        "/device-tree": config.devicetree and "devicetree",
        "/run/docker.sock": config.docker_api and "docker_api",
    }
    return {target: key for target, key in keys.items() if key}


def _places(addon: InstalledAddon, data: Path) -> Iterator[str]:
    """What is to be shown within a folder that can't be written in, and has no place for it."""
    config = addon.config
    read_only = {kind: target for kind, target, _ in _normalised_targets(config) if _is_read_only(config, kind)}
    inner = [(f"map.{kind}", target) for kind, target, _ in _normalised_targets(config)]
    for kind, outer in read_only.items():
        for file, name in _FILES.items():
            if file.startswith(f"{outer}/"):
                yield f"map.{kind}: {outer} is read-only, and {name} have to be shown at {file}"
        for key, target in inner:
            if target.startswith(f"{outer}/"):
                within = target.removeprefix(f"{outer}/")
                if kind in _ALL_CONFIGS and writes_all_configs(config):
                    within = within.partition("/")[0]  # what is further down can be made
                if not _has_folder(data, f"{mapped_source(addon.slug, kind)}/{within}"):
                    yield (
                        f"{key}: {target} lies in {outer} of map.{kind}, in which nothing can be made: choose another "
                        f"path, or make the folder {within} in it"
                    )


_ALL_CONFIGS: Final = (MapType.ALL_APP_CONFIGS, MapType.ALL_ADDON_CONFIGS)


def _is_read_only(config: AddonConfig, kind: MapType) -> bool:
    entry = next((entry for entry in config.map if entry.type is kind), None)
    return kind is not MapType.DATA and entry is not None and (entry.read_only or kind in _ALL_CONFIGS)


def _has_folder(data: Path, path: str) -> bool:
    with suppress(RooftreeError, OSError), Folder.open(data) as root:
        return root.is_folder(path)
    return False


def _is_below(target: str, *folders: str) -> bool:
    return any(target == folder or target.startswith(f"{folder}/") for folder in folders)


def _environment(config: AddonConfig) -> Iterator[str]:
    variables: Mapping[str, str] = config.environment or {}
    if "" in variables:
        yield "environment: a variable must have a name"
    sizes = {name: len(f"{name}={value}".encode()) for name, value in variables.items()}
    for name, value in variables.items():
        if "=" in name:
            yield f"environment.{name[:40]!r}: the name of a variable must have no ="
        elif "\0" in name + value:
            yield f"environment.{name[:40]!r}: must be text without NUL"
        elif sizes[name] > MOST_VARIABLE_BYTES:
            yield f"environment.{name[:40]!r}: must have at most {MOST_VARIABLE_BYTES} bytes, with its name"
    if sum(sizes.values()) > MOST_ENVIRONMENT_BYTES:
        yield f"environment: must have at most {MOST_ENVIRONMENT_BYTES} bytes in all"

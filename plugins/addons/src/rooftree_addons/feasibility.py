"""What no engine can make a container of, said in the words of the add-on's configuration before anything is touched.

The format lets these values through, and so do we when an add-on is read or installed: only its start needs them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from rooftree import Invalid
from rooftree_addons.container import map_targets
from rooftree_addons.installed import InstalledAddon
from rooftree_store import AddonConfig, UlimitPair

ULIMITS: Final = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
"""The resources of setrlimit(2), by the engine's names."""
_TAKEN_TARGETS: Final = {"/dev": "the host's devices", "/run/cid": "the container's id"}
_KERNELS: Final = ("/proc", "/sys")


class AddonConfigUnusable(Invalid):
    """No container can be made of the add-on's configuration. ``extra_fields``: ``app``."""

    error_key = "app_config_unusable_error"


def refuse_infeasible(addon: InstalledAddon) -> None:
    """Raise :class:`AddonConfigUnusable` naming every key with a value that cannot be. Blocks for a moment."""
    found = [*_ports(addon.config), *_ulimits(addon.config), *_targets(addon.config), *_environment(addon.config)]
    if found:
        raise AddonConfigUnusable(
            f"Add-on {addon.slug} cannot be started with its configuration: {'; '.join(found)}. Tell its author",
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


def _most_files() -> int:
    """How many files the kernel lets a process open at most (proc_sys_fs(5))."""
    return int(Path("/proc/sys/fs/nr_open").read_text())  # ours: the kernel's


def _targets(config: AddonConfig) -> Iterator[str]:
    taken: dict[str, str] = dict(_TAKEN_TARGETS)
    for kind, path in map_targets(config).items():
        target = posixpath.normpath("/" + path.lstrip("/"))
        if target == "/" or _is_below(target, _KERNELS):
            yield f"map.{kind}: {path} is no place for a folder; choose another path than /, and none in /proc or /sys"
        elif (other := taken.setdefault(target, f"map.{kind}")) != f"map.{kind}":
            yield f"map.{kind}: {path} is the place of {other} already"


def _is_below(target: str, folders: tuple[str, ...]) -> bool:
    return any(target == folder or target.startswith(f"{folder}/") for folder in folders)


def _environment(config: AddonConfig) -> Iterator[str]:
    variables: Mapping[str, str] = config.environment or {}
    if "" in variables:
        yield "environment: a variable must have a name"
    for name, value in variables.items():
        if "\0" in name + value:
            yield f"environment.{name!r}: must be text without NUL"

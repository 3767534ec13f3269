"""Sentences for what is accepted for old times' sake: each advisory of :mod:`rooftree_store.addon_config`, by its code.

A code may stand for several places of a file: each gets its own sentence, with what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from rooftree_store.addon_config import OLD_KEYS, AddonConfig
from rooftree_store.lint.findings import CheckedFile, Severity
from rooftree_store.vocabulary import (
    DEPRECATED_ARCHITECTURES,
    DEPRECATED_MACHINES,
    LEGACY_MAP_TYPES,
    SUPPORTED_ARCHITECTURES,
    MapType,
)

type _Told = Iterator[tuple[str, str]]
"""Keys, with a sentence each."""

BESIDE_FULL_ACCESS: Final = ("devices", "uart", "auto_uart", "usb", "gpio")
"""Keys that add nothing to ``full_access``."""
_HINTS: Final = frozenset({"legacy-map-type"})
"""Codes of what is right as long as older supervisors are to read it."""
_SINCE: Final = {
    "auto_uart": "2021.02",
    **dict.fromkeys(("snapshot", "snapshot_exclude", "snapshot_pre", "snapshot_post"), "2021.08"),
}
"""Since which version of the existing supervisor a key has its new name."""
_SUCCESSORS: Final = {
    MapType.ADDON_CONFIG: MapType.APP_CONFIG,
    MapType.ALL_ADDON_CONFIGS: MapType.ALL_APP_CONFIGS,
    MapType.ADDONS: MapType.LOCAL_APPS,
}


def note_advisories(file: CheckedFile, config: AddonConfig, codes: tuple[str, ...]) -> None:
    """Note what a configuration should be brought up to date in."""
    for code in codes:
        for key, sentence in _SENTENCES[code](file.content, config):
            file.note(Severity.HINT if code in _HINTS else Severity.WARNING, code, key, sentence)


def _advanced(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    yield "advanced", "has no effect any more; take it out"


def _codenotary(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    yield "codenotary", "has no effect any more: images are not signed this way now; take it out"


def _architectures(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    old = [arch for arch in config.arch if arch in DEPRECATED_ARCHITECTURES]
    yield "arch", f"deprecated: {', '.join(old)}; supported are {' and '.join(SUPPORTED_ARCHITECTURES)}"


def _machines(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    old = [machine for machine in config.machine or () if machine.removeprefix("!") in DEPRECATED_MACHINES]
    yield "machine", f"deprecated, as machines with a 32-bit system: {', '.join(old)}"


def _old_key(*keys: str) -> Callable[[Mapping[Any, Any], AddonConfig], _Told]:
    def told(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
        for key in keys:
            if key in raw:
                yield key, f"is called {OLD_KEYS[key]} now, since Supervisor {_SINCE[key]}"

    return told


def _startup(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    yield "startup", f"{raw['startup']} is called {config.startup} now"


def _tmpfs(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    yield "tmpfs", "is true or false now; anything else, sizes too, counts as true"


def _devices(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    for index, device in enumerate(raw["devices"]):
        if isinstance(device, str) and ":" in device:
            now = device.partition(":")[0]
            yield f"devices[{index}]", f"is a path alone now: {now}; what stands behind it is ignored"


def _map_entries(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    known = tuple(MapType)
    for key, entry in _entries(raw["map"]):
        folder = entry.partition(":")[0] if isinstance(entry, str) else None
        if isinstance(entry, Mapping):
            if "type" not in entry:
                yield key, f"has no type and is ignored; types are {', '.join(known)}"
        elif folder not in known:
            yield (
                key,
                f"{entry!r} is no folder that can be mapped and is ignored; types are {', '.join(known)}",
            )
        elif entry.partition(":")[2] not in {"", "ro", "rw"} or entry.endswith(":"):
            yield key, f"{entry!r} is ignored: behind the colon stands ro or rw"


def _map_format(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    meant = ", ".join(entry for _, entry in _entries(raw["map"]))
    yield "map", f"must be a list: write [{meant}]. Other supervisors see the names alone, and map all of it read-only"


def _map_types(raw: Mapping[Any, Any]) -> Iterator[tuple[str, MapType]]:
    """The type of each entry, as it stands in the file, with the path of the entry."""
    for key, entry in _entries(raw["map"]):
        word = entry.get("type") if isinstance(entry, Mapping) else str(entry).partition(":")[0]
        if word in tuple(MapType):
            yield key, MapType(word)


def _entries(written: object) -> Iterator[tuple[str, Any]]:
    """The entries of ``map`` as a list has them, each with its place in the file."""
    if isinstance(written, Mapping):
        yield from ((f"map.{name}", f"{name}" if mode is None else f"{name}:{mode}") for name, mode in written.items())
    elif isinstance(written, list):
        yield from ((f"map[{index}]", entry) for index, entry in enumerate(written))


def _legacy_map(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    for key, kind in _map_types(raw):
        if kind in LEGACY_MAP_TYPES:
            yield (
                key,
                f"{kind} is called {_SUCCESSORS[kind]} now, since Supervisor 2026.07. Older ones do not know that "
                "name, and newer ones know both",
            )


def _map_config(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    for key, kind in _map_types(raw):
        if kind is MapType.CONFIG:
            yield (
                key,
                "config is deprecated: use homeassistant_config (at /homeassistant) for Home Assistant's folder, "
                "app_config (at /config; called addon_config before Supervisor 2026.07) for one of the add-on's own",
            )


def _map_conflict(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    hidden = (MapType.HOMEASSISTANT_CONFIG, MapType.APP_CONFIG, MapType.ADDON_CONFIG)
    for key, kind in _map_types(raw):
        if kind in hidden:
            yield key, f"{kind} is ignored beside config, which is deprecated; take config out"


def _cold_commands(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    for key in ("backup_pre", "backup_post", "snapshot_pre", "snapshot_post"):
        if key in raw:
            yield key, "is never run: a cold backup stops the add-on first"


def _full_access(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    for key in BESIDE_FULL_ACCESS:
        if raw.get(key):
            yield key, "adds nothing to full_access, which opens every device; better keep this and drop full_access"


def _image_machine(raw: Mapping[Any, Any], config: AddonConfig) -> _Told:
    yield "image", "has {machine} in it, which other supervisors cannot fill in; use {arch}"


_SENTENCES: Final[Mapping[str, Callable[[Mapping[Any, Any], AddonConfig], _Told]]] = {
    "advanced": _advanced,
    "auto_uart": _old_key("auto_uart"),
    "backup-cold-commands": _cold_commands,
    "codenotary": _codenotary,
    "deprecated-arch": _architectures,
    "deprecated-machine": _machines,
    "deprecated-startup": _startup,
    "devices-format": _devices,
    "full_access-redundant": _full_access,
    "image-machine": _image_machine,
    "legacy-map-type": _legacy_map,
    "map-config-conflict": _map_conflict,
    "map-config-deprecated": _map_config,
    "map-entry-invalid": _map_entries,
    "map-format": _map_format,
    "snapshot-key": _old_key("snapshot", "snapshot_exclude", "snapshot_pre", "snapshot_post"),
    "tmpfs-format": _tmpfs,
}

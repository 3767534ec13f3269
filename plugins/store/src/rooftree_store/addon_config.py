"""An add-on's ``config.yaml``: the typed, normalised configuration and how it is read.

:class:`AddonConfig` is a table: each field names its key, its type, the reader that checks it and its default. What
the format used to look like is brought up to date first (:func:`_migrate`), and noted as an advisory. Hundreds of these
objects live in the daemon, so equal lists, type strings and defaults are shared between them.
"""

# ruff: noqa: RUF009  # ``_key`` makes an attrs field; ruff cannot know

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import attrs
from attrs import field, frozen

from rooftree_store.image_name import image_template
from rooftree_store.options_schema import OptionsSchema, parse_schema
from rooftree_store.readers import (
    ContentInvalid,
    Findings,
    Reader,
    Refused,
    filled_text,
    flag,
    json_object,
    list_of,
    mapping_of,
    matching,
    maybe,
    one_of,
    refused,
    scalar_text,
    shown,
    text,
    url,
    whole,
    word_of,
)
from rooftree_store.slugs import check_addon_name
from rooftree_store.url_templates import watchdog_template, webui_template
from rooftree_store.vocabulary import (
    ARCHITECTURES,
    CAPABILITIES,
    DEPRECATED_ARCHITECTURES,
    DEPRECATED_MACHINES,
    ELSEWHERE,
    LEGACY_MAP_TYPES,
    MACHINES,
    BackupMode,
    Boot,
    HassioRole,
    MapType,
    Stage,
    Startup,
)

MAX_PATH_CHARACTERS: Final = 4095
DYNAMIC_INGRESS_PORTS: Final = range(62000, 65501)
"""Where an ingress port is picked for ``ingress_port: 0``."""


@frozen
class MapEntry:
    """A folder to show to the container; ``path`` is where, if not at the type's own place."""

    type: MapType
    read_only: bool = True
    path: str | None = None


@frozen
class ServiceRole:
    """What an add-on does with a service, such as ``mqtt``; provide, want or need."""

    service: str
    role: str


@frozen
class UlimitPair:
    """A limit with a soft and a hard value; units are those of ``setrlimit(2)``."""

    soft: int
    hard: int


class ConfigInvalid(ContentInvalid):
    """An add-on's configuration was read and is not allowed; ``findings`` names every field that is wrong."""


@lru_cache(maxsize=4096)
def _shared[H: Hashable](value: H) -> H:
    """One object for all equal ones. Only for what holds no numbers: to a cache ``1`` and ``True`` are equal."""
    return value


def _sharing[H: Hashable](reader: Reader[H]) -> Reader[H]:
    return lambda value: _shared(reader(value))


def _slug(value: Any) -> str:
    try:
        check_addon_name(text(value))
    except ValueError as error:
        raise refused(f"{error}; it is {shown(value)}") from None
    return str(value)


def _device(value: Any) -> str:
    """The path of a device; without a slash in front it is one in ``/dev``, as ``ttyUSB0`` and ``dev/ttyUSB0`` are."""
    named = text(value)
    return _absolute_path(f"/dev/{named.removeprefix('dev/')}" if named[:1].isalnum() else named)


def _absolute_path(value: Any) -> str:
    if not text(value).startswith("/") or "\0" in value or len(value) > MAX_PATH_CHARACTERS:
        raise refused(f"must be an absolute path of at most {MAX_PATH_CHARACTERS} characters, not {shown(value)}")
    return str(value)


def _machine(value: Any) -> str:
    _known_machine(value.removeprefix("!") if isinstance(value, str) else value)
    return str(value)


_known_machine = word_of(MACHINES)
_map_type = one_of(MapType)


def _map_entry(value: Any) -> MapEntry | None:
    if value is None:  # what it was says nothing we know
        return None
    findings = Findings()
    kind = findings.required(value, "type", _map_type)
    read_only = findings.optional(value, "read_only", flag)
    path = findings.optional(value, "path", _absolute_path)
    if kind is None or findings.noted:
        raise Refused(*findings.noted)
    return MapEntry(kind, read_only is not False, path)


_map_entries = list_of(_map_entry)


def _map(value: Any) -> tuple[MapEntry, ...]:
    """The entries that say something; the others keep their place until here, so that findings name the right one."""
    return tuple(entry for entry in _map_entries(value) if entry is not None)


_service_role_text = matching(
    re.compile(r"[a-z0-9][a-z0-9_-]{0,63}:(?:provide|want|need)"),
    "the name of a service such as mqtt or mysql, then :provide, :want or :need",
)


def _service_role(value: Any) -> ServiceRole:
    service, _, role = _service_role_text(value).partition(":")
    return ServiceRole(service, role)


_limit = whole(-1, 2**63 - 1)


def _ulimit(value: Any) -> int | UlimitPair:
    if not isinstance(value, Mapping):
        return _limit(value)
    findings = Findings()
    soft = findings.required(value, "soft", _limit)
    hard = findings.required(value, "hard", _limit)
    if soft is None or hard is None:
        raise Refused(*findings.noted)
    return UlimitPair(soft, hard)


def _schema(value: Any) -> OptionsSchema | None:
    return None if value is False else parse_schema(value)


_port = maybe(whole(1, 65535))
_port_key = matching(re.compile(r"[0-9]{1,5}(?:/(?:tcp|udp))?"), "a port such as 8080/tcp")
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_NO_OPTIONS: Final = parse_schema({})


def _key(reader: Reader[Any], default: Any = attrs.NOTHING) -> Any:
    """A key of the configuration: how it is read, and what holds when it is not there."""
    return field(default=default, metadata={"reader": reader})


@frozen(kw_only=True)
class AddonConfig:
    """What an add-on says of itself, normalised; ``None`` stands for a key that is absent and has no default.

    The facts are those of ``addon-config.md`` in the reference; mappings are shared and must not be changed.
    """

    name: str = _key(filled_text)
    version: str = _key(scalar_text)
    slug: str = _key(_slug)
    description: str = _key(text)
    arch: tuple[str, ...] = _key(_sharing(list_of(word_of(ARCHITECTURES, elsewhere=ELSEWHERE))))
    machine: tuple[str, ...] | None = _key(_sharing(list_of(_machine, unique=True)), None)
    url: str | None = _key(url, None)
    startup: Startup = _key(one_of(Startup), Startup.APPLICATION)
    boot: Boot = _key(one_of(Boot), Boot.AUTO)
    init: bool = _key(flag, True)
    """Whether the engine runs an init process as the container's first."""
    advanced: bool = _key(flag, False)
    """Deprecated, without effect."""
    stage: Stage = _key(one_of(Stage), Stage.STABLE)

    ports: Mapping[str, int | None] | None = _key(mapping_of(_port, key=_port_key), None)
    """Container port such as ``8080/tcp`` to default host port; ``None`` for one that is not published."""
    ports_description: Mapping[str, str] | None = _key(mapping_of(text, key=_port_key), None)
    watchdog: str | None = _key(watchdog_template, None)
    webui: str | None = _key(webui_template, None)
    ingress: bool = _key(flag, False)
    ingress_port: int = _key(whole(1, 65535, also=(0,)), 8099)
    """``0`` asks for a free port of ``DYNAMIC_INGRESS_PORTS``."""
    ingress_entry: str | None = _key(text, None)
    ingress_stream: bool = _key(flag, False)
    panel_icon: str = _key(text, "mdi:puzzle")
    panel_title: str | None = _key(text, None)
    """The title of the sidebar's entry; the name where it is absent."""
    panel_admin: bool = _key(flag, True)
    homeassistant: str | None = _key(maybe(scalar_text), None)
    """The oldest version of Core that it works with."""

    host_network: bool = _key(flag, False)
    host_pid: bool = _key(flag, False)
    host_ipc: bool = _key(flag, False)
    host_uts: bool = _key(flag, False)
    host_dbus: bool = _key(flag, False)
    devices: tuple[str, ...] | None = _key(_sharing(list_of(_device)), None)
    udev: bool = _key(flag, False)
    tmpfs: bool = _key(flag, False)
    map: tuple[MapEntry, ...] = _key(_sharing(_map), ())
    environment: Mapping[str, str] | None = _key(mapping_of(text), None)
    privileged: tuple[str, ...] | None = _key(_sharing(list_of(word_of(CAPABILITIES))), None)
    apparmor: bool = _key(flag, True)
    full_access: bool = _key(flag, False)
    audio: bool = _key(flag, False)
    video: bool = _key(flag, False)
    gpio: bool = _key(flag, False)
    usb: bool = _key(flag, False)
    uart: bool = _key(flag, False)
    devicetree: bool = _key(flag, False)
    kernel_modules: bool = _key(flag, False)
    realtime: bool = _key(flag, False)

    hassio_api: bool = _key(flag, False)
    hassio_role: HassioRole = _key(one_of(HassioRole), HassioRole.DEFAULT)
    homeassistant_api: bool = _key(flag, False)
    stdin: bool = _key(flag, False)
    legacy: bool = _key(flag, False)
    docker_api: bool = _key(flag, False)
    auth_api: bool = _key(flag, False)
    services: tuple[ServiceRole, ...] | None = _key(_sharing(list_of(_service_role)), None)
    discovery: tuple[str, ...] | None = _key(list_of(text), None)

    backup: BackupMode = _key(one_of(BackupMode), BackupMode.HOT)
    backup_pre: str | None = _key(text, None)
    backup_post: str | None = _key(text, None)
    backup_exclude: tuple[str, ...] | None = _key(list_of(text), None)

    options: Mapping[str, Any] = _key(json_object, _NOTHING)
    """The default options."""
    schema: OptionsSchema | None = _key(_schema, _NO_OPTIONS)
    """``None`` for ``schema: false``: the add-on takes any options."""
    image: str | None = _key(image_template, None)
    """``None`` for an add-on that is built on the host."""
    ulimits: Mapping[str, int | UlimitPair] = _key(mapping_of(_ulimit), _NOTHING)
    timeout: int = _key(whole(10, 300), 10)
    """Seconds that the container gets to stop."""
    journald: bool = _key(flag, False)
    breaking_versions: tuple[str, ...] = _key(list_of(scalar_text), ())

    def normalised(self) -> dict[str, Any]:
        """The configuration as plain data with defaults filled in, the way the reference stores it."""
        values = {name: getattr(self, name) for name in _READERS}
        values["schema"] = False if self.schema is None else self.schema.source()
        return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, enum.StrEnum):
        return value.value
    if isinstance(value, ServiceRole):
        return f"{value.service}:{value.role}"
    if isinstance(value, MapEntry | UlimitPair):
        return {name: _plain(inner) for name, inner in attrs.asdict(value).items() if inner is not None}
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value


_READERS: Final[Mapping[str, Reader[Any]]] = {key.name: key.metadata["reader"] for key in attrs.fields(AddonConfig)}
KEYS: Final = tuple(_READERS)
"""Every key that has a meaning."""
REQUIRED: Final = tuple(key.name for key in attrs.fields(AddonConfig) if key.default is attrs.NOTHING)
"""The keys that have to be there."""


@frozen
class ParsedAddon:
    """A configuration, and what its author should bring up to date."""

    config: AddonConfig
    advisories: tuple[str, ...] = ()
    """Short codes in alphabetical order, such as ``deprecated-arch``; none of them keeps the add-on from working.
    ``image-machine``: the image's name has ``{machine}``, which other supervisors cannot resolve."""


def parse_addon_config(raw: Mapping[Any, Any]) -> ParsedAddon:
    """The typed configuration of ``raw``, a decoded ``config.yaml``.

    Older forms are migrated, unknown keys ignored. Raises :class:`ConfigInvalid` with every finding.
    """
    findings = Findings()
    current, advisories = _migrate(raw, findings)
    for name in REQUIRED:
        if name not in current:
            findings.add(name, "is required")
    values: dict[str, Any] = {
        name: findings.read(name, reader, current[name]) for name, reader in _READERS.items() if name in current
    }
    if findings.noted:
        raise ConfigInvalid(findings.noted)
    config = AddonConfig(**values)
    _refuse_port_clash(config)
    advisories |= {code for code, applies in _ADVISORIES.items() if applies(config)}
    return ParsedAddon(config, _shared(tuple(sorted(advisories))))


def _refuse_port_clash(config: AddonConfig) -> None:
    if not config.ingress or config.ingress_port != 0:
        return
    findings = Findings()
    for key in config.ports or ():
        if int(key.partition("/")[0]) in DYNAMIC_INGRESS_PORTS:
            first, last = DYNAMIC_INGRESS_PORTS[0], DYNAMIC_INGRESS_PORTS[-1]
            findings.add(f"ports.{key}", f"lies in {first} to {last}, where ingress_port: 0 picks its port")
    if findings.noted:
        raise ConfigInvalid(findings.noted)


def _maps(config: AddonConfig, *types: MapType) -> bool:
    return any(entry.type in types for entry in config.map)


def _has_map_conflict(config: AddonConfig) -> bool:
    others = (MapType.HOMEASSISTANT_CONFIG, MapType.APP_CONFIG, MapType.ADDON_CONFIG)
    return _maps(config, MapType.CONFIG) and _maps(config, *others)


_ADVISORIES: Final[Mapping[str, Callable[[AddonConfig], bool]]] = {
    "backup-cold-commands": lambda config: (
        config.backup is BackupMode.COLD and (config.backup_pre or config.backup_post) is not None
    ),
    "deprecated-arch": lambda config: not set(config.arch).isdisjoint(DEPRECATED_ARCHITECTURES),
    "deprecated-machine": lambda config: (
        not {name.removeprefix("!") for name in config.machine or ()}.isdisjoint(DEPRECATED_MACHINES)
    ),
    "full_access-redundant": lambda config: (
        config.full_access and bool(config.devices or config.uart or config.usb or config.gpio)
    ),
    "image-machine": lambda config: "{machine}" in (config.image or ""),
    "legacy-map-type": lambda config: any(entry.type in LEGACY_MAP_TYPES for entry in config.map),
    "map-config-deprecated": lambda config: _maps(config, MapType.CONFIG) and not _has_map_conflict(config),
    "map-config-conflict": _has_map_conflict,
}


_OLD_STARTUPS: Final = {"before": "services", "after": "application"}
_RENAMED: Final = {
    "auto_uart": ("uart", "auto_uart"),
    "snapshot": ("backup", "snapshot-key"),
    "snapshot_exclude": ("backup_exclude", "snapshot-key"),
    "snapshot_pre": ("backup_pre", "snapshot-key"),
    "snapshot_post": ("backup_post", "snapshot-key"),
}
OLD_KEYS: Final[Mapping[str, str]] = {old: new for old, (new, _) in _RENAMED.items()}
"""What keys were called before, with what they are called now."""
WITHOUT_EFFECT: Final = ("advanced", "codenotary")
"""Keys that nothing reads any more."""
_MAP_TEXT: Final = re.compile(rf"(?P<type>{'|'.join(MapType)})(?::(?P<mode>rw|ro))?")


def _migrate(raw: Mapping[Any, Any], findings: Findings) -> tuple[dict[Any, Any], set[str]]:
    """``raw`` in today's form, and the advisories for what had to be changed. Never touches ``raw``."""
    current = dict(raw)
    advisories = {key for key in WITHOUT_EFFECT if key in raw}
    for old, (new, code) in _RENAMED.items():
        if old in current:
            advisories.add(code)
            current[new] = current.pop(old)
    startup = current.get("startup")
    if isinstance(startup, str) and startup in _OLD_STARTUPS:
        advisories.add("deprecated-startup")
        current["startup"] = _OLD_STARTUPS[startup]
    if "tmpfs" in current and not isinstance(current["tmpfs"], bool):
        advisories.add("tmpfs-format")
        current["tmpfs"] = True
    devices = current.get("devices")
    if isinstance(devices, list) and any(isinstance(device, str) and ":" in device for device in devices):
        advisories.add("devices-format")
        current["devices"] = [device.partition(":")[0] if isinstance(device, str) else device for device in devices]
    if isinstance(current.get("map"), Mapping):  # share: rw instead of - share:rw
        advisories.add("map-format")
        current["map"] = [name if mode is None else f"{name}:{mode}" for name, mode in current["map"].items()]
    if isinstance(current.get("map"), list):
        entries = [_migrate_map_entry(entry) for entry in current["map"]]
        if None in entries:
            advisories.add("map-entry-invalid")
        current["map"] = entries
    return current, advisories


def _migrate_map_entry(entry: Any) -> Mapping[Any, Any] | None:
    """A ``map`` entry as a mapping with its type, or ``None`` for one that says nothing we know."""
    if isinstance(entry, Mapping):
        return entry if "type" in entry else None
    match = _MAP_TEXT.fullmatch(entry) if isinstance(entry, str) else None
    return {"type": match["type"], "read_only": match["mode"] != "rw"} if match else None

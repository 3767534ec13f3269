"""The operator's settings: ``rooftree.toml``, the environment, flags, in this order of increasing strength.

They are read once, at start, and never written: what is changed through the API lives in the state instead. Every
value keeps its origin, so that a mistake names the line it stands in, and a call that would contradict the operator
can say what it contradicts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, cast

import attrs
from attrs import Factory, field, frozen

from rooftree.errors import RooftreeError
from rooftree.settings.building import build, may_be_of_drivers, not_installed, unknown_table
from rooftree.settings.environment_text import parse_text
from rooftree.settings.secret_names import looks_secret
from rooftree.settings.sources import (
    Sources,
    canonical_name,
    default_places,
    from_environment,
    from_file,
    from_flags,
    read_file,
)
from rooftree.settings.toml_lines import key_lines

__all__ = [
    "KernelSettings",
    "LogFormat",
    "LogLevel",
    "Settings",
    "SettingsInvalid",
    "between",
    "default_places",
    "key_lines",
    "load",
    "looks_secret",
    "parse_text",
    "read",
]

LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["text", "json"]


class SettingsInvalid(RooftreeError):
    """The settings can't be used; ``problems`` has one sentence for each thing that is wrong."""

    error_key: ClassVar[str | None] = "settings_invalid"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@frozen
class Between:
    """An attrs validator for a number from ``low`` to ``high``, both included."""

    low: float
    high: float

    def __call__(self, _: object, __: attrs.Attribute[Any], value: float) -> None:
        """Raise ``ValueError`` for any other."""
        if not self.low <= value <= self.high:
            raise ValueError(f"must be from {self.low} to {self.high}, not {value}")


def between(low: float, high: float) -> Between:
    """An attrs validator for a number from ``low`` to ``high``, both included."""
    return Between(low, high)


def _sibling_socket(kernel: KernelSettings) -> Path:
    return kernel.data_dir / "rooftree.sock"


@frozen
class KernelSettings:
    """The table ``[kernel]``."""

    data_dir: Path
    """Where everything lies that Rooftree keeps; the default depends on who runs it (:func:`default_places`)."""
    host: str = "127.0.0.1"
    """The address of the TCP listener."""
    port: int = field(default=8480, validator=between(0, 65535))
    """The port of the TCP listener; 0 takes any free one."""
    socket: Path = Factory(_sibling_socket, takes_self=True)
    """The unix socket; ``rooftree.sock`` in the data folder unless set."""
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"
    start_timeout_s: float = field(default=60.0, validator=between(0.1, 3600))
    """How long one plugin may take to start."""
    stop_timeout_s: float = field(default=20.0, validator=between(0.1, 3600))
    """How long a graceful stop may take, running steps included."""
    blocked_exit_s: float = field(default=30.0, validator=between(0, 3600))
    """How long the event loop may be blocked before Rooftree ends itself, to be started again by the service manager
    without the plugin that blocks it; 0 for ever."""
    min_free_mib: int = field(default=512, validator=between(0, 1_000_000))
    """Room that stays free on the data disk: jobs that need room are not begun where there is less."""
    disk_reserve_mib: int = field(default=4, validator=between(0, 4))
    """Room that is held so that things can be stopped and removed on a full disk; the database's log takes 4."""
    in_flight_mib: int = field(default=64, validator=between(8, 65536))
    """Memory for the bodies and answers of all requests under way; a caller may hold as much of it as is still free."""
    changes_per_minute: int = field(default=300, validator=between(1, 1_000_000))
    """How often one caller that is no administrator may change something or begin a job; programs with the role of one
    are counted too."""
    audit_entries: int = field(default=20_000, validator=between(100, 10_000_000))
    """Rows of the audit log that are kept."""
    audit_share: int = field(default=4_000, validator=between(20, 10_000_000))
    """How many of them may be of one caller, who beyond that replaces its own."""


_CHOICES: Final = ("enabled", "disabled")
"""What else stands in ``[plugins]``."""


@frozen
class _PluginChoice:
    """What stands in ``[plugins]`` beside the tables of the plugins."""

    enabled: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()


@frozen
class Settings:
    """What the operator decided."""

    kernel: KernelSettings
    enabled: tuple[str, ...]
    """Plugins that run, and no others; empty: every installed plugin runs."""
    disabled: tuple[str, ...]
    """Plugins that do not run."""
    file: Path | None
    """The file that was read, if there is one."""
    _sources: Sources = field(repr=False)
    _outcomes: dict[tuple[str, str], tuple[type, Any, list[str]]] = field(factory=dict, repr=False, eq=False)
    """By table what was made of it: of which class, and what is wrong."""

    def section[T](self, plugin: str, kind: type[T]) -> T:
        """The table ``[plugins.<plugin>]`` as the attrs class ``kind``; raises :class:`SettingsInvalid`.

        A table that is absent is an empty one. Strings from the environment are read as the type of their field. Each
        is made once, a plugin's in the thread in which it is imported: validators may look at the disk.
        """
        return self._built(("plugins", plugin), kind)

    def driver_section[T](self, table: str, driver: str, kind: type[T]) -> T:
        """The table ``[<table>.<driver>]`` as the attrs class ``kind``; raises :class:`SettingsInvalid`."""
        return self._built((table, driver), kind)

    def _built[T](self, key: tuple[str, str], kind: type[T]) -> T:
        made_of, built, problems = self._outcomes.get(key, (None, None, []))
        if made_of is not kind:
            problems = []
            built = build(self._sources, key, kind, problems)
            self._outcomes[key] = kind, built, problems
        if built is None:
            raise SettingsInvalid(problems)
        return cast("T", built)

    def _wrong(self, key: tuple[str, str], kind: type) -> Sequence[str]:
        try:
            self._built(key, kind)
        except SettingsInvalid as error:
            return error.problems
        return ()

    def origin(self, key: str) -> str | None:
        """Where the operator set ``key`` ("rooftree.toml line 3", "environment ROOFTREE_PORT", "flag --port").

        :param key: dotted, such as ``kernel.port`` or ``plugins.supervisor.timezone``
        :return: ``None`` where the operator left the default
        """
        given = self._sources.mention(tuple(key.split(".")))
        return given.origin if given else None

    def is_set(self, key: str) -> bool:
        """Whether the operator decided ``key``: then a call that would change it is a conflict."""
        return self.origin(key) is not None

    def runs(self, plugin: str) -> bool:
        """Whether the operator wants ``plugin`` to run."""
        return plugin not in self.disabled and (not self.enabled or plugin in self.enabled)

    def check_sections(
        self, known: Mapping[str, type | None], *, running: Collection[str], unchecked: Collection[str] = ()
    ) -> list[str]:
        """Everything wrong with what is said about plugins, one sentence each.

        :param known: the installed plugins, with the attrs class of their settings (``None``: has no settings)
        :param running: those of them that are to run
        :param unchecked: those of them whose class can't be had, because they could not be loaded
        """
        problems = [
            f"{given.place}: {given.key}: {not_installed(name, known)}"
            for choice, given in self._sources.children(("plugins",)).items()
            if choice in _CHOICES
            for name in getattr(self, choice)
            if name not in known
        ]
        problems += self._wrong_sections("plugins", "plugin", known, unchecked)
        for plugin, kind in known.items():
            if kind is not None and plugin not in unchecked and plugin in running:
                problems += self._wrong(("plugins", plugin), kind)
        return problems

    def check_driver_sections(
        self, known: Mapping[str, Mapping[str, type | None]], *, unchecked: Collection[str] = ()
    ) -> list[str]:
        """Everything wrong with what is said about drivers, one sentence each.

        :param known: by table (``boards``), the installed drivers, with the attrs class of the operator's settings
            (``None``: has none)
        :param unchecked: those of them, such as ``boards.acme``, whose class can't be had
        """
        problems: list[str] = []
        for table, given in self._sources.children(()).items():
            if table in {"kernel", "plugins"}:
                continue
            if table not in known:
                problems.append(f"{given.place}: {unknown_table(table, (), known)}")
                continue
            unloaded = [name for name in known[table] if f"{table}.{name}" in unchecked]
            problems += self._wrong_sections(table, "driver", known[table], unloaded)
            said_of = self._sources.children((table,))
            for name, kind in known[table].items():
                if kind is not None and name not in unloaded and canonical_name(name) in said_of:
                    problems += self._wrong((table, name), kind)
        return problems

    def _wrong_sections(
        self, table: str, what: str, known: Mapping[str, type | None], unchecked: Collection[str]
    ) -> Iterator[str]:
        """What is said of plugins or drivers that are not there, or have no settings."""
        names = {canonical_name(name): name for name in known}
        for key, given in self._sources.children((table,)).items():
            if table == "plugins" and key in _CHOICES:
                continue
            name = names.get(key)
            if name is None:
                yield f"{given.place}: {given.key}: {not_installed(key, known, f'{table}.', what)}"
            elif known[name] is None and name not in unchecked:
                yield f"{given.place}: {given.key}: the {what} {name} has no settings; remove this"


def load(*, config: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Settings:
    """Read the settings, or raise :class:`SettingsInvalid` with everything that is wrong in them.

    What is said about plugins and drivers can only be checked by who knows them: see :meth:`Settings.check_sections`
    and :meth:`Settings.check_driver_sections`.

    :param config: the file, which then must exist; without it ``ROOFTREE_CONFIG`` names the file (empty: none), or
        it is the one at its default place, if there is one
    :param environ: ``ROOFTREE_PORT`` is ``kernel.port``, ``ROOFTREE_PLUGINS__STORE__RELOAD_EVERY`` is
        ``plugins.store.reload_every``; an empty value is no value
    :param flags: by name (``port`` or ``kernel.port``); ``None`` is no value
    """
    settings, problems = read(config=config, environ=environ, flags=flags)
    if problems:
        raise SettingsInvalid(problems)
    return settings


def read(*, config: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> tuple[Settings, list[str]]:
    """The settings as :func:`load` has them, with the defaults in place of a table that is wrong, and what is wrong."""
    problems: list[str] = []
    places = default_places(environ)
    file, text = read_file(config, environ, places.config, problems)
    layers = (from_file(file, text, problems) if file else {}, from_environment(environ), from_flags(flags))
    sources = Sources.joined(layers, file or places.config)
    for name, given in sources.children(()).items():
        if name not in {"kernel", "plugins"} and not may_be_of_drivers(sources, name):
            problems.append(f"{given.place}: {unknown_table(name, attrs.fields_dict(KernelSettings))}")
    kernel = build(sources, ("kernel",), KernelSettings, problems, defaults={"data_dir": places.data_dir})
    choice = build(sources, ("plugins",), _PluginChoice, problems) or _PluginChoice()
    problems += [
        f"plugins.enabled and plugins.disabled both name {name}: keep it in one of them"
        for name in sorted(set(choice.enabled) & set(choice.disabled))
    ]
    kernel = kernel or KernelSettings(places.data_dir)
    return Settings(kernel, choice.enabled, choice.disabled, file, sources), problems

"""The operator's settings: ``rooftree.toml``, the environment, flags, in this order of increasing strength.

They are read once, at start, and never written: what is changed through the API lives in the state instead. Every
value keeps its origin, so that a mistake names the line it stands in, and a call that would contradict the operator
can say what it contradicts.
"""

from __future__ import annotations

import difflib
import enum
import json
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, repeat
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

import attrs
from attrs import Factory, field, frozen

from rooftree.conversion import structure
from rooftree.errors import Invalid, RooftreeError

type Key = tuple[str, ...]
"""The path of a setting: ``("kernel", "port")``."""

LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["text", "json"]

PREFIX: Final = "ROOFTREE_"
"""Environment variables that begin so are settings, and a misspelt one is an error …"""

OTHER_VARIABLES: Final = frozenset({"ROOFTREE_CONFIG", "ROOFTREE_TRACE_HOOKS", "ROOFTREE_FAILPOINTS"})
"""… except these, which are read elsewhere …"""

TEST_PREFIX: Final = "ROOFTREE_TEST_"
"""… and what begins so, which is for test runs."""


class SettingsInvalid(RooftreeError):
    """The settings can't be used; ``problems`` has one sentence for each thing that is wrong."""

    error_key: ClassVar[str | None] = "settings_invalid"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def between(low: float, high: float) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    """An attrs validator for a number from ``low`` to ``high``, both included."""

    def check(_: object, __: attrs.Attribute[Any], value: float) -> None:
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}, not {value}")

    return check


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
    _sources: _Sources = field(repr=False)

    def section[T](self, plugin: str, kind: type[T]) -> T:
        """The table ``[plugins.<plugin>]`` as the attrs class ``kind``; raises :class:`SettingsInvalid`.

        A table that is absent is an empty one. Strings from the environment are read as the type of their field.
        """
        problems: list[str] = []
        built = _built(self._sources, ("plugins", plugin), kind, problems)
        if built is None or problems:
            raise SettingsInvalid(problems)
        return built

    def origin(self, key: str) -> str | None:
        """Where the operator set ``key`` ("rooftree.toml line 3", "environment ROOFTREE_PORT", "flag --port").

        :param key: dotted, such as ``kernel.port`` or ``plugins.supervisor.timezone``
        :return: ``None`` where the operator left the default
        """
        given = self._sources.given_within(tuple(key.split(".")))
        return given.origin if given else None

    def is_set(self, key: str) -> bool:
        """Whether the operator decided ``key``: then a call that would change it is a conflict."""
        return self.origin(key) is not None

    def runs(self, plugin: str) -> bool:
        """Whether the operator wants ``plugin`` to run."""
        return plugin not in self.disabled and (not self.enabled or plugin in self.enabled)

    def check_sections(self, known: Mapping[str, type | None], *, unchecked: Collection[str] = ()) -> list[str]:
        """Everything wrong with what is said about plugins, one sentence each.

        :param known: the installed plugins, with the attrs class of their settings (``None``: has no settings)
        :param unchecked: those of them whose class can't be had, because they could not be loaded
        """
        problems: list[str] = []
        installed = {_canonical_name(name): name for name in known}
        for list_name in ("enabled", "disabled"):
            given = self._sources.given(("plugins", list_name))
            strangers = [name for name in getattr(self, list_name) if name not in known]
            problems += [f"{given.place}: {given.key}: {_not_installed(name, known)}" for name in strangers if given]
        for name, given in self._sources.children(("plugins",)).items():
            if name in _names(_PluginChoice):
                continue
            plugin = installed.get(_canonical_name(name))
            if plugin is None:
                problems.append(f"{given.place}: {given.key}: {_not_installed(name, known, 'plugins.')}")
                continue
            kind = known[plugin]
            if kind is None and plugin not in unchecked:
                problems.append(f"{given.place}: {given.key}: the plugin {plugin} has no settings; remove this")
        for name, kind in known.items():
            if kind is not None and name not in unchecked and self.runs(name):
                _built(self._sources, ("plugins", name), kind, problems)
        return problems


def load(*, config: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Settings:
    """Read the settings, or raise :class:`SettingsInvalid` with everything that is wrong in them.

    What is said about plugins can only be checked by who knows them: see :meth:`Settings.check_sections`.

    :param config: the file, which then must exist; without it ``ROOFTREE_CONFIG`` names the file (empty: none), or
        it is the one at its default place, if there is one
    :param environ: ``ROOFTREE_PORT`` is ``kernel.port``, ``ROOFTREE_PLUGINS__STORE__RELOAD_EVERY`` is
        ``plugins.store.reload_every``; an empty value is no value
    :param flags: by name (``port`` or ``kernel.port``); ``None`` is no value
    """
    problems: list[str] = []
    places = default_places(environ)
    file, text = _read(config, environ, places, problems)
    sources = _Sources(
        (
            *([_from_file(file, text, problems)] if file else []),
            _from_environment(environ),
            _from_flags(flags),
        ),
        file or places.config,
    )
    for name, given in sources.children(()).items():
        if name not in _TABLES:
            problems.append(f"{given.place}: {_unknown_table(name)}")
    kernel = _built(sources, ("kernel",), KernelSettings, problems, defaults={"data_dir": places.data_dir})
    choice = _built(sources, ("plugins",), _PluginChoice, problems, others_are_tables=True)
    if choice is not None:
        problems += [
            f"plugins.enabled and plugins.disabled both name {name}: keep it in one of them"
            for name in sorted(set(choice.enabled) & set(choice.disabled))
        ]
    if problems or kernel is None or choice is None:
        raise SettingsInvalid(problems)
    return Settings(kernel, choice.enabled, choice.disabled, file, sources)


@frozen
class Places:
    """Where things lie unless somebody says otherwise."""

    config: Path
    data_dir: Path


def default_places(environ: Mapping[str, str]) -> Places:
    """``/etc`` and ``/var/lib`` for root; for everybody else what the XDG base directory specification says."""
    if os.geteuid() == 0:
        return Places(Path("/etc/rooftree/rooftree.toml"), Path("/var/lib/rooftree"))
    home = Path(environ.get("HOME") or Path.home())
    return Places(
        _xdg(environ, "XDG_CONFIG_HOME", home / ".config") / "rooftree" / "rooftree.toml",
        _xdg(environ, "XDG_DATA_HOME", home / ".local" / "share") / "rooftree",
    )


def _xdg(environ: Mapping[str, str], name: str, default: Path) -> Path:
    folder = Path(environ.get(name, ""))
    return folder if folder.is_absolute() else default  # "relative paths are invalid and must be ignored"


_SECRET = re.compile(r"token|password|passwd|passphrase|secret|authorization|api_?key|private_?key|credential|cookie")
_ABOUT_A_SECRET = re.compile(r"_(id|ids|name|names|count|kind|path|file|type|role|hash|expires|created|timeout(_s)?)$")


@cache
def looks_secret(key: str) -> bool:
    """Whether the value of a thing called ``key`` is better not shown: ``api_token`` yes, ``token_name`` no."""
    name = key.lower().replace("-", "_")
    return _SECRET.search(name) is not None and _ABOUT_A_SECRET.search(name) is None


# --- where values come from ---------------------------------------------------------------------------------------


@frozen
class _Given:
    """One value as somebody wrote it down."""

    key: str
    """Dotted, as written."""
    value: object
    origin: str
    """For an answer: which line, variable or flag."""
    place: str
    """For the operator: the same, with the whole path of the file."""
    folder: Path
    """Relative paths begin here."""
    is_text: bool = False
    """Text of an environment variable, to be read as the type of its field."""
    in_file: bool = False


type _Source = dict[Key, _Given]


@frozen
class _Sources:
    """All values that were given, the strongest source last."""

    layers: tuple[_Source, ...]
    file: Path
    """Where the operator's file is, or would be."""

    def given(self, key: Key) -> _Given | None:
        """The strongest value for exactly ``key``."""
        key = _canonical(key)
        return next((layer[key] for layer in reversed(self.layers) if key in layer), None)

    def given_within(self, key: Key) -> _Given | None:
        """The strongest value for ``key``, or for something inside it, or of an object that contains it."""
        key = _canonical(key)
        for layer in reversed(self.layers):
            exact = layer.get(key) or next((layer[other] for other in layer if other[: len(key)] == key), None)
            if exact is not None:
                return exact
            for end in range(len(key) - 1, 0, -1):
                outer = layer.get(key[:end])
                if outer is not None and outer.is_text and _reaches(str(outer.value), key[end:]):
                    return outer
        return None

    def part(self, key: Key) -> _Given | None:
        """A variable or flag for something inside ``key``."""
        key = _canonical(key)
        return next(
            (
                given
                for layer in self.layers
                for other, given in layer.items()
                if len(other) > len(key) and other[: len(key)] == key and not given.in_file
            ),
            None,
        )

    def children(self, key: Key) -> dict[str, _Given]:
        """The names that were given a value directly below ``key``, each with its strongest mention."""
        key = _canonical(key)
        found: dict[str, _Given] = {}
        for layer in self.layers:
            for other, given in layer.items():
                if len(other) > len(key) and other[: len(key)] == key:
                    found[other[len(key)]] = given if len(other) == len(key) + 1 else found.get(other[len(key)], given)
        return found


def _canonical(key: Key) -> Key:
    """``plugins.board-yellow`` and ``ROOFTREE_PLUGINS__BOARD_YELLOW`` are the same plugin."""
    if len(key) > 1 and key[0] == "plugins":
        return (key[0], _canonical_name(key[1]), *key[2:])
    return key


def _canonical_name(plugin: str) -> str:
    return plugin.replace("-", "_")


def _reaches(text: str, key: Key) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return False
    for name in key:
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return True


def _read(
    config: Path | None, environ: Mapping[str, str], places: Places, problems: list[str]
) -> tuple[Path | None, str]:
    if config is None and "ROOFTREE_CONFIG" in environ:
        named = environ["ROOFTREE_CONFIG"]
        if not named:
            return None, ""
        config = Path(named)
    file = config or places.config
    try:
        return file.absolute(), file.read_text("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        if config is not None:
            problems.append(f"{file}: there is no such file; create it, or leave out --config")
    except UnicodeDecodeError as error:
        problems.append(f"{file}: is not UTF-8 text (byte {error.start}); save it as UTF-8")
    except OSError as error:
        problems.append(f"{file}: can't be read ({error.strerror or error})")
    return None, ""


_SYNTAX = re.compile(r"^(?P<what>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)$", re.DOTALL)


def _from_file(file: Path, text: str, problems: list[str]) -> _Source:
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        known = _SYNTAX.match(str(error))
        where = f"{file} line {known['line']}, column {known['column']}" if known else str(file)
        what = known["what"] if known else str(error)
        problems.append(f"{where}: this is not TOML: {what}")
        return {}
    lines = key_lines(text)
    source: _Source = {}

    def add(key: Key, value: object) -> None:
        line = next((lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in lines), 1)
        place = f"{file} line {line}"
        given = _Given(".".join(key), value, f"{file.name} line {line}", place, file.parent, in_file=True)
        twin = source.setdefault(_canonical(key), given)
        if twin is not given:
            problems.append(f"{place}: {given.key} is the same plugin as {twin.key}; keep one of them")
            return
        if isinstance(value, dict):
            for name, inner in value.items():
                add((*key, name), inner)

    for name, value in tree.items():
        add((name,), value)
    return source


def _from_environment(environ: Mapping[str, str]) -> _Source:
    source: _Source = {}
    for variable in sorted(environ):
        text = environ[variable]
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES or variable.startswith(TEST_PREFIX):
            continue
        if not text:
            continue
        parts = variable.removeprefix(PREFIX).lower().split("__")
        key = tuple(parts) if parts[0] == "plugins" and len(parts) > 1 else ("kernel", *parts)
        where = f"environment {variable}"
        source[_canonical(key)] = _Given(".".join(key), text, where, where, Path.cwd(), is_text=True)
    return source


def _from_flags(flags: Mapping[str, object]) -> _Source:
    source: _Source = {}
    for flag, value in flags.items():
        if value is None:
            continue
        key = tuple(flag.split(".")) if "." in flag else ("kernel", flag)
        where = f"flag --{key[-1].replace('_', '-')}"
        plain = str(value) if isinstance(value, Path) else value
        source[_canonical(key)] = _Given(".".join(key), plain, where, where, Path.cwd())
    return source


_TOKENS = re.compile(
    r"""
      (?P<skip>[ \t\r]+|\#[^\n]*)
    | (?P<line>\n)
    | (?P<text>\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\])*"|'[^']*')
    | (?P<mark>[][{}.,=])
    | (?P<bare>[^][{}.,=\s\#"']+)
    """,
    re.VERBOSE | re.DOTALL,
)


def key_lines(text: str) -> dict[Key, int]:
    """The line (from 1) where each key and table of a TOML document first stands; ``tomllib`` does not tell.

    ``text`` must be valid TOML. Keys inside arrays of tables are listed once, without an index; keys of inline tables
    inside arrays are not listed.
    """
    lines: dict[Key, int] = {}
    tokens: list[tuple[str, str, int]] = []
    line = 1
    for match in _TOKENS.finditer(text):
        if match.lastgroup != "skip":
            tokens.append((str(match.lastgroup), match[0], line))
        line += match[0].count("\n")
    tokens.append(("line", "\n", line))
    at = 0

    def key(outer: Key) -> Key:
        """Read a key up to its ``=`` or ``]``, and note the line of all that it names."""
        nonlocal at
        found = outer
        while tokens[at][1] not in {"=", "]"}:
            kind, token, line = tokens[at]
            if kind != "mark":
                found = (*found, tomllib.loads(f"key = {token}")["key"] if kind == "text" else token)
                lines.setdefault(found, line)
            at += 1
        return found

    def value(where: Key) -> None:
        """Pass over a value, and note the keys of inline tables."""
        nonlocal at
        if tokens[at][1] == "{":
            at += 1
            while tokens[at][1] != "}":
                if tokens[at][1] in {",", "\n"}:
                    at += 1
                    continue
                inner = key(where)
                at += 1
                value(inner)
            at += 1
            return
        depth = 0
        while depth or not (tokens[at][0] == "line" or tokens[at][1] in {",", "}"}):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(tokens[at][1], 0)
            at += 1

    table: Key = ()
    while at < len(tokens):
        if tokens[at][0] == "line":
            at += 1
        elif tokens[at][1] == "[":
            while tokens[at][1] == "[":
                at += 1
            table = key(())
            while tokens[at][1] == "]":
                at += 1
        else:
            inner = key(table)
            at += 1
            value(inner)
    return lines


# --- what values must be ------------------------------------------------------------------------------------------

_TABLES = ("kernel", "plugins")


@cache
def _names(kind: type) -> dict[str, Any]:
    """The keys of an attrs class, with their types."""
    hints = get_type_hints(kind)
    return {item.alias: hints[item.name] for item in attrs.fields(kind) if item.init}


def _built[T](
    sources: _Sources,
    key: Key,
    kind: type[T],
    problems: list[str],
    *,
    defaults: Mapping[str, object] | None = None,
    others_are_tables: bool = False,
) -> T | None:
    """The values given below ``key`` as ``kind``, or ``None`` and what is wrong added to ``problems``."""
    before = len(problems)
    table = sources.given(key)
    if table is not None and not isinstance(table.value, Mapping):
        problems.append(f"{table.place}: {table.key} must be a table, [{table.key}]")
        return None
    names = _names(cast("type", kind))
    for name, given in sources.children(key).items():
        is_table = isinstance(given.value, Mapping) or given.key.count(".") > len(key)
        if name not in names and not (others_are_tables and is_table):
            problems.append(f"{given.place}: {_unknown(given, key, name, names)}")
    values = dict(defaults or {})
    for item in attrs.fields(cast("type[attrs.AttrsInstance]", kind)):
        if not item.init:
            continue
        found = _value(sources, (*key, item.alias), names[item.alias], item, problems)
        if found is not _ABSENT:
            values[item.alias] = found
        elif item.default is attrs.NOTHING and item.alias not in values:
            dotted = ".".join((*key, item.alias))
            problems.append(f"{dotted} is required: set it in {sources.file}, or with {_variable((*key, item.alias))}")
    if len(problems) > before:
        return None
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:  # what fields say about each other: validators with self, post-init
        problems.append(f"{f'{table.place}: ' if table else ''}{'.'.join(key)}: {error}")
        return None


_ABSENT: Final = object()
_WRONG: Final = object()
"""Something was given, and what is wrong with it has been reported."""


def _value(sources: _Sources, key: Key, kind: Any, item: attrs.Attribute[Any], problems: list[str]) -> object:
    given = sources.given(key)
    nested = _nested(kind)
    if nested is not None and (given is None or not given.is_text):
        if given is None and not sources.children(key):
            return _ABSENT
        built = _built(sources, key, nested, problems)
        return _WRONG if built is None else built
    part = sources.part(key)
    if part is not None:
        problems.append(f"{part.place}: {'.'.join(key)} is one value here; give it whole, in {_variable(key)}")
        return _WRONG
    if given is None:
        return _ABSENT
    try:
        value = parse_text(str(given.value), kind) if given.is_text else given.value
        if isinstance(value, str) and _is_path(kind):
            value = _absolute(value, given.folder)
        result = structure(value, kind)
        _validate(item, result)
    except (Invalid, ValueError, TypeError, RuntimeError) as error:  # RuntimeError: "~nobody" has no home
        message = error.message if isinstance(error, Invalid) else str(error)
        if looks_secret(key[-1]):
            message = "is not of the right form (the value is not shown, it may be a secret)"
        problems.append(f"{given.place}: {given.key}{'' if message.startswith('[') else ' '}{message}")
        return _WRONG
    return result


def _validate(item: attrs.Attribute[Any], value: object) -> None:
    """Ask a field's own validator, here where the line is known; those that need ``self`` have their turn later."""
    if item.validator is None:
        return
    try:
        item.validator(None, item, value)
    except AttributeError:
        return
    except (ValueError, TypeError) as error:
        message = str(error.args[0]) if error.args else str(error)
        raise ValueError(message.removeprefix(f"'{item.name}' ")) from None


def _nested(kind: Any) -> type[Any] | None:
    """The attrs class that a field's value is, if it is one: ``Git``, ``Git | None``."""
    members = [member for member in _members(kind) if attrs.has(member)]
    return members[0] if len(members) == 1 else None


def _members(kind: Any) -> tuple[Any, ...]:
    """The members of a union; any other type is its own only member."""
    return get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)


def _is_path(kind: Any) -> bool:
    return Path in _members(kind)


def _absolute(path: str, folder: Path) -> str:
    if not path:
        raise ValueError("must be a path, and is empty")
    return str(folder / Path(path).expanduser())


_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_WHOLE = re.compile(r"[+-]?[0-9]+")


def parse_text(text: str, kind: Any) -> object:
    """The text of an environment variable as plain data for the declared type ``kind``.

    Lists are separated by commas, or written as JSON; objects are JSON. What does not look like ``kind`` is handed
    back as text, for the strict conversion to refuse in its own words.
    """
    if get_origin(kind) in {Union, UnionType}:
        return _parse_union(text, get_args(kind))
    word = text.strip()
    if kind is bool:
        return True if word.lower() in _TRUE else False if word.lower() in _FALSE else text
    if kind is int:
        return int(word) if _WHOLE.fullmatch(word) else text
    if kind is float:
        try:
            return float(word)
        except ValueError:
            return text
    if get_origin(kind) is Literal:
        return _parse_choice(word, get_args(kind), text)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _parse_choice(word, [member.value for member in kind], text)
    origin = get_origin(kind) or kind
    if origin in {list, tuple, frozenset}:
        return _parse_list(word, get_args(kind))
    if attrs.has(origin) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        try:
            return json.loads(word)
        except ValueError:
            return text
    return text


def _parse_union(text: str, members: tuple[Any, ...]) -> object:
    for member in members:
        if member is NoneType:
            continue
        value = parse_text(text, member)
        try:
            structure(value, member)
        except Invalid:
            continue
        return value
    return text


def _parse_choice(word: str, choices: Collection[object], text: str) -> object:
    for choice in choices:
        if str(choice).lower() == word.lower():
            return choice
    return text


def _parse_list(word: str, arguments: tuple[Any, ...]) -> object:
    if word.startswith("["):
        try:
            return json.loads(word)
        except ValueError as error:
            raise ValueError(f"must be a list, separated by commas or as JSON ({error})") from None
    items = [item.strip() for item in word.split(",") if item.strip()]
    each: Iterator[Any] = repeat(arguments[0] if arguments else str)
    if len(arguments) > 1 and arguments[1] is not Ellipsis:
        each = chain(arguments, repeat(str))  # a tuple with a type for each place
    return [parse_text(item, kind) for item, kind in zip(items, each, strict=False)]


# --- how mistakes are told ----------------------------------------------------------------------------------------


def _near(name: str, known: Collection[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name.lower(), known, n=1)), None)


def _unknown(given: _Given, key: Key, name: str, known: Collection[str]) -> str:
    """``name`` is not a setting of the table ``key``; what was probably meant, else what there is."""

    def spelt(item: str) -> str:
        return _variable((*key, item)) if given.is_text else ".".join((*key, item))

    near = _near(name, known)
    hint = f"did you mean {spelt(near)}?" if near else f"known are {', '.join(map(spelt, known)) or 'none'}"
    return f"{'.'.join((*key, name))} is not a setting; {hint}"


def _unknown_table(name: str) -> str:
    near = _near(name, _TABLES)
    if near:
        return f"{name} is not known here; did you mean [{near}]?"
    setting = _near(name, _names(KernelSettings))
    if setting:
        return f"{name} is not known here; did you mean {setting} in the table [kernel]?"
    return f"{name} is not known here; there are [kernel], [plugins], and [plugins.<name>] for each plugin's settings"


def _not_installed(name: str, known: Collection[str], prefix: str = "") -> str:
    near = _near(name, known)
    if near:
        return f"no plugin {name} is installed; did you mean {prefix}{near}?"
    return f"no plugin {name} is installed; installed are {', '.join(sorted(known)) or 'none'}"


def _variable(key: Key) -> str:
    parts = key[1:] if key[0] == "kernel" else key
    return PREFIX + "__".join(part.upper().replace("-", "_") for part in parts)

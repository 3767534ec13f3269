"""Where the values of settings come from: the file, the environment, flags; each value keeps its origin.

The sources are joined into one table of values, by key. A later one is stronger, and one text for a whole table takes
the place of all that weaker sources say inside it.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, Self

from attrs import frozen

from rooftree.settings.toml_lines import Key, key_lines, walk

_VARIABLE: Final = re.compile(r"ROOFTREE_(?!(?:CONFIG|TRACE_HOOKS|FAILPOINTS)$|TEST_)(?P<key>.*)", re.DOTALL)
"""Environment variables that are settings, where a misspelt one is an error: not those that are read elsewhere."""

_STRENGTH: Final = ("file", "environment", "flags")
_SYNTAX: Final = re.compile(r"^(?P<what>.*) \(at (?P<where>line \d+, column \d+)\)$", re.DOTALL)


@frozen
class Given:
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
    source: Literal["file", "environment", "flags"]

    @property
    def is_text(self) -> bool:
        """Whether it is to be read as the type of its field."""
        return self.source == "environment"


@frozen
class Sources:
    """All values that were given, each as the strongest source has it."""

    values: Mapping[Key, Given]
    file: Path
    """Where the operator's file is, or would be."""

    @classmethod
    def joined(cls, layers: Iterable[Mapping[Key, Given]], file: Path) -> Self:
        """The values of several sources, the strongest last."""
        values: dict[Key, Given] = {}
        for layer in layers:
            for key, given in layer.items():
                if given.is_text:
                    values = {other: kept for other, kept in values.items() if not _is_inside(other, key)}
                values[key] = given
        return cls(values, file)

    def given(self, key: Key) -> Given | None:
        """The value for exactly ``key``."""
        return self.values.get(_canonical(key))

    def inside(self, key: Key) -> dict[Key, Given]:
        """What was given below ``key``, by the rest of the key."""
        key = _canonical(key)
        return {other[len(key) :]: given for other, given in self.values.items() if _is_inside(other, key)}

    def children(self, key: Key) -> dict[str, Given]:
        """The names directly below ``key``, each with its first mention, which is its own where it has one."""
        found: dict[str, Given] = {}
        for rest, given in self.inside(key).items():
            found.setdefault(rest[0], given)
        return found

    def mention(self, key: Key) -> Given | None:
        """The strongest value for ``key`` or something inside it, or that of an object that contains it."""
        for end in range(1, len(key)):
            outer = self.given(key[:end])
            if outer is not None and outer.is_text and _reaches(str(outer.value), key[end:]):
                return outer
        own = self.given(key)
        mentions = [*([own] if own else []), *self.inside(key).values()]
        return max(mentions, key=lambda given: _STRENGTH.index(given.source), default=None)


def canonical_name(plugin: str) -> str:
    """``board-yellow`` is ``BOARD_YELLOW`` in the environment: both name the same plugin."""
    return plugin.replace("-", "_")


def _canonical(key: Key) -> Key:
    return (key[0], canonical_name(key[1]), *key[2:]) if key[:1] != ("kernel",) and len(key) > 1 else key


def _is_inside(key: Key, outer: Key) -> bool:
    return len(key) > len(outer) and key[: len(outer)] == outer


def _reaches(text: str, key: Key) -> bool:
    try:
        value = json.loads(text)
        for name in key:
            value = value[name]
    except (ValueError, LookupError, TypeError):
        return False
    return True


@frozen
class Places:
    """Where the settings file and the data folder lie unless somebody says otherwise."""

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


def read_file(
    config: Path | None, environ: Mapping[str, str], default: Path, problems: list[str]
) -> tuple[Path | None, str]:
    """The file that was named, or is at its default place, with its text; no file and no text where there is none."""
    named = environ.get("ROOFTREE_CONFIG")
    if config is None and named == "":
        return None, ""
    is_named = config is not None or named is not None
    file = config or Path(named or default)
    try:
        return file.absolute(), file.read_text("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        if is_named:
            problems.append(f"{file}: there is no such file; create it, or leave out --config")
    except UnicodeDecodeError as error:
        problems.append(f"{file}: is not UTF-8 text (byte {error.start}); save it as UTF-8")
    except OSError as error:
        problems.append(f"{file}: can't be read ({error.strerror or error})")
    return None, ""


def from_file(file: Path, text: str, problems: list[str]) -> dict[Key, Given]:
    """The values in the text of a file, tables included; what is wrong is added to ``problems``."""
    try:
        tree, lines = tomllib.loads(text), key_lines(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        syntax = _SYNTAX.match(str(error))
        place, what = (f"{file} {syntax['where']}", syntax["what"]) if syntax else (file, error)
        problems.append(f"{place}: this is not TOML: {what}")
        return {}
    values: dict[Key, Given] = {}
    for key, value in walk(tree):
        line = f"line {lines[key]}"
        given = Given(".".join(key), value, f"{file.name} {line}", f"{file} {line}", file.parent, "file")
        twin = values.setdefault(_canonical(key), given)
        if twin is not given and len(key) == 2:
            problems.append(f"{given.place}: {given.key} is the same plugin as {twin.key}; keep one of them")
    return values


def from_environment(environ: Mapping[str, str]) -> dict[Key, Given]:
    """The variables that are settings, a table before what is inside it; an empty one is no value."""
    values: dict[Key, Given] = {}
    for variable, text in sorted(environ.items()):
        if text and (setting := _VARIABLE.fullmatch(variable)):
            first, *rest = setting["key"].lower().split("__")
            key = (first, *rest) if rest else ("kernel", first)
            where = f"environment {variable}"
            values[_canonical(key)] = Given(".".join(key), text, where, where, Path.cwd(), "environment")
    return values


def from_flags(flags: Mapping[str, object]) -> dict[Key, Given]:
    """The flags by name, ``port`` or ``kernel.port``; ``None`` is no value."""
    values: dict[Key, Given] = {}
    for flag, value in flags.items():
        if value is not None:
            key = tuple(flag.split(".")) if "." in flag else ("kernel", flag)
            where = f"flag --{key[-1].replace('_', '-')}"
            plain = str(value) if isinstance(value, Path) else value
            values[_canonical(key)] = Given(".".join(key), plain, where, where, Path.cwd(), "flags")
    return values

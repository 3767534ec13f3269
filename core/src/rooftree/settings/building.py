"""The values that were given, as the attrs class of a table; what is wrong with them is told with its place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

import attrs

from rooftree.errors import Invalid
from rooftree.model import did_you_mean, likely_meant, structure
from rooftree.settings.environment_text import members, parse_text
from rooftree.settings.secret_names import looks_secret
from rooftree.settings.sources import Given, Sources
from rooftree.settings.toml_lines import Key

_hints = lru_cache(get_type_hints)


def build[T](
    sources: Sources, key: Key, kind: type[T], problems: list[str], *, defaults: Mapping[str, object] | None = None
) -> T | None:
    """The values given below ``key`` as ``kind``, or ``None`` and what is wrong added to ``problems``."""
    before = len(problems)
    table = sources.given(key)
    if table is not None and not isinstance(table.value, Mapping):
        problems.append(f"{table.place}: {table.key} must be a table, [{table.key}]")
        return None
    fields = _fields(kind)
    children = sources.children(key)
    for name, given in children.items():
        is_table = isinstance(given.value, Mapping) or given.key.count(".") > len(key)
        if name not in fields and not (key == ("plugins",) and is_table):
            problems.append(f"{given.place}: {_unknown_setting(given, key, name, fields)}")
    values = dict(defaults or {})
    for name, (item, item_kind) in fields.items():
        inner = (*key, name)
        if name in children:
            values[name] = _value(sources, inner, item_kind, item, problems)
        elif item.default is attrs.NOTHING and name not in values:
            problems.append(f"{'.'.join(inner)} is required: set it in {sources.file}, or with {_variable(inner)}")
    if len(problems) > before:
        return None
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:  # what fields say about each other: validators with self, post-init
        problems.append(f"{f'{table.place}: ' if table else ''}{'.'.join(key)}: {error}")
        return None


def _fields(kind: type) -> dict[str, tuple[attrs.Attribute[Any], Any]]:
    """The fields of an attrs class by the key they have in a table, with their types."""
    hints = _hints(kind)
    return {item.alias: (item, hints[item.name]) for item in attrs.fields(kind) if item.init}


def _value(sources: Sources, key: Key, kind: Any, item: attrs.Attribute[Any], problems: list[str]) -> object:
    """What was given for one field; ``None`` may also mean that something was added to ``problems``."""
    given = sources.given(key)
    nested = [member for member in members(kind) if attrs.has(member)]
    if len(nested) == 1 and not (given and given.is_text):
        return build(sources, key, nested[0], problems)
    part = next((part for part in sources.inside(key).values() if part.source != "file"), None)
    if part is not None:
        problems.append(f"{part.place}: {'.'.join(key)} is one value here; give it whole, in {_variable(key)}")
        return None
    assert given is not None, "a field is only asked for where it or a part of it was given"
    try:
        value = parse_text(str(given.value), kind) if given.is_text else given.value
        if isinstance(value, str) and Path in members(kind):
            if not value:
                raise ValueError("must be a path, and is empty")
            value = str(given.folder / Path(value).expanduser())
        result = structure(value, kind)
        if item.validator is not None:
            with suppress(AttributeError):  # one that needs ``self`` has its turn when the whole is made
                item.validator(None, item, result)
    except (Invalid, ValueError, TypeError, RuntimeError) as error:  # RuntimeError: "~nobody" has no home
        message = str(error.args[0] if error.args else error).removeprefix(f"'{item.name}' ")
        if looks_secret(key[-1]):
            message = "is not of the right form (the value is not shown, it may be a secret)"
        problems.append(f"{given.place}: {given.key}{'' if message.startswith('[') else ' '}{message}")
        return None
    return result


def _variable(key: Key) -> str:
    """The environment variable for a setting."""
    parts = key[1:] if key[0] == "kernel" else key
    return "ROOFTREE_" + "__".join(part.upper().replace("-", "_") for part in parts)


def _unknown_setting(given: Given, key: Key, name: str, known: Collection[str]) -> str:
    """``name`` is not a setting of the table ``key``."""

    def spelt(item: str) -> str:
        return _variable((*key, item)) if given.is_text else ".".join((*key, item))

    hint = did_you_mean(name.lower(), known, f"known are {', '.join(map(spelt, known)) or 'none'}", spelt)
    return f"{'.'.join((*key, name))} is not a setting; {hint}"


def may_be_of_drivers(sources: Sources, name: str) -> bool:
    """Whether a table at the top of the file may be that of a group of drivers, ``[boards.acme]``: only who has loaded
    the plugins knows. It has nothing but tables in it, and is no slip for what is known."""
    drivers = sources.children((name,))
    given = [sources.given((name, driver)) for driver in drivers]
    has_values = any(
        value is not None and not value.is_text and not isinstance(value.value, Mapping) for value in given
    )
    return bool(drivers) and not has_values and likely_meant(name.lower(), ("kernel", "plugins")) is None


def unknown_table(name: str, kernel_settings: Collection[str], drivers: Collection[str] = ()) -> str:
    """``name`` is no table at the top of the file."""
    tables = "".join(f", [{table}.<name>]" for table in sorted(drivers))
    hint = f"there are [kernel], [plugins], and [plugins.<name>] for each plugin's settings{tables}"
    hint = did_you_mean(name.lower(), kernel_settings, hint, "{} in the table [kernel]".format)
    hint = did_you_mean(name.lower(), ("kernel", "plugins", *drivers), hint, "[{}]".format)
    return f"{name} is not known here; {hint}"


def not_installed(name: str, known: Collection[str], prefix: str = "", what: str = "plugin") -> str:
    """``name`` is no plugin (or driver) that is installed."""
    there = f"installed are {', '.join(sorted(known)) or 'none'}"
    hint = did_you_mean(name.lower(), known, there, lambda near: f"{prefix}{near}")
    return f"no {what} {name} is installed; {hint}"

"""``backup.json`` (once ``snapshot.json``): what an archive says of itself, in its versions, brought into one form.

The form is plain data, because it crosses from the worker to the daemon: see :data:`Head`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import MAXYEAR, UTC, datetime
from typing import Any, Final

import orjson

from rooftree_archives.faults import Damaged

FOLDERS: Final = ("share", "addons/local", "ssl", "media")
OURS: Final = "rooftree"
"""The key in ``extra`` under which we keep what the format has no place for: ``digests`` and ``sizes`` (bytes that a
part holds) by member, beside what whoever makes backups has noted there."""
_KEPT: Final = ("digests", "sizes")
_NEWEST: Final = 2
_MOST_LEVELS: Final = 100
_HEXADECIMAL: Final = frozenset("0123456789abcdef")

type Head = dict[str, Any]
"""``slug, name, date, type, supervisor_version, protected, compressed, folders, addons, repositories, extra`` as in the
file, ``core`` for ``homeassistant``, ``digests`` and ``sizes`` out of ``extra``."""


def read_metadata(text: bytes) -> Head:
    """What the member says. Raises :class:`Damaged`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise Damaged("backup.json is no JSON") from None
    if not isinstance(document, dict):
        raise Damaged("backup.json is no object")
    values = _Values(document)
    version = values.integer("version", 1)
    if version not in range(1, _NEWEST + 1):
        raise Damaged(f"backup.json is of version {version}; versions up to {_NEWEST} are known")
    slug = values.text("slug")
    if len(slug) != 8 or not _HEXADECIMAL.issuperset(slug):
        raise Damaged(f"backup.json says slug {slug[:40]!a}, which are no 8 hexadecimal digits")
    extra = dict(values.object("extra"))
    notes = dict(_Values({OURS: {}} | extra).object(OURS))
    ours = _Values({key: notes.pop(key, {}) for key in _KEPT})
    extra = {key: value for key, value in extra.items() if key != OURS} | ({OURS: notes} if notes else {})
    head = {
        "slug": slug,
        "name": values.text("name"),
        "date": _date(values.text("date")).isoformat(),
        "type": values.choice("type", ("full", "partial")),
        "supervisor_version": values.text("supervisor_version", "2022.08.3"),
        "protected": _protected(document.get("protected", False), version),
        "compressed": values.boolean("compressed", True),
        "core": _core(document.get("homeassistant")),
        "folders": _folders(values.texts("folders"), version),
        "addons": _addons(values.objects("addons")),
        "repositories": values.texts("repositories"),
        "extra": extra,
        "digests": {key: str(value) for key, value in ours.object("digests").items()},
        "sizes": {key: _Values({key: value}).integer(key, 0) for key, value in ours.object("sizes").items()},
    }
    return _plain(head)


def write_metadata(head: Head) -> Mapping[str, Any]:
    """The document for a :data:`Head`, of the newest version."""
    core = head["core"]
    notes = head["extra"].get(OURS)
    kept = (notes if isinstance(notes, dict) else {}) | {key: head[key] for key in _KEPT}
    return {
        "slug": head["slug"],
        "version": _NEWEST,
        "name": head["name"],
        "date": head["date"],
        "type": head["type"],
        "supervisor_version": head["supervisor_version"],
        "extra": {**head["extra"], OURS: kept},
        "compressed": head["compressed"],
        "folders": head["folders"],
        "homeassistant": core and {**core, "size": _mebibytes(core["size"])},
        "repositories": head["repositories"],
        "addons": [{**addon, "size": _mebibytes(addon["size"])} for addon in head["addons"]],
        "protected": head["protected"],
    }


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document that every reader of JSON takes, within others too: the numbers that JSON has not are ``null``. One
    that could not be sent on would cost every archive that is read together with it. Raises :class:`Damaged`."""
    if not _is_within(document, _MOST_LEVELS):
        raise Damaged(f"backup.json has values more than {_MOST_LEVELS} levels deep")
    try:
        plain: dict[str, Any] = orjson.loads(orjson.dumps(document))
    except (TypeError, ValueError):
        raise Damaged("backup.json has half a character, or a number that is too large") from None
    return plain


def _is_within(value: object, levels: int) -> bool:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_within(child, levels - 1) for child in inner)


def _mebibytes(size: int) -> float:
    return round(size / 1024**2, 2)


def _date(text: str) -> datetime:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise Damaged(f"backup.json says date {text[:40]!a}") from None
    if not 1 < date.year < MAXYEAR:  # there is no telling it in every time zone
        raise Damaged(f"backup.json says date {text[:40]!a}")
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)


def _protected(value: object, version: int) -> bool:
    if isinstance(value, str) and version == 1:
        return True  # a hash of the password once
    if value is None or isinstance(value, bool):
        return bool(value)
    raise Damaged(f"backup.json says protected {str(value)[:40]!a}, which is neither true nor false")


def _core(value: object) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Damaged("backup.json says homeassistant, and no object")
    core = _Values(value)
    if value.get("version") is None:
        return None
    exclude_database = core.boolean("exclude_database", False)
    return {"version": core.text("version"), "exclude_database": exclude_database, "size": core.size("size")}


def _folders(names: list[str], version: int) -> list[str]:
    names = [name for name in names if name != "homeassistant" or version != 1]
    if unknown := set(names) - set(FOLDERS):
        raise Damaged(f"backup.json has a folder {sorted(unknown)[0][:40]!a}; there are {', '.join(FOLDERS)}")
    return list(dict.fromkeys(names))


def _addons(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    addons: list[dict[str, Any]] = []
    slugs: set[str] = set()
    for addon in map(_Values, objects):
        slug = addon.text("slug")
        if slug in slugs or "/" in slug or "\0" in slug or slug in {"", ".", ".."}:
            raise Damaged("backup.json has an add-on twice, or one with a slug that is none")
        slugs.add(slug)
        addons.append(
            {"slug": slug, "name": addon.text("name"), "version": addon.text("version"), "size": addon.size("size")}
        )
    return addons


class _Values:
    """What a document of strangers says, with the type that it has to be of."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def _of(self, kind: type | tuple[type, ...], key: str, default: Any, what: str) -> Any:
        value = self._document.get(key, default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise Damaged(f"backup.json says {key} {str(value)[:40]!a}, which is no {what}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        text: str = self._of(str, key, default, "text")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Damaged(f"backup.json has half of a character in {key}") from None
        return text

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        text = self.text(key)
        if text not in allowed:
            raise Damaged(f"backup.json says {key} {text[:40]!a}; there are {', '.join(allowed)}")
        return text

    def integer(self, key: str, default: int) -> int:
        number: int = self._of(int, key, default, "whole number")
        return number

    def size(self, key: str) -> int:
        """Bytes, of what is MiB in the file."""
        number: float = self._of((int, float), key, 0, "number")
        if not 0 <= number < 2**40:
            raise Damaged(f"backup.json says {key} {number}")
        return int(number * 1024**2)

    def boolean(self, key: str, default: bool) -> bool:
        value: bool = self._of(bool, key, default, "true or false")
        return value

    def object(self, key: str) -> dict[str, Any]:
        value: dict[str, Any] = self._of(dict, key, {}, "object")
        return value

    def texts(self, key: str) -> list[str]:
        values: list[Any] = self._of(list, key, [], "list")
        return [_Values({key: value}).text(key) for value in values]

    def objects(self, key: str) -> list[dict[str, Any]]:
        values: list[Any] = self._of(list, key, [], "list")
        return [_Values({key: value}).object(key) for value in values]

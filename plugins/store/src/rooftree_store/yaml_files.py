"""Reading the small YAML and JSON files of add-on repositories.

Strangers write these files, so nothing in them may cost more than its size: YAML is read as a stream of events with a
limit on depth and on what aliases expand to (libyaml's own composer overflows the C stack on deep nesting), and every
way a file can be wrong ends in one error, :class:`FileInvalid`, with the line where it is known. Files are opened
beneath the open folder of their repository, out of which no link leads.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import orjson
import yaml
from attrs import Factory, define, field, frozen
from yaml.constructor import SafeConstructor

from rooftree.errors import Invalid, NotFound
from rooftree_files import Content, Folder, PathRefused
from rooftree_store.readers import join, step_of

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 50
"""How deep lists and mappings may nest; real files stay below ten."""
MAX_NODES: Final = 20_000
"""How many values a file may hold once its aliases are written out; real files stay below a thousand."""
MAX_TEXT_CHARACTERS: Final = 1024 * 1024
"""How long the texts in a file may be together, once its aliases are written out: in an answer they are."""
NODE_BYTES: Final = 100
"""What a value takes in memory beside its text, roughly."""
MAX_NUMBER_CHARACTERS: Final = 100
"""Reading a number takes time quadratic in its length; a longer one stays text, which no reader takes for a number."""

SUFFIXES: Final = (".yaml", ".yml", ".json")


LFS_REASON: Final = "is kept in git LFS, which is not fetched; keep it in git itself"
_LFS: Final = b"version https://git-lfs.github.com/spec/v1\n"


def is_lfs_pointer(data: bytes) -> bool:
    """Whether that is what git has of a file that is kept in git LFS."""
    return data.startswith(_LFS)


class FileInvalid(Invalid):
    """A file of a repository is not what it should be. ``path``, ``line`` and ``column`` (from 1) say where; in YAML
    a line ends with U+0085, U+2028 and U+2029 too (YAML 1.1, 4.1.4)."""

    def __init__(self, path: Path | str, reason: str, line: int | None = None, column: int | None = None) -> None:
        where = f"{path}, line {line}" if line is not None else f"{path}"
        super().__init__(f"{where}: {reason}")
        self.path = str(path)
        self.line = line
        self.column = column
        self.reason = reason


@frozen
class Place:
    """Where something stands in a file; both count from 1."""

    line: int
    column: int


@frozen
class RepeatedKey:
    """A key that its mapping has had before: the value that stands here counts."""

    path: str
    place: Place

    def __str__(self) -> str:
        return f"line {self.place.line}: the key {self.path!r} is there twice"


@frozen
class Places:
    """Where each value of a file stands, by the path that findings name (``ports.80/tcp``, ``map[2]``).

    Filled while a file is read, for who asks for it: the daemon does not.
    """

    at: dict[str, Place] = field(factory=dict)
    """Of a value in a mapping the place is its key's."""
    written: dict[str, str] = field(factory=dict)
    """The text of what was read as a number or a truth, where it is not the plain one: ``1.10``, ``22:30``, ``yes``."""


@frozen
class Document:
    """What a file says. Of a key written twice the last value counts, as it does in the ecosystem's own tools."""

    content: Mapping[Any, Any]
    repeated: tuple[RepeatedKey, ...] = ()
    """The keys of a YAML file that appear twice in their mapping."""
    cost_bytes: int = 0
    """What it takes in memory, roughly."""


def cost_of_refused(size_bytes: int) -> int:
    """What it cost, at most and in the same measure as of others, to read a file that is refused."""
    return min(20 * size_bytes, MAX_NODES * NODE_BYTES + MAX_TEXT_CHARACTERS)


def read_document(path: Path) -> Document:
    """The mapping in a ``.yaml``, ``.yml`` or ``.json`` file in a folder that no stranger can move; raises
    :class:`FileInvalid`, for a link too. Blocks: call in a thread."""
    try:
        with Folder.open(path.parent) as folder:
            return parse_document(_whole(folder, path.name, path, links=False).data, path)
    except NotFound as error:
        raise FileInvalid(path, f"cannot be read: {error.message}") from None


def document_in(folder: Folder, path: str, places: Places | None = None) -> Document:
    """The mapping in a file of an open repository; raises :class:`FileInvalid`. Blocks: call in a thread.

    :param places: as for :func:`parse_document`
    """
    return parse_document(content_in(folder, path).data, path, places)


def content_in(folder: Folder, path: str) -> Content:
    """A file of an open repository, of at most one byte more than it may have, and what it is; raises
    :class:`FileInvalid`. Links within the repository are followed. Blocks: call in a thread."""
    return _whole(folder, path, path, links=True)


def _whole(folder: Folder, path: str, called: Path | str, *, links: bool) -> Content:
    try:
        return folder.content(path, MAX_FILE_BYTES + 1, links=links)
    except PathRefused as error:
        raise FileInvalid(called, error.reason) from None
    except OSError as error:
        raise FileInvalid(called, f"cannot be read: {error.strerror or error}") from error


def parse_document(data: bytes, path: Path | str, places: Places | None = None) -> Document:
    """The mapping in ``data``; ``path`` chooses the format by its suffix and names the file in errors.

    :param places: is told where everything stands, as far as the file can be read
    """
    if len(data) > MAX_FILE_BYTES:
        raise FileInvalid(path, f"is larger than {MAX_FILE_BYTES} bytes")
    if is_lfs_pointer(data):
        raise FileInvalid(path, LFS_REASON)
    _check_encoding(data, path)
    suffix = Path(path).suffix
    content: object
    repeated: tuple[RepeatedKey, ...] = ()
    if suffix == ".json":
        content, nodes = _parse_json(data, path)
        cost_bytes = nodes * NODE_BYTES + len(data)
        if places is not None:
            repeated = _find_places(data, path, places)
    elif suffix in SUFFIXES:
        builder = _parse_yaml(data, path, places)
        content, repeated, cost_bytes = builder.result, tuple(builder.repeated), builder.cost_bytes
    else:
        raise FileInvalid(path, f"must end with one of {', '.join(SUFFIXES)}")
    if content is None:  # nothing at all, or remarks only
        content = {}
    if not isinstance(content, dict):
        raise FileInvalid(path, "must hold a mapping of keys to values at the top")
    return Document(content, repeated, cost_bytes)


def _check_encoding(data: bytes, path: Path | str) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise FileInvalid(path, f"is not valid UTF-8 (byte {error.start})", line, column) from None


def _parse_json(data: bytes, path: Path | str) -> tuple[object, int]:
    """What a JSON file says, and how many values that is."""
    if not data.strip():
        return None, 1
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        reason = f"is not valid JSON: {error.msg} (column {error.colno})"
        raise FileInvalid(path, reason, error.lineno, error.colno) from None
    return content, _extent(content, path)


def _find_places(data: bytes, path: Path | str, places: Places) -> tuple[RepeatedKey, ...]:
    """Where things stand in a JSON file. JSON reads as YAML, but for tabs and a few rarities that YAML refuses."""
    try:
        return tuple(_parse_yaml(data.replace(b"\t", b" "), path, places).repeated)
    except FileInvalid:
        return ()


def _extent(content: object, path: Path | str) -> int:
    """How many values there are, keys counted like in YAML."""
    level = [content]
    nodes = 1
    for _ in range(MAX_DEPTH + 1):
        nodes += sum(len(value) for value in level if isinstance(value, dict))
        level = [inner for value in level for inner in _inside(value)]
        nodes += len(level)
        if nodes > MAX_NODES:
            raise FileInvalid(path, f"holds more than {MAX_NODES} values")
        if not level:
            return nodes
    raise FileInvalid(path, f"nests deeper than {MAX_DEPTH} levels")


def _inside(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _parse_yaml(data: bytes, path: Path | str, places: Places | None) -> _Builder:
    """What has read the whole file."""
    builder = _Builder(path, places)
    try:
        for event in yaml.parse(data, Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        where = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise FileInvalid(path, f"is not valid YAML: {reason}", *where) from None
    except yaml.YAMLError as error:
        raise FileInvalid(path, f"is not valid YAML: {error}") from None
    return builder


_TAG: Final = "tag:yaml.org,2002:"
_PLAIN_TAGS: Final = frozenset(_TAG + kind for kind in ("bool", "float", "int", "null"))
_COLLECTION_TAGS: Final = frozenset({None, "!", _TAG + "map", _TAG + "seq"})
_MERGE: Final = object()
_NO_KEY: Final = object()
type _Extent = tuple[int, int]
"""Values, and characters of text."""


@define
class _Open:
    """A list or mapping whose end has not been read yet."""

    container: list[Any] | dict[Any, Any]
    anchor: str | None
    before: _Extent
    path: str = ""
    """Only where places are asked for."""
    key: object = _NO_KEY
    merged: list[dict[Any, Any]] = Factory(list)


@define
class _Builder:
    """Makes plain values out of YAML events, counting as it goes; never recurses."""

    path: Path | str
    places: Places | None = None
    result: object = None
    repeated: list[RepeatedKey] = field(factory=list)
    _stack: list[_Open] = field(factory=list)
    _anchors: dict[str, tuple[object, _Extent]] = field(factory=dict)
    _nodes: int = 0
    _characters: int = 0
    _documents: int = 0

    @property
    def cost_bytes(self) -> int:
        """What the result takes in memory, roughly."""
        return self._nodes * NODE_BYTES + self._characters

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._start(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._wrong(event, "a second document begins here; one file holds one document")

    def _wrong(self, event: yaml.Event, reason: str) -> FileInvalid:
        place = _place(event)
        return FileInvalid(self.path, reason, place.line, place.column)

    def _count(self, event: yaml.Event, nodes: int, characters: int) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > MAX_NODES:
            raise self._wrong(event, f"holds more than {MAX_NODES} values, counted with aliases written out")
        if self._characters > MAX_TEXT_CHARACTERS:
            most = MAX_TEXT_CHARACTERS
            raise self._wrong(event, f"holds more than {most} characters of text, counted with aliases written out")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        text, tag = event.value, event.tag
        self._count(event, 1, len(text))
        top = self._stack[-1] if self._stack else None
        is_key = top is not None and type(top.container) is dict and top.key is _NO_KEY
        value: object
        if event.implicit[0] and (tag is None or tag == "!"):
            if is_key and text == "<<":
                value = _MERGE
            else:
                value = self._typed(event, _resolve(text[:MAX_NUMBER_CHARACTERS]), text)
        elif tag in _PLAIN_TAGS:
            value = self._typed(event, tag, text)
        elif tag in {None, "!", _TAG + "str"}:
            value = text
        else:
            raise self._wrong(event, f"the tag {_shown_tag(tag)} is not supported")
        if is_key and type(value) is str:
            value = sys.intern(value)
        if self.places is not None and not is_key and isinstance(value, int | float) and _plain(value) != text:
            self.places.written[self._next_path()] = text
        if event.anchor is not None:
            self._anchors[event.anchor] = (text if value is _MERGE else value, (1, len(text)))
        self._add(event, value)

    def _typed(self, event: yaml.Event, tag: str, text: str) -> object:
        if tag not in _PLAIN_TAGS or len(text) > MAX_NUMBER_CHARACTERS:
            return text
        try:
            return _CONSTRUCTORS[tag](yaml.ScalarNode(tag, text))
        except (ValueError, LookupError):
            raise self._wrong(event, f"{text!r} is not a valid {tag.removeprefix(_TAG)}") from None

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        self._count(event, 1, 0)
        if event.tag not in _COLLECTION_TAGS:
            raise self._wrong(event, f"the tag {_shown_tag(event.tag)} is not supported")
        if len(self._stack) >= MAX_DEPTH:
            raise self._wrong(event, f"nests deeper than {MAX_DEPTH} levels")
        container: list[Any] | dict[Any, Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)
        path = "" if self.places is None else self._next_path()
        if self.places is not None and self._stack and isinstance(self._stack[-1].container, list):
            self.places.at[path] = _place(event)
        self._stack.append(_Open(container, event.anchor, (self._nodes - 1, self._characters), path))

    def _end(self, event: yaml.Event) -> None:
        done = self._stack.pop()
        if isinstance(done.container, dict):
            for merged in done.merged:
                for key, value in merged.items():
                    done.container.setdefault(key, value)
        if done.anchor is not None:
            nodes, characters = done.before
            self._anchors[done.anchor] = (done.container, (self._nodes - nodes, self._characters - characters))
        self._add(event, done.container)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self._anchors:
            raise self._wrong(event, f"the alias *{event.anchor} names nothing that is complete before it")
        value, extent = self._anchors[event.anchor]
        self._count(event, *extent)
        self._check_alias_depth(event, value)
        self._add(event, value)

    def _check_alias_depth(self, event: yaml.Event, value: object) -> None:
        level = [value]
        for _ in range(MAX_DEPTH + 1 - len(self._stack)):
            level = [inner for outer in level for inner in _inside(outer)]
            if not level:
                return
        raise self._wrong(event, f"nests deeper than {MAX_DEPTH} levels")

    def _add(self, event: yaml.Event, value: object) -> None:
        if not self._stack:
            self.result = value
            return
        top = self._stack[-1]
        if isinstance(top.container, list):
            if self.places is not None and not isinstance(event, yaml.CollectionEndEvent):
                self.places.at[self._next_path()] = _place(event)
            top.container.append(value)
        elif top.key is _NO_KEY:
            if isinstance(value, list | dict):
                raise self._wrong(event, "a key must be a plain value, not a list or a mapping")
            top.key = value
            if value is not _MERGE:
                self._note_key(event, top)
        elif top.key is _MERGE:
            top.merged.extend(self._to_merge(event, value))
            top.key = _NO_KEY
        else:
            top.container[top.key] = value
            top.key = _NO_KEY

    def _note_key(self, event: yaml.Event, top: _Open) -> None:
        """Note where a key stands, and that it was there before."""
        if top.key in top.container:
            self.repeated.append(RepeatedKey(join(top.path, step_of(top.key)), _place(event)))
        if self.places is not None:
            self.places.at[self._next_path()] = _place(event)

    def _next_path(self) -> str:
        """The path of the value that comes next."""
        if not self._stack:
            return ""
        top = self._stack[-1]
        if isinstance(top.container, list):
            return join(top.path, f"[{len(top.container)}]")
        return top.path if top.key is _MERGE else join(top.path, step_of(top.key))

    def _to_merge(self, event: yaml.Event, value: object) -> list[dict[Any, Any]]:
        candidates = value if isinstance(value, list) else [value]
        mappings = [candidate for candidate in candidates if isinstance(candidate, dict)]
        if len(mappings) != len(candidates):
            raise self._wrong(event, "<< takes a mapping or a list of mappings")
        return mappings


def _plain(value: float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _place(event: yaml.Event) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)


def _shown_tag(tag: str | None) -> str:
    return f"!!{tag.removeprefix(_TAG)}" if tag and tag.startswith(_TAG) else repr(tag)


_RESOLVERS: Final = yaml.SafeLoader.yaml_implicit_resolvers
_CONSTRUCTOR: Final = SafeConstructor()
_CONSTRUCTORS: Final = {
    _TAG + "bool": _CONSTRUCTOR.construct_yaml_bool,
    _TAG + "float": _CONSTRUCTOR.construct_yaml_float,
    _TAG + "int": _CONSTRUCTOR.construct_yaml_int,
    _TAG + "null": _CONSTRUCTOR.construct_yaml_null,
}


@lru_cache(maxsize=256)  # the words that configurations use all the time; more would only hold their texts
def _resolve(text: str) -> str:
    """The tag of an unquoted scalar by YAML 1.1's rules. Dates stay text: JSON has none."""
    for tag, pattern in _RESOLVERS.get(text[:1], ()):
        if pattern.match(text):
            return str(tag)
    return _TAG + "str"

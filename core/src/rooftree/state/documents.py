"""Documents and collections: what plugins keep, as frozen attrs classes in memory and as rows on the disk.

A collection is read like a dictionary, without waiting, and changed by handing values to :meth:`State.commit`, alone
or together with changes of other collections; memory follows when the disk has them. Documents carry a version and a
sum: older ones are migrated after a copy, newer ones refuse, and a damaged one is set aside, never read and never
dropped silently.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final, cast, overload
from uuid import uuid4

import attrs
import orjson
import structlog
from attrs import field, frozen

from rooftree.context import job_under_way
from rooftree.errors import Failed, RooftreeError
from rooftree.model import structure_document as structure
from rooftree.model import unstructure_document as unstructure
from rooftree.state.audit_log import KEEPING, AuditKeeping, audited
from rooftree.state.database import Change, Database, View
from rooftree.state.database_file import (
    NewerState,
    StateDamaged,
    StoredDocument,
    document_in_copies,
    document_sum,
    stored_documents,
)
from rooftree.state.failpoints import reach_sync
from rooftree.state.folder import Loss

log = structlog.get_logger(__name__)

KEY_LIMIT: Final = 200
"""Characters a key has at most."""

type Migration = Callable[[dict[str, Any]], dict[str, Any]]

_WRONG_SUM: Final = "its sum is wrong"
_ATTRIBUTE: Final = "__rooftree_document__"


@frozen
class DocumentKind[T]:
    """What :func:`document` has noted of a class."""

    name: str
    version: int
    migrations: Mapping[int, Migration]
    type: type[T]


def document[T](
    name: str, *, version: int = 1, migrations: Mapping[int, Migration] | None = None
) -> Callable[[type[T]], type[T]]:
    """Declare a frozen attrs class to be the documents of the collection ``name``; write it above ``@frozen``.

    :param version: raise it by one with each change that old documents do not fit
    :param migrations: for each version before this one, what makes its body (plain JSON data) one of the next
    """
    steps = dict(migrations or {})
    if version < 1 or steps.keys() != set(range(1, version)):
        raise TypeError(f"document {name!r}: version {version} needs migrations from 1 to {version - 1}, one each")

    def declare(kind: type[T]) -> type[T]:
        properties = vars(kind).get("__attrs_props__")
        if properties is None or not properties.is_frozen:
            raise TypeError(f"document {name!r}: {kind.__name__} must be a frozen attrs class, @frozen below @document")
        setattr(kind, _ATTRIBUTE, DocumentKind(name, version, MappingProxyType(steps), kind))
        return kind

    return declare


def document_kind[T](kind: type[T]) -> DocumentKind[T]:
    """What was declared of ``kind``; raises ``TypeError`` for a class without :func:`document`."""
    declared = vars(kind).get(_ATTRIBUTE)
    if declared is None:
        raise TypeError(f"{kind.__name__} is not declared with @document")
    return cast("DocumentKind[T]", declared)


class Collection[T](Mapping[str, T]):
    """The documents of one kind, by key: what the disk has. Its ``keys``, ``values`` and ``items`` are snapshots.

    ``put``, ``delete`` and ``update`` change nothing: they return changes for :meth:`State.commit`.

    :ivar revision: rises each time what is seen here changes
    """

    def __init__(self, kind: DocumentKind[T], documents: Mapping[str, T]) -> None:
        self.kind = kind
        self.revision = 0
        self._documents: Mapping[str, T] = dict(documents)

    def __getitem__(self, key: str) -> T:
        return self._documents[key]

    @overload
    def get(self, key: str, /) -> T | None: ...
    @overload
    def get[D](self, key: str, /, default: D) -> T | D: ...
    def get(self, key: str, /, default: Any = None) -> Any:
        """The document, or ``default``; asked for each request, so not left to what ``Mapping`` makes of it."""
        return self._documents.get(key, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._documents)

    def __len__(self) -> int:
        return len(self._documents)

    def __repr__(self) -> str:
        return f"<Collection {self.kind.name}: {len(self)} documents>"

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def keys(self) -> KeysView[str]:
        """The keys of now."""
        return self._documents.keys()

    def values(self) -> ValuesView[T]:
        """The documents of now."""
        return self._documents.values()

    def items(self) -> ItemsView[str, T]:
        """The keys and documents of now."""
        return self._documents.items()

    def put(self, key: str, document: T) -> Change:
        """Store ``document`` under ``key``, whatever was there; answers the document.

        Raises ``ValueError`` for a key that is too long or no text, ``TypeError`` for a document of another kind.
        """
        if not isinstance(document, self.kind.type):
            raise TypeError(f"{self.kind.name} keeps {self.kind.type.__name__}, not {type(document).__name__}")
        return _Put(self, _checked(key), document)

    def delete(self, key: str) -> Change:
        """Remove what is under ``key``; answers whether there was something."""
        return _Delete(self, _checked(key))

    def update(self, key: str, fn: Callable[[T], T | None]) -> Change:
        """Replace the document under ``key`` by what ``fn`` makes of it; ``None`` removes it. Answers the new one.

        ``fn`` gets the latest value, changes queued before this one included, so concurrent updates all take effect.
        It runs in the database's thread: it must be a quick, pure function. When ``key`` is missing the commit raises
        ``KeyError``.
        """
        return _Update(self, _checked(key), fn)

    def swap(self, changes: Mapping[str, T | None]) -> None:
        """Take over what has become durable; called by the database."""
        documents = dict(self._documents)
        for key, document in changes.items():
            if document is None:
                documents.pop(key, None)
            else:
                documents[key] = document
        self._documents = documents
        self.revision += 1


class State:
    """The collections of one database.

    :param keeping: how much of the audit log is kept
    :param about_to_change: called before anything is changed; what it raises refuses the change
    """

    def __init__(
        self,
        database: Database,
        keeping: AuditKeeping = KEEPING,
        about_to_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.database = database
        self._keeping = keeping
        self._about_to_change = about_to_change
        self._collections: dict[str, Collection[Any]] = {}
        self._loading = asyncio.Lock()
        self._stored: set[str] | None = None
        """The collections that may have documents on the disk; ``None`` until somebody has looked."""

    async def collection[T](self, kind: type[T]) -> Collection[T]:
        """The collection of ``kind``, the same one each time; loaded, repaired and migrated the first time.

        Raises :class:`NewerState` when a document was written by a newer version of its plugin,
        :class:`~rooftree.errors.Failed` when a migration does, and when an intact document does not fit its class:
        nothing is changed then. A damaged document is replaced by its last good copy, or taken out; either way it is
        kept in the table ``damaged_document`` and is one of ``database.losses``.
        """
        declared = document_kind(kind)
        async with self._loading:
            loaded = self._collections.get(declared.name)
            if loaded is not None and loaded.kind.type is kind:
                return loaded
            if loaded is not None and _full_name(loaded.kind.type) != _full_name(kind):
                raise ValueError(
                    f"The collection {declared.name} belongs to {_full_name(loaded.kind.type)}: "
                    f"give {_full_name(kind)} a name of its own"
                )
            if self._stored is None:
                self._stored = await self._set_damaged_aside()
            collection = Collection(declared, await self._load(declared) if declared.name in self._stored else {})
            self._collections[declared.name] = collection
            self._stored.add(declared.name)
            return collection

    async def commit(self, *changes: Change) -> list[Any]:
        """Make all ``changes`` durable together, or none of them; see :meth:`Database.commit`.

        What a caller asked for is written to the audit log in the same transaction. On a full disk what only deletes is
        still saved, and what belongs to a job: it was accepted, and must come to its end.
        """
        if not changes:
            return []
        self._about_to_change()
        makes_room = job_under_way.get() is not None or all(isinstance(change, _Delete) for change in changes)
        answers = await self.database.commit(*audited(changes, self._keeping), makes_room=makes_room)
        return answers[: len(changes)]

    def removal(self, name: str) -> Change:
        """The change that removes a whole collection, damaged documents of it too; answers how many there were.

        Copies of the database keep it until newer ones have taken their place.
        """
        return _RemoveCollection(name, self._collections.get(name))

    async def _set_damaged_aside(self) -> set[str]:
        """Over all collections, those of plugins that are not running too: copies are made of intact documents only.
        Returns which collections there are."""
        rows = await self.database.read(stored_documents)
        damaged = [row for row in rows if not row.is_intact]
        newest: dict[bytes, int] = {}
        for row in rows:
            if row.is_intact:
                newest[row.collection] = max(row.version, newest.get(row.collection, 0))

        def is_no_newer(row: StoredDocument) -> bool:
            """Than the others of its collection, which its plugin can read."""
            return row.version <= newest.get(row.collection, row.version)

        if damaged:
            await self.commit(*(_SetAside(self.database, row, _WRONG_SUM, is_no_newer) for row in damaged))
        return {row.collection.decode(errors="replace") for row in rows}

    async def _load[T](self, kind: DocumentKind[T]) -> dict[str, T]:
        reading = await self.database.read(partial(_read_all, kind))
        if reading.unreadable:
            fits = partial(_fits, kind)
            await self.commit(*(_SetAside(self.database, row, reason, fits) for row, reason in reading.unreadable))
            reading = await self.database.read(partial(_read_all, kind))
        if reading.migrated:
            await self.database.copy()
            await self.commit(_StoreMigrated(kind, reading.migrated))
            log.info("documents_migrated", collection=kind.name, count=len(reading.migrated), version=kind.version)
        return reading.documents


@frozen(eq=False)
class _RemoveCollection:
    subject: str
    loaded: Collection[Any] | None

    def apply(self, connection: sqlite3.Connection, view: View) -> int:
        if self.loaded is not None:
            for (key,) in connection.execute("SELECT key FROM document WHERE collection = ?", (self.subject,)):
                view.changed(self.loaded, key, None)
        gone = connection.execute("DELETE FROM document WHERE collection = ?", (self.subject,)).rowcount
        connection.execute("DELETE FROM damaged_document WHERE CAST(collection AS TEXT) = ?", (self.subject,))
        return gone


@frozen
class _Reading[T]:
    documents: dict[str, T] = field(factory=dict)
    migrated: dict[str, T] = field(factory=dict)
    unreadable: list[tuple[StoredDocument, str]] = field(factory=list)


@frozen(eq=False)
class _Put[T]:
    collection: Collection[T]
    key: str
    document: T

    def apply(self, connection: sqlite3.Connection, view: View) -> T:
        _write(connection, self.collection.kind, self.key, self.document)
        view.changed(self.collection, self.key, self.document)
        return self.document


@frozen(eq=False)
class _Delete[T]:
    collection: Collection[T]
    key: str

    def apply(self, connection: sqlite3.Connection, view: View) -> bool:
        was_there = _remove(connection, self.collection.kind, self.key)
        if was_there:
            view.changed(self.collection, self.key, None)
        return was_there


@frozen(eq=False)
class _Update[T]:
    collection: Collection[T]
    key: str
    fn: Callable[[T], T | None]

    def apply(self, connection: sqlite3.Connection, view: View) -> T | None:
        kind = self.collection.kind
        changed = self.fn(_read(connection, kind, self.key))
        if changed is None:
            _remove(connection, kind, self.key)
        elif isinstance(changed, kind.type):
            _write(connection, kind, self.key, changed)
        else:
            raise TypeError(f"an update of {kind.name} must return {kind.type.__name__}, not {type(changed).__name__}")
        view.changed(self.collection, self.key, changed)
        return changed


@frozen(eq=False)
class _StoreMigrated[T]:
    kind: DocumentKind[T]
    documents: Mapping[str, T]

    def apply(self, connection: sqlite3.Connection, view: View) -> None:
        for key, migrated in self.documents.items():
            _write(connection, self.kind, key, migrated)
            reach_sync("state.migrate")


@frozen(eq=False)
class _SetAside:
    """Take a document out that can't be read, put its last good version in its place, and note the loss."""

    database: Database
    row: StoredDocument
    reason: str
    acceptable: Callable[[StoredDocument], bool]

    def apply(self, connection: sqlite3.Connection, view: View) -> None:
        row = self.row
        connection.execute(
            "INSERT INTO damaged_document VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (uuid4().hex, datetime.now(UTC).isoformat(), self.reason, *attrs.astuple(row)),
        )
        connection.execute(
            "DELETE FROM document WHERE CAST(collection AS BLOB) = ? AND CAST(key AS BLOB) = ?",
            (row.collection, row.key),
        )
        name = f"The document {_shown(row.key)} of {_shown(row.collection)}"
        kept = "what was there is kept in the table damaged_document"
        restored = document_in_copies(self.database.folder, row.collection, row.key, self.acceptable)
        if restored is None:
            message = f"{name} was damaged ({self.reason}) and no copy has it: it is gone; {kept}"
            loss = Loss("document", message)
        else:
            good, path, as_of = restored
            connection.execute(
                "INSERT INTO document VALUES (CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?)", attrs.astuple(good)
            )
            since = f" of {as_of:%Y-%m-%d %H:%M} UTC" if as_of else ""
            message = f"{name} was damaged ({self.reason}); it is again as in the copy {path.name}{since}; {kept}"
            loss = Loss("document", message, restored_from=path, restored_as_of=as_of)
        log.error("document_damaged", reason=message)
        self.database.record(loss).apply(connection, view)


def _checked(key: str) -> str:
    if len(key) > KEY_LIMIT:
        raise ValueError(f"a key has at most {KEY_LIMIT} characters, not {len(key)}")
    key.encode()  # UnicodeEncodeError is a ValueError: half a surrogate pair is no text
    return key


def _shown(raw: object) -> str:
    return raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else repr(raw)


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _write[T](connection: sqlite3.Connection, kind: DocumentKind[T], key: str, document: T) -> None:
    """Store ``document``; raises ``TypeError`` for one that would not be read back as it is."""
    body = orjson.dumps(unstructure(document))
    try:
        same = structure(orjson.loads(body), kind.type) == document
    except RooftreeError as error:
        raise TypeError(f"{kind.name} can't keep {document!r}: {error.message}") from error
    if not same:
        raise TypeError(f"{kind.name} can't keep {document!r}: it would be read back as something else")
    connection.execute(
        "INSERT OR REPLACE INTO document VALUES (?, ?, ?, ?, ?)",
        (kind.name, key, kind.version, body, document_sum(kind.name.encode(), key.encode(), kind.version, body)),
    )


def _remove[T](connection: sqlite3.Connection, kind: DocumentKind[T], key: str) -> bool:
    gone = connection.execute("DELETE FROM document WHERE collection = ? AND key = ?", (kind.name, key))
    return gone.rowcount > 0


def _read[T](connection: sqlite3.Connection, kind: DocumentKind[T], key: str) -> T:
    stored = connection.execute(
        "SELECT version, body, sum FROM document WHERE collection = ? AND key = ?", (kind.name, key)
    ).fetchone()
    if stored is None:
        raise KeyError(key)
    row = StoredDocument(kind.name.encode(), key.encode(), *stored)
    if not row.is_intact:
        raise StateDamaged(
            f"The document {key} of {kind.name} has become damaged on the disk. "
            "Restart Rooftree: it restores the last good version"
        )
    return structure(orjson.loads(row.body), kind.type)


def _read_all[T](kind: DocumentKind[T], connection: sqlite3.Connection) -> _Reading[T]:
    """Every document of ``kind``, in the writer's thread; raises before anything was changed."""
    rows = stored_documents(connection, kind.name.encode())
    newest = max((row.version for row in rows if row.is_intact), default=kind.version)
    if newest > kind.version:
        raise NewerState(
            f"The collection {kind.name} has documents of version {newest}, this plugin knows {kind.version}: they "
            "were written by a newer one. Install that again; nothing was changed"
        )
    reading = _Reading[T]()
    for row in rows:
        try:
            if not row.is_intact:
                raise ValueError(_WRONG_SUM)
            key, body = row.key.decode(), orjson.loads(row.body)
        except ValueError as error:
            reading.unreadable.append((row, str(error)))
            continue
        if row.version == kind.version:
            reading.documents[key] = _structured(kind, key, body)
        else:
            reading.documents[key] = reading.migrated[key] = _migrate(kind, key, row.version, body)
    return reading


def _structured[T](kind: DocumentKind[T], key: str, body: Any) -> T:
    """An intact document; raises :class:`Failed` where the class has changed without a new version."""
    try:
        return structure(body, kind.type)
    except RooftreeError as error:
        raise Failed(
            f"The document {key} of {kind.name} is intact and does not fit the class {kind.type.__name__}: "
            f"{error.message}. Nothing was changed. Its author has to give what is new a default and to keep what is "
            "there, or to raise the version and add a migration; until then, install the earlier version of the plugin"
        ) from error


def _migrate[T](kind: DocumentKind[T], key: str, version: int, body: Any) -> T:
    try:
        for step in range(version, kind.version):
            body = kind.migrations[step](body)
        return structure(body, kind.type)
    except Exception as error:
        raise Failed(
            f"The document {key} of {kind.name} can't be brought from version {version} to {kind.version}: {error!r}. "
            "Nothing was changed; install the earlier version of the plugin, and report this"
        ) from error


def _fits[T](kind: DocumentKind[T], row: StoredDocument) -> bool:
    """Whether a document from a copy can take the place of one that does not decode."""
    try:
        if row.version != kind.version:
            return row.version < kind.version
        structure(orjson.loads(row.body), kind.type)
    except (ValueError, RooftreeError):
        return False
    return True

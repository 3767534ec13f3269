"""What services on the bus said of their properties, kept until it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol, cast

import attrs
import structlog
from attrs import define, field, frozen
from dbus_fast import Message, Variant
from dbus_fast.unpack import unpack_variants

from rooftree import Event, RooftreeError
from rooftree.interfaces.bus import (
    BUS_PROPERTY,
    BusObject,
    BusPropertiesChanged,
    BusProperty,
)
from rooftree_host.bus_client import BusClient

log = structlog.get_logger(__name__)

MOST_AT_ONCE: Final = 64
"""Objects that are read at once: a bus lets a connection have 128 calls without an answer
(``max_replies_per_connection`` in dbus-daemon(1))."""
UNTOLD_S: Final = 5.0
"""Seconds after which a property whose changes are not told is asked for again."""


@frozen
class _Shown:
    value: Any
    """An object of the class that was asked for."""
    has_untold: bool
    """Whether the class has properties whose changes are not told."""


@define
class _Known:
    """What is known of an object's properties."""

    values: dict[str, Variant] | None = None
    read_at: float = 0.0
    stale: bool = True
    reading: asyncio.Future[dict[str, Variant]] | None = None
    """What is being read."""
    due: float = 0.0
    """When that has to be there, on the loop's clock."""
    shown: dict[type[Any], _Shown] = field(factory=dict)
    """The same, by the classes that it was asked for as."""


class PropertySource(Protocol):
    """Whom the memory asks: the bus, in what concerns properties (:class:`~rooftree_host.system_bus.HostBus`)."""

    def refuse_absent(self, service: str) -> None: ...
    async def watch(self, at: BusObject) -> None: ...
    def ask_for_all(self, at: BusObject, answered: Callable[[BusClient, Message | None], None]) -> None: ...
    def all_of(
        self, at: BusObject, client: BusClient, reply: Message | None
    ) -> tuple[dict[str, Variant], str | None]: ...
    def due(self) -> float: ...
    def said_nothing(self, at: BusObject) -> RooftreeError: ...
    def note_change(self) -> None: ...
    def owner(self, service: str) -> str | None: ...
    def is_activatable(self, service: str) -> bool: ...


class PropertyMemory:
    """The properties that somebody has read."""

    def __init__(self, bus: PropertySource, publish: Callable[[Event], None]) -> None:
        self._bus = bus
        self._publish = publish
        self._known: dict[BusObject, _Known] = {}
        self._room = asyncio.Semaphore(MOST_AT_ONCE)

    async def read[P](self, kind: type[P], at: BusObject) -> P:
        """The properties of an object; see :meth:`SystemBus.read`."""
        remembered = self.remembered(kind, at)
        if remembered is not None:
            return remembered
        self._bus.refuse_absent(at.service)
        if at in self._known and self._known[at].reading is not None:
            values = await self._read(at)
        else:
            async with self._room:
                await self._bus.watch(at)
                remembered = self.remembered(kind, at)
                if remembered is not None:  # others who came meanwhile have not had to wait for the watch
                    return remembered
                values = await self._read(at)
        return _shown(kind, at, values)

    def remembered[P](self, kind: type[P], at: BusObject) -> P | None:
        """The properties of an object, where nobody has to be asked for them."""
        known = self._known.get(at)
        if known is None or known.values is None or known.stale:
            return None
        shown = known.shown.get(kind)
        if shown is None:
            shown = known.shown[kind] = _Shown(_shown(kind, at, known.values), _has_untold(kind))
        if shown.has_untold and asyncio.get_running_loop().time() - known.read_at > UNTOLD_S:
            return None
        return cast("P", shown.value)  # it was made of that kind

    async def _read(self, at: BusObject) -> dict[str, Variant]:
        """What the service says. However many want to know it at once, and whoever of them gives up, it is asked once:
        a question without an answer counts with the bus until there is one."""
        known = self._known.get(at) or _Known()
        reading = known.reading
        if reading is None:
            reading = self._begin(at, known)
            self._known[at] = known
        elif known.due < asyncio.get_running_loop().time():  # it was waited for in vain before
            known.due = self._bus.due()
        try:
            async with asyncio.timeout_at(known.due):
                return await asyncio.shield(reading)
        except TimeoutError:
            raise self._bus.said_nothing(at) from None

    def _begin(self, at: BusObject, known: _Known) -> asyncio.Future[dict[str, Variant]]:
        reading: asyncio.Future[dict[str, Variant]] = asyncio.get_running_loop().create_future()
        self._bus.ask_for_all(at, partial(self._answered, at, known, reading))
        known.reading, known.due = reading, self._bus.due()
        if known.stale:  # and so nothing to answer with meanwhile
            known.values, known.shown = None, {}
        known.stale = False  # what changes while it is read makes it stale again
        return reading

    def _answered(
        self,
        at: BusObject,
        known: _Known,
        reading: asyncio.Future[dict[str, Variant]],
        client: BusClient,
        reply: Message | None,
    ) -> None:
        known.reading = None
        try:
            values, sender = self._bus.all_of(at, client, reply)
        except RooftreeError as error:
            if self._known.get(at) is known:
                del self._known[at]
            reading.set_exception(error)
            reading.exception()  # nobody may be left who wants it
            return
        self._bus.note_change()
        known.values, known.read_at, known.shown = values, asyncio.get_running_loop().time(), {}
        if sender != self._bus.owner(at.service):  # it has gone since, and another has come
            known.stale = True
        reading.set_result(values)

    def changed(self, sender: str, path: str, interface: str, changed: Mapping[str, Variant], gone: list[str]) -> None:
        for at, known in list(self._known.items()):
            if at.path != path or at.interface != interface or self._bus.owner(at.service) != sender:
                continue
            if known.values is not None:
                known.values = {**known.values, **changed}
            known.shown = {}
            # The answer to a reading may have been made before the change, though it comes after it.
            known.stale = known.stale or bool(gone) or known.reading is not None
            self._publish(BusPropertiesChanged(at, dict(unpack_variants(dict(changed)))))

    def owner_changed(self, service: str, owner: str | None) -> None:
        """A service came or went. One that is started on demand ends when nobody needs it: that changes nothing, but
        its next life may begin with something else."""
        for at in [at for at in self._known if at.service == service]:
            if owner is not None:
                # Who is being read has come because of that, and answers from here on.
                self._known[at].stale = self._known[at].reading is None
            elif not self._bus.is_activatable(service):
                del self._known[at]

    def invalidate(self, at: BusObject) -> None:
        """Read that object anew when it is asked for next."""
        if at in self._known:
            self._known[at].stale = True
            self._bus.note_change()

    def forget(self) -> None:
        """Read everything anew when it is asked for next."""
        for known in self._known.values():
            known.stale = True
        self._bus.note_change()

    def drop(self, at: BusObject) -> None:
        """Nobody is interested in that object any more."""
        self._known.pop(at, None)

    def drop_all(self) -> None:
        """The bus is gone, and with it the certainty of being told."""
        self._known.clear()


_declared: Final[dict[type[Any], Mapping[str, BusProperty]]] = {}


def declared(kind: type[Any]) -> Mapping[str, BusProperty]:
    """The properties that a class declares, by field; worked out once."""
    known = _declared.get(kind)
    if known is None:
        properties = {attribute.name: attribute.metadata.get(BUS_PROPERTY) for attribute in attrs.fields(kind)}
        known = _declared[kind] = {name: said for name, said in properties.items() if said is not None}
    return known


def _has_untold(kind: type[Any]) -> bool:
    return any(not said.told for said in declared(kind).values())


def _shown[P](kind: type[P], at: BusObject, values: Mapping[str, Variant]) -> P:
    shown = {}
    for name, said in declared(kind).items():
        value = values.get(said.name)
        if value is None:
            continue
        if value.signature != said.signature:
            log.warning("bus_property_of_another_kind", object=at.path, property=said.name, signature=value.signature)
            continue
        shown[name] = unpack_variants(value)
    return kind(**shown)

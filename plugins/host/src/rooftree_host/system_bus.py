"""The system bus: one connection, made again when it is lost, with what was read kept until it changes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import structlog
from dbus_fast import AuthError, InvalidAddressError, Message, MessageType
from dbus_fast import Variant as WireVariant
from dbus_fast.aio import MessageBus
from dbus_fast.unpack import unpack_variants

from rooftree import Event
from rooftree.interfaces.bus import (
    BusConnected,
    BusLost,
    BusMethod,
    BusObject,
    BusRefused,
    BusServiceChanged,
    BusUnavailable,
    Variant,
)
from rooftree_host.bus_client import BUS, BusClient, kept_variants, silent
from rooftree_host.bus_properties import PropertyMemory

log = structlog.get_logger(__name__)

USUAL_ADDRESS: Final = "unix:path=/run/dbus/system_bus_socket"
ANSWER_S: Final = 25.0
"""Seconds that a call may take, unless its caller knows better: the customary limit of D-Bus libraries."""
READ_S: Final = 5.0
"""Seconds that reading properties may take."""
SILENCE_S: Final = 15.0
"""Seconds for which a service that did not answer is not asked for its properties again."""
RETRY_S: Final = 2.0
"""Seconds between looks at whether the bus is back."""

_LIST_NAMES = BusMethod("ListNames", "", "as")
_LIST_ACTIVATABLE_NAMES = BusMethod("ListActivatableNames", "", "as")
_GET_NAME_OWNER = BusMethod("GetNameOwner", "s", "s")
_GET_MANAGED_OBJECTS = BusMethod("GetManagedObjects", "", "a{oa{sa{sv}}}")
_GET_ALL = BusMethod("GetAll", "s", "a{sv}")
_SET = BusMethod("Set", "ssv")
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_PROPERTIES_CHANGED: Final = "sa{sv}as"
"""The signature of ``PropertiesChanged``."""


class HostBus:
    """Provides :class:`~rooftree.interfaces.bus.SystemBus`.

    :param address: a D-Bus address such as ``unix:path=/run/dbus/system_bus_socket``
    :param publish: told of what changes
    """

    def __init__(self, address: str, publish: Callable[[Event], None]) -> None:
        self._address = address
        self._publish = publish
        self._client: BusClient | None = None
        self._why_not = f"nobody has looked for it yet at {address}"
        self._listeners: dict[tuple[str, str, str], list[tuple[str, asyncio.Queue[tuple[Any, ...] | None]]]] = {}
        self._silent_until: dict[str, float] = {}
        self._revision = 0
        self._memory = PropertyMemory(self, publish)

    async def read[P](self, kind: type[P], at: BusObject) -> P:
        """The properties of an object; see :meth:`SystemBus.read`."""
        return await self._memory.read(kind, at)

    def remembered[P](self, kind: type[P], at: BusObject) -> P | None:
        """What is known of an object; see :meth:`SystemBus.remembered`."""
        return self._memory.remembered(kind, at)

    async def forget(self) -> None:
        """Read everything anew when it is asked for next; what can be started may have been installed meanwhile."""
        self._memory.forget()
        self._silent_until.clear()
        client = self._client
        if client is not None:
            with suppress(BusUnavailable, BusRefused):
                client.activatable = frozenset(await self.call(BUS, _LIST_ACTIVATABLE_NAMES, timeout_s=READ_S))
                self.note_change()

    @property
    def revision(self) -> int:
        """Changes with what is known; see :attr:`SystemBus.revision`."""
        return self._revision

    def note_change(self) -> None:
        """Something that is known of the bus is about to be otherwise."""
        self._revision += 1

    # --- the connection ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep connected; ends when it is cancelled."""
        while True:
            client = await self._connect()
            if client is None:
                await asyncio.sleep(RETRY_S)
                continue
            await client.ended()

    async def connect(self) -> bool:
        """Connect now, unless we are; whether there is a bus. One that is not there costs no time."""
        return self._client is not None or await self._connect() is not None

    async def _connect(self) -> BusClient | None:
        if self._client is not None:
            return self._client
        try:
            async with asyncio.timeout(READ_S):
                bus = await MessageBus(bus_address=self._address).connect()
        except (OSError, EOFError, AuthError, InvalidAddressError, ValueError) as error:
            self._tell_why_not(
                f"the system bus at {self._address} cannot be reached: {str(error) or type(error).__name__}"
            )
            return None
        client = BusClient(bus)
        bus.add_message_handler(lambda message: self._received(client, message))
        client.watcher = asyncio.get_running_loop().create_task(self._note_loss(client), name="loss of the bus")
        self._client = client
        try:
            await self._get_to_know(client)
        except (BusUnavailable, BusRefused) as error:
            self._tell_why_not(error.message)
            bus.disconnect()
            await client.ended()
            return None
        self.note_change()
        log.info("system_bus_connected", address=self._address, services=len(client.owners))
        self._publish(BusConnected())
        return client

    def _tell_why_not(self, reason: str) -> None:
        if reason != self._why_not:
            log.info("no_system_bus", reason=reason)
        self._why_not = reason

    async def _get_to_know(self, client: BusClient) -> None:
        """Learn who is there, and be told from now on."""
        rule = "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged'"
        await client.match(rule)
        names, activatable = await asyncio.gather(
            self.call(BUS, _LIST_NAMES, timeout_s=READ_S), self.call(BUS, _LIST_ACTIVATABLE_NAMES, timeout_s=READ_S)
        )
        known = [name for name in names if not name.startswith(":") and name != BUS.service]
        owners = await asyncio.gather(*(self._owner(name) for name in known))
        for name, owner in zip(known, owners, strict=True):
            if owner is not None:
                client.owners.setdefault(name, owner)
        client.activatable = frozenset(activatable)

    async def _owner(self, name: str) -> str | None:
        try:
            return str(await self.call(BUS, _GET_NAME_OWNER, name, timeout_s=READ_S))
        except BusUnavailable:  # it went meanwhile
            return None

    async def _note_loss(self, client: BusClient) -> None:
        reason = "it was closed"
        try:
            await client.bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # the library's
        except asyncio.CancelledError:
            client.bus.disconnect()
            raise
        except Exception as error:  # whatever ended it: it is gone
            reason = str(error) or type(error).__name__
        finally:  # also where somebody ends this task: nobody may wait for a loss that is never noted
            self._has_lost(client, reason)

    def _has_lost(self, client: BusClient, reason: str) -> None:
        if self._client is client:
            self._client = None
        self.note_change()
        client.end()
        self._memory.drop_all()
        self._silent_until.clear()
        for listeners in self._listeners.values():
            for _, queue in listeners:
                queue.put_nowait(None)
        self._tell_why_not(f"the system bus at {self._address} is gone: {reason}")
        self._publish(BusLost())

    async def close(self) -> None:
        client = self._client
        if client is not None:
            client.bus.disconnect()
            await client.ended()

    @property
    def connected(self) -> bool:
        """Whether there is a bus."""
        return self._client is not None

    def _connected(self) -> BusClient:
        if self._client is None:
            raise BusUnavailable(
                f"There is no system bus: {self._why_not}. Start D-Bus on the host, or say where its socket is (bus in "
                "[plugins.host])"
            )
        return self._client

    def has(self, service: str) -> bool:
        """Whether a service of that name runs, or is started when it is called."""
        client = self._client
        return client is not None and (service in client.owners or service in client.activatable)

    def is_activatable(self, service: str) -> bool:
        """Whether it is started when it is called, and so may come and go without meaning anything by it."""
        return self._client is not None and service in self._client.activatable

    def owner(self, service: str) -> str | None:
        """The unique name of who has that name now."""
        return self._client.owners.get(service) if self._client else None

    # --- calls -------------------------------------------------------------------------------------------------------

    async def call(self, at: BusObject, method: BusMethod, *arguments: Any, timeout_s: float = ANSWER_S) -> Any:
        reply = await self._connected().call(at, method, list(arguments), timeout_s)
        values = kept_variants(reply.body) if method.variants else unpack_variants(reply.body)
        return None if not values else values[0] if len(values) == 1 else tuple(values)

    async def write(self, at: BusObject, name: str, value: Variant) -> None:
        await self.call(_properties(at), _SET, at.interface, name, value)
        self._memory.invalidate(at)  # not every service tells of what it was told itself

    async def objects(self, service: str, path: str) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """What an object manager manages; see :meth:`SystemBus.objects`."""
        manager = BusObject(service, path, "org.freedesktop.DBus.ObjectManager")
        objects: Mapping[str, Mapping[str, Mapping[str, Any]]] = await self.call(manager, _GET_MANAGED_OBJECTS)
        return objects

    async def watch(self, at: BusObject) -> None:
        """Be told of changes of an object's properties, until the bus goes away."""
        client = self._connected()
        rule = _changes_of(at)
        if not client.is_matched(rule):
            await client.match(rule)

    async def unwatch(self, at: BusObject) -> None:
        """Forget an object; see :meth:`SystemBus.unwatch`."""
        self._memory.drop(at)
        client = self._client
        if client is not None and client.is_matched(_changes_of(at)):
            await client.no_longer_match(_changes_of(at))

    def ask_for_all(self, at: BusObject, answered: Callable[[BusClient, Message | None], None]) -> None:
        """Ask for the properties of an object; raises :class:`BusUnavailable`. What comes is for :meth:`all_of`."""
        client = self._connected()
        client.ask(_properties(at), _GET_ALL, [at.interface], partial(answered, client))

    def all_of(
        self, at: BusObject, client: BusClient, reply: Message | None
    ) -> tuple[dict[str, WireVariant], str | None]:
        """The properties of an object, with their signatures, and the unique name of who said so; raises
        :class:`BusUnavailable`, :class:`BusRefused`."""
        try:
            told = client.understood(_properties(at), _GET_ALL, reply)
        except BusUnavailable as error:
            if reply is not None:  # else it is the connection that was lost, which says nothing of the service
                self._silence(at.service, error)
            raise
        return dict(told.body[0]), told.sender

    def due(self) -> float:
        """When an answer to what is asked now has to be there, on the loop's clock."""
        return asyncio.get_running_loop().time() + READ_S

    def said_nothing(self, at: BusObject) -> BusUnavailable:
        """The error for who has waited for an object's properties in vain; the service is left alone for a while."""
        error = silent(_properties(at), _GET_ALL, READ_S)
        self._silence(at.service, error)
        return error

    def _silence(self, service: str, error: BusUnavailable) -> None:
        now = asyncio.get_running_loop().time()
        if self._silent_until.get(service, 0.0) <= now:  # else another who waited has said so
            log.warning("bus_service_does_not_answer", service=service, reason=error.message)
        self._silent_until[service] = now + SILENCE_S

    def refuse_absent(self, service: str) -> None:
        """Raise :class:`BusUnavailable`, at once, for a service that is not there, or did not answer a moment ago."""
        client = self._connected()
        if service not in client.owners and service not in client.activatable:
            raise BusUnavailable(f"{service} is not there: nothing on the system bus has that name")
        if asyncio.get_running_loop().time() < self._silent_until.get(service, 0.0):
            raise BusUnavailable(f"{service} does not answer; it is asked again within {SILENCE_S:g} s")

    # --- signals -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def listening(self, at: BusObject, signal: str) -> AsyncIterator[AsyncIterator[tuple[Any, ...]]]:
        """Signals of one name; see :meth:`SystemBus.listening`."""
        client = self._connected()
        queue: asyncio.Queue[tuple[Any, ...] | None] = asyncio.Queue()
        key, entry = (at.path, at.interface, signal), (at.service, queue)
        self._listeners.setdefault(key, []).append(entry)
        rule = f"type='signal',sender='{at.service}',path='{at.path}',interface='{at.interface}',member='{signal}'"
        try:
            await client.match(rule)
            yield self._arguments(at, signal, queue)
        finally:
            self._listeners[key].remove(entry)
            if not self._listeners[key]:
                del self._listeners[key]
            await client.no_longer_match(rule)

    async def _arguments(
        self, at: BusObject, signal: str, queue: asyncio.Queue[tuple[Any, ...] | None]
    ) -> AsyncIterator[tuple[Any, ...]]:
        while (arguments := await queue.get()) is not None:
            yield arguments
        raise BusUnavailable(f"{at.service} went away while its signal {signal} was waited for")

    def _received(self, client: BusClient, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            client.answered(message)
            return
        sender, path, interface, member = message.sender, message.path, message.interface, message.member
        assert sender and path and interface and member  # every signal has them
        self.note_change()
        if member == "NameOwnerChanged" and sender == BUS.service:
            self._owner_changed(client, *message.body)
        elif member == "PropertiesChanged" and interface == _PROPERTIES and message.signature == _PROPERTIES_CHANGED:
            self._memory.changed(sender, path, *message.body)
        for service, queue in self._listeners.get((path, interface, member), ()):
            if client.owners.get(service) == sender:
                queue.put_nowait(tuple(unpack_variants(message.body)))

    def _owner_changed(self, client: BusClient, name: str, _: str, owner: str) -> None:
        if name.startswith(":"):
            return
        if owner:
            client.owners[name] = owner
        else:
            client.owners.pop(name, None)
            for listeners in self._listeners.values():
                for service, queue in listeners:
                    if service == name:
                        queue.put_nowait(None)
        self._silent_until.pop(name, None)
        self._memory.owner_changed(name, owner or None)
        self._publish(BusServiceChanged(name, runs=bool(owner)))


def usual_address() -> str:
    """Where the system bus is: what the environment says, as for every program, else the usual place."""
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or USUAL_ADDRESS


def _changes_of(at: BusObject) -> str:
    """The rule that changes of an object's properties match."""
    return (
        f"type='signal',sender='{at.service}',path='{at.path}',interface='{_PROPERTIES}',member='PropertiesChanged',"
        f"arg0='{at.interface}'"
    )


def _properties(at: BusObject) -> BusObject:
    return BusObject(at.service, at.path, _PROPERTIES)

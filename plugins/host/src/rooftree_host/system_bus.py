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

BUS: Final = BusObject("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
_LIST_NAMES = BusMethod("ListNames", "", "as")
_LIST_ACTIVATABLE_NAMES = BusMethod("ListActivatableNames", "", "as")
_GET_NAME_OWNER = BusMethod("GetNameOwner", "s", "s")
_ADD_MATCH = BusMethod("AddMatch", "s")
_REMOVE_MATCH = BusMethod("RemoveMatch", "s")
_GET_MANAGED_OBJECTS = BusMethod("GetManagedObjects", "", "a{oa{sa{sv}}}")
_GET_ALL = BusMethod("GetAll", "s", "a{sv}")
_SET = BusMethod("Set", "ssv")
ERROR_INVALID_ARGUMENTS: Final = "org.freedesktop.DBus.Error.InvalidArgs"
"""The name of the error for what the bus has no words for."""
_LIMITS_EXCEEDED: Final = "org.freedesktop.DBus.Error.LimitsExceeded"
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_PROPERTIES_CHANGED: Final = "sa{sv}as"
"""The signature of ``PropertiesChanged``."""

_GONE = (
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.Disconnected",
    "org.freedesktop.DBus.Error.TimedOut",
    "org.freedesktop.DBus.Error.Timeout",
    "org.freedesktop.DBus.Error.Spawn.",
    "org.freedesktop.systemd1.UnitMasked",
    "org.freedesktop.systemd1.NoSuchUnit",
    "org.freedesktop.systemd1.LoadFailed",
    "org.freedesktop.systemd1.ShuttingDown",
)
"""Errors of the bus itself that say that a service is not there. systemd names the unit that it could not start."""


type Answered = Callable[[Message | None], None]
"""Is told the answer to a call; ``None`` where the connection was lost before there was one."""


class Connection:
    """One connection to the bus, from its beginning to its loss."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is."""
        self.owners: dict[str, str] = {}
        """The unique names of services by their well-known ones."""
        self.activatable: frozenset[str] = frozenset()
        self.rules: dict[str, int] = {}
        """Match rules, and how many want each."""
        self.waiting: dict[int, Answered] = {}
        """Who is to be told an answer, by the number of the call."""
        self.watcher: asyncio.Task[None] | None = None


class SystemBusClient:
    """Provides :class:`~rooftree.interfaces.bus.SystemBus`.

    :param address: a D-Bus address such as ``unix:path=/run/dbus/system_bus_socket``
    :param publish: told of what changes
    """

    def __init__(self, address: str, publish: Callable[[Event], None]) -> None:
        self._address = address
        self._publish = publish
        self._connection: Connection | None = None
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
        connection = self._connection
        if connection is not None:
            with suppress(BusUnavailable, BusRefused):
                connection.activatable = frozenset(await self.call(BUS, _LIST_ACTIVATABLE_NAMES, timeout_s=READ_S))
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
            connection = await self._connect()
            if connection is None:
                await asyncio.sleep(RETRY_S)
                continue
            await asyncio.shield(connection.lost)

    async def connect(self) -> bool:
        """Connect now, unless we are; whether there is a bus. One that is not there costs no time."""
        return self._connection is not None or await self._connect() is not None

    async def _connect(self) -> Connection | None:
        if self._connection is not None:
            return self._connection
        try:
            async with asyncio.timeout(READ_S):
                bus = await MessageBus(bus_address=self._address).connect()
        except (OSError, EOFError, AuthError, InvalidAddressError, ValueError) as error:
            self._tell_why_not(
                f"the system bus at {self._address} cannot be reached: {str(error) or type(error).__name__}"
            )
            return None
        connection = Connection(bus)
        bus.add_message_handler(lambda message: self._received(connection, message))
        connection.watcher = asyncio.get_running_loop().create_task(self._note_loss(connection), name="loss of the bus")
        self._connection = connection
        try:
            await self._get_to_know(connection)
        except (BusUnavailable, BusRefused) as error:
            self._tell_why_not(error.message)
            bus.disconnect()
            await connection.lost
            return None
        self.note_change()
        log.info("system_bus_connected", address=self._address, services=len(connection.owners))
        self._publish(BusConnected())
        return connection

    def _tell_why_not(self, reason: str) -> None:
        if reason != self._why_not:
            log.info("no_system_bus", reason=reason)
        self._why_not = reason

    async def _get_to_know(self, connection: Connection) -> None:
        """Learn who is there, and be told from now on."""
        rule = "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged'"
        await self._matching(connection, rule)
        names, activatable = await asyncio.gather(
            self.call(BUS, _LIST_NAMES, timeout_s=READ_S), self.call(BUS, _LIST_ACTIVATABLE_NAMES, timeout_s=READ_S)
        )
        known = [name for name in names if not name.startswith(":") and name != BUS.service]
        owners = await asyncio.gather(*(self._owner(name) for name in known))
        for name, owner in zip(known, owners, strict=True):
            if owner is not None:
                connection.owners.setdefault(name, owner)
        connection.activatable = frozenset(activatable)

    async def _owner(self, name: str) -> str | None:
        try:
            return str(await self.call(BUS, _GET_NAME_OWNER, name, timeout_s=READ_S))
        except BusUnavailable:  # it went meanwhile
            return None

    async def _note_loss(self, connection: Connection) -> None:
        reason = "it was closed"
        try:
            await connection.bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # the library's
        except asyncio.CancelledError:
            connection.bus.disconnect()
            raise
        except Exception as error:  # whatever ended it: it is gone
            reason = str(error) or type(error).__name__
        finally:  # also where somebody ends this task: nobody may wait for a loss that is never noted
            self._has_lost(connection, reason)

    def _has_lost(self, connection: Connection, reason: str) -> None:
        if self._connection is connection:
            self._connection = None
        self.note_change()
        connection.lost.set_result(None)
        waiting, connection.waiting = connection.waiting, {}
        for answered in waiting.values():
            answered(None)
        self._memory.drop()
        self._silent_until.clear()
        for listeners in self._listeners.values():
            for _, queue in listeners:
                queue.put_nowait(None)
        self._tell_why_not(f"the system bus at {self._address} is gone: {reason}")
        self._publish(BusLost())

    async def close(self) -> None:
        """Leave the bus."""
        connection = self._connection
        if connection is not None:
            connection.bus.disconnect()
            await connection.lost

    @property
    def connected(self) -> bool:
        """Whether there is a bus."""
        return self._connection is not None

    def _connected(self) -> Connection:
        if self._connection is None:
            raise BusUnavailable(
                f"There is no system bus: {self._why_not}. Start D-Bus on the host, or say where its socket is (bus in "
                "[plugins.host])"
            )
        return self._connection

    def has(self, service: str) -> bool:
        """Whether a service of that name runs, or is started when it is called."""
        connection = self._connection
        return connection is not None and (service in connection.owners or service in connection.activatable)

    def is_activatable(self, service: str) -> bool:
        """Whether it is started when it is called, and so may come and go without meaning anything by it."""
        return self._connection is not None and service in self._connection.activatable

    def owner(self, service: str) -> str | None:
        """The unique name of who has that name now."""
        return self._connection.owners.get(service) if self._connection else None

    # --- calls -------------------------------------------------------------------------------------------------------

    async def call(self, at: BusObject, method: BusMethod, *arguments: Any, timeout_s: float = ANSWER_S) -> Any:
        """Call a method; see :meth:`SystemBus.call`."""
        connection = self._connected()
        reply = await self._answer(connection, at, method, [_wired(each) for each in arguments], timeout_s)
        values = unpack_variants(reply.body)
        return None if not values else values[0] if len(values) == 1 else tuple(values)

    async def _answer(
        self, connection: Connection, at: BusObject, method: BusMethod, arguments: list[Any], timeout_s: float
    ) -> Message:
        answer: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        serial = self._ask(connection, at, method, arguments, partial(_tell, answer))
        try:
            async with asyncio.timeout(timeout_s):
                reply = await answer
        except TimeoutError:
            raise _silent(at, method, timeout_s) from None
        finally:
            connection.waiting.pop(serial, None)
        return self._understood(at, method, reply)

    def _ask(
        self, connection: Connection, at: BusObject, method: BusMethod, arguments: list[Any], answered: Answered
    ) -> int:
        """Send a call; its number. Raises :class:`BusRefused` for arguments that cannot be sent.

        Not by the library's own call: one that is given up would stay in its books for as long as the connection, and
        one whose connection breaks would never end.
        """
        serial = connection.bus.next_serial()
        connection.waiting[serial] = answered
        try:
            _send(connection.bus, at, method, arguments, serial)
        except BaseException:
            del connection.waiting[serial]
            raise
        return serial

    def _understood(self, at: BusObject, method: BusMethod, reply: Message | None) -> Message:
        """An answer that is one; raises :class:`BusUnavailable`, :class:`BusRefused`."""
        if reply is None:
            raise BusUnavailable(f"The system bus went away while {at.service} was asked for {method.name}")
        if reply.message_type is MessageType.ERROR:
            if reply.error_name == _LIMITS_EXCEEDED and reply.sender == BUS.service and at.service != BUS.service:
                log.warning("too_many_calls_unanswered", service=at.service)
                if self._connection is not None:  # for as long as which they count, also those that were given up
                    self._connection.bus.disconnect()
                raise BusUnavailable(
                    f"The system bus takes no more calls, for too many of ours wait for an answer; {at.service} can be "
                    "asked again in a moment, on a new connection"
                )
            raise _refusal(at, method, reply)
        if method.returns is not None and reply.signature != method.returns:
            raise BusUnavailable(
                f"{at.service} answers {method.name} with {reply.signature or 'nothing'}, where "
                f"{method.returns or 'nothing'} is expected: its version is not one that Rooftree knows"
            )
        return reply

    async def write(self, at: BusObject, name: str, value: Variant) -> None:
        """Set a property; see :meth:`SystemBus.write`."""
        await self.call(_properties(at), _SET, at.interface, name, value)
        self._memory.invalidate(at)  # not every service tells of what it was told itself

    async def objects(self, service: str, path: str) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """What an object manager manages; see :meth:`SystemBus.objects`."""
        manager = BusObject(service, path, "org.freedesktop.DBus.ObjectManager")
        found: Mapping[str, Mapping[str, Mapping[str, Any]]] = await self.call(manager, _GET_MANAGED_OBJECTS)
        return found

    async def watch(self, at: BusObject) -> None:
        """Be told of changes of an object's properties, until the bus goes away."""
        connection = self._connected()
        rule = (
            f"type='signal',sender='{at.service}',path='{at.path}',interface='{_PROPERTIES}',member='PropertiesChanged',"
            f"arg0='{at.interface}'"
        )
        if rule not in connection.rules:
            await self._matching(connection, rule)

    def ask_for_all(self, at: BusObject, answered: Answered) -> None:
        """Ask for the properties of an object; raises :class:`BusUnavailable`. What comes is for :meth:`all_of`."""
        self._ask(self._connected(), _properties(at), _GET_ALL, [at.interface], answered)

    def all_of(self, at: BusObject, reply: Message | None) -> tuple[dict[str, WireVariant], str | None]:
        """The properties of an object, with their signatures, and the unique name of who said so; raises
        :class:`BusUnavailable`, :class:`BusRefused`."""
        try:
            told = self._understood(_properties(at), _GET_ALL, reply)
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
        error = _silent(_properties(at), _GET_ALL, READ_S)
        self._silence(at.service, error)
        return error

    def _silence(self, service: str, error: BusUnavailable) -> None:
        now = asyncio.get_running_loop().time()
        if self._silent_until.get(service, 0.0) <= now:  # else another who waited has said so
            log.warning("bus_service_does_not_answer", service=service, reason=error.message)
        self._silent_until[service] = now + SILENCE_S

    def refuse_absent(self, service: str) -> None:
        """Raise :class:`BusUnavailable`, at once, for a service that is not there, or did not answer a moment ago."""
        connection = self._connected()
        if service not in connection.owners and service not in connection.activatable:
            raise BusUnavailable(f"{service} is not there: nothing on the system bus has that name")
        if asyncio.get_running_loop().time() < self._silent_until.get(service, 0.0):
            raise BusUnavailable(f"{service} does not answer; it is asked again within {SILENCE_S:g} s")

    # --- signals -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def listening(self, at: BusObject, signal: str) -> AsyncIterator[AsyncIterator[tuple[Any, ...]]]:
        """Signals of one name; see :meth:`SystemBus.listening`."""
        connection = self._connected()
        queue: asyncio.Queue[tuple[Any, ...] | None] = asyncio.Queue()
        key, entry = (at.path, at.interface, signal), (at.service, queue)
        self._listeners.setdefault(key, []).append(entry)
        rule = f"type='signal',sender='{at.service}',path='{at.path}',interface='{at.interface}',member='{signal}'"
        try:
            await self._matching(connection, rule)
            yield self._each(at, signal, queue)
        finally:
            self._listeners[key].remove(entry)
            if not self._listeners[key]:
                del self._listeners[key]
            await self._no_longer_matching(connection, rule)

    async def _each(
        self, at: BusObject, signal: str, queue: asyncio.Queue[tuple[Any, ...] | None]
    ) -> AsyncIterator[tuple[Any, ...]]:
        while (arguments := await queue.get()) is not None:
            yield arguments
        raise BusUnavailable(f"{at.service} went away while its signal {signal} was waited for")

    async def _matching(self, connection: Connection, rule: str) -> None:
        wanted = connection.rules.get(rule, 0)
        connection.rules[rule] = wanted + 1
        if not wanted:
            try:
                await self.call(BUS, _ADD_MATCH, rule, timeout_s=READ_S)
            except BusRefused:  # given up is another matter: what was sent is added, whoever no longer waits for it
                connection.rules.pop(rule, None)
                raise

    async def _no_longer_matching(self, connection: Connection, rule: str) -> None:
        wanted = connection.rules.get(rule, 0)
        if wanted > 1:
            connection.rules[rule] = wanted - 1
            return
        connection.rules.pop(rule, None)
        if wanted and self._connection is connection:
            with suppress(BusUnavailable, BusRefused):
                await self.call(BUS, _REMOVE_MATCH, rule, timeout_s=READ_S)

    def _received(self, connection: Connection, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            answered = connection.waiting.pop(message.reply_serial, None)
            if answered is not None:
                answered(message)
            return
        sender, path, interface, member = message.sender, message.path, message.interface, message.member
        assert sender and path and interface and member  # every signal has them
        self.note_change()
        if member == "NameOwnerChanged" and sender == BUS.service:
            self._owner_changed(connection, *message.body)
        elif member == "PropertiesChanged" and interface == _PROPERTIES and message.signature == _PROPERTIES_CHANGED:
            self._memory.changed(sender, path, *message.body)
        for service, queue in self._listeners.get((path, interface, member), ()):
            if connection.owners.get(service) == sender:
                queue.put_nowait(tuple(unpack_variants(message.body)))

    def _owner_changed(self, connection: Connection, name: str, _: str, owner: str) -> None:
        if name.startswith(":"):
            return
        if owner:
            connection.owners[name] = owner
        else:
            connection.owners.pop(name, None)
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


def _send(bus: MessageBus, at: BusObject, method: BusMethod, arguments: list[Any], serial: int) -> None:
    try:
        message = Message(
            destination=at.service,
            path=at.path,
            interface=at.interface,
            member=method.name,
            signature=method.takes,
            body=arguments,
            serial=serial,
        )
        if not bus.connected:  # any more: the number of its closed socket may be another's by now
            return
        try:
            bus.send(message).add_done_callback(asyncio.Future.exception)
        except OSError:  # the connection breaks at this moment: whoever waits is told by its loss
            sending = getattr(getattr(bus, "_writer", None), "fut", None)  # send() had no time to give it to us
            if sending is not None and sending.done():
                sending.exception()  # else it is called an error that nobody looked at
    except (ValueError, TypeError) as error:  # a NUL in a text, a path that is none
        raise BusRefused(
            f"{method.name} of {at.service} cannot be called like that: {error}", ERROR_INVALID_ARGUMENTS
        ) from None


def _properties(at: BusObject) -> BusObject:
    return BusObject(at.service, at.path, _PROPERTIES)


def _tell(answer: asyncio.Future[Message | None], reply: Message | None) -> None:
    if not answer.done():  # whoever waited may have given up in this very moment
        answer.set_result(reply)


def _silent(at: BusObject, method: BusMethod, waited_s: float) -> BusUnavailable:
    return BusUnavailable(
        f"{at.service} did not answer {method.name} within {waited_s:g} s; look at it with systemctl status"
    )


def _wired(value: Any) -> Any:
    """A value with the library's variants in it for ours."""
    if isinstance(value, Variant):
        return WireVariant(value.signature, _wired(value.value))
    if isinstance(value, Mapping):
        return {key: _wired(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_wired(each) for each in value]
    return value


def _refusal(at: BusObject, method: BusMethod, reply: Message) -> BusUnavailable | BusRefused:
    name = reply.error_name or "an error without a name"
    said = reply.body[0] if reply.body and isinstance(reply.body[0], str) else name
    # systemd's own refusals come from systemd; from anybody else these are the bus's, who asked it to start somebody.
    from_bus = reply.sender == BUS.service or at.service != "org.freedesktop.systemd1"
    if from_bus and name.startswith(_GONE):
        return BusUnavailable(f"{at.service} is not there: {said}")
    return BusRefused(f"{at.service} refused {method.name}: {said}", name)

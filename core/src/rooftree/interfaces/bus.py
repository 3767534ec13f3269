"""The system bus (D-Bus), as domains see it.

What an interface has is declared once, as data: an attrs class names the properties that are of interest, with their
signatures, and a :class:`BusMethod` a method's. The bus reads and calls by these declarations, and the tests hold them
against the introspection of the real services::

    @frozen(kw_only=True)
    class Hostname:
        static_hostname: str | None = bus_property("StaticHostname", "s")

    HOSTNAME = BusObject("org.freedesktop.hostname1", "/org/freedesktop/hostname1", "org.freedesktop.hostname1")
    SET_STATIC_HOSTNAME = BusMethod("SetStaticHostname", "sb")

    await bus.call(HOSTNAME, SET_STATIC_HOSTNAME, "attic", False)
    (await bus.read(Hostname, HOSTNAME)).static_hostname  # "attic"

Signatures are those of the D-Bus specification (https://dbus.freedesktop.org/doc/dbus-specification.html). Values are
plain Python: numbers, text, ``bytes`` for ``ay``, lists, dictionaries; a variant is what is in it. A variant that is
sent is a :class:`Variant`, and so are those in the answer of a method that says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

import attrs
from attrs import field, frozen

from rooftree.errors import Failed, Unavailable
from rooftree.events import Event
from rooftree.services import Service


class BusUnavailable(Unavailable):
    """There is no system bus, or no such service on it, or it does not answer."""

    error_key = "host_bus_unavailable_error"


class BusRefused(Failed):
    """The service answered with an error."""

    error_key = "host_bus_refused_error"

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name
        """The error's name, such as ``org.freedesktop.systemd1.NoSuchUnit``."""


@frozen
class BusObject:
    """One interface of an object that a service has on the bus."""

    service: str
    """The well-known name of the service."""
    path: str
    interface: str

    def at(self, path: str) -> BusObject:
        """The same interface of another object."""
        return attrs.evolve(self, path=path)


@frozen
class BusMethod:
    """A method of an interface."""

    name: str
    takes: str = ""
    """The signature of its arguments."""
    returns: str | None = ""
    """That of its answer; ``None`` where only success counts, whatever is said with it."""
    variants: bool = False
    """Whether variants in the answer stay :class:`Variant`: for what is sent back with a part of it changed."""


@frozen
class Variant:
    """A value with its signature, where a method takes any."""

    signature: str
    value: Any


@frozen
class BusProperty:
    """What :func:`bus_property` says of a field."""

    name: str
    signature: str
    told: bool


BUS_PROPERTY: Final = "bus_property"
"""The key in a field's metadata."""


def bus_property(name: str, signature: str, *, told: bool = True) -> Any:
    """A field of an attrs class that is read from a property; ``None`` where the service has no such property, or one
    of another signature.

    :param told: whether the service tells of changes (``EmitsChangedSignal``); what is not told is asked for again
        when it is some seconds old
    """
    return field(default=None, metadata={BUS_PROPERTY: BusProperty(name, signature, told)})


class SystemBus(Protocol):
    """The system bus. Presence is not availability: without a bus, and without the service that is meant, everything
    raises :class:`BusUnavailable`, at once. A service that does not answer is waited for some seconds, and then not
    asked again for some more."""

    @property
    def connected(self) -> bool:
        """Whether there is a bus."""
        ...

    @property
    def revision(self) -> int:
        """Another number whenever something was learnt from the bus, or is to be learnt anew. What was made of what is
        remembered holds as long as it stays; properties whose changes nobody tells are asked for again all the same."""
        ...

    def has(self, service: str) -> bool:
        """Whether a service of that name runs, or is started when it is called."""
        ...

    async def read[P](self, kind: type[P], at: BusObject) -> P:
        """The properties of an object, as ``kind`` declares them. From memory, unless something changed; once read,
        changes are published as :class:`BusPropertiesChanged`.

        :raises BusRefused: where the service has no such object
        """
        ...

    async def unwatch(self, at: BusObject) -> None:
        """Forget an object that was read, and hear of it no more until somebody reads it again: for objects of which
        there are others each time, such as connections. A bus lets each of its clients watch some hundreds."""
        ...

    def remembered[P](self, kind: type[P], at: BusObject) -> P | None:
        """The same as :meth:`read`, where nobody has to be asked for it; else ``None``."""
        ...

    async def write(self, at: BusObject, name: str, value: Variant) -> None:
        """Set a property."""
        ...

    async def call(self, at: BusObject, method: BusMethod, *arguments: Any, timeout_s: float = ...) -> Any:
        """Call a method. The answer is its value; a tuple where it has several, ``None`` where it has none.

        :raises BusRefused: with the service's reason
        """
        ...

    async def objects(self, service: str, path: str) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """What a service's object manager manages: properties by interface by path; anew at each call."""
        ...

    def listening(self, at: BusObject, signal: str) -> AbstractAsyncContextManager[AsyncIterator[tuple[Any, ...]]]:
        """The arguments of each signal of that name from now on, for the length of the block. Its end for another
        reason (the service or the bus went away) is :class:`BusUnavailable`."""
        ...

    async def forget(self) -> None:
        """Read everything anew when it is asked for next."""
        ...


SYSTEM_BUS = Service[SystemBus]("system_bus/1")


@frozen
class BusConnected(Event):
    """There is a system bus from now on."""


@frozen
class BusLost(Event):
    """The system bus is gone."""


@frozen
class BusServiceChanged(Event):
    """A service came to the bus or left it. Services that are started on demand come and go often."""

    service: str
    runs: bool


@frozen
class BusPropertiesChanged(Event):
    """Properties of an object that somebody reads have changed."""

    object: BusObject
    changed: Mapping[str, Any]
    """The new values by name; those that the service kept to itself are missing."""

"""The host's system bus, as a program outside sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from xml.etree import ElementTree

from dbus_fast import Message, MessageType, unpack_variants
from dbus_fast.aio import MessageBus

from tests.host.rig.host import Host

PROPERTIES = "org.freedesktop.DBus.Properties"


class BusError(Exception):
    """An error that came as the answer; its name and its sentence."""


class Bus:
    """A connection, with calls as short as they can be written."""

    def __init__(self, connection: MessageBus) -> None:
        self.connection = connection

    async def call(self, service: str, path: str, method: str, signature: str = "", *arguments: Any) -> Any:
        """Call a method by its full name. What it returns; raises :class:`BusError`."""
        interface, _, member = method.rpartition(".")
        answer = await self.connection.call(
            Message(service, path, interface, member, signature=signature, body=list(arguments))
        )
        assert answer is not None
        if answer.message_type is MessageType.ERROR:
            raise BusError(f"{answer.error_name}: {answer.body[0] if answer.body else ''}")
        returned = unpack_variants(answer.body)
        return returned[0] if len(returned) == 1 else returned

    async def properties(self, service: str, path: str, interface: str) -> dict[str, Any]:
        """All properties of an object."""
        found: dict[str, Any] = await self.call(service, path, f"{PROPERTIES}.GetAll", "s", interface)
        return found

    async def interface(self, service: str, path: str, name: str) -> ElementTree.Element:
        """What an object says of one of its interfaces."""
        text = await self.call(service, path, "org.freedesktop.DBus.Introspectable.Introspect")
        found = ElementTree.fromstring(text).find(f"interface[@name='{name}']")
        assert found is not None, f"{service} has no {name} at {path}"
        return found


def properties_of(interface: ElementTree.Element) -> dict[str, str]:
    """Names and signatures."""
    return {each.get("name", ""): each.get("type", "") for each in interface.iterfind("property")}


def method_of(interface: ElementTree.Element, name: str) -> tuple[str, str]:
    """What a method takes and returns, as signatures."""
    (method,) = (each for each in interface.iterfind("method") if each.get("name") == name)
    forms = dict.fromkeys(("in", "out"), "")
    for argument in method.iterfind("arg"):
        forms[argument.get("direction", "in")] += argument.get("type", "")
    return forms["in"], forms["out"]


@asynccontextmanager
async def bus_of(host: Host) -> AsyncIterator[Bus]:
    """A connection to the bus of that host."""
    connection = await MessageBus(bus_address=host.bus_address).connect()
    try:
        yield Bus(connection)
    finally:
        connection.disconnect()

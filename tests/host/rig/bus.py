"""The host's system bus, as a program outside sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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


@asynccontextmanager
async def bus_of(host: Host) -> AsyncIterator[Bus]:
    """A connection to the bus of that host."""
    connection = await MessageBus(bus_address=host.bus_address).connect()
    try:
        yield Bus(connection)
    finally:
        connection.disconnect()

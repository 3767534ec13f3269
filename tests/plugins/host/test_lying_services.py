"""Services on the bus that answer in another form, tell what cannot be, or keep to themselves what they should tell."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from rooftree import Event
from rooftree.interfaces import bus as interface
from rooftree.interfaces.bus import SYSTEM_BUS, BusObject, BusUnavailable, bus_property
from rooftree_host import system_bus
from rooftree_host.system_bus import HostBus
from tests.bus.machine import HOSTNAME, SYSTEMD
from tests.bus.private_bus import private_bus
from tests.plugins.host.house import house

PROPERTIES = "org.freedesktop.DBus.Properties"
HOST = BusObject(HOSTNAME, "/org/freedesktop/hostname1", HOSTNAME)


@frozen(kw_only=True)
class Host:
    """Some of what hostnamed knows."""

    name: str | None = bus_property("StaticHostname", "s")


@asynccontextmanager
async def liar(address: str, answer: Callable[[Message], Message | None]) -> AsyncIterator[MessageBus]:
    """A hostnamed whose properties are what ``answer`` says; ``None`` is silence."""
    bus = await MessageBus(bus_address=address).connect()

    def received(message: Message) -> bool:
        if message.message_type is not MessageType.METHOD_CALL or message.interface != PROPERTIES:
            return False
        reply = answer(message)
        if reply is not None:
            bus.send(reply)
        return True

    bus.add_message_handler(received)
    await bus.request_name(HOSTNAME)
    try:
        yield bus
    finally:
        bus.disconnect()
        await bus.wait_for_disconnect()


@asynccontextmanager
async def connected_client(address: str) -> AsyncIterator[tuple[HostBus, list[Event]]]:
    """A client on the bus, and what it publishes."""
    told: list[Event] = []
    client = HostBus(address, told.append)
    assert await client.connect()
    try:
        yield client, told
    finally:
        await client.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.02)


def named(name: str) -> Callable[[Message], Message]:
    """Answers that the machine has that name."""
    return lambda message: Message.new_method_return(message, "a{sv}", [{"StaticHostname": Variant("s", name)}])


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        ("", []),
        ("s", ["abc"]),
        ("u", [3]),
        ("a{ss}", [{"StaticHostname": "attic"}]),
        ("a{sv}s", [{"StaticHostname": Variant("s", "attic")}, "more"]),
    ],
)
async def test_properties_in_another_form_are_refused_and_cost_no_other_fields(
    tmp_path: Path, socket_folder: Path, signature: str, body: list[Any]
) -> None:
    def answer(message: Message) -> Message:
        return Message.new_method_return(message, signature, body)

    async with house(tmp_path, socket_folder, SYSTEMD) as home, liar(home.bus.address, answer):
        bus = home.system.services.get(SYSTEM_BUS)
        await until(lambda: bus.has(HOSTNAME))
        with pytest.raises(BusUnavailable, match=r"where a\{sv\} is expected"):
            await bus.read(Host, HOST)
        found = (await home.client.get("/host/info")).data

    assert (found["hostname"], found["virtualization"]) == (socket.gethostname(), "kvm")


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        ("sas", [HOSTNAME, ["StaticHostname"]]),
        ("sa{sv}", [HOSTNAME, {"StaticHostname": Variant("s", "cellar")}]),
        ("sa{ss}as", [HOSTNAME, {"StaticHostname": "cellar"}, []]),
    ],
)
async def test_change_that_is_told_in_another_form_changes_nothing(
    socket_folder: Path, signature: str, body: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        private_bus(socket_folder) as bus,
        liar(bus.address, named("attic")) as service,
        connected_client(bus.address) as (client, told),
    ):
        await client.read(Host, HOST)
        for form, arguments in (
            (signature, body),
            ("sa{sv}as", [HOSTNAME, {"Chassis": Variant("s", "server")}, []]),
        ):
            await service.send(Message.new_signal(HOST.path, PROPERTIES, "PropertiesChanged", form, arguments))
        await until(lambda: interface.BusPropertiesChanged(HOST, {"Chassis": "server"}) in told)

        assert client.remembered(Host, HOST) == Host(name="attic")

    assert not [record for record in caplog.records if record.name.startswith("dbus_fast")]


async def test_property_that_was_written_is_read_again_though_its_service_tells_nobody(socket_folder: Path) -> None:
    name = "attic"

    def answer(message: Message) -> Message:
        nonlocal name
        if message.member == "Set":
            name = message.body[2].value
            return Message.new_method_return(message)
        return named(name)(message)

    async with (
        private_bus(socket_folder) as bus,
        liar(bus.address, answer),
        connected_client(bus.address) as (client, _),
    ):
        before, revision = await client.read(Host, HOST), client.revision

        await client.write(HOST, "StaticHostname", interface.Variant("s", "cellar"))

        assert client.revision != revision
        assert (before, await client.read(Host, HOST)) == (Host(name="attic"), Host(name="cellar"))


async def test_service_that_hung_is_asked_at_once_when_it_was_started_again(
    socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_bus, "READ_S", 0.5)
    async with private_bus(socket_folder) as bus, connected_client(bus.address) as (client, _):
        async with liar(bus.address, lambda _: None):
            await until(lambda: client.has(HOSTNAME))
            with pytest.raises(BusUnavailable, match="did not answer"):
                await client.read(Host, HOST)
        await until(lambda: not client.has(HOSTNAME))

        async with liar(bus.address, named("attic")):
            await until(lambda: client.has(HOSTNAME))
            assert await client.read(Host, HOST) == Host(name="attic")


async def test_signals_of_a_stranger_are_nobodys(socket_folder: Path) -> None:
    """Sent to us alone, a signal needs no rule that lets it through."""
    async with (
        private_bus(socket_folder) as bus,
        liar(bus.address, named("attic")) as service,
        connected_client(bus.address) as (client, told),
    ):
        stranger = await MessageBus(bus_address=bus.address).connect()
        assert client._client is not None
        ours = client._client.bus.unique_name
        await client.read(Host, HOST)
        revision = client.revision

        async with client.listening(HOST, "Renamed") as signals:
            for sender, name in ((stranger, "cellar"), (service, "roof")):
                renamed = Message.new_signal(HOST.path, HOSTNAME, "Renamed", "s", [name])
                changed = Message.new_signal(HOST.path, PROPERTIES, "PropertiesChanged", "sa{sv}as",
                    [HOSTNAME, {"StaticHostname": Variant("s", name)}, []])  # fmt: skip
                for message in (changed, renamed):
                    message.destination = ours
                    await sender.send(message)
                await until(partial(lambda before: client.revision >= before + 2, revision))
                revision = client.revision
            async with asyncio.timeout(5):
                first = await anext(signals)
        stranger.disconnect()
        await stranger.wait_for_disconnect()

        assert first == ("roof",)
        assert [event.changed for event in told if isinstance(event, interface.BusPropertiesChanged)] == [
            {"StaticHostname": "roof"}
        ]

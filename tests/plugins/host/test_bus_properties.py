"""Properties of objects on the system bus: read once, kept while that is right, and read again when it is not."""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path

import pytest
from dbus_fast import Message
from dbus_fast import Variant as WireVariant
from dbus_fast.aio import MessageBus

from rooftree.interfaces.bus import (
    BusMethod,
    BusObject,
    BusPropertiesChanged,
    BusServiceChanged,
    BusUnavailable,
    Variant,
)
from rooftree_host import bus_properties, system_bus
from rooftree_host.system_bus import HostBus
from tests.bus.machine import HOSTNAME, TIMEDATE
from tests.bus.private_bus import PrivateBus, Services, services
from tests.bus.stand_ins import PROPERTIES
from tests.plugins.host.bus_client import CLOCK, HOST, OS_AGENT, Agent, ClockState, Host, Told, connected
from tests.rig.waiting import until


async def test_properties_are_read_once_and_shown_as_they_change(
    machine: Services, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    first = await asyncio.gather(*(client.read(Host, HOST) for _ in range(20)))
    asked = await machine.calls()
    await client.read(Host, HOST)

    await machine.change(HOSTNAME, HOST.path, HOSTNAME, StaticHostname="cellar")
    event = await told.until(lambda event: isinstance(event, BusPropertiesChanged))
    after = await client.read(Host, HOST)

    assert set(first) == {Host(name="attic", chassis="embedded")}
    assert asked == [("GetAll", [HOSTNAME])]
    assert event == BusPropertiesChanged(HOST, {"StaticHostname": "cellar"})
    assert after == Host(name="cellar", chassis="embedded")
    assert await machine.calls() == []


async def test_object_that_is_watched_no_more_is_not_heard_of_until_it_is_read_again(
    machine: Services, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    await client.read(Host, HOST)
    await client.read(ClockState, CLOCK)
    await client.unwatch(HOST)
    await client.unwatch(OS_AGENT)  # nobody has read that
    remembered = client.remembered(Host, HOST)
    await machine.change(HOSTNAME, HOST.path, HOSTNAME, StaticHostname="cellar")
    await machine.change(TIMEDATE, CLOCK.path, TIMEDATE, NTPSynchronized=False)
    heard = await told.until(lambda event: isinstance(event, BusPropertiesChanged))
    again = await client.read(Host, HOST)
    await machine.change(HOSTNAME, HOST.path, HOSTNAME, StaticHostname="attic")
    await told.until(lambda event: event == BusPropertiesChanged(HOST, {"StaticHostname": "attic"}))

    assert remembered is None
    assert heard == BusPropertiesChanged(CLOCK, {"NTPSynchronized": False})
    assert again.name == "cellar"


async def test_property_of_which_only_the_change_is_told_is_read_again(
    machine: Services, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    await client.read(Host, HOST)
    await machine.change(HOSTNAME, HOST.path, HOSTNAME, told=False, StaticHostname="cellar")

    await machine.order(
        do="signal", service=HOSTNAME, path=HOST.path, interface="org.freedesktop.DBus.Properties",
        name="PropertiesChanged", signature="sa{sv}as", arguments=[HOSTNAME, {}, ["StaticHostname"]],
    )  # fmt: skip

    await told.until(lambda event: isinstance(event, BusPropertiesChanged))
    assert (await client.read(Host, HOST)).name == "cellar"


async def test_what_is_read_anew_is_what_is_remembered_from_then_on(
    machine: Services, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    await client.read(Host, HOST)
    assert (await client.read(Host, HOST)).name == "attic"
    before = client.revision
    await machine.change(HOSTNAME, HOST.path, HOSTNAME, told=False, StaticHostname="cellar")

    await client.forget()
    forgotten = client.revision
    names = [(await client.read(Host, HOST)).name for _ in range(2)]

    assert names == ["cellar", "cellar"]
    assert before < forgotten < client.revision


async def test_nobody_is_told_what_is_void_while_another_reads_it_anew(
    machine: Services, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    await client.read(Host, HOST)
    await machine.change(HOSTNAME, HOST.path, HOSTNAME, told=False, StaticHostname="cellar")
    await client.forget()
    await machine.calls()
    await machine.order(do="hang", service=HOSTNAME)
    first = asyncio.create_task(client.read(Host, HOST))
    while await machine.calls() == []:
        await asyncio.sleep(0.01)

    second = asyncio.create_task(client.read(Host, HOST))
    await asyncio.sleep(0)
    await machine.order(do="answer", service=HOSTNAME)

    assert [each.name for each in await asyncio.gather(first, second)] == ["cellar", "cellar"]


async def test_answer_that_was_made_before_a_change_and_comes_after_it_is_not_kept(
    bus: PrivateBus, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    name = "StaticHostname"
    asked: asyncio.Queue[Message] = asyncio.Queue()
    service = await MessageBus(bus_address=bus.address).connect()
    service.add_message_handler(lambda message: asked.put_nowait(message) or message.member == "GetAll")
    await service.request_name(HOSTNAME)
    await told.until(lambda event: event == BusServiceChanged(HOSTNAME, runs=True))
    while not asked.empty():
        asked.get_nowait()

    reading = asyncio.create_task(client.read(Host, HOST))
    question = await asked.get()
    change = [HOSTNAME, {name: WireVariant("s", "cellar")}, []]
    await service.send(Message.new_signal(HOST.path, PROPERTIES, "PropertiesChanged", "sa{sv}as", change))
    await service.send(Message.new_method_return(question, "a{sv}", [{name: WireVariant("s", "attic")}]))
    first = await reading
    again = asyncio.create_task(client.read(Host, HOST))
    async with asyncio.timeout(2):
        question = await asked.get()
    await service.send(Message.new_method_return(question, "a{sv}", [{name: WireVariant("s", "cellar")}]))

    assert (first.name, (await again).name) == ("attic", "cellar")
    service.disconnect()


async def test_what_is_missing_or_of_another_kind_is_none(machine: Services, client: HostBus, told: Told) -> None:
    await connected(client, told)

    host = await client.read(Host, HOST)

    assert (host.nonsense, host.wrong) == (None, None)


async def test_what_is_not_told_is_asked_for_again_when_it_is_old(
    machine: Services, client: HostBus, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connected(client, told)
    before = await client.read(ClockState, CLOCK)
    await machine.change(TIMEDATE, CLOCK.path, TIMEDATE, told=False, NTPSynchronized=False)
    soon = await client.read(ClockState, CLOCK)

    monkeypatch.setattr(bus_properties, "UNTOLD_S", 0.0)
    later = await client.read(ClockState, CLOCK)
    monkeypatch.setattr(bus_properties, "UNTOLD_S", 60.0)

    assert client.remembered(ClockState, CLOCK) == later
    assert (before.synchronized, soon.synchronized, later.synchronized) == (True, True, False)


async def test_property_is_written(machine: Services, client: HostBus, told: Told) -> None:
    await connected(client, told)
    before = await client.read(Agent, OS_AGENT)

    await client.write(OS_AGENT, "Diagnostics", Variant("b", True))

    assert (before.diagnostics, (await client.read(Agent, OS_AGENT)).diagnostics) == (False, True)


async def test_service_that_is_started_again_is_read_again(bus: PrivateBus, client: HostBus, told: Told) -> None:
    await connected(client, told)
    async with services(bus.address, HOSTNAME) as first:
        await told.until(lambda event: event == BusServiceChanged(HOSTNAME, runs=True))
        await first.change(HOSTNAME, HOST.path, HOSTNAME, StaticHostname="cellar")
        before = await client.read(Host, HOST)
    await told.until(lambda event: event == BusServiceChanged(HOSTNAME, runs=False))

    async with services(bus.address, HOSTNAME):
        await told.until(lambda event: told.events.count(BusServiceChanged(HOSTNAME, runs=True)) == 2 and bool(event))
        after = await client.read(Host, HOST)

    assert (before.name, after.name) == ("cellar", "attic")


async def test_service_that_hangs_costs_one_wait_and_is_asked_again_later(
    machine: Services, client: HostBus, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_bus, "READ_S", 0.3)
    await connected(client, told)
    await machine.order(do="hang", service=HOSTNAME)
    with pytest.raises(BusUnavailable, match="did not answer"):
        await client.read(Host, HOST)
    began = asyncio.get_running_loop().time()
    with pytest.raises(BusUnavailable, match="does not answer"):
        await client.read(Host, HOST)
    took_s = asyncio.get_running_loop().time() - began
    other = await client.read(ClockState, CLOCK)

    await machine.order(do="answer", service=HOSTNAME)
    client._silent_until.clear()  # instead of waiting for it

    assert took_s < 0.1
    assert other.synchronized is True
    assert (await client.read(Host, HOST)).name == "attic"


async def test_who_waits_for_a_reading_gets_it_though_its_first_asker_is_cancelled(
    machine: Services, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    await machine.order(do="hang", service=HOSTNAME)
    first, second, third = (asyncio.create_task(client.read(Host, HOST)) for _ in range(3))
    await asyncio.sleep(0.05)
    first.cancel()
    await asyncio.wait({first})
    await asyncio.sleep(0)
    third.cancel()
    await asyncio.wait({third})
    await machine.order(do="answer", service=HOSTNAME)

    async with asyncio.timeout(2):
        assert (await second).name == "attic"
    assert (await client.read(Host, HOST)).name == "attic"


async def test_service_that_hangs_is_asked_once_however_many_give_up_and_come_again(
    machine: Services, client: HostBus, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_bus, "READ_S", 0.2)
    monkeypatch.setattr(system_bus, "SILENCE_S", 0.0)
    await connected(client, told)
    await machine.order(do="hang", service=HOSTNAME)
    for _ in range(200):  # more than the bus lets a connection have unanswered
        impatient = asyncio.create_task(client.read(Host, HOST))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait({impatient})
    for _ in range(2):
        with pytest.raises(BusUnavailable, match=r"did not answer GetAll within 0\.2 s"):
            await client.read(Host, HOST)

    assert await machine.calls() == [("GetAll", [HOSTNAME])]
    assert (await client.read(ClockState, CLOCK)).synchronized is True
    await machine.order(do="answer", service=HOSTNAME)
    assert (await client.read(Host, HOST)).name == "attic"


async def test_reading_that_fails_when_nobody_waits_any_more_is_no_error_of_the_loop(
    machine: Services, client: HostBus, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    await connected(client, told)
    await machine.order(do="hang", service=HOSTNAME)
    impatient = asyncio.create_task(client.read(Host, HOST))
    while await machine.calls() == []:
        await asyncio.sleep(0.01)
    impatient.cancel()
    await asyncio.wait({impatient})

    await machine.order(do="vanish", service=HOSTNAME)
    await told.until(lambda event: event == BusServiceChanged(HOSTNAME, runs=False))
    await client.call(system_bus.BUS, BusMethod("GetId", "", "s"))  # comes after all that the bus has told
    del impatient  # which remembers what it waited for
    await asyncio.to_thread(gc.collect)

    assert client._client is not None and client._client.waiting == {}
    assert [
        record.message for record in caplog.records if record.name == "asyncio" and record.levelname == "ERROR"
    ] == []


async def test_hundreds_of_objects_are_read_at_once(machine: Services, client: HostBus, told: Told) -> None:
    await connected(client, told)
    many = [BusObject(HOSTNAME, f"/org/freedesktop/hostname1/{number}", HOSTNAME) for number in range(300)]
    for at in many:
        values = {"StaticHostname": ("s", at.path)}
        await machine.order(do="put", service=HOSTNAME, path=at.path, interface=HOSTNAME, values=values)

    found = await asyncio.gather(*(client.read(Host, at) for at in many))

    assert [each.name for each in found] == [at.path for at in many]


async def test_what_fails_for_the_first_asker_fails_for_all_and_is_asked_once(
    machine: Services,
    client: HostBus,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(system_bus, "READ_S", 0.2)
    await connected(client, told)
    await client.watch(HOST)
    await machine.order(do="hang", service=HOSTNAME)
    began = asyncio.get_running_loop().time()

    failed = await asyncio.gather(*(client.read(Host, HOST) for _ in range(5)), return_exceptions=True)

    assert asyncio.get_running_loop().time() - began < 0.4
    assert caplog.text.count("bus_service_does_not_answer") == 1
    assert [str(each) for each in failed] == [str(failed[0])] * 5
    assert "did not answer GetAll" in str(failed[0])


async def test_answer_of_a_service_that_has_lost_its_name_meanwhile_is_not_kept(
    bus: PrivateBus, machine: Services, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    await machine.change(HOSTNAME, HOST.path, HOSTNAME, StaticHostname="cellar")
    await machine.order(do="hang", service=HOSTNAME)
    reading = asyncio.create_task(client.read(Host, HOST))
    while await machine.calls() == []:
        await asyncio.sleep(0.01)
    told.events.clear()

    async with services(bus.address, HOSTNAME):  # waits for the name
        await machine.order(do="storm", service=HOSTNAME, times=1)
        await told.until(lambda event: event == BusServiceChanged(HOSTNAME, runs=True))
        await machine.order(do="answer", service=HOSTNAME)

        assert [(await reading).name, (await client.read(Host, HOST)).name] == ["cellar", "attic"]


async def test_service_that_is_started_by_being_read_need_not_be_read_again(
    bus: PrivateBus, told: Told, client: HostBus
) -> None:
    program = f"{sys.executable} -m tests.bus.stand_ins {bus.address} {HOSTNAME}"
    bus.offers(HOSTNAME, f"/bin/sh -c 'sleep 3 | {program}'")
    await bus.kill()
    await bus.start()
    await until(lambda: _is_activatable(client), within_s=10, what="the bus that can start it")

    assert (await client.read(Host, HOST)).name == "attic"

    assert BusServiceChanged(HOSTNAME, runs=True) in told.events
    assert client.remembered(Host, HOST) is not None


async def _is_activatable(client: HostBus) -> bool:
    return client.connected and client.is_activatable(HOSTNAME)


async def test_service_that_is_started_on_demand_keeps_what_it_said_when_it_ends(
    bus: PrivateBus, told: Told, client: HostBus, socket_folder: Path
) -> None:
    bus.offers(HOSTNAME, "/bin/false")
    await bus.kill()
    await bus.start()
    told.events.clear()
    await connected(client, told)
    async with services(bus.address, HOSTNAME):
        await told.until(lambda event: event == BusServiceChanged(HOSTNAME, runs=True))
        await client.read(Host, HOST)
        await client.read(Host, HOST)
    await told.until(lambda event: event == BusServiceChanged(HOSTNAME, runs=False))

    assert client.has(HOSTNAME)
    assert (await client.read(Host, HOST)).name == "attic"

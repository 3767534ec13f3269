"""The client of the system bus, on a real dbus-daemon: what is read and kept, and what happens when parts go away."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from attrs import frozen

from rooftree import Event
from rooftree.interfaces.bus import (
    BusConnected,
    BusLost,
    BusMethod,
    BusObject,
    BusPropertiesChanged,
    BusRefused,
    BusServiceChanged,
    BusUnavailable,
    Variant,
    bus_property,
)
from rooftree_host import bus_properties, system_bus
from rooftree_host.system_bus import SystemBusClient
from tests.bus.machine import AGENT, HOSTNAME, MANAGER, SYSTEMD, SYSTEMD_PATH, TIMEDATE
from tests.bus.private_bus import PrivateBus, Services, services
from tests.e2e.rig.waiting import until

HOST = BusObject(HOSTNAME, "/org/freedesktop/hostname1", HOSTNAME)
CLOCK = BusObject(TIMEDATE, "/org/freedesktop/timedate1", TIMEDATE)
UNITS = BusObject(SYSTEMD, SYSTEMD_PATH, MANAGER)
OS_AGENT = BusObject(AGENT, "/io/hass/os", AGENT)
SET_HOSTNAME = BusMethod("SetStaticHostname", "sb")
START_UNIT = BusMethod("StartUnit", "ss", "o")


@frozen(kw_only=True)
class Host:
    """Some of what hostnamed knows."""

    name: str | None = bus_property("StaticHostname", "s")
    chassis: str | None = bus_property("Chassis", "s")
    nonsense: str | None = bus_property("Nonsense", "s")
    wrong: int | None = bus_property("Deployment", "u")


@frozen(kw_only=True)
class ClockState:
    """A property that nobody tells of."""

    synchronized: bool | None = bus_property("NTPSynchronized", "b", told=False)


@frozen(kw_only=True)
class Agent:
    """The agent's."""

    version: str | None = bus_property("Version", "s")
    diagnostics: bool | None = bus_property("Diagnostics", "b")


class Told:
    """The events, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, true: Callable[[Event], bool]) -> Event:
        """The first event of which that is true, once it has come."""
        async with asyncio.timeout(10):
            while True:
                self._changed.clear()
                for event in self.events:
                    if true(event):
                        return event
                await self._changed.wait()


@pytest.fixture
async def bus(socket_folder: Path) -> AsyncIterator[PrivateBus]:
    """A bus of the test's own."""
    bus = PrivateBus(socket_folder)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.kill()


@pytest.fixture
async def machine(bus: PrivateBus) -> AsyncIterator[Services]:
    """The services on it."""
    async with services(bus.address) as running:
        yield running


@pytest.fixture
def told() -> Told:
    """What the client publishes."""
    return Told()


@pytest.fixture
async def client(socket_folder: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SystemBusClient]:
    """A client that keeps connected."""
    monkeypatch.setattr(system_bus, "RETRY_S", 0.05)
    client = SystemBusClient(f"unix:path={socket_folder / 'bus'}", told)
    running = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        running.cancel()
        await client.close()


async def connected(client: SystemBusClient, told: Told) -> None:
    await told.until(lambda event: isinstance(event, BusConnected))
    assert client.connected


async def test_properties_are_read_once_and_shown_as_they_change(
    machine: Services, client: SystemBusClient, told: Told
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


async def test_property_of_which_only_the_change_is_told_is_read_again(
    machine: Services, client: SystemBusClient, told: Told
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
    machine: Services, client: SystemBusClient, told: Told
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


async def test_what_is_missing_or_of_another_kind_is_none(
    machine: Services, client: SystemBusClient, told: Told
) -> None:
    await connected(client, told)

    host = await client.read(Host, HOST)

    assert (host.nonsense, host.wrong) == (None, None)


async def test_what_is_not_told_is_asked_for_again_when_it_is_old(
    machine: Services, client: SystemBusClient, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connected(client, told)
    before = await client.read(ClockState, CLOCK)
    await machine.change(TIMEDATE, CLOCK.path, TIMEDATE, told=False, NTPSynchronized=False)
    soon = await client.read(ClockState, CLOCK)

    monkeypatch.setattr(bus_properties, "UNTOLD_S", 0.0)
    later = await client.read(ClockState, CLOCK)

    assert (before.synchronized, soon.synchronized, later.synchronized) == (True, True, False)


async def test_method_is_called_and_its_effect_seen(machine: Services, client: SystemBusClient, told: Told) -> None:
    await connected(client, told)
    await client.read(Host, HOST)

    answer = await client.call(HOST, SET_HOSTNAME, "cellar", False)
    job = await client.call(UNITS, START_UNIT, "ssh.service", "replace")
    await told.until(lambda event: isinstance(event, BusPropertiesChanged))

    assert (answer, job) == (None, f"{SYSTEMD_PATH}/job/1")
    assert (await client.read(Host, HOST)).name == "cellar"


async def test_refusal_has_the_services_reason_and_its_name(
    machine: Services, client: SystemBusClient, told: Told
) -> None:
    await connected(client, told)

    with pytest.raises(BusRefused, match=r"Unit nothing\.service not found") as refused:
        await client.call(UNITS, START_UNIT, "nothing.service", "replace")

    assert refused.value.name == "org.freedesktop.systemd1.NoSuchUnit"


async def test_answer_of_another_form_is_refused(machine: Services, client: SystemBusClient, told: Told) -> None:
    await connected(client, told)

    with pytest.raises(BusUnavailable, match="answers StartUnit with o, where u is expected"):
        await client.call(UNITS, BusMethod("StartUnit", "ss", "u"), "ssh.service", "replace")


async def test_property_is_written(machine: Services, client: SystemBusClient, told: Told) -> None:
    await connected(client, told)
    before = await client.read(Agent, OS_AGENT)

    await client.write(OS_AGENT, "Diagnostics", Variant("b", True))

    assert (before.diagnostics, (await client.read(Agent, OS_AGENT)).diagnostics) == (False, True)


async def test_without_a_bus_everything_says_so_at_once(client: SystemBusClient, socket_folder: Path) -> None:
    began = asyncio.get_running_loop().time()

    for asked in (client.read(Host, HOST), client.call(UNITS, START_UNIT, "a", "b"), client.objects(SYSTEMD, "/")):
        with pytest.raises(BusUnavailable, match="There is no system bus"):
            await asked

    assert asyncio.get_running_loop().time() - began < 0.5
    assert not client.has(HOSTNAME)


async def test_service_that_is_not_there_is_said_and_noticed_when_it_comes(
    bus: PrivateBus, client: SystemBusClient, told: Told
) -> None:
    await connected(client, told)
    with pytest.raises(BusUnavailable, match=HOSTNAME):
        await client.read(Host, HOST)
    before = client.has(HOSTNAME)

    async with services(bus.address, HOSTNAME):
        await told.until(lambda event: event == BusServiceChanged(HOSTNAME, runs=True))
        there = (client.has(HOSTNAME), (await client.read(Host, HOST)).name)
    await told.until(lambda event: event == BusServiceChanged(HOSTNAME, runs=False))

    assert (before, there, client.has(HOSTNAME)) == (False, (True, "attic"), False)
    with pytest.raises(BusUnavailable):
        await client.read(Host, HOST)


async def test_service_that_is_started_again_is_read_again(
    bus: PrivateBus, client: SystemBusClient, told: Told
) -> None:
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


async def test_service_that_ends_in_the_middle_of_a_call_is_unavailable(
    machine: Services, client: SystemBusClient, told: Told
) -> None:
    await connected(client, told)
    await machine.order(do="hang", service=SYSTEMD)
    calling = asyncio.create_task(client.call(UNITS, START_UNIT, "ssh.service", "replace"))
    await asyncio.sleep(0.1)

    await machine.kill()

    with pytest.raises(BusUnavailable):
        async with asyncio.timeout(5):
            await calling


async def test_bus_that_dies_in_the_middle_of_a_call_is_unavailable_and_found_again(
    bus: PrivateBus, machine: Services, client: SystemBusClient, told: Told
) -> None:
    await connected(client, told)
    await client.read(Host, HOST)
    await machine.order(do="hang", service=SYSTEMD)
    calling = asyncio.create_task(client.call(UNITS, START_UNIT, "ssh.service", "replace"))
    await asyncio.sleep(0.1)

    await bus.kill()
    with pytest.raises(BusUnavailable):
        async with asyncio.timeout(5):
            await calling
    await told.until(lambda event: isinstance(event, BusLost))
    with pytest.raises(BusUnavailable, match=r"gone|reached"):
        await client.read(Host, HOST)
    told.events.clear()
    await bus.start()

    await connected(client, told)
    async with services(bus.address, HOSTNAME):
        await told.until(lambda event: event == BusServiceChanged(HOSTNAME, runs=True))
        assert (await client.read(Host, HOST)).name == "attic"


async def test_service_that_hangs_costs_one_wait_and_is_asked_again_later(
    machine: Services, client: SystemBusClient, told: Told, monkeypatch: pytest.MonkeyPatch
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


async def test_service_that_hung_is_asked_at_once_on_another_bus(
    bus: PrivateBus,
    machine: Services,
    client: SystemBusClient,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(system_bus, "READ_S", 0.3)
    await connected(client, told)
    await machine.order(do="hang", service=HOSTNAME)
    with pytest.raises(BusUnavailable, match="did not answer"):
        await client.read(Host, HOST)
    monkeypatch.setattr(system_bus, "READ_S", 5.0)

    await bus.kill()
    await told.until(lambda event: isinstance(event, BusLost))
    monkeypatch.setattr(client, "_address", "unix:path=/nowhere")
    await bus.start()
    async with services(bus.address, HOSTNAME):  # before we come
        told.events.clear()
        monkeypatch.setattr(client, "_address", bus.address)
        await connected(client, told)

        assert (await client.read(Host, HOST)).name == "attic"


async def test_call_that_meets_the_breaking_of_the_connection_is_unavailable_and_the_next_is_answered(
    machine: Services, client: SystemBusClient, told: Told
) -> None:
    await connected(client, told)
    assert client._connection is not None
    told.events.clear()
    client._connection.bus._sock.shutdown(socket.SHUT_WR)  # noticed by who writes next

    with pytest.raises(BusUnavailable, match="went away while"):
        async with asyncio.timeout(2):
            await client.call(HOST, SET_HOSTNAME, "cellar", False)

    await connected(client, told)
    assert (await client.read(Host, HOST)).name == "attic"


async def test_call_that_is_given_up_leaves_nothing_behind(
    machine: Services, client: SystemBusClient, told: Told
) -> None:
    await connected(client, told)
    await machine.order(do="hang", service=SYSTEMD)
    for _ in range(3):
        with pytest.raises(BusUnavailable, match=r"did not answer StartUnit within 0\.05 s"):
            await client.call(UNITS, START_UNIT, "ssh.service", "replace", timeout_s=0.05)
    given_up = asyncio.create_task(client.call(UNITS, START_UNIT, "ssh.service", "replace"))
    await asyncio.sleep(0.05)
    given_up.cancel()
    await asyncio.wait({given_up})
    connection = client._connection
    assert connection is not None
    assert connection.waiting == {}
    assert connection.bus._method_return_handlers == {}

    await machine.order(do="answer", service=SYSTEMD)  # what comes late is nobody's

    assert str(await client.call(UNITS, START_UNIT, "ssh.service", "replace")).startswith("/")


async def test_who_waits_for_a_reading_gets_it_though_its_first_asker_is_cancelled(
    machine: Services, client: SystemBusClient, told: Told
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


async def test_what_fails_for_the_first_asker_fails_for_all_and_is_asked_once(
    machine: Services, client: SystemBusClient, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_bus, "READ_S", 0.2)
    await connected(client, told)
    await client.watch(HOST)
    await machine.order(do="hang", service=HOSTNAME)
    began = asyncio.get_running_loop().time()

    failed = await asyncio.gather(*(client.read(Host, HOST) for _ in range(5)), return_exceptions=True)

    assert asyncio.get_running_loop().time() - began < 0.4
    assert [str(each) for each in failed] == [str(failed[0])] * 5
    assert "did not answer GetAll" in str(failed[0])


@pytest.mark.parametrize("name", ["at\0tic", "\ud800"])
async def test_what_the_bus_has_no_words_for_is_refused_and_costs_no_connection(
    machine: Services, client: SystemBusClient, told: Told, name: str
) -> None:
    await connected(client, told)

    with pytest.raises(BusRefused, match=r"SetStaticHostname of .* cannot be called like that"):
        await client.call(HOST, SET_HOSTNAME, name, False)

    assert await machine.calls() == []
    assert (await client.read(Host, HOST)).name == "attic"


async def test_signals_reach_who_listens_until_the_service_goes(
    machine: Services, client: SystemBusClient, told: Told
) -> None:
    await connected(client, told)
    signal = {"do": "signal", "service": SYSTEMD, "path": SYSTEMD_PATH, "interface": MANAGER}
    async with client.listening(UNITS, "JobRemoved") as signals:
        await machine.order(**signal, name="JobNew", signature="u", arguments=[1])
        await machine.order(**signal, name="JobRemoved", signature="us", arguments=[7, "done"])
        async with asyncio.timeout(5):
            first = await anext(signals)
            await machine.kill()
            with pytest.raises(BusUnavailable, match="went away"):
                await anext(signals)

    assert first == (7, "done")
    assert client._listeners == {}


async def test_who_stops_listening_takes_the_signals_from_nobody_else_and_the_last_from_the_bus(
    machine: Services, client: SystemBusClient, told: Told
) -> None:
    await connected(client, told)
    signal = {"do": "signal", "service": SYSTEMD, "path": SYSTEMD_PATH, "interface": MANAGER, "name": "JobRemoved"}
    async with client.listening(UNITS, "JobRemoved") as signals:
        async with client.listening(UNITS, "JobRemoved"):
            pass
        await machine.order(**signal, signature="us", arguments=[7, "done"])
        async with asyncio.timeout(5):
            heard = await anext(signals)
    revision = client.revision

    await machine.order(**signal, signature="us", arguments=[8, "done"])
    await client.call(UNITS, START_UNIT, "ssh.service", "replace")  # behind which nothing is under way

    assert heard == (7, "done")
    assert client.revision == revision


async def test_service_that_comes_and_goes_a_thousand_times_does_no_harm(
    machine: Services, client: SystemBusClient, told: Told
) -> None:
    await connected(client, told)
    await client.read(Host, HOST)

    await machine.order(do="storm", service=HOSTNAME, times=1000)
    await client.call(system_bus.BUS, BusMethod("GetId", "", "s"))  # comes after all that the bus has told

    assert (await client.read(Host, HOST)).name == "attic"
    assert client.has(HOSTNAME)


async def test_answer_of_a_service_that_has_lost_its_name_meanwhile_is_not_kept(
    bus: PrivateBus, machine: Services, client: SystemBusClient, told: Told
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
    bus: PrivateBus, told: Told, client: SystemBusClient
) -> None:
    program = f"{sys.executable} -m tests.bus.stand_ins {bus.address} {HOSTNAME}"
    bus.offers(HOSTNAME, f"/bin/sh -c 'sleep 3 | {program}'")
    await bus.kill()
    await bus.start()
    await until(lambda: _is_activatable(client), within_s=10, what="the bus that can start it")

    assert (await client.read(Host, HOST)).name == "attic"

    assert BusServiceChanged(HOSTNAME, runs=True) in told.events
    assert client.remembered(Host, HOST) is not None


async def _is_activatable(client: SystemBusClient) -> bool:
    return client.connected and client.is_activatable(HOSTNAME)


async def test_service_that_is_started_on_demand_keeps_what_it_said_when_it_ends(
    bus: PrivateBus, told: Told, client: SystemBusClient, socket_folder: Path
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


async def test_connection_whose_watcher_is_ended_is_lost_and_can_be_closed(
    machine: Services, client: SystemBusClient, told: Told
) -> None:
    await connected(client, told)
    connection = client._connection
    assert connection is not None and connection.watcher is not None

    connection.watcher.cancel()

    async with asyncio.timeout(5):
        await asyncio.wait({connection.watcher})
        await client.close()
    assert connection.lost.done()


@pytest.mark.parametrize("address", ["unix:path=/nonexistent/bus", "nonsense", "unix:path=/dev/null", "tcp:host="])
async def test_address_that_leads_nowhere_is_said_and_waits_for_nobody(address: str, told: Told) -> None:
    client = SystemBusClient(address, told)

    async with asyncio.timeout(1):
        assert not await client.connect()

    with pytest.raises(BusUnavailable, match="There is no system bus"):
        await client.read(Host, HOST)

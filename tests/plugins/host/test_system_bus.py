"""The client of the system bus, on a real dbus-daemon: its calls and signals, and what happens when parts go away."""

from __future__ import annotations

import asyncio
import gc
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rooftree.interfaces.bus import (
    BusLost,
    BusMethod,
    BusObject,
    BusPropertiesChanged,
    BusRefused,
    BusServiceChanged,
    BusUnavailable,
)
from rooftree_host import system_bus
from rooftree_host.system_bus import HostBus
from tests.bus.machine import HOSTNAME, MANAGER, SYSTEMD, SYSTEMD_PATH
from tests.bus.private_bus import PrivateBus, Services, services
from tests.plugins.host.bus_client import HOST, SET_HOSTNAME, START_UNIT, UNITS, Host, Told, connected
from tests.rig.waiting import until


async def test_method_is_called_and_its_effect_seen(machine: Services, client: HostBus, told: Told) -> None:
    await connected(client, told)
    await client.read(Host, HOST)

    answer = await client.call(HOST, SET_HOSTNAME, "cellar", False)
    job = await client.call(UNITS, START_UNIT, "ssh.service", "replace")
    await told.until(lambda event: isinstance(event, BusPropertiesChanged))

    assert (answer, job) == (None, f"{SYSTEMD_PATH}/job/1")
    assert (await client.read(Host, HOST)).name == "cellar"


async def test_refusal_has_the_services_reason_and_its_name(machine: Services, client: HostBus, told: Told) -> None:
    await connected(client, told)

    with pytest.raises(BusRefused, match=r"Unit nothing\.service not found") as refused:
        await client.call(UNITS, START_UNIT, "nothing.service", "replace")

    assert refused.value.name == "org.freedesktop.systemd1.NoSuchUnit"


async def test_answer_of_another_form_is_refused(machine: Services, client: HostBus, told: Told) -> None:
    await connected(client, told)

    with pytest.raises(BusUnavailable, match="answers StartUnit with o, where u is expected"):
        await client.call(UNITS, BusMethod("StartUnit", "ss", "u"), "ssh.service", "replace")


async def test_without_a_bus_everything_says_so_at_once(client: HostBus, socket_folder: Path) -> None:
    began = asyncio.get_running_loop().time()

    for asked in (client.read(Host, HOST), client.call(UNITS, START_UNIT, "a", "b"), client.objects(SYSTEMD, "/")):
        with pytest.raises(BusUnavailable, match="There is no system bus"):
            await asked

    assert asyncio.get_running_loop().time() - began < 0.5
    assert not client.has(HOSTNAME)


async def test_service_that_is_not_there_is_said_and_noticed_when_it_comes(
    bus: PrivateBus, client: HostBus, told: Told
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


async def test_service_that_is_installed_later_is_there_once_everything_is_asked_anew(
    bus: PrivateBus, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    bus.offers(HOSTNAME, "/bin/false")

    async def noticed() -> bool:  # by the bus' daemon, which watches the folder
        return HOSTNAME in await client.call(system_bus.BUS, BusMethod("ListActivatableNames", "", "as"))

    await until(noticed, within_s=5, what="the service")
    before = client.has(HOSTNAME)
    forgetting = asyncio.create_task(client.forget())
    await asyncio.sleep(0)
    during = client.revision
    await forgetting

    assert client.revision != during
    assert (before, client.has(HOSTNAME), client.is_activatable(HOSTNAME)) == (False, True, True)


async def test_service_that_ends_in_the_middle_of_a_call_is_unavailable(
    machine: Services, client: HostBus, told: Told
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
    bus: PrivateBus, machine: Services, client: HostBus, told: Told
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


async def test_service_that_hung_is_asked_at_once_on_another_bus(
    bus: PrivateBus,
    machine: Services,
    client: HostBus,
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
    machine: Services, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    assert client._client is not None
    told.events.clear()
    client._client.bus._sock.shutdown(socket.SHUT_WR)  # noticed by who writes next

    with pytest.raises(BusUnavailable, match="went away while"):
        async with asyncio.timeout(2):
            await client.call(HOST, SET_HOSTNAME, "cellar", False)

    await connected(client, told)
    assert (await client.read(Host, HOST)).name == "attic"


async def test_breaking_of_the_connection_that_a_call_meets_is_no_error_of_the_loop(
    bus: PrivateBus, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    assert client._client is not None
    told.events.clear()
    client._client.bus._sock.shutdown(socket.SHUT_WR)

    for _ in range(2):
        with suppress(BusUnavailable):
            await client.call(system_bus.BUS, BusMethod("ListNames", "", "as"))
    await connected(client, told)
    gc.collect()

    assert complaints == []


async def test_service_that_was_asked_when_the_connection_broke_is_asked_at_once_on_the_next(
    machine: Services, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    await machine.order(do="hang", service=HOSTNAME)
    reading = asyncio.create_task(client.read(Host, HOST))
    while await machine.calls() == []:
        await asyncio.sleep(0.01)
    told.events.clear()
    assert client._client is not None
    client._client.bus._sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(BusUnavailable, match="went away while"):
        await reading
    await machine.order(do="answer", service=HOSTNAME)

    await connected(client, told)

    assert (await client.read(Host, HOST)).name == "attic"


async def test_who_gives_up_while_a_match_is_added_costs_no_match(
    machine: Services, client: HostBus, told: Told
) -> None:
    async def listen() -> None:
        async with client.listening(UNITS, "JobRemoved"):
            await asyncio.Future()

    await connected(client, told)
    for _ in range(520):  # the bus allows each connection 512
        for giving_up in (asyncio.create_task(client.watch(HOST)), asyncio.create_task(listen())):
            await asyncio.sleep(0)
            giving_up.cancel()
            await asyncio.wait({giving_up})

    async with client.listening(UNITS, "JobRemoved"):
        assert (await client.read(Host, HOST)).name == "attic"


async def test_bus_that_takes_no_more_calls_is_connected_to_anew(
    machine: Services, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    await machine.order(do="hang", service=SYSTEMD)
    for _ in range(128):  # as many as may be unanswered; those that nobody waits for count too
        with pytest.raises(BusUnavailable, match="did not answer"):
            await client.call(UNITS, START_UNIT, "ssh.service", "replace", timeout_s=0.001)
    told.events.clear()

    with pytest.raises(BusUnavailable, match="takes no more calls"):
        await client.call(HOST, SET_HOSTNAME, "cellar", False)

    await connected(client, told)
    await client.call(HOST, SET_HOSTNAME, "cellar", False)
    assert (await client.read(Host, HOST)).name == "cellar"


async def test_everything_asked_anew_is_asked_of_the_silent_too(
    machine: Services, client: HostBus, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_bus, "READ_S", 0.2)
    await connected(client, told)
    await machine.order(do="hang", service=HOSTNAME)
    with pytest.raises(BusUnavailable, match="did not answer"):
        await client.read(Host, HOST)
    with pytest.raises(BusUnavailable, match="does not answer"):
        await client.read(Host, HOST)
    await machine.order(do="answer", service=HOSTNAME)

    await client.forget()

    assert (await client.read(Host, HOST)).name == "attic"


async def test_call_that_is_given_up_leaves_nothing_behind(machine: Services, client: HostBus, told: Told) -> None:
    await connected(client, told)
    await machine.order(do="hang", service=SYSTEMD)
    for _ in range(3):
        with pytest.raises(BusUnavailable, match=r"did not answer StartUnit within 0\.05 s"):
            await client.call(UNITS, START_UNIT, "ssh.service", "replace", timeout_s=0.05)
    given_up = asyncio.create_task(client.call(UNITS, START_UNIT, "ssh.service", "replace"))
    await asyncio.sleep(0.05)
    given_up.cancel()
    await asyncio.wait({given_up})
    connection = client._client
    assert connection is not None
    assert connection.waiting == {}
    assert connection.bus._method_return_handlers == {}

    await machine.order(do="answer", service=SYSTEMD)  # what comes late is nobody's

    assert str(await client.call(UNITS, START_UNIT, "ssh.service", "replace")).startswith("/")


@pytest.mark.parametrize("name", ["at\0tic", "\ud800"])
async def test_what_the_bus_has_no_words_for_is_refused_and_costs_no_connection(
    machine: Services, client: HostBus, told: Told, name: str
) -> None:
    await connected(client, told)

    with pytest.raises(BusRefused, match=r"SetStaticHostname of .* cannot be called like that"):
        await client.call(HOST, SET_HOSTNAME, name, False)

    assert client._client is not None and client._client.waiting == {}
    assert await machine.calls() == []
    assert (await client.read(Host, HOST)).name == "attic"


async def test_who_gives_up_leaving_the_bus_has_left_it_all_the_same(
    machine: Services, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    await machine.order(do="hang", service=SYSTEMD)
    calling = asyncio.create_task(client.call(UNITS, START_UNIT, "ssh.service", "replace"))
    while await machine.calls() == []:
        await asyncio.sleep(0.01)

    leaving = asyncio.create_task(client.close())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait({leaving})

    with pytest.raises(BusUnavailable, match="went away"):
        await asyncio.wait_for(calling, 5)
    await told.until(lambda event: event == BusLost())


async def test_who_listens_again_is_told_again(machine: Services, client: HostBus, told: Told) -> None:
    await connected(client, told)
    for number in range(3):
        async with client.listening(UNITS, "JobNew") as signals:
            await machine.order(
                do="signal", service=SYSTEMD, path=SYSTEMD_PATH, interface=MANAGER, name="JobNew", signature="u",
                arguments=[number],
            )  # fmt: skip
            assert await asyncio.wait_for(anext(signals), 5) == (number,)


async def test_signals_that_cannot_be_asked_for_are_refused_each_time(
    machine: Services, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    nobody = BusObject(SYSTEMD, "/it's/no/path", MANAGER)

    for _ in range(2):
        with pytest.raises(BusRefused):
            await client.watch(nobody)
        with pytest.raises(BusRefused):
            async with client.listening(nobody, "JobNew"):
                pass


async def test_signals_reach_who_listens_until_the_service_goes(machine: Services, client: HostBus, told: Told) -> None:
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
    machine: Services, client: HostBus, told: Told
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
    machine: Services, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    await client.read(Host, HOST)

    await machine.order(do="storm", service=HOSTNAME, times=1000)
    await client.call(system_bus.BUS, BusMethod("GetId", "", "s"))  # comes after all that the bus has told

    assert (await client.read(Host, HOST)).name == "attic"
    assert client.has(HOSTNAME)


async def test_connection_whose_watcher_is_ended_is_lost_and_can_be_closed(
    machine: Services, client: HostBus, told: Told
) -> None:
    await connected(client, told)
    connection = client._client
    assert connection is not None and connection.watcher is not None

    connection.watcher.cancel()

    async with asyncio.timeout(5):
        await asyncio.wait({connection.watcher})
        await client.close()
    assert connection.lost.done()


@pytest.mark.parametrize("address", ["unix:path=/nonexistent/bus", "nonsense", "unix:path=/dev/null", "tcp:host="])
async def test_address_that_leads_nowhere_is_said_and_waits_for_nobody(address: str, told: Told) -> None:
    client = HostBus(address, told)

    async with asyncio.timeout(1):
        assert not await client.connect()

    with pytest.raises(BusUnavailable, match="There is no system bus"):
        await client.read(Host, HOST)

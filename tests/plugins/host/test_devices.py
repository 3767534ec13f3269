"""What is known of devices and how it is told: with the running kernel's uevents, and with a udev that is scripted
where a real one can't be made to be late."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from attrs import evolve, frozen

from rooftree import Event
from rooftree.interfaces.hardware import Device, DeviceAdded, DeviceChanged, DeviceRemoved
from rooftree_host import devices as devices_module
from rooftree_host import udev as udev_module
from rooftree_host.devices import HostDevices
from rooftree_host.udev import Changes, Entry, Udev, Uevents, UeventsUnavailable
from tests.plugins.host.loop_devices import LoopDevice, unused_loop_device
from tests.rig.waiting import until

WITHIN_S = 10.0
STICK = "/sys/devices/usb1/1-1/tty/ttyACM0"


class Witness:
    """Everything that is said of devices: events, and what hooks are told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.told: list[tuple[str, bool]] = []
        self.unwatched: list[bool] = []
        self.hooks_answer = asyncio.Event()
        self.hooks_answer.set()
        self.asked = asyncio.Event()

    async def tell(self, device: Device, there: bool) -> None:
        self.told.append((device.dev_path, there))
        self.asked.set()
        await self.hooks_answer.wait()

    def of(self, node: str) -> list[type[Event]]:
        """The kinds of events that were about a device."""
        told = (DeviceAdded, DeviceRemoved, DeviceChanged)
        return [type(event) for event in self.events if isinstance(event, told) and event.device.dev_path == node]


@pytest.fixture
def witness() -> Witness:
    """Who is told."""
    return Witness()


@pytest.fixture(autouse=True)
def devices_stay() -> None:
    """Here they do not."""


@asynccontextmanager
async def watched(udev: Udev, witness: Witness) -> AsyncIterator[HostDevices]:
    """Devices that are followed and told of."""
    devices = HostDevices(udev, publish=witness.events.append, tell=witness.tell, report=witness.unwatched.append)
    await devices.begin()
    tasks = [asyncio.create_task(devices.follow()), asyncio.create_task(devices.tell())]
    try:
        yield devices
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        devices.close()


# --- with the running kernel ------------------------------------------------------------------------------------------


@pytest.fixture
def loop_devices_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if they were none of the kernel's crowd: no other devices can be made at will."""
    monkeypatch.setitem(devices_module.HIDDEN, "block", ("ram", "zram"))


@pytest.fixture
def loop_device() -> Iterator[LoopDevice]:
    """A real device."""
    with unused_loop_device() as device:
        yield device


@pytest.mark.usefixtures("loop_devices_are_shown")
async def test_real_device_is_told_of_when_it_comes_and_when_it_goes(witness: Witness, loop_device: LoopDevice) -> None:
    node = loop_device.node
    async with watched(await asyncio.to_thread(Udev), witness) as devices:
        loop_device.add()
        await told(witness, (node, True))
        there = devices.device(node)
        loop_device.remove()
        await told(witness, (node, False))
        gone = devices.device(node)

    assert there is not None and there.attributes["MAJOR"] == "7"
    assert there.sysfs == f"/sys/devices/virtual/block/loop{loop_device.number}"
    assert gone is None
    assert witness.of(node) == [DeviceAdded, DeviceRemoved]
    assert witness.unwatched == [False]


@pytest.mark.usefixtures("loop_devices_are_shown")
async def test_real_device_that_comes_and_goes_a_hundred_times_is_known_as_it_was_left(
    witness: Witness, loop_device: LoopDevice
) -> None:
    node = loop_device.node
    async with watched(await asyncio.to_thread(Udev), witness) as devices:
        for _ in range(100):
            loop_device.add()
            await asyncio.sleep(0.005)
            loop_device.remove()
            await asyncio.sleep(0.005)
        loop_device.add()
        await until(at_rest(devices, witness, node), within_s=WITHIN_S, what=f"{node} at rest")

    of_it = [there for name, there in witness.told if name == node]
    assert of_it == [True, False] * (len(of_it) // 2) + [True]
    assert len(of_it) < 50


async def test_loop_devices_are_the_kernels_crowd(witness: Witness, loop_device: LoopDevice) -> None:
    async with watched(await asyncio.to_thread(Udev), witness) as devices:
        loop_device.add()
        await devices.reload()

        assert devices.device(loop_device.node) is None
    assert devices.device("/dev/null") is not None
    assert witness.told == []


@pytest.mark.usefixtures("loop_devices_are_shown")
async def test_where_more_comes_than_the_kernel_keeps_everything_is_looked_at(
    witness: Witness, loop_device: LoopDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udev_module, "RECEIVE_BUFFER_BYTES", 2048)
    node, uevent = loop_device.node, Path("/sys/class/mem/full/uevent")
    if not os.access(uevent, os.W_OK):
        pytest.skip("/sys is read-only here")
    async with watched(await asyncio.to_thread(Udev), witness) as devices:
        for _ in range(500):
            uevent.write_text("change")
        loop_device.add()
        await told(witness, (node, True))
        loop_device.remove()
        await told(witness, (node, False))

    assert devices.device(node) is None


# --- with a udev that does as the test says ---------------------------------------------------------------------------


class ScriptedUdev(Udev):
    """Devices that the test makes up."""

    def __init__(self, *entries: Entry) -> None:
        self.entries = {entry.sysfs: entry for entry in entries}

    def all(self) -> dict[str, Entry]:
        """All that there are."""
        return dict(self.entries)

    def at(self, paths: Iterable[str]) -> dict[str, Entry | None]:
        """Those at these paths."""
        return {path: self.entries.get(path) for path in paths}


def stick(links: str = "", *, complete: bool = True) -> Entry:
    """A serial stick."""
    attributes = {"DEVNAME": "/dev/ttyACM0"} | ({"DEVLINKS": links} if links else {})
    return Entry(
        sysfs=STICK, name="ttyACM0", node="/dev/ttyACM0", subsystem="tty", parent="/sys/devices/usb1/1-1",
        attributes=attributes, complete=complete,
    )  # fmt: skip


@frozen
class Scripted:
    """Devices as the test says, and who is told."""

    udev: ScriptedUdev
    devices: HostDevices
    witness: Witness

    async def look(self, **paths: bool) -> None:
        """Uevents came about the stick."""
        await self.devices._look(Changes({STICK: paths.get("was_away", False)}))


@pytest.fixture
async def scripted(witness: Witness) -> AsyncIterator[Scripted]:
    """No device yet, and hooks that are told."""
    udev = ScriptedUdev()
    devices = HostDevices(udev, publish=witness.events.append, tell=witness.tell, report=witness.unwatched.append)
    telling = asyncio.create_task(devices.tell())
    yield Scripted(udev, devices, witness)
    telling.cancel()


async def test_device_that_udev_has_not_finished_with_is_not_told_of_before(scripted: Scripted) -> None:
    scripted.udev.entries[STICK] = stick(complete=False)
    await scripted.look()
    early = scripted.devices.device(STICK)
    scripted.udev.entries[STICK] = stick("/dev/serial/by-id/usb-x /dev/serial/by-path/y")
    await scripted.devices._look(Changes())  # it is looked at again by itself
    await told(scripted.witness, ("/dev/ttyACM0", True))

    assert early is None
    late = scripted.devices.device("/dev/serial/by-path/y")
    assert late is not None and late.by_id == "/dev/serial/by-id/usb-x"
    assert scripted.witness.of("/dev/ttyACM0") == [DeviceAdded]


async def test_device_that_udev_never_finishes_with_is_taken_as_it_is(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices_module, "COMPLETE_S", 0.0)
    scripted.udev.entries[STICK] = stick(complete=False)

    await scripted.look()

    assert scripted.devices.device(STICK) is not None


async def test_device_that_was_away_in_between_is_another_one(scripted: Scripted) -> None:
    scripted.udev.entries[STICK] = stick()
    await scripted.look()
    await told(scripted.witness, ("/dev/ttyACM0", True))

    await scripted.look(was_away=True)
    await told(scripted.witness, ("/dev/ttyACM0", True), ("/dev/ttyACM0", False), ("/dev/ttyACM0", True))

    assert scripted.witness.of("/dev/ttyACM0") == [DeviceAdded, DeviceRemoved, DeviceAdded]


async def test_what_changes_of_a_device_is_an_event_and_no_hook(scripted: Scripted) -> None:
    scripted.udev.entries[STICK] = stick()
    await scripted.look()
    await told(scripted.witness, ("/dev/ttyACM0", True))
    before = scripted.devices.revision
    await scripted.look()
    same = scripted.devices.revision
    scripted.udev.entries[STICK] = evolve(stick(), attributes={"ID_MODEL": "other"})

    await scripted.look()

    assert before == same != scripted.devices.revision
    assert scripted.witness.of("/dev/ttyACM0") == [DeviceAdded, DeviceChanged]
    assert scripted.witness.told == [("/dev/ttyACM0", True)]


async def test_hook_that_takes_its_time_delays_nothing_and_hears_the_end_of_it(scripted: Scripted) -> None:
    witness = scripted.witness
    witness.hooks_answer.clear()
    scripted.udev.entries[STICK] = stick()
    await scripted.look()
    await witness.asked.wait()

    for _ in range(100):
        del scripted.udev.entries[STICK]
        await scripted.look()
        scripted.udev.entries[STICK] = stick()
        await scripted.look()
    shown = scripted.devices.device(STICK)
    del scripted.udev.entries[STICK]
    await scripted.look()
    witness.hooks_answer.set()

    await told(witness, ("/dev/ttyACM0", True), ("/dev/ttyACM0", False))
    assert shown is not None
    assert scripted.devices._appearances == {}


async def test_what_was_missed_while_nobody_followed_is_made_up_for(scripted: Scripted) -> None:
    first = asyncio.create_task(scripted.devices.follow())
    await asyncio.sleep(0)  # it has begun
    first.cancel()
    scripted.udev.entries[STICK] = stick()

    again = asyncio.create_task(scripted.devices.follow())

    await told(scripted.witness, ("/dev/ttyACM0", True))
    again.cancel()


async def test_where_the_kernel_tells_nothing_devices_are_looked_for(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Uevents) -> None:
        raise UeventsUnavailable("no netlink here")

    monkeypatch.setattr(Uevents, "open", refuse)
    monkeypatch.setattr(devices_module, "LOOK_S", 0.05)
    udev = ScriptedUdev()
    async with watched(udev, witness):
        udev.entries[STICK] = stick()
        await told(witness, ("/dev/ttyACM0", True))

    assert witness.unwatched == [True]


async def told(witness: Witness, *expected: tuple[str, bool]) -> None:
    """Wait until that is the last that hooks were told of a device."""
    node = expected[0][0]

    async def is_told() -> bool:
        return [news for news in witness.told if news[0] == node][-len(expected) :] == [*expected]

    await until(is_told, within_s=WITHIN_S, what=f"{expected} to the hooks")


def at_rest(devices: HostDevices, witness: Witness, node: str) -> Callable[[], Awaitable[bool]]:
    """Whether a device is there, and hooks were told so."""

    async def rests() -> bool:
        return devices.device(node) is not None and dict(witness.told).get(node) is True

    return rests

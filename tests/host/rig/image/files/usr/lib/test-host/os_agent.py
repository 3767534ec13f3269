#!/usr/bin/python3
"""The OS agent of the test host: the objects of io.hass.os on the real system bus, with nothing behind them.

What a property is, is kept in ``state.json`` (so a reboot or a restart doesn't change it, and a test can write it while
the agent is stopped); every call and every change from outside is a line of ``calls.jsonl``. Two keys of the state are
for tests alone: ``board``, which decides what objects there are, and ``refuse``, a sentence for each method that is to
fail. (It runs on the distribution's own Python.)
"""

# ruff: noqa: F821 - dbus-fast wants D-Bus signatures where types would stand

import asyncio
import json
import re
import signal
from pathlib import Path
from typing import Any

from dbus_fast import BusType, DBusError, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_property, method

FOLDER = Path("/var/lib/os-agent")
STATE = FOLDER / "state.json"
CALLS = FOLDER / "calls.jsonl"
FAILED = "org.freedesktop.DBus.Error.Failed"
SWAP_SIZE = re.compile(r"\d+([KMG]?(i?B)?)?")


class Memory:
    """What the agent knows and was asked."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = json.loads(STATE.read_text()) if STATE.exists() else {}

    def keep(self, key: str, value: Any) -> None:
        """Note a value for good."""
        self.state[key] = value
        new = STATE.with_suffix(".new")
        new.write_text(json.dumps(self.state))
        new.rename(STATE)

    def note(self, **call: Any) -> None:
        """Write down what was asked."""
        with CALLS.open("a") as calls:
            calls.write(json.dumps(call) + "\n")


class Interface(ServiceInterface):
    """One interface of the agent, named ``io.hass.os`` and its own part."""

    part = ""

    def __init__(self, memory: Memory) -> None:
        super().__init__(f"io.hass.os.{self.part}".rstrip("."))
        self.memory = memory

    def called(self, name: str, *arguments: Any) -> None:
        """Note a call; refuse it where a test wants that."""
        self.memory.note(interface=self.name, method=name, arguments=list(arguments))
        if refusal := self.memory.state.get("refuse", {}).get(f"{self.name}.{name}"):
            raise DBusError(FAILED, refusal)


def kept(name: str, signature: str, default: Any, *, writable: bool = False, check: Any = None) -> Any:
    """A property that is ``default`` until somebody changes it; ``check`` raises for a value that can't be."""

    def read(self: Interface) -> Any:
        return self.memory.state.get(f"{self.name}.{name}", default)

    def write(self: Interface, value: Any) -> None:
        if check is not None:
            check(value)
        self.memory.note(interface=self.name, property=name, value=value)
        self.memory.keep(f"{self.name}.{name}", value)
        self.emit_properties_changed({name: value})

    # dbus-fast reads signatures from annotations, and gets and sets the attribute of the function's name.
    read.__annotations__ = {"return": signature}
    write.__annotations__ = {"value": signature}
    read.__name__ = write.__name__ = name
    if not writable:
        return dbus_property(PropertyAccess.READ, name=name)(read)
    return dbus_property(name=name)(read).setter(write)


def led(name: str) -> Any:
    """A light that is on or off."""
    return kept(name, "b", True, writable=True)


def swap_size(value: str) -> None:
    """Raise unless it is a number with a unit of bytes, or none."""
    if not SWAP_SIZE.fullmatch(value):
        raise DBusError(FAILED, "invalid swap size format")


def swappiness(value: int) -> None:
    """Raise unless the kernel takes it."""
    if not 0 <= value <= 200:
        raise DBusError(FAILED, "swappiness must be between 0 and 200")


class Agent(Interface):
    """The agent itself."""

    Version = kept("Version", "s", "1.9.0")
    Diagnostics = kept("Diagnostics", "b", False, writable=True)


class AppArmor(Interface):
    """Profiles of add-ons."""

    part = "AppArmor"
    ParserVersion = kept("ParserVersion", "s", "3.0.8")

    @method()
    def LoadProfile(self, profile: "s", cache: "s") -> "b":
        self.called("LoadProfile", profile, cache)
        return True

    @method()
    def UnloadProfile(self, profile: "s", cache: "s") -> "b":
        self.called("UnloadProfile", profile, cache)
        return True


class CGroup(Interface):
    """Devices that running containers may use."""

    part = "CGroup"

    @method()
    def AddDevicesAllowed(self, container: "s", rule: "s") -> "b":
        self.called("AddDevicesAllowed", container, rule)
        return True


class DataDisk(Interface):
    """The disk with the data."""

    part = "DataDisk"
    CurrentDevice = kept("CurrentDevice", "s", "/dev/sda8")

    @method()
    def ChangeDevice(self, device: "s") -> "b":
        self.called("ChangeDevice", device)
        return True

    @method()
    def ReloadDevice(self) -> "b":
        self.called("ReloadDevice")
        return True

    @method()
    def MarkDataMove(self):
        self.called("MarkDataMove")


class System(Interface):
    """The system as a whole."""

    part = "System"

    @method()
    def ScheduleWipeDevice(self) -> "b":
        self.called("ScheduleWipeDevice")
        return True

    @method()
    def MigrateDockerStorageDriver(self, backend: "s"):
        self.called("MigrateDockerStorageDriver", backend)
        if backend != "overlayfs":
            raise DBusError(FAILED, f"unsupported driver: {backend}")


class Swap(Interface):
    """Swapping."""

    part = "Config.Swap"
    SwapSize = kept("SwapSize", "s", "", writable=True, check=swap_size)
    Swappiness = kept("Swappiness", "i", 1, writable=True, check=swappiness)


class Boards(Interface):
    """Which board it is."""

    part = "Boards"

    @dbus_property(PropertyAccess.READ)
    def Board(self) -> "s":
        return self.memory.state.get("board", "Supervised")


class Supervised(Interface):
    """No board of ours: there, and nothing more."""

    part = "Boards.Supervised"


class Green(Interface):
    """The lights of a Green."""

    part = "Boards.Green"
    ActivityLED = led("ActivityLED")
    PowerLED = led("PowerLED")
    UserLED = led("UserLED")


class Yellow(Interface):
    """The lights of a Yellow."""

    part = "Boards.Yellow"
    DiskLED = led("DiskLED")
    HeartbeatLED = led("HeartbeatLED")
    PowerLED = led("PowerLED")


class Firmware(Interface):
    """The boot firmware of a Raspberry Pi."""

    part = "Boards.RaspberryPi.Firmware"
    CurrentVersion = kept("CurrentVersion", "s", "1705504806")
    LatestVersion = kept("LatestVersion", "s", "1736507198")
    UpdateAvailable = kept("UpdateAvailable", "b", True)
    UpdateBlocked = kept("UpdateBlocked", "b", False)
    BlockedReason = kept("BlockedReason", "s", "")
    pending = False

    @dbus_property(PropertyAccess.READ)
    def UpdatePending(self) -> "b":
        return self.pending

    @method()
    def Update(self):
        self.called("Update")
        if self.UpdateBlocked:
            raise DBusError(FAILED, "EEPROM update is unavailable on this boot device")
        if not self.UpdateAvailable:
            raise DBusError(FAILED, "no EEPROM update available")
        self.pending = True  # until the agent starts again, as after a reboot
        self.emit_properties_changed({"UpdatePending": True})


EVERYWHERE = (AppArmor, CGroup, DataDisk, System, Swap, Boards)
OF_BOARD = {
    "Supervised": (Supervised,),
    "Green": (Green,),
    "Yellow": (Yellow, Firmware),
    "Rpi4-64": (Firmware,),
    "Rpi5-64": (Firmware,),
}
"""What only some boards have."""


async def serve() -> None:
    """Offer everything, then take the name; until SIGTERM."""
    memory = Memory()
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    bus.export("/io/hass/os", Agent(memory))
    for kind in (*EVERYWHERE, *OF_BOARD.get(memory.state.get("board", "Supervised"), ())):
        bus.export("/io/hass/os/" + kind.part.replace(".", "/"), kind(memory))
    await bus.request_name("io.hass.os")
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


asyncio.run(serve())

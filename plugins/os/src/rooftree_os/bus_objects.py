"""What this domain uses on the system bus, declared.

Sources: rauc's ``de.pengutronix.rauc.Installer`` (https://rauc.readthedocs.io/en/latest/reference.html#d-bus-api), the
OS agent's ``io.hass.os…`` (https://github.com/home-assistant/os-agent), UDisks2
(http://storaged.org/doc/udisks2-api/latest/), ``org.freedesktop.hostname1`` and ``systemd1``.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

from rooftree.interfaces.bus import BusMethod, BusObject, bus_property

HOSTNAME: Final = "org.freedesktop.hostname1"
RAUC: Final = "de.pengutronix.rauc"
AGENT: Final = "io.hass.os"
UDISKS: Final = "org.freedesktop.UDisks2"
SYSTEMD: Final = "org.freedesktop.systemd1"

# --- which system it is -----------------------------------------------------------------------------------------------

HOST = BusObject(HOSTNAME, "/org/freedesktop/hostname1", HOSTNAME)


@frozen(kw_only=True)
class HostNaming:
    """What hostnamed knows of the system."""

    cpe: str | None = bus_property("OperatingSystemCPEName", "s")
    pretty_name: str | None = bus_property("OperatingSystemPrettyName", "s")


# --- rauc -------------------------------------------------------------------------------------------------------------

INSTALLER = BusObject(RAUC, "/", "de.pengutronix.rauc.Installer")
INSTALL_BUNDLE = BusMethod("InstallBundle", "sa{sv}")
MARK = BusMethod("Mark", "ss", "ss")
GET_SLOT_STATUS = BusMethod("GetSlotStatus", "", "a(sa{sv})")
GET_PRIMARY = BusMethod("GetPrimary", "", "s")
COMPLETED: Final = "Completed"
IDLE: Final = "idle"


@frozen(kw_only=True)
class Installer:
    """What rauc does."""

    operation: str | None = bus_property("Operation", "s")
    last_error: str | None = bus_property("LastError", "s")
    progress: Any = bus_property("Progress", "(isi)")  # it makes a field
    """A list: per cent, what is done, and how deep that is nested."""
    boot_slot: str | None = bus_property("BootSlot", "s")


# --- the OS agent -----------------------------------------------------------------------------------------------------

OS_AGENT = BusObject(AGENT, "/io/hass/os", AGENT)
DATA_DISK = BusObject(AGENT, "/io/hass/os/DataDisk", "io.hass.os.DataDisk")
MARK_DATA_MOVE = BusMethod("MarkDataMove", returns=None)
CHANGE_DEVICE = BusMethod("ChangeDevice", "s", returns=None)
AGENT_SYSTEM = BusObject(AGENT, "/io/hass/os/System", "io.hass.os.System")
SCHEDULE_WIPE = BusMethod("ScheduleWipeDevice", returns=None)
SWAP = BusObject(AGENT, "/io/hass/os/Config/Swap", "io.hass.os.Config.Swap")
FIRMWARE = BusObject(AGENT, "/io/hass/os/Boards/RaspberryPi/Firmware", "io.hass.os.Boards.RaspberryPi.Firmware")
UPDATE_FIRMWARE = BusMethod("Update", returns=None)


@frozen(kw_only=True)
class Agent:
    """The agent itself."""

    version: str | None = bus_property("Version", "s")


@frozen(kw_only=True)
class DataDisk:
    """The disk with the data."""

    current_device: str | None = bus_property("CurrentDevice", "s")


@frozen(kw_only=True)
class Swap:
    """The swap file."""

    swap_size: str | None = bus_property("SwapSize", "s")
    swappiness: int | None = bus_property("Swappiness", "i")


@frozen(kw_only=True)
class Firmware:
    """The boot firmware of a Raspberry Pi."""

    current_version: str | None = bus_property("CurrentVersion", "s")
    latest_version: str | None = bus_property("LatestVersion", "s")
    update_available: bool | None = bus_property("UpdateAvailable", "b")
    update_blocked: bool | None = bus_property("UpdateBlocked", "b")
    update_pending: bool | None = bus_property("UpdatePending", "b")
    blocked_reason: str | None = bus_property("BlockedReason", "s")


# --- disks ------------------------------------------------------------------------------------------------------------

UDISKS_PATH: Final = "/org/freedesktop/UDisks2"
BLOCK: Final = "org.freedesktop.UDisks2.Block"
DRIVE: Final = "org.freedesktop.UDisks2.Drive"
PARTITION: Final = "org.freedesktop.UDisks2.Partition"
PARTITION_TABLE: Final = "org.freedesktop.UDisks2.PartitionTable"
FILESYSTEM: Final = "org.freedesktop.UDisks2.Filesystem"
SWAP_SPACE: Final = "org.freedesktop.UDisks2.Swapspace"
PHYSICAL_VOLUME: Final = "org.freedesktop.UDisks2.PhysicalVolume"
FORMAT = BusMethod("Format", "sa{sv}")
CREATE_PARTITION = BusMethod("CreatePartition", "ttssa{sv}", "o")

# --- units ------------------------------------------------------------------------------------------------------------

UNITS = BusObject(SYSTEMD, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
SUBSCRIBE = BusMethod("Subscribe")
RESTART_UNIT = BusMethod("RestartUnit", "ss", "o")
JOB_REMOVED: Final = "JobRemoved"

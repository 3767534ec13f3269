"""What this domain alone uses on the system bus, declared; the rest is in ``rooftree_machine``.

Sources: rauc's ``de.pengutronix.rauc.Installer`` (https://rauc.readthedocs.io/en/latest/reference.html#d-bus-api), the
OS agent's ``io.hass.os…`` (https://github.com/home-assistant/os-agent), and UDisks2's methods
(https://storaged.org/doc/udisks2-api/latest/).
"""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

from rooftree.interfaces.bus import BusMethod, BusObject, bus_property
from rooftree_machine.agent import AGENT

RAUC: Final = "de.pengutronix.rauc"

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

DATA_DISK = BusObject(AGENT, "/io/hass/os/DataDisk", "io.hass.os.DataDisk")
MARK_DATA_MOVE = BusMethod("MarkDataMove", returns=None)
CHANGE_DEVICE = BusMethod("ChangeDevice", "s", returns=None)
AGENT_SYSTEM = BusObject(AGENT, "/io/hass/os/System", "io.hass.os.System")
SCHEDULE_WIPE = BusMethod("ScheduleWipeDevice", returns=None)
SWAP = BusObject(AGENT, "/io/hass/os/Config/Swap", "io.hass.os.Config.Swap")
FIRMWARE = BusObject(AGENT, "/io/hass/os/Boards/RaspberryPi/Firmware", "io.hass.os.Boards.RaspberryPi.Firmware")
UPDATE_FIRMWARE = BusMethod("Update", returns=None)


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

FORMAT = BusMethod("Format", "sa{sv}")
CREATE_PARTITION = BusMethod("CreatePartition", "ttssa{sv}", "o")

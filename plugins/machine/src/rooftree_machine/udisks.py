"""UDisks2 on the bus (https://storaged.org/doc/udisks2-api/latest/): the names of what it manages."""

from __future__ import annotations

from typing import Final

UDISKS: Final = "org.freedesktop.UDisks2"
"""The service."""
UDISKS_PATH: Final = "/org/freedesktop/UDisks2"
"""Of its object manager, and the beginning of all its paths."""
BLOCK: Final = f"{UDISKS}.Block"
DRIVE: Final = f"{UDISKS}.Drive"
FILESYSTEM: Final = f"{UDISKS}.Filesystem"
PARTITION: Final = f"{UDISKS}.Partition"
PARTITION_TABLE: Final = f"{UDISKS}.PartitionTable"
PHYSICAL_VOLUME: Final = f"{UDISKS}.PhysicalVolume"
SWAP_SPACE: Final = f"{UDISKS}.Swapspace"

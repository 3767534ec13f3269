"""Local disks: which file system is meant, and whether it may be mounted."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Final

from attrs import evolve

from rooftree import Invalid, Service
from rooftree_mounts.configuration import MountConfig
from rooftree_mounts.mount_table import MountTable
from rooftree_workers import DisposableProcesses, Ended, Hanging

FILESYSTEMS: Final = ("btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "ntfs", "vfat", "xfs")
"""Those that are mounted, as blkid(8) calls them."""
_LOOK_S: Final = 15.0
_PROTECTED: Final = ("/", "/boot", "/boot/efi", "/usr", "/var", "/etc", "/mnt/boot", "/mnt/data", "/mnt/overlay")
"""What is mounted there is the system's own."""


class DeviceNotThere(Invalid):
    """There is no such disk. ``extra_fields``: ``device``."""

    error_key = "mount_device_not_found_error"


class DeviceMismatch(Invalid):
    """The device has another file system than the one that was named. ``extra_fields``: ``device``, ``uuid``."""

    error_key = "mount_device_mismatch_error"


class DeviceWithoutUuid(Invalid):
    """Its file system has nothing that would tell it from another. ``extra_fields``: ``device``."""

    error_key = "mount_device_missing_uuid_error"


class DeviceInUse(Invalid):
    """It is mounted elsewhere. ``extra_fields``: ``device``."""

    error_key = "mount_device_in_use_error"


class DeviceProtected(Invalid):
    """The system is on it. ``extra_fields``: ``device``."""

    error_key = "mount_device_protected_error"


class DeviceReadOnly(Invalid):
    """It can't be written to. ``extra_fields``: ``device``."""

    error_key = "mount_device_read_only_error"


class FilesystemNotSupported(Invalid):
    """Nobody here mounts such a file system. ``extra_fields``: ``device``, ``filesystem``."""

    error_key = "mount_filesystem_not_supported_error"


class DisksNotSupported(Invalid):
    """Disks can't be told apart here."""

    error_key = "mount_disks_not_supported_error"


class MountableDisks:
    """Finds the file systems of this machine's disks."""

    def __init__(self, data: Path, processes: DisposableProcesses) -> None:
        self._data = data
        self._processes = processes

    async def resolved(self, config: MountConfig) -> MountConfig:
        """A disk's configuration with the UUID and type of its file system; anything else as it is.

        Raises one of the errors of this module where it is none that may be mounted.
        """
        if config.type != "disk":
            return config
        device = await self._device(config)
        facts = await self._probed(device)
        uuid, filesystem = facts.get("UUID"), facts.get("TYPE")
        if config.uuid is not None and uuid != config.uuid:
            raise DeviceMismatch(
                f"{device} has the file system {uuid or 'of no UUID'}, not {config.uuid}; give one of both",
                device=device,
                uuid=config.uuid,
            )
        if filesystem not in FILESYSTEMS:
            raise FilesystemNotSupported(
                f"{device}: {filesystem or 'no file system'} can't be mounted; what can be is {', '.join(FILESYSTEMS)}",
                device=device,
                filesystem=filesystem,
            )
        if uuid is None:
            raise DeviceWithoutUuid(
                f"The file system on {device} has no UUID, so it can't be found again", device=device
            )
        await asyncio.to_thread(self._refuse_in_use, device, read_only=config.read_only)
        return evolve(config, uuid=uuid, filesystem=filesystem)

    async def device_of(self, config: MountConfig) -> str | None:
        """Where the disk of a mount is now, ``None`` for what is none; raises :class:`DeviceNotThere`."""
        if config.type != "disk":
            return None
        link = Path("/dev/disk/by-uuid", config.uuid or "")
        if await asyncio.to_thread(link.is_block_device):  # ours: udev's
            return str(link)
        return await self._device(evolve(config, device=None))

    async def _device(self, config: MountConfig) -> str:
        """The node of what is meant."""
        wanted = config.device or f"UUID={config.uuid}"
        path = wanted
        if not wanted.startswith("/"):
            kind, _, value = wanted.partition("=")
            listed = await self._blkid("--label" if kind == "LABEL" else "--uuid", value)
            path = listed.output.decode(errors="replace").strip()
            if listed.code != 0 or not path:
                raise DeviceNotThere(f"There is no disk with {wanted}; is it plugged in?", device=wanted)
        node = await asyncio.to_thread(_node, path)
        if node is None:
            raise DeviceNotThere(f"There is no disk {wanted}; /hardware/info lists those there are", device=wanted)
        return node

    async def _probed(self, device: str) -> dict[str, str]:
        """What blkid(8) says of it."""
        ended = await self._blkid("--probe", "--output", "export", device)
        pairs = (line.partition("=") for line in ended.output.decode(errors="replace").splitlines())
        return {key: value for key, _, value in pairs}

    async def _blkid(self, *arguments: str) -> Ended:
        try:
            return await self._processes.run("the disks", "blkid", *arguments, within_s=_LOOK_S)
        except FileNotFoundError:
            raise DisksNotSupported("Disks can't be looked at: this system has no blkid(8) of util-linux") from None
        except Hanging as error:
            raise DisksNotSupported(f"The disks could not be looked at: {error}") from error

    def _refuse_in_use(self, device: str, *, read_only: bool) -> None:
        """Raise where it is mounted somewhere else, or can't be written to though it should. Blocks."""
        number = Path(device).stat().st_rdev  # ours: a node in /dev
        label = f"{os.major(number)}:{os.minor(number)}"
        table = MountTable.read()
        own = table.holding(self._data)
        for mounted in table.mounts:
            source = os.path.realpath(mounted.source)  # ours: the kernel's, for a node in /dev
            if mounted.device != label and source != device:
                continue
            if mounted == own or mounted.target in _PROTECTED:
                raise DeviceProtected(f"The system is on {device}; it can't be mounted once more", device=device)
            if not Path(mounted.target).is_relative_to(self._data):
                raise DeviceInUse(f"{device} is mounted at {mounted.target} already; unmount it there", device=device)
        if not read_only and _is_read_only(label):
            raise DeviceReadOnly(
                f"{device} can't be written to; set read_only, or undo what protects it", device=device
            )


MOUNTABLE_DISKS = Service[MountableDisks]("mounts.disks/1")


def _node(path: str) -> str | None:
    """The node of the disk that a path leads to; ``None`` for nothing, and for anything else."""
    real = os.path.realpath(path)  # ours: links in /dev, which only root makes
    try:
        mode = Path(real).stat().st_mode  # ours: a node in /dev
    except OSError:
        return None
    return real if stat.S_ISBLK(mode) and real.startswith("/dev/") else None


def _is_read_only(label: str) -> bool:
    try:
        return Path(f"/sys/dev/block/{label}/ro").read_text().strip() == "1"  # ours: the kernel's
    except OSError:
        return False

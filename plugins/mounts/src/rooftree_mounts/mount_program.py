"""Mounting with mount(8), in a process of its own, where there is no systemd to do it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from rooftree_files import Folder, PathRefused
from rooftree_mounts.mounting import UNMOUNT_S, Refused
from rooftree_mounts.orders import MOUNT_S, MountOrder
from rooftree_workers import DisposableProcesses, Hanging


class MountProgram:
    """Mounts in our own view of the file system."""

    def __init__(self, data: Path, processes: DisposableProcesses) -> None:
        self._data = data
        self._processes = processes

    async def mount(self, order: MountOrder, place: str, description: str) -> None:
        options = ",".join(order.options)
        await self._onto(place, order.source, "--types", order.type, "--options", options)

    async def bind(self, source: str, place: str, description: str) -> None:
        await self._onto(place, await self.path_of(source), "--bind")

    async def _onto(self, place: str, source: str, *options: str) -> None:
        """Mount on that very folder: whoever may write beside it can't have it end elsewhere."""
        descriptor = await asyncio.to_thread(self._open, place)
        try:
            command = ("mount", "--no-canonicalize", *options, "--", source, f"/proc/self/fd/{descriptor}")
            await self._run(place, *command, within_s=MOUNT_S, keep=descriptor)
        finally:
            os.close(descriptor)

    def _open(self, place: str) -> int:
        try:
            with Folder.open(self._data) as root, root.folder(place) as folder:
                return os.dup(folder.descriptor)
        except (PathRefused, OSError) as error:
            raise Refused(f"the folder {place} can't be opened: {error}") from error

    async def unmount(self, place: str) -> None:
        path = await self.path_of(place)
        await self._run(place, "umount", "--lazy", "--no-canonicalize", path, within_s=UNMOUNT_S)

    async def path_of(self, place: str) -> str:
        return str(self._data / place)

    async def _run(self, place: str, *command: str, within_s: float, keep: int | None = None) -> None:
        about, descriptors = f"{command[0]} {place}", () if keep is None else (keep,)
        try:
            ended = await self._processes.run(about, *command, within_s=within_s, pass_fds=descriptors)
        except FileNotFoundError:
            raise Refused(f"this system has no {command[0]}(8)") from None
        except Hanging as error:
            raise Refused(f"{command[0]}: {error}") from error
        if ended.code != 0:
            raise Refused(ended.reason)

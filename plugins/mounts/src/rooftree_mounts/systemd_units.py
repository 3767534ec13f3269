"""Mounting by systemd, as transient units on the host: they outlive us, and are the host's to take down in the end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from rooftree import Kernel, RooftreeError
from rooftree.interfaces.bus import BusRefused, SystemBus, Variant
from rooftree.interfaces.containers import CONTAINER_ENGINE, DataPath
from rooftree.interfaces.journal import SYSTEM_JOURNAL, JournalQuery, JournalRange
from rooftree_machine.systemd import (
    DONE,
    RESET_FAILED_UNIT,
    STOP_UNIT,
    SYSTEMD,
    change_unit,
    start_transient_unit,
    unit_named,
)
from rooftree_mounts.mounting import UNMOUNT_S, Refused
from rooftree_mounts.orders import MOUNT_S, MountOrder

JOB_S: Final = 90.0
"""Seconds that systemd may take to mount something, with all that it waits for."""
FORGETS_S: Final = 5.0
"""Seconds that systemd has to forget a unit that was stopped."""
PAUSE_S: Final = 0.1
_SAID_LINES: Final = 4


class SystemdMounter:
    """Mounts on the host, whatever we see of that."""

    def __init__(self, kernel: Kernel, bus: SystemBus) -> None:
        self._kernel = kernel
        self._bus = bus

    async def mount(self, order: MountOrder, place: str, description: str) -> None:
        await self._start(place, order.source, order.type, order.options, description)

    async def bind(self, source: str, place: str, description: str) -> None:
        await self._start(place, await self.path_of(source), None, ("bind",), description)

    async def _start(
        self, place: str, source: str, kind: str | None, options: tuple[str, ...], description: str
    ) -> None:
        unit = mount_unit(await self.path_of(place))
        properties = {
            "Description": Variant("s", description),
            "What": Variant("s", source),
            "Options": Variant("s", ",".join(options)),
            "TimeoutUSec": Variant("t", MOUNT_S * 1_000_000),
            "LazyUnmount": Variant("b", True),  # the host's end waits for no server
        }
        if kind is not None:
            properties["Type"] = Variant("s", kind)
        began = datetime.now(UTC) - timedelta(seconds=1)
        try:
            await self._make_way(unit)
            async with asyncio.timeout(JOB_S):
                outcome = await start_transient_unit(self._bus, unit, properties)
        except TimeoutError:
            raise Refused(f"systemd did not mount it within {JOB_S:g} s") from None
        except RooftreeError as error:
            raise Refused(f"systemd refused: {error.message}") from error
        if outcome != DONE:
            await self._reset(unit)
            raise Refused(await self._said(unit, began) or f"{outcome}; `journalctl -u '{unit}'` says why")

    async def unmount(self, place: str) -> None:
        unit = mount_unit(await self.path_of(place))
        try:
            await self._stop(unit)
        except TimeoutError:
            raise Refused(f"systemd did not stop {unit} within {UNMOUNT_S:g} s") from None
        except RooftreeError as error:
            raise Refused(f"systemd did not stop {unit}: {error.message}") from error
        await self._reset(unit)

    async def _make_way(self, unit: str) -> None:
        """Have systemd forget a unit of that name: it refuses to make another one, and takes a moment to forget."""
        for _ in range(int(FORGETS_S / PAUSE_S)):
            await self._stop(unit)
            await self._reset(unit)
            if (await unit_named(self._bus, unit)).load == "not-found":
                return
            await asyncio.sleep(PAUSE_S)

    async def _reset(self, unit: str) -> None:
        with suppress(RooftreeError):  # it did not fail, is forgotten already, or systemd is gone meanwhile
            await self._bus.call(SYSTEMD, RESET_FAILED_UNIT, unit)

    async def _stop(self, unit: str) -> None:
        async with asyncio.timeout(UNMOUNT_S):
            if (await unit_named(self._bus, unit)).active not in {"inactive", "failed"}:
                with suppress(BusRefused):  # it is gone meanwhile
                    await change_unit(self._bus, STOP_UNIT, unit)

    async def path_of(self, place: str) -> str:
        engine = self._kernel.find(CONTAINER_ENGINE)
        try:
            if engine is not None:
                return (await engine.host_path(DataPath(place))).path
        except RooftreeError as error:
            raise Refused(f"it is not known where the data folder lies on the host: {error.message}") from error
        folder = await asyncio.to_thread(self._kernel.data.path.resolve)  # ours: the data folder itself
        return str(folder / place)

    async def _said(self, unit: str, since: datetime) -> str | None:
        """What mount(8) printed, where there is a journal."""
        system_journal = self._kernel.find(SYSTEM_JOURNAL)
        if system_journal is None:
            return None
        query = JournalQuery(identifiers=("mount",), range=JournalRange(since=since, count=_SAID_LINES))
        with suppress(RooftreeError, TimeoutError):
            async with asyncio.timeout(UNMOUNT_S):
                text = await system_journal.text(query, colors=False)
                said = b"".join([chunk async for chunk in text.chunks]).decode(errors="replace").strip()
                return "; ".join(said.splitlines()) or None
        return None


def mount_unit(path: str) -> str:
    """The name of the unit of systemd's that mounts something at a path: systemd.unit(5), "String escaping"."""
    escaped = "".join(
        "-" if character == "/" else character if _is_plain(character) else _hexadecimal(character)
        for character in path.strip("/")
    )
    return (_hexadecimal(".") + escaped[1:] if escaped.startswith(".") else escaped) + ".mount"


def _is_plain(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in ":_.")


def _hexadecimal(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))

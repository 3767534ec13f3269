"""The boots of the host, remembered from one start to the next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from rooftree.interfaces.journal import HOST_BOOTS, HostBoot, HostBoots
from rooftree.testing import running_system
from rooftree_host import boots
from rooftree_host.plugin import HostPlugin


def host_booted_again(folder: Path, number: int) -> None:
    (folder / "boot_id").write_text(f"{number:08x}-1111-2222-3333-444444444444\n")


def boot_id(number: int) -> str:
    return f"{number:08x}111122223333444444444444"


@pytest.fixture(autouse=True)
def boot_id_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's file, in the test's hands."""
    monkeypatch.setattr("rooftree.clock.BOOT_ID", tmp_path / "boot_id")
    host_booted_again(tmp_path, 1)


async def known_after_start(folder: Path, *, after_days: int = 0) -> list[HostBoot]:
    clock = time_machine.travel(datetime.now(UTC) + timedelta(days=after_days), tick=True)
    with clock:
        return await known_now(folder)


async def known_now(folder: Path) -> list[HostBoot]:
    async with running_system(folder, plugins=[HostPlugin]) as system:
        found: HostBoots = system.services.get(HOST_BOOTS)
        return list(found.known())


async def test_boot_is_noted_once_with_its_time(tmp_path: Path) -> None:
    first = await known_after_start(tmp_path)
    again = await known_after_start(tmp_path, after_days=3)

    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    assert [boot.id for boot in first] == [boot_id(1)]
    assert abs(datetime.now(UTC) - timedelta(seconds=uptime_s) - first[0].began) < timedelta(seconds=30)
    assert again == first


async def test_this_boot_is_the_last_even_where_the_clock_went_back(tmp_path: Path) -> None:
    for number, after_days in ((1, 10), (2, 20), (3, 0)):
        host_booted_again(tmp_path, number)
        known = await known_after_start(tmp_path, after_days=after_days)

    assert [boot.id for boot in known] == [boot_id(1), boot_id(2), boot_id(3)]


async def test_no_more_than_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boots, "KEPT", 2)
    for number in (1, 2, 3):
        host_booted_again(tmp_path, number)
        known = await known_after_start(tmp_path, after_days=number)

    assert [boot.id for boot in known] == [boot_id(2), boot_id(3)]

"""A data disk that is full: an add-on can still be stopped and uninstalled, which is how room is made."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from rooftree.testing.containers import FakeContainerEngine
from tests.plugins.addons.house import HELLO, done, house, refusal
from tests.torture.requirements import small_disk

MIB = 1024 * 1024


def fill(disk: Path) -> None:
    (disk / "ballast").write_bytes(b"x" * shutil.disk_usage(disk).free)


async def test_add_on_is_stopped_and_uninstalled_on_a_full_disk_and_its_folder_makes_room(
    tmp_path: Path, engine: FakeContainerEngine
) -> None:
    settings = {"kernel.disk_reserve_mib": 1, "kernel.min_free_mib": 1}
    with small_disk(tmp_path / "disk", 16 * 1024) as disk:
        async with house(disk, engine, settings) as home:
            await home.run()
            await home.run("other")
            room = home.data / "apps" / "data" / HELLO / "recordings"
            await asyncio.to_thread(room.write_bytes, b"x" * 4 * MIB)
            await asyncio.to_thread(fill, disk)

            refusals = [await home.post(HELLO, "options", {"watchdog": bool(n % 2)}) for n in range(40)]
            started = await home.post(HELLO, "start")
            stopped = await home.post("local_other", "stop")
            uninstalled = await home.post(HELLO, "uninstall")

            assert "Free space" in refusal(refusals[-1], 503, "state_unwritable_error")
            assert started.status in {200, 503}, "it runs already, and nothing would have to be written"
            done(stopped)
            done(uninstalled)
            assert await home.container() is None
            assert HELLO not in home.addons.installed
            assert not room.exists()
            await home.set_options("local_other", watchdog=True)
            assert shutil.disk_usage(disk).free > 2 * MIB
        async with house(disk, engine, settings) as home:
            assert [problem.type for problem in home.system.problems] == []
            assert set(home.addons.installed) == {"local_other"}

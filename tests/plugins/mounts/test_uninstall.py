"""What mounts leave when they are stopped, and when they are uninstalled."""

from __future__ import annotations

import asyncio
import errno
import shutil
from pathlib import Path

import pytest

from rooftree.testing import running_system
from rooftree_mounts.mount_table import MountTable
from tests.plugins.mounts.conftest import Shares, house_in

CIFS = {"type": "cifs", "server": "nas", "share": "films"}


async def two_mounts(folder: Path, shares: Shares) -> Path:
    """A data folder with a mount that is there and one that is not; both are kept."""
    shares.add("films")
    async with house_in(folder) as house:
        for name, usage in (("films", "media"), ("nas", "backup")):
            assert (await house.create(name, usage=usage, **CIFS)).status == 200
        await house.mounts.look("nas")
        return house.data


def below(data: Path) -> list[str]:
    return [mounted.target for mounted in MountTable.read().below(data)]


async def test_nobody_can_write_below_a_mount_that_is_gone_while_rooftree_does_not_run(
    tmp_path: Path, shares: Shares
) -> None:
    data = await two_mounts(tmp_path, shares)
    for target in reversed(await asyncio.to_thread(below, data)):
        await (await asyncio.create_subprocess_exec("umount", "--lazy", target)).wait()

    for place in ("mounts/films", "media/films", "mounts/nas"):
        with pytest.raises(PermissionError) as refused:
            (data / place / "new.txt").touch()
        assert refused.value.errno == errno.EPERM


async def test_who_uninstalls_and_purges_them_can_delete_the_data_folder_and_nothing_on_a_share(
    tmp_path: Path, shares: Shares
) -> None:
    data = await two_mounts(tmp_path, shares)
    assert len(await asyncio.to_thread(below, data)) == 3
    async with running_system(tmp_path) as system:
        await system.plugins.purge("mounts")

    assert await asyncio.to_thread(below, data) == []
    await asyncio.to_thread(shutil.rmtree, data)
    assert (shares.folder / "nas" / "films" / "hello.txt").exists()


async def test_removed_mounts_hold_nothing(tmp_path: Path, shares: Shares) -> None:
    shares.add("films")
    async with house_in(tmp_path) as house:
        held = house.data / "plugins" / "mounts" / "held"
        assert (await house.create("films", usage="share", **CIFS)).status == 200
        kept = held.read_text().split()
        assert (await house.remove("films")).status == 200

        assert {"mounts/films", "share/films", "mounts/films.trial"} <= {*kept}
        assert held.read_text() == ""

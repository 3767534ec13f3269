"""A disk without room for what a restore unpacks: told before anything is begun, or on the way, by its name."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Collection, Iterator
from pathlib import Path

import pytest

from rooftree.testing import Failing, fixtures
from rooftree.testing.containers import FakeContainerEngine
from rooftree_backups import restoring, room_to_restore
from tests.plugins.addons.house import House
from tests.plugins.backups.restored_house import make_backup, restore, whole_house
from tests.requirements import needs

allow = fixtures.allow
MIB = 1024 * 1024
pytestmark = needs(os.geteuid() == 0, "needs root, to mount a small disk")


@pytest.fixture
async def home(tmp_path: Path, allow: Collection[Failing]) -> AsyncIterator[House]:
    async with whole_house(tmp_path, FakeContainerEngine(), allow) as here:
        yield here


@pytest.fixture
def share(home: House) -> Iterator[Path]:
    """The folder share, on a disk of 12 MiB of which 8 are taken."""
    folder = home.data / "share"
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", folder], check=True)
    try:
        (folder / "value").write_bytes(os.urandom(8 * MIB))
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


async def test_disk_without_room_is_told_before_anything_is_read(home: House, share: Path) -> None:
    slug = await make_backup(home, "partial", folders=["share"])
    before = await asyncio.to_thread((share / "value").read_bytes)

    answer = await restore(home, slug, "partial", folders=["share"])

    assert (answer.status, answer.envelope["error_key"]) == (400, "backup_no_room_error")
    assert f"the disk at {share}" in answer.message
    assert answer.envelope["extra_fields"]["needed"] >= 8 * MIB
    assert await asyncio.to_thread((share / "value").read_bytes) == before
    assert await asyncio.to_thread(os.listdir, share) == ["value"]


async def test_disk_that_fills_up_on_the_way_leaves_all_as_it_was(
    home: House, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "refuse_without_room", lambda _: None)  # there was room then
    slug = await make_backup(home, "partial", folders=["share"])
    before = await asyncio.to_thread((share / "value").read_bytes)

    answer = await restore(home, slug, "partial", folders=["share"])

    assert (answer.status, answer.envelope["error_key"]) == (400, "backup_no_room_error"), answer.text
    assert f"the disk at {share}" in answer.message
    assert "are missing" in answer.message
    assert await asyncio.to_thread((share / "value").read_bytes) == before
    assert await asyncio.to_thread(os.listdir, share) == ["value"], "nothing is left of it"
    assert home.system.state_now == "running"


async def test_room_is_counted_for_each_disk(home: House, share: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_to_restore, "MARGIN_BYTES", 0)
    (share / "value").write_bytes(os.urandom(3 * MIB))
    slug = await make_backup(home, "partial", folders=["share"])

    answer = await restore(home, slug, "partial", folders=["share"])

    assert answer.status == 200, answer.text

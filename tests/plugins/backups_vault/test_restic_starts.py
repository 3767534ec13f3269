"""How often restic is started for a backup: each start derives the key anew, which takes longer than what is new."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Sequence
from pathlib import Path

import pytest

from rooftree.interfaces.backups import BackupPart, PartContents, PartTree
from rooftree.interfaces.containers import DataPath
from rooftree.interfaces.vaults import StoredSnapshot, VaultAccess, VaultUnreachable
from rooftree_backups_vault import restic
from rooftree_backups_vault.restic import Restic
from rooftree_backups_vault.stored_backups import TAG
from tests.plugins.backups_vault.vault_house import (
    LAMP,
    Starts,
    VaultHouse,
    head_of,
    lamp_contents,
    needs_restic,
    quiet,
)
from tests.requirements import needs

pytestmark = needs_restic


def share_contents(house: VaultHouse) -> PartContents:
    (house.data / "share").mkdir(exist_ok=True)
    (house.data / "share" / "a").write_text("a")
    return PartContents(trees=(PartTree(source=DataPath("share"), name=""),))


async def test_backup_starts_restic_once_for_each_part_and_once_for_its_head_before_the_last_part(
    house: VaultHouse, starts: Starts
) -> None:
    await house.back_up(local_lamp=lamp_contents(), share=share_contents(house))

    assert sorted(starts.commands()) == ["backup", "backup", "head"]
    assert starts.commands()[-1] == "backup"


async def test_restic_that_waits_for_the_head_has_its_lock_before_another_may_begin_and_end(house: VaultHouse) -> None:
    async with house.cellar.writer("0badcafe", None):
        locks = await asyncio.to_thread(os.listdir, house.data / "vaults" / "cellar" / "locks")

    assert len(locks) == 1


async def test_restic_that_does_not_say_in_time_that_it_has_its_lock_holds_nobody_up(
    house: VaultHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = restic._document

    async def silent(
        vault: VaultAccess, options: Sequence[str], content: Awaitable[bytes], _: asyncio.Event
    ) -> StoredSnapshot:
        return await store(vault, options, content, asyncio.Event())

    monkeypatch.setattr(restic, "_document", silent)
    monkeypatch.setattr(restic, "LOCKS_S", 0.1)
    async with house.cellar.writer("0badcafe", None) as writer:
        await writer.publish(head_of("0badcafe"), quiet)

    await house.cellar.reload()
    assert [head.slug for head, _ in house.cellar.backups()] == ["0badcafe"]


async def test_head_is_stored_though_the_restic_that_waited_for_it_is_gone(house: VaultHouse, starts: Starts) -> None:
    starts.fail(fails=True)
    async with house.cellar.writer("0badcafe", None) as writer:
        await starts.failed()
        starts.fail(fails=False)
        await writer.add(BackupPart(id=LAMP, name="Lamp"), lamp_contents(), quiet)
        await writer.publish(head_of("0badcafe"), quiet)

    await house.cellar.reload()
    assert [head.slug for head, _ in house.cellar.backups()] == ["0badcafe"]


async def test_head_is_stored_though_the_restic_that_waited_for_it_dies_as_it_is_told(house: VaultHouse) -> None:
    async with house.cellar.writer("0badcafe", None) as writer:
        await writer.add(BackupPart(id=LAMP, name="Lamp"), lamp_contents(), quiet)
        waiting = [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if _is_of(path, str(house.data))]
        for process in waiting:
            os.kill(int(process), signal.SIGKILL)
        await writer.publish(head_of("0badcafe"), quiet)

    assert waiting
    await house.cellar.reload()
    assert [head.slug for head, _ in house.cellar.backups()] == ["0badcafe"]


async def test_backup_whose_head_can_not_be_stored_is_none_and_leaves_nothing(
    house: VaultHouse, starts: Starts
) -> None:
    starts.fail(fails=True)
    with pytest.raises(VaultUnreachable, match="does not answer"):
        async with house.cellar.writer("0badcafe", None) as writer:
            await starts.failed()
            starts.fail(fails=False)
            await writer.add(BackupPart(id=LAMP, name="Lamp"), lamp_contents(), quiet)
            starts.fail(fails=True)
            try:
                await writer.publish(head_of("0badcafe"), quiet)
            finally:
                starts.fail(fails=False)

    assert house.cellar.backups() == []
    assert await Restic().snapshots(house.vaults.access("cellar"), TAG) == []


async def test_document_that_nobody_gives_a_content_is_no_snapshot_and_no_restic_stays(house: VaultHouse) -> None:
    access = house.vaults.access("cellar")

    async with Restic().document(access, "head.json", ("rooftree",)):
        pass

    assert await Restic().snapshots(access, "rooftree") == []
    assert not [path for path in Path("/proc").glob("[0-9]*/environ") if _is_of(path, str(house.data))]


def _is_of(environ: Path, data: str) -> bool:
    try:
        return f"RESTIC_REPOSITORY={data}".encode() in environ.read_bytes()
    except OSError:
        return False


@needs(os.geteuid() == 0, "only root can mount a small disk")
async def test_cache_on_a_disk_that_is_nearly_full_is_done_without(house: VaultHouse, starts: Starts) -> None:
    cache = house.vaults.access("cellar").cache
    await asyncio.to_thread(cache.mkdir, parents=True, exist_ok=True)
    await asyncio.to_thread(subprocess.run, ["mount", "-t", "tmpfs", "-o", "size=32k", "small", cache], check=True)
    try:
        await house.back_up("0badcaf1")
        proof = await house.proofs.prove("cellar", "0badcaf1", LAMP)

        assert list(cache.iterdir()) == []
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", cache], check=True)
    assert proof.whole
    assert all("--no-cache" in line for line in starts.arguments().splitlines())
    before = len(starts.commands())
    await house.back_up("0badcaf2")
    assert not any("--no-cache" in line for line in starts.arguments().splitlines()[before:])


async def test_restic_that_is_too_old_is_said_so(
    house: VaultHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old" / "restic"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'unknown flag: --no-lock' >&2\nexit 1\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:{os.environ['PATH']}")

    with pytest.raises(VaultUnreachable, match=r"restic is too old; 0\.14 or later is needed"):
        await house.cellar.reload()

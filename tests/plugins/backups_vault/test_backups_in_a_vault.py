"""Backups in a vault: made, listed, read, deleted, with a real restic."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from rooftree import Conflict, NotFound
from rooftree.interfaces.backups import BackupDamaged, BackupPart, PartContents, PartId, PartKind, PartTree
from rooftree.interfaces.containers import DataPath
from rooftree.interfaces.vaults import SnapshotRequest, StoreDocument, StoredSnapshot, VaultRefused
from rooftree_backups_vault import vault_location
from rooftree_backups_vault.restic import Restic
from rooftree_backups_vault.stored_backups import HEAD_FILE, HEAD_TAG, TAG, HeadCut, StoredBackups, StoredHead
from tests.plugins.backups_vault.vault_house import (
    LAMP,
    SHARE,
    VaultHouse,
    head_of,
    lamp_contents,
    needs_restic,
    picture,
    quiet,
    vault_house,
)

pytestmark = needs_restic


async def unpacked(house: VaultHouse, folder: Path, part: PartId = LAMP, slug: str = "0badcafe") -> Path:
    """A part brought into a folder."""
    async with house.cellar.reader(slug, None) as reader:
        await reader.unpack(part, folder, quiet)
    return folder


async def test_part_comes_back_as_it_was_with_its_documents(house: VaultHouse, tmp_path: Path) -> None:
    await house.back_up()

    staged = await unpacked(house, tmp_path / "staged")

    live = house.data / "apps/data/local_lamp"
    assert picture(staged / "trees" / "data") == picture(live)
    assert (staged / "trees" / "data" / "holes").stat().st_size == 3_000_000
    assert (staged / "documents" / "addon.json").read_bytes() == b'{"version": "1.0"}'
    async with house.cellar.reader("0badcafe", None) as reader:
        assert await reader.documents(LAMP) == {"addon.json": b'{"version": "1.0"}'}
        assert reader.head == head_of("0badcafe")
    assert sorted(path.name for path in staged.iterdir()) == ["documents", "trees"]


async def test_backup_is_listed_with_what_it_takes_and_the_next_one_takes_next_to_nothing(house: VaultHouse) -> None:
    first = await house.back_up("0badcaf1")
    second = await house.back_up("0badcaf2")

    sizes = {head.slug: size for head, size in house.cellar.backups()}
    assert {head.slug for head, _ in house.cellar.backups()} == {first.slug, second.slug}
    assert sizes["0badcaf1"] > 100_000
    assert sizes["0badcaf2"] < 5_000
    (shown,) = (await house.client.get("/kernel/v1/vaults")).data["vaults"]
    assert [backup["slug"] for backup in shown["backups"]] == ["0badcaf2", "0badcaf1"]
    assert shown["backups"][0]["total_bytes"] > 3_000_000


@pytest.mark.parametrize(
    ("options", "left_out"),
    [
        ({"excluded": ("*.txt", "!odd", "/sub")}, {"twin.txt", "sub/note.txt"}),
        ({"excluded": ("sub/deeper",)}, {"sub/deeper", "sub/deeper/na\xefve \udcff [x]*.log"}),
        ({"excluded": ("*.txt",), "matching": "whole"}, {"twin.txt"}),
        ({"excluded": ("**/*.txt", "states.db"), "matching": "whole"}, {"twin.txt", "sub/note.txt", "states.db"}),
    ],
)
async def test_what_a_domain_leaves_out_is_left_out_and_nothing_else(
    house: VaultHouse, tmp_path: Path, options: dict[str, object], left_out: set[str]
) -> None:
    await house.back_up(local_lamp=lamp_contents(**options))

    staged = await unpacked(house, tmp_path / "staged")

    everything = set(picture(house.data / "apps/data/local_lamp"))
    assert everything - set(picture(staged / "trees" / "data")) == left_out


async def test_file_that_stands_in_the_place_of_another_comes_back_in_its_place(
    house: VaultHouse, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.write_text("a consistent copy")
    image = tmp_path / "export"
    image.write_bytes(b"layers")
    contents = evolve(lamp_contents(), files={"data/sub/note.txt": copy}, image=image)
    await house.back_up(local_lamp=contents)

    staged = await unpacked(house, tmp_path / "staged")

    assert (staged / "trees/data/sub/note.txt").read_text() == "a consistent copy"
    assert (staged / "image.tar").read_bytes() == b"layers"


async def test_folder_whose_path_has_letters_of_patterns_is_kept_whole_but_for_what_is_left_out(
    house: VaultHouse, tmp_path: Path
) -> None:
    folder = house.data / "share [x]*?"
    folder.mkdir()
    (folder / "a.db-shm").write_text("x")
    (folder / "b").write_text("y")
    tree = PartTree(source=DataPath("share [x]*?"), name="", excluded=("*.db-shm",), matching="whole")
    await house.back_up(share=PartContents(trees=(tree,)))

    staged = await unpacked(house, tmp_path / "staged", SHARE)

    assert [path.name for path in (staged / "trees/root").iterdir()] == ["b"]


async def test_what_is_mounted_in_a_folder_is_not_its_own(
    house: VaultHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rooftree_backups_vault import vault_writer

    monkeypatch.setattr(vault_writer, "mountpoints_below", lambda folder: (Path("sub"),))
    await house.back_up()

    staged = await unpacked(house, tmp_path / "staged")

    assert not (staged / "trees/data/sub").exists()
    assert (staged / "trees/data/twin.txt").exists()


async def test_backup_that_is_not_finished_is_none_and_leaves_no_snapshot(house: VaultHouse) -> None:
    with pytest.raises(ZeroDivisionError):
        async with house.cellar.writer("0badcafe", None) as writer:
            await writer.add(BackupPart(id=LAMP, name="Lamp"), lamp_contents(), quiet)
            raise ZeroDivisionError

    await house.cellar.reload()
    assert house.cellar.backups() == []
    assert await Restic().snapshots(house.vaults.access("cellar"), TAG) == []
    assert not list((house.data / "tmp").rglob("addon.json"))


async def test_snapshots_that_a_kill_left_go_when_room_is_made_later_and_backups_stay(
    house: VaultHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.back_up()
    access = house.vaults.access("cellar")
    orphan = SnapshotRequest(base=house.data, paths=("apps",), tags=(TAG, "run=killed", "part=0"))
    await Restic().store(access, orphan, quiet)

    young = await house.client.post("/kernel/v1/vaults/cellar/prune", json={})
    assert young.status == 200
    assert "run=killed" in {tag for snapshot in await Restic().snapshots(access, TAG) for tag in snapshot.tags}
    monkeypatch.setattr(vault_location, "UNFINISHED_FOR", timedelta(0))
    answer = await house.client.post("/kernel/v1/vaults/cellar/prune", json={})

    assert answer.status == 200
    tags = {tag for snapshot in await Restic().snapshots(access, TAG) for tag in snapshot.tags}
    assert "run=killed" not in tags
    assert [head.slug for head, _ in house.cellar.backups()] == ["0badcafe"]


async def test_head_that_a_kill_has_cut_goes_with_its_parts_and_one_of_a_later_rooftree_stays(
    house: VaultHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.back_up()
    access = house.vaults.access("cellar")
    whole = StoredHead(head=head_of("0badcafe"), parts=()).written()
    heads = {"cut": whole[: len(whole) // 2], "later": b'{"format": 2}', "packed": b"(\xb5/\xfd no JSON any more"}
    for run, content in heads.items():
        part = SnapshotRequest(base=house.data, paths=("apps",), tags=(TAG, f"run={run}", "part=0"))
        await Restic().store(access, part, quiet)
        async with Restic().document(access, HEAD_FILE, (TAG, HEAD_TAG, f"run={run}")) as store:
            await store(content)
    monkeypatch.setattr(vault_location, "UNFINISHED_FOR", timedelta(0))

    answer = await house.client.post("/kernel/v1/vaults/cellar/prune", json={})

    assert answer.status == 200, answer.text
    (kept,) = house.backups.of("cellar")
    tags = [tag for snapshot in await Restic().snapshots(access, TAG) for tag in snapshot.tags if "run=" in tag]
    assert sorted(tags) == sorted(["run=later", "run=packed", f"run={kept.run}"] * 2)


def test_every_head_that_is_cut_is_known_as_one_and_what_is_no_json_is_none() -> None:
    whole = StoredHead(head=evolve(head_of("0badcafe"), name="Küche 😀"), parts=()).written()

    for size in range(len(whole)):
        with pytest.raises(HeadCut):
            StoredHead.read(whole[:size])
    for content in (b"(\xb5/\xfd packed", b"\x1f\x8b", b"{}\n{}", whole + b"x", b"other: words"):
        with pytest.raises(BackupDamaged) as refused:
            StoredHead.read(content)
        assert not isinstance(refused.value, HeadCut), content


async def test_backup_that_is_in_the_vault_is_one_though_the_disk_here_took_no_note_of_it(
    house: VaultHouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as disk:
        disk.setattr(StoredBackups, "put", full)
        with pytest.raises(OSError, match="no space left"):
            await house.back_up()

    await house.cellar.reload()

    assert [head.slug for head, _ in house.cellar.backups()] == ["0badcafe"]
    assert (await unpacked(house, tmp_path / "staged") / "trees" / "data" / "options.json").exists()


async def test_head_that_is_stored_when_its_backup_is_cancelled_goes_with_the_parts(
    house: VaultHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = Restic.document

    @asynccontextmanager
    async def cancelled(*arguments: Any) -> AsyncIterator[StoreDocument]:
        async with document(*arguments) as store:

            async def stored(content: bytes) -> StoredSnapshot:
                await store(content)
                raise asyncio.CancelledError

            yield stored

    monkeypatch.setattr(Restic, "document", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await house.back_up()

    assert await Restic().snapshots(house.vaults.access("cellar"), TAG) == []


async def test_backup_of_which_somebody_removed_a_part_counts_as_none(house: VaultHouse) -> None:
    await house.back_up()
    access = house.vaults.access("cellar")
    assert house.cellar.facts("0badcafe")["verified"] is None
    parts = [item.id for item in await Restic().snapshots(access, TAG) if HEAD_TAG not in item.tags]
    await Restic().forget(access, parts)

    await house.cellar.reload()

    assert house.cellar.facts("0badcafe")["verified"] is False


async def test_snapshot_that_can_not_be_read_for_a_while_costs_no_backup(
    house: VaultHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.back_up()
    access = house.vaults.access("cellar")
    (head,) = [item.id for item in await Restic().snapshots(access, TAG) if HEAD_TAG in item.tags]
    file = house.data / "vaults/cellar/snapshots" / head
    content = file.read_bytes()
    monkeypatch.setattr(vault_location, "UNFINISHED_FOR", timedelta(0))
    shutil.rmtree(access.cache)

    file.chmod(0o600)
    file.write_bytes(b"")
    with suppress(VaultRefused):
        await house.cellar.reload()
    answer = await house.client.post("/kernel/v1/vaults/cellar/prune", json={})
    file.write_bytes(content)

    assert answer.status >= 400, "it can't be told what belongs to no backup"
    assert [head.slug for head, _ in house.cellar.backups()] == ["0badcafe"]
    await house.cellar.reload()
    assert house.cellar.facts("0badcafe")["verified"] is None


async def test_same_backup_is_not_made_twice(house: VaultHouse) -> None:
    await house.back_up()

    with pytest.raises(Conflict, match="already"):
        await house.back_up()


async def test_deleted_backup_is_gone_from_the_vault_too(house: VaultHouse) -> None:
    await house.back_up("0badcaf1")
    await house.back_up("0badcaf2")

    await house.cellar.delete("0badcaf1")
    await house.cellar.delete("0badcaf1")

    await house.cellar.reload()
    assert [head.slug for head, _ in house.cellar.backups()] == ["0badcaf2"]
    assert len(await Restic().snapshots(house.vaults.access("cellar"), TAG)) == 2
    with pytest.raises(NotFound):
        async with house.cellar.reader("0badcaf1", None):
            pass


async def test_backups_are_there_again_on_another_machine_with_the_key(
    house: VaultHouse, empty_vault: Path, tmp_path: Path
) -> None:
    head = await house.back_up()
    await unpacked(house, tmp_path / "here")
    vault = house.data / "vaults" / "cellar"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "data" / "vaults").mkdir(parents=True)
    await asyncio.to_thread(os.rename, vault, elsewhere / "vault")

    answer = await house.client.delete("/kernel/v1/vaults/cellar")
    assert answer.status == 200
    (house.data / "vaults").mkdir(exist_ok=True)
    await asyncio.to_thread(os.rename, elsewhere / "vault", house.data / "vaults" / "attic")
    answer = await house.client.post(
        "/kernel/v1/vaults",
        json={"name": "attic", "place": "local", "key": "a-key-of-the-tests", "existing": True},
    )

    assert [backup["slug"] for backup in answer.data["vault"]["backups"]] == [head.slug]
    assert house.backups.get("attic", head.slug).head == head


async def test_source_that_can_not_be_read_makes_no_backup(house: VaultHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    (house.data / "vaults" / "cellar" / "config").rename(house.data / "config")

    with pytest.raises(Exception, match="vault"):
        await house.back_up()

    assert house.cellar.backups() == []


async def test_program_that_ends_without_a_word_has_stored_nothing(
    house: VaultHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "bin" / "restic"
    silent.parent.mkdir()
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o755)
    monkeypatch.setenv("PATH", f"{silent.parent}:{os.environ['PATH']}")

    with pytest.raises(VaultRefused, match="without a word"):
        await house.back_up()
    assert house.cellar.backups() == []


async def test_backups_are_known_after_a_restart(house: VaultHouse, empty_vault: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    async with vault_house(other, empty_vault) as first:
        (first.data / "apps/data/local_lamp").mkdir(parents=True)
        head = await first.back_up()
    async with vault_house(other, empty_vault) as second:
        assert [known for known, _ in second.cellar.backups()] == [head]


async def test_folder_that_is_not_there_leaves_a_part_without_it(house: VaultHouse, tmp_path: Path) -> None:
    await house.back_up(share=PartContents(trees=(PartTree(source=DataPath("share"), name=""),)))

    staged = await unpacked(house, tmp_path / "staged", SHARE)

    assert not (staged / "trees").exists()
    assert house.backups.get("cellar", "0badcafe").parts[0].part.id.kind is PartKind.FOLDER

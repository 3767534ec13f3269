"""What is in a folder takes the place of what was there, and gives it back, wherever that was interrupted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from rooftree_backups import entry_swap
from rooftree_backups.entry_swap import BESIDE, EntrySwap, look, swap, swap_back
from rooftree_files import Folder

SWAP = EntrySwap("share", "staged/trees/root", "staged/replaced")
MOST_MOVES = 60
NO_TEXT = os.fsdecode(b"caf\xe9")


class Cut(Exception):
    """Where something ends half-way."""


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def scene(data: Path) -> None:
    write(data / "share", {"same": "old", "deep/er/value": "old", "gone": "old", NO_TEXT: "old"})
    write(data / "staged/trees/root", {"same": "new", "deep/other": "new", "come": "new", NO_TEXT: "new"})


OLD = {"same": "old", "deep/er/value": "old", "gone": "old", NO_TEXT: "old"}
NEW = {"same": "new", "deep/other": "new", "come": "new", NO_TEXT: "new"}


def test_all_of_it_takes_the_place_and_the_folder_stays(tmp_path: Path) -> None:
    scene(tmp_path)
    inode, before = (tmp_path / "share").stat().st_ino, look(tmp_path, SWAP)

    for _ in range(2):
        swap(tmp_path, SWAP, before)

    assert texts(tmp_path / "share") == NEW
    assert texts(tmp_path / "staged/replaced") == OLD
    assert (tmp_path / "share").stat().st_ino == inode


def test_folder_that_was_not_there_is_made(tmp_path: Path) -> None:
    write(tmp_path / "staged/trees/root", {"come": "new"})

    swap(tmp_path, SWAP, look(tmp_path, SWAP))

    assert texts(tmp_path / "share") == {"come": "new"}


def test_what_is_mounted_in_it_stays_and_so_do_the_folders_that_lead_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "share", {"nas/far": "away", "deep/er/disk/far": "away", "deep/er/near": "old", "top": "old"})
    write(tmp_path / "staged/trees/root", {"nas/near": "new", "deep/er/near": "new", "deep/more": "new"})
    table = tmp_path / "mountinfo"
    points = [f"{tmp_path}/share/nas", f"{tmp_path}/share/deep/er/disk", f"{tmp_path}/elsewhere"]
    table.write_text("".join(f"30 1 8:1 / {point} rw - ext4 /dev/sda1 rw\n" for point in points))
    monkeypatch.setattr(entry_swap, "MOUNT_TABLE", table)
    before = look(tmp_path, SWAP)

    swap(tmp_path, SWAP, before)
    swapped = texts(tmp_path / "share")
    swap_back(tmp_path, SWAP, before)

    far = {"nas/far": "away", "deep/er/disk/far": "away"}
    assert swapped == far | {"deep/er/near": "new", "deep/more": "new"}
    assert texts(tmp_path / "share") == far | {"deep/er/near": "old", "top": "old"}


def test_names_of_mount_points_are_read_as_the_kernel_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "share", {"with space/far": "away", "near": "old"})
    write(tmp_path / "staged/trees/root", {})
    table = tmp_path / "mountinfo"
    table.write_text(f"30 1 8:1 / {tmp_path}/share/with\\040space rw - ext4 /dev/sda1 rw\n")
    monkeypatch.setattr(entry_swap, "MOUNT_TABLE", table)

    assert look(tmp_path, SWAP).old == ("near",)


def test_what_is_staged_in_it_is_no_part_of_it(tmp_path: Path) -> None:
    own = EntrySwap("share", f"share/{BESIDE}1/trees/root", f"share/{BESIDE}1/replaced")
    write(tmp_path / "share", {"value": "old", f"{BESIDE}1/trees/root/value": "new"})

    swap(tmp_path, own, look(tmp_path, own))

    assert texts(tmp_path / "share") == {"value": "new", f"{BESIDE}1/replaced/value": "old"}


def test_what_somebody_writes_meanwhile_hurts_nobody(tmp_path: Path) -> None:
    scene(tmp_path)
    before = look(tmp_path, SWAP)
    write(tmp_path / "share", {"come": "meanwhile"})

    swap(tmp_path, SWAP, before)
    write(tmp_path / "share", {"gone": "meanwhile"})
    swap_back(tmp_path, SWAP, before)

    assert texts(tmp_path / "share") == OLD
    assert texts(tmp_path / "staged/trees/root") == NEW


def test_link_in_the_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"value": "untouched"})
    write(tmp_path / "staged/trees/root", {"value": "new"})
    (tmp_path / "share").symlink_to("elsewhere")

    with pytest.raises(Exception, match="link"):
        swap(tmp_path, SWAP, look(tmp_path, SWAP))

    assert texts(tmp_path / "elsewhere") == {"value": "untouched"}


def test_all_is_as_it_was_wherever_either_way_was_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_at, moves, move = 0, 0, Folder.move

    def cut_move(self: Folder, name: str, into: Folder, new_name: str) -> None:
        nonlocal moves
        moves += 1
        if moves == cut_at:
            raise Cut
        move(self, name, into, new_name)

    monkeypatch.setattr(Folder, "move", cut_move)
    for there in range(1, MOST_MOVES):
        for back in range(1, MOST_MOVES):
            data, cuts = tmp_path / f"{there}-{back}", 0
            scene(data)
            before = look(data, SWAP)
            for verb, number in ((swap, there), (swap_back, back)):
                cut_at, moves = number, 0
                try:
                    verb(data, SWAP, before)
                except Cut:
                    cuts += 1
            cut_at = 0
            for _ in range(2):
                swap_back(data, SWAP, before)

            assert texts(data / "share") == OLD, (there, back)
            assert texts(data / "staged/trees/root") == NEW, (there, back)
            if moves < back and cuts < 2:
                break
        if cuts == 0:
            break
    assert cuts == 0

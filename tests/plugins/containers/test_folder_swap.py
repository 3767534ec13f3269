"""A folder takes the place of another and gives it back, wherever it was interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from rooftree_containers.folder_swap import BeforeSwap, FolderSwap, swap, swap_back
from tests.rig.files import write_files

SWAP = FolderSwap("live", "staged/new", "staged/old")
HISTORY = "history.db"
MOST_CALLS = 40


class Cut(Exception):
    """Where something ends half-way."""


def texts(folder: Path) -> Mapping[str, str] | None:
    """What is in a folder, or ``None`` where there is none."""
    if not folder.exists():
        return None
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def seen(data: Path) -> tuple[Mapping[str, str] | None, ...]:
    """What is live, what is staged, and what was replaced."""
    return texts(data / "live"), texts(data / "staged/new"), texts(data / "staged/old")


def scene(data: Path, *, was_there: bool) -> BeforeSwap:
    """A staged folder, and a live one where one is wanted."""
    write_files(data / "staged/new", {"value": "new", "deep/er": "new"})
    if was_there:
        write_files(data / "live", {"value": "old", HISTORY: "goes on"})
    return BeforeSwap(was_there, True, (HISTORY,) if was_there else ())


@pytest.mark.parametrize("was_there", [True, False])
async def test_folder_takes_the_place_and_what_stays_stays(tmp_path: Path, was_there: bool) -> None:
    before = await asyncio.to_thread(partial(scene, tmp_path, was_there=was_there))

    for _ in range(2):
        await swap(tmp_path, SWAP, before)

    stays = {HISTORY: "goes on"} if was_there else {}
    assert await asyncio.to_thread(seen, tmp_path) == (
        {"value": "new", "deep/er": "new", **stays},
        None,
        {"value": "old"} if was_there else {},
    )


@pytest.mark.parametrize("was_there", [True, False])
async def test_all_is_as_it_was_wherever_either_way_was_cut(
    tmp_path: Path, was_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at, calls, in_thread = 0, 0, asyncio.to_thread

    async def cut_in_thread(function, *arguments):  # type: ignore[no-untyped-def]  # as asyncio.to_thread is
        nonlocal calls
        calls += 1
        if calls == cut_at:
            raise Cut
        return await in_thread(function, *arguments)

    monkeypatch.setattr(asyncio, "to_thread", cut_in_thread)
    for there in range(1, MOST_CALLS):
        for back in range(1, MOST_CALLS):
            data = tmp_path / f"{there}-{back}"
            before = await in_thread(partial(scene, data, was_there=was_there))
            picture = await in_thread(seen, data)
            finished = []
            for verb, number in ((swap, there), (swap_back, back)):
                cut_at, calls = number, 0
                try:
                    await verb(data, SWAP, before)
                    finished.append(verb)
                except Cut:
                    pass
            cut_at = 0
            for _ in range(2):
                await swap_back(data, SWAP, before)

            assert await in_thread(seen, data) == picture, (there, back)
            if swap_back in finished:
                break
        if swap in finished:
            break
    assert finished == [swap, swap_back]

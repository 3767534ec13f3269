"""Every file that a start reads, damaged in every way: the system starts and says what was lost, or says why it can't.

The database, its log and documents in it have tests of their own; here each file is replaced under a whole system.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from rooftree.process.system import System
from rooftree.settings import SettingsInvalid, load
from rooftree.state.disk_reserve import RESERVE_NAME
from rooftree.state.folder import COPIES_NAME, DATABASE_NAME, INSTANCE_ID_NAME, LOCK_NAME
from rooftree.testing import Client, running_system
from tests.kernel.notebook import Notebook, make_room, notes_of, write_notes

MIB = 1024 * 1024
SETTINGS = {"kernel.disk_reserve_mib": 1}
STARTS_WITHIN_S = 10.0


def replaced_by(content: bytes) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.write_bytes(content)

    return replace


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def grown(path: Path) -> None:
    """A hundred megabytes of JSON, without the disk that they would take: the end of a sparse file reads as NULs."""
    path.write_bytes(b'{"a": [' + b"1, " * 100_000)
    os.truncate(path, 100 * MIB)


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def made_a_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


DAMAGE: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "empty": replaced_by(b""),
    "cut in half": cut_in_half,
    "NULs": replaced_by(b"\0" * 4096),
    "random": replaced_by(random.Random(7).randbytes(5000)),
    "text": replaced_by(b"[]\n"),
    "invalid UTF-8": replaced_by(b"\xff\xfe\xed\xa0\x80" * 50),
    "100 MB": grown,
    "a folder": made_a_folder,
    "a dangling link": made_a_dangling_link,
}
each_damage = pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())


async def live_in(folder: Path) -> None:
    """Make a folder as a system leaves it: a database, three copies of it, everything else."""
    async with running_system(folder, plugins=[Notebook], settings=SETTINGS) as system:
        for number in range(3):
            await system.jobs.run(make_room(key=str(number)))
            await system.database.copy()


@pytest.fixture(scope="module")
def left_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One such folder, to be copied."""
    folder = tmp_path_factory.mktemp("lived-in")
    asyncio.run(live_in(folder))
    return folder


@pytest.fixture
def lived_in(left_folder: Path, tmp_path: Path) -> Path:
    """A folder in which a system has lived."""
    shutil.copytree(left_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


async def start_again(folder: Path) -> tuple[set[str], dict[str, str]]:
    """What notes a start finds, and what problems it tells, by type; it serves, the administrator's token included."""
    began = time.monotonic()
    async with running_system(folder, plugins=[Notebook], settings=SETTINGS) as system:
        assert time.monotonic() - began < STARTS_WITHIN_S
        found = notes_of(system), {problem.type: problem.message for problem in system.problems}
        await system.jobs.run(write_notes(key="later"))
        await serves(system)
    async with running_system(folder, plugins=[Notebook], settings=SETTINGS) as system:
        assert notes_of(system) == found[0] | {"later-one", "later-two"}, "the start after that finds it whole"
    return found


async def serves(system: System) -> None:
    async with Client.over_unix(system) as client:
        assert (await client.get("/nothing")).status == 404


ALL = {"0", "1", "2"}


@each_damage
async def test_database_comes_back_from_its_newest_copy_and_the_loss_is_told(
    lived_in: Path, damage: Callable[[Path], None]
) -> None:
    damage(lived_in / "data" / DATABASE_NAME)

    notes, problems = await start_again(lived_in)

    assert notes == ALL
    assert "copy" in problems["state_damaged"]


@each_damage
async def test_damaged_copies_matter_to_nobody_while_the_database_is_whole(
    lived_in: Path, damage: Callable[[Path], None]
) -> None:
    for copy in (lived_in / "data" / COPIES_NAME).iterdir():
        damage(copy)

    assert await start_again(lived_in) == (ALL, {})


@each_damage
async def test_instance_id_is_taken_from_the_database_and_the_loss_is_told(
    lived_in: Path, damage: Callable[[Path], None]
) -> None:
    file = lived_in / "data" / INSTANCE_ID_NAME
    before = file.read_bytes()
    damage(file)

    notes, problems = await start_again(lived_in)

    assert notes == ALL
    assert "nothing is lost" in problems["state_damaged"]
    assert file.read_bytes() == before


@each_damage
async def test_administrators_token_is_made_anew_or_its_file_is_told_to_be_in_the_way(
    lived_in: Path, damage: Callable[[Path], None]
) -> None:
    file = lived_in / "data" / "admin-token"
    old = file.read_text().strip()
    damage(file)

    notes, problems = await start_again(lived_in)

    assert notes == ALL
    assert problems.keys() == ({"admin_token_not_written"} if file.is_dir() else set())
    if file.is_file():
        assert file.stat().st_mode & 0o777 == 0o600
        async with running_system(lived_in, settings=SETTINGS) as system:
            assert system.tokens.principal(file.read_text().strip()) is not None
            assert system.tokens.principal(old) is None


@each_damage
async def test_lock_is_made_anew_or_refuses_in_words(lived_in: Path, damage: Callable[[Path], None]) -> None:
    file = lived_in / "data" / LOCK_NAME
    damage(file)

    if file.is_dir() or file.is_symlink():
        with pytest.raises(Exception, match=r"data folder .* can't be used"):
            await start_again(lived_in)
    else:
        assert await start_again(lived_in) == (ALL, {})


@each_damage
async def test_disk_reserve_is_made_anew(lived_in: Path, damage: Callable[[Path], None]) -> None:
    damage(lived_in / "data" / RESERVE_NAME)

    notes, problems = await start_again(lived_in)

    assert notes == ALL
    assert problems.keys() <= {"free_space"}


@each_damage
async def test_settings_that_cannot_be_read_are_refused_naming_the_file(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    file = tmp_path / "rooftree.toml"
    file.write_text('[kernel]\nlog_level = "warning"\nport = 8481\n')
    damage(file)

    try:
        settings = await asyncio.to_thread(
            partial(load, config=file, environ={}, flags={"kernel.data_dir": str(tmp_path)})
        )
    except SettingsInvalid as error:
        assert str(file) in error.message
    else:
        assert settings.kernel.port == 8480, "an empty file is a good one"

"""The driver in a running system, with a borg that does the work."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from attrs import evolve
from rooftree import NotFound, Secret
from rooftree.interfaces.vaults import (
    GROUP,
    Omission,
    SnapshotRequest,
    VaultAccess,
    VaultExists,
    VaultLocked,
    VaultMissing,
    VaultRefused,
    VaultUnreachable,
)
from rooftree.process import System
from rooftree.testing import Client, InstalledPlugin, running_system
from rooftree_backups_vault.plugin import BackupsVaultPlugin

from rooftree_vault_borg import Borg

KEY = Secret("the key of the tests")


@pytest.fixture
def vault(tmp_path: Path) -> VaultAccess:
    """Where a vault may be made."""
    return VaultAccess(repository=str(tmp_path / "vaults" / "cellar"), key=KEY, cache=tmp_path / "cache")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault that nobody uses: borg starts slowly, and a vault that is copied needs none."""
    folder = tmp_path_factory.mktemp("empty")
    vault = VaultAccess(repository=str(folder / "vaults" / "cellar"), key=KEY, cache=folder / "cache")
    asyncio.run(Borg().create(vault))
    return Path(vault.repository)


@pytest.fixture
def made(vault: VaultAccess, empty: Path) -> VaultAccess:
    """A vault."""
    shutil.copytree(empty, vault.repository)
    return vault


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder that is worth a backup."""
    lamp = tmp_path / "home" / "apps" / "lamp [1]*"
    (lamp / "sub" / "deeper").mkdir(parents=True)
    (lamp / "options.json").write_text('{"brightness": 7}')
    (lamp / "big").write_bytes(bytes(range(256)) * 20_000)
    (lamp / "sub" / "a.log").write_text("dark")
    (lamp / "sub" / "deeper" / "b.log").write_text("darker")
    (lamp / "link").symlink_to("/etc/passwd")
    return tmp_path / "home"


def request(home: Path, tags: tuple[str, ...] = ("rooftree", "run=1")) -> SnapshotRequest:
    return SnapshotRequest(base=home, paths=("apps/lamp [1]*",), tags=tags)


def quiet(_: int, __: int) -> None:
    """Progress that nobody looks at."""


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def taken(vault: VaultAccess) -> int:
    """What a vault takes on the disk, in bytes."""
    return sum(path.stat().st_size for path in Path(vault.repository).rglob("*") if path.is_file())


async def test_what_is_stored_comes_back_and_costs_next_to_nothing_the_second_time(
    made: VaultAccess, home: Path, tmp_path: Path
) -> None:
    told: list[int] = []

    first = await Borg().store(made, request(home), lambda done, total: told.append(done))
    second = await Borg().store(made, request(home, tags=("rooftree", "run=2")), quiet)

    assert first.total_bytes > 5_000_000
    assert second.added_bytes < first.added_bytes / 2
    assert told
    assert [snapshot.tags[1] for snapshot in await Borg().snapshots(made, "rooftree")] == ["run=1", "run=2"]
    assert [snapshot.id for snapshot in await Borg().snapshots(made, "run=2")] == [second.id]
    await Borg().restore(made, first.id, ["apps/lamp [1]*/sub", "apps/lamp [1]*/link"], tmp_path / "back")
    assert names(tmp_path / "back" / "apps" / "lamp [1]*") == {
        "sub",
        "sub/a.log",
        "sub/deeper",
        "sub/deeper/b.log",
        "link",
    }
    assert (tmp_path / "back/apps/lamp [1]*/sub/a.log").read_text() == "dark"


LEFT_OUT = {
    Omission(folder="apps/lamp [2]*", pattern="*.log", matching="tail"): {"sub/a.log", "sub/deeper/b.log"},
    Omission(folder="apps/lamp [3]*", pattern="sub/deeper", matching="tail"): {"sub/deeper", "sub/deeper/b.log"},
    Omission(folder="apps/lamp [4]*", pattern="sub/*.log", matching="whole"): {"sub/a.log"},
    Omission(folder="apps/lamp [5]*", pattern="**/*.log", matching="whole"): {"sub/a.log", "sub/deeper/b.log"},
    Omission(folder="apps/lamp [6]*", pattern="sub/deeper", matching="exact"): {"sub/deeper", "sub/deeper/b.log"},
}
"""Each in a folder of its own, with what it keeps out of the snapshot."""


async def test_what_is_to_be_left_out_of_a_folder_is_and_nothing_else(
    made: VaultAccess, home: Path, tmp_path: Path
) -> None:
    lamp = home / "apps" / "lamp [1]*"
    for omission in LEFT_OUT:
        shutil.copytree(lamp, home / omission.folder, symlinks=True)
    paths = tuple(omission.folder for omission in LEFT_OUT)

    stored = await Borg().store(made, SnapshotRequest(base=home, paths=paths, omissions=tuple(LEFT_OUT)), quiet)
    await Borg().restore(made, stored.id, paths, tmp_path / "back")

    for omission, left_out in LEFT_OUT.items():
        assert names(lamp) - names(tmp_path / "back" / omission.folder) == left_out, omission


async def test_folders_are_looked_into_and_single_files_read(made: VaultAccess, home: Path) -> None:
    stored = await Borg().store(made, request(home), quiet)

    entries = {entry.name: entry for entry in await Borg().entries(made, stored.id, "apps/lamp [1]*")}

    assert {name: entry.type for name, entry in entries.items()} == {
        "big": "file", "link": "link", "options.json": "file", "sub": "folder",
    }  # fmt: skip
    assert entries["big"].size_bytes == 5_120_000
    pieces = [piece async for piece in Borg().content(made, stored.id, "apps/lamp [1]*/big")]
    assert b"".join(pieces) == (home / "apps/lamp [1]*/big").read_bytes()
    with pytest.raises(NotFound):
        await Borg().entries(made, stored.id, "apps/nothing")
    with pytest.raises(NotFound):
        [piece async for piece in Borg().content(made, stored.id, "apps/lamp [1]*/sub")]


async def test_document_is_a_snapshot_once_it_has_a_content(made: VaultAccess) -> None:
    async with Borg().document(made, "head.json", ("rooftree", "head")):
        pass
    assert await Borg().snapshots(made, "rooftree") == []

    async with Borg().document(made, "head.json", ("rooftree", "head")) as store:
        stored = await store(b'{"format": 1}')

    assert [piece async for piece in Borg().content(made, stored.id, "head.json")] == [b'{"format": 1}']


async def test_forgotten_snapshots_are_gone_twice_over_and_their_room_is_free_after_pruning(
    made: VaultAccess, home: Path
) -> None:
    stored = await Borg().store(made, request(home), quiet)
    full = taken(made)

    await Borg().forget(made, [stored.id])
    await Borg().forget(made, [stored.id])
    await Borg().prune(made)

    assert await Borg().snapshots(made, "rooftree") == []
    assert taken(made) < full


async def test_what_can_not_be_read_is_refused_and_leaves_no_snapshot(made: VaultAccess, home: Path) -> None:
    gone = SnapshotRequest(base=home, paths=("apps/lamp [1]*", "nowhere"), tags=("rooftree",))

    with pytest.raises(VaultRefused, match="nowhere"):
        await Borg().store(made, gone, quiet)

    assert await Borg().snapshots(made, "rooftree") == []


async def test_each_thing_that_is_wrong_has_its_error(
    made: VaultAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    with pytest.raises(VaultExists):
        await Borg().create(made)
    with pytest.raises(VaultLocked):
        await Borg().open(evolve(made, key=Secret("another")))
    with pytest.raises(VaultMissing):
        await Borg().open(evolve(made, repository=str(tmp_path / "none")))
    with pytest.raises(VaultUnreachable, match="resolve hostname"):
        await Borg().open(evolve(made, repository="ssh://nas.invalid/./vault"))
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(VaultUnreachable, match="install it"):
        await Borg().open(made)


async def test_damaged_repository_is_told_when_room_is_made(made: VaultAccess, home: Path) -> None:
    await Borg().store(made, request(home), quiet)
    segment = max((Path(made.repository) / "data").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)

    with pytest.raises(VaultRefused):
        await Borg().prune(made)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """A system with vaults, and the driver."""
    driver = InstalledPlugin("borg", lambda: Borg, group=GROUP)
    async with running_system(tmp_path / "system", plugins=[BackupsVaultPlugin, driver]) as running:
        yield running


async def test_vault_is_made_checked_and_opened_by_hand_as_its_kit_says(system: System) -> None:
    async with Client.over_unix(system) as client:
        body = {"name": "loft", "driver": "borg", "place": "local"}
        made = (await client.post("/kernel/v1/vaults", json=body)).data
        assert (await client.post("/kernel/v1/vaults/loft/check", json={})).status == 200
        refused = await client.post("/kernel/v1/vaults", json={**body, "name": "x", "place": "sftp:nas:/x"})

    assert refused.status == 400
    assert "ssh://user@host" in refused.envelope["message"]
    kit = made["recovery_kit"]
    key = next(line.removeprefix("Key:").strip() for line in kit.splitlines() if line.startswith("Key:"))
    exports = [line.strip() for line in kit.splitlines() if line.strip().startswith("export ")]
    script = "\n".join(exports).replace("the key above", key) + "\nborg list"
    by_hand = {
        "PATH": "/usr/bin:/bin",
        "BORG_BASE_DIR": str(system.data.path),
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }
    await asyncio.to_thread(subprocess.run, ["sh", "-c", script], check=True, env=by_hand)


def test_driver_is_installed_under_its_name() -> None:
    (driver,) = (point for point in entry_points(group=GROUP) if point.name == "borg")
    assert driver.load() is Borg

"""The broken archives of the corpus, restored: whatever is wrong in one, a folder is what it was or what the backup
says, and nothing comes to be anywhere else."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from rooftree.testing.containers import FakeContainerEngine
from tests.plugins.addons.house import House
from tests.plugins.archives.corpus import BROKEN, CORPUS, broken
from tests.plugins.backups.restored_house import whole_house
from tests.requirements import needs_shared

pytestmark = [needs_shared(CORPUS), pytest.mark.asyncio(loop_scope="module"), pytest.mark.torture]
PLACES = ("ssl", "share", "media", "apps/local")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One house for all of them."""
    async with whole_house(tmp_path_factory.mktemp("broken"), FakeContainerEngine()) as here:
        yield here


def picture(data: Path) -> dict[str, str]:
    """All files below the data folder that no plugin of ours keeps for itself, with what is in them."""
    files = [data / "config.json"]
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in {"state", "backup", "core", "plugins", "logs"}:
            files += [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return {str(file.relative_to(data)): hashlib.sha256(content_of(file)).hexdigest() for file in files}


def content_of(file: Path) -> bytes:
    if file.is_symlink():
        return bytes(file.readlink())
    return file.read_bytes() if file.is_file() else b"neither a file nor a link"


def spoil(data: Path) -> None:
    for place in PLACES:
        folder = data / place
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "stale.txt").write_text("stale")
    (data / "config.json").write_text("ours")


async def take_in(home: House, archive: Path) -> str | None:
    folder = home.data / "backup"

    def put() -> None:
        for old in folder.glob("*.tar"):
            old.unlink()
        (folder / archive.name).write_bytes(archive.read_bytes())

    await asyncio.to_thread(put)
    await home.client.post("/backups/reload")
    listed = (await home.client.get("/backups")).data["backups"]
    return listed[0]["slug"] if listed else None


@pytest.mark.parametrize("archive", BROKEN, ids=lambda path: path.stem)
async def test_broken_backup_harms_nothing(home: House, archive: Path) -> None:
    facts = broken(archive)
    await asyncio.to_thread(spoil, home.data)
    before = await asyncio.to_thread(picture, home.data)
    slug = await take_in(home, archive)
    if slug is None:
        return
    details = (await home.client.get(f"/backups/{slug}/info")).data

    body: dict[str, Any] = {"folders": details["folders"], "password": facts["password"]}
    answer = await home.client.post(f"/backups/{slug}/restore/partial", json=body)
    await home.quiet()

    after = await asyncio.to_thread(picture, home.data)
    elsewhere = {path for path in after if not path.startswith(tuple(f"{place}/" for place in PLACES))}
    assert {path: after[path] for path in elsewhere} == {"config.json": before["config.json"]}
    if answer.status != 200:
        assert answer.status == 400, answer.text
        assert after == before, answer.text
    for folder in details["folders"] if answer.status == 200 else ():
        place = {"addons/local": "apps/local"}.get(folder, folder)
        assert f"{place}/stale.txt" not in after
    assert not (home.data / "restore").exists() or not any((home.data / "restore").iterdir())

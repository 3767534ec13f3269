"""Backups that are uploaded to a vault: taken in part by part, and nothing of the file stays."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rooftree.testing import Answer, Client, running_system
from rooftree_backups.plugin import BackupsPlugin
from rooftree_backups_vault.plugin import BackupsVaultPlugin
from rooftree_backups_vault.vault_location import VaultLocation
from tests.plugins.backups_vault.vault_house import DRIVER, KEY, VaultHouse, needs_restic
from tests.rig.waiting import until

pytestmark = needs_restic
HEADERS = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.fixture
async def place(tmp_path: Path, empty_vault: Path) -> AsyncIterator[VaultHouse]:
    """A house in which backups are made, with a vault."""
    plugins = [BackupsPlugin, BackupsVaultPlugin, DRIVER]
    async with running_system(tmp_path, plugins=plugins) as system, Client.over_unix(system) as client:
        house = VaultHouse(system, client)
        shutil.copytree(empty_vault, house.data / "vaults" / "cellar")
        body = {"name": "cellar", "place": "local", "key": KEY, "existing": True}
        assert (await client.post("/kernel/v1/vaults", json=body)).status == 200
        (house.data / "share").mkdir(exist_ok=True)
        (house.data / "share" / "film").write_bytes(b"x" * 100_000)
        yield house


async def archive(place: VaultHouse, **body: object) -> tuple[str, bytes]:
    """A backup's file that is nowhere here."""
    answer = await place.client.post("/backups/new/partial", json={"folders": ["share"], **body})
    slug: str = answer.data["slug"]
    file = place.data / "backup" / f"{slug}.tar"
    content = file.read_bytes()
    assert (await place.client.delete(f"/backups/{slug}")).status == 200
    return slug, content


async def upload(place: VaultHouse, content: bytes, query: str) -> Answer:
    body = b"--b\r\nContent-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--b--\r\n"
    return await place.client.post(f"/backups/new/upload?{query}", body=body, headers=HEADERS)


async def remains(place: VaultHouse, files: list[str]) -> None:
    """Nothing else is left of files, in a moment."""

    async def is_so() -> bool:
        return _files(place) == files

    await until(is_so, within_s=10, what=f"{files} alone")


def _files(place: VaultHouse) -> list[str]:
    carried = place.data / "plugins" / "backups" / "carried"
    return [path.name for folder in (place.data / "backup", carried) if folder.is_dir() for path in folder.iterdir()]


async def test_upload_to_a_vault_is_taken_in_and_comes_back(place: VaultHouse) -> None:
    slug, content = await archive(place)

    answer = await upload(place, content, "location=cellar")

    assert answer.data == {"slug": slug}, answer.text
    (listed,) = (await place.client.get("/backups")).data["backups"]
    assert (listed["slug"], listed["locations"]) == (slug, ["cellar"])
    await remains(place, [])
    (place.data / "share" / "film").write_bytes(b"spoilt")
    restored = await place.client.post(f"/backups/{slug}/restore/partial", json={"folders": ["share"]})
    assert restored.status == 200, restored.text
    assert (place.data / "share" / "film").read_bytes() == b"x" * 100_000


async def test_upload_to_a_vault_and_to_a_folder_is_in_both(place: VaultHouse) -> None:
    slug, content = await archive(place)

    answer = await upload(place, content, "location=cellar&location=.local")

    assert answer.data == {"slug": slug}, answer.text
    (listed,) = (await place.client.get("/backups")).data["backups"]
    assert listed["locations"] == [None, "cellar"]
    await remains(place, [f"{slug}.tar"])


async def test_upload_that_is_encrypted_is_refused_with_the_way(place: VaultHouse) -> None:
    _, content = await archive(place, password="mine")

    answer = await upload(place, content, "location=cellar")

    assert answer.status == 400
    assert "rooftree vault import" in answer.message
    assert (await place.client.get("/backups")).data["backups"] == []


async def test_upload_that_the_vault_does_not_take_leaves_nothing(
    place: VaultHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, content = await archive(place)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(VaultLocation, "writer", full)

    answer = await upload(place, content, "location=cellar&location=.local")

    assert answer.status >= 400
    assert (await place.client.get("/backups")).data["backups"] == []
    await remains(place, [])

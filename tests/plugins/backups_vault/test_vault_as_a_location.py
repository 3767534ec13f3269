"""A vault among the places that backups are kept in: made, listed, downloaded and deleted by the usual routes."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from rooftree.testing import Client, running_system
from rooftree_backups.plugin import BackupsPlugin
from rooftree_backups_vault.commands import vault
from rooftree_backups_vault.plugin import BackupsVaultPlugin
from tests.plugins.backups_vault.vault_house import DRIVER, KEY, VaultHouse, needs_restic

pytestmark = needs_restic


@pytest.fixture
async def place(tmp_path: Path, empty_vault: Path) -> AsyncIterator[VaultHouse]:
    """A house in which backups are made, with a vault."""
    import shutil

    plugins = [BackupsPlugin, BackupsVaultPlugin, DRIVER]
    async with running_system(tmp_path, plugins=plugins) as system, Client.over_unix(system) as client:
        house = VaultHouse(system, client)
        shutil.copytree(empty_vault, house.data / "vaults" / "cellar")
        body = {"name": "cellar", "place": "local", "key": KEY, "existing": True}
        assert (await client.post("/kernel/v1/vaults", json=body)).status == 200
        (house.data / "share").mkdir(exist_ok=True)
        (house.data / "share" / "film").write_bytes(b"x" * 100_000)
        yield house


async def made(house: VaultHouse, location: object) -> str:
    body = {"name": "at night", "folders": ["share"], "location": location}
    answer = await house.client.post("/backups/new/partial", json=body)
    assert answer.status == 200, answer.text
    slug: str = answer.data["slug"]
    return slug


async def test_backup_is_made_in_it_and_listed_with_its_location(place: VaultHouse) -> None:
    slug = await made(place, "cellar")

    (listed,) = (await place.client.get("/backups")).data["backups"]
    info = (await place.client.get(f"/backups/{slug}/info")).data

    assert (listed["slug"], listed["location"], listed["locations"]) == (slug, "cellar", ["cellar"])
    assert listed["content"] == {"homeassistant": False, "addons": [], "folders": ["share"]}
    assert info["name"] == "at night" and info["folders"] == ["share"]


async def test_download_is_an_archive_and_a_delete_deletes(place: VaultHouse) -> None:
    slug = await made(place, "cellar")

    answer = await place.client.get(f"/backups/{slug}/download")
    deleted = await place.client.delete(f"/backups/{slug}")

    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        metadata = archive.extractfile("./backup.json")
        assert metadata is not None and json.load(metadata)["slug"] == slug
        assert "share.tar.gz" in archive.getnames()
    assert deleted.status == 200
    assert (await place.client.get("/backups")).data["backups"] == []
    assert place.cellar.backups() == []


@pytest.mark.parametrize("locations", [[None, "cellar"], ["cellar", None]])
async def test_backup_is_in_both_places_where_both_are_asked_for(
    place: VaultHouse, locations: list[str | None]
) -> None:
    slug = await made(place, locations)

    (listed,) = (await place.client.get("/backups")).data["backups"]

    assert set(listed["locations"]) == {None, "cellar"}
    assert [head.slug for head, _ in place.cellar.backups()] == [slug]
    assert list((place.data / "backup").glob("*.tar"))
    assert not list((place.data / "tmp").rglob("film"))


async def test_archive_with_a_password_is_copied_into_it_too(place: VaultHouse) -> None:
    body = {"name": "sealed", "folders": ["share"], "password": "hunter2", "location": [None, "cellar"]}

    answer = await place.client.post("/backups/new/partial", json=body)

    assert answer.status == 200, answer.text
    assert [head.slug for head, _ in place.cellar.backups()] == [answer.data["slug"]]
    (listed,) = (await place.client.get("/backups")).data["backups"]
    assert listed["location_attributes"][".local"]["protected"] is True
    assert listed["location_attributes"]["cellar"]["protected"] is False


async def test_command_takes_the_password_of_an_archive_from_the_shell(place: VaultHouse) -> None:
    body = {"name": "sealed", "folders": ["share"], "password": "hunter2"}
    slug = (await place.client.post("/backups/new/partial", json=body)).data["slug"]
    words = ["import", "cellar", slug, "--socket", str(place.system.settings.kernel.socket)]

    wrong, right = [
        await asyncio.to_thread(CliRunner().invoke, vault, words, env={"BACKUP_PASSWORD": password})
        for password in ("another", "hunter2")
    ]

    assert wrong.exit_code == 1
    assert right.exit_code == 0, right.output
    assert [head.slug for head, _ in place.cellar.backups()] == [slug]


async def test_archive_is_taken_into_it_with_its_password_and_only_once(place: VaultHouse) -> None:
    body = {"name": "sealed", "folders": ["share"], "password": "hunter2"}
    slug = (await place.client.post("/backups/new/partial", json=body)).data["slug"]

    keyless = await place.client.post("/kernel/v1/vaults/cellar/import", json={"slug": slug})
    taken = await place.client.post("/kernel/v1/vaults/cellar/import", json={"slug": slug, "password": "hunter2"})
    again = await place.client.post("/kernel/v1/vaults/cellar/import", json={"slug": slug, "password": "hunter2"})
    unknown = await place.client.post("/kernel/v1/vaults/cellar/import", json={"slug": "00000000"})

    assert keyless.status == 400
    assert taken.status == 200, taken.text
    assert again.status == 409
    assert unknown.status == 404
    assert [head.slug for head, _ in place.cellar.backups()] == [slug]
    (listed,) = (await place.client.get("/backups")).data["backups"]
    assert set(listed["locations"]) == {None, "cellar"}
    assert not list((place.data / "tmp").rglob("film"))


async def test_what_is_in_it_is_restored_by_the_usual_route(place: VaultHouse) -> None:
    slug = await made(place, "cellar")
    share = place.data / "share"
    (share / "film").write_bytes(b"spoiled")
    (share / "stale").write_text("made since")

    answer = await place.client.post(f"/backups/{slug}/restore/partial", json={"folders": ["share"]})

    assert answer.status == 200, answer.text
    assert [path.name for path in share.iterdir()] == ["film"]
    assert (share / "film").read_bytes() == b"x" * 100_000
    assert not list((place.data / "tmp").rglob("film"))

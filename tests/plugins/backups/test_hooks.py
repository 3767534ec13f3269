"""What other domains give to backups: parts, places and settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from rooftree import Secret
from rooftree.interfaces.backups import (
    BackupHead,
    BackupPart,
    BackupWriter,
    PartContents,
    Progress,
    StoredPart,
)
from rooftree.interfaces.hooks import backup_locations, backup_source
from tests.plugins.backups.house import House, house
from tests.plugins.backups.plain_archives import raw_of, write_archive


@define
class Cellar:
    """A place of another domain."""

    name: str = "cellar"
    kept: dict[str, BackupHead] = field(factory=dict)
    parts: dict[str, list[str]] = field(factory=dict)

    def backups(self) -> Sequence[tuple[BackupHead, int]]:
        return [(head, 1234) for head in self.kept.values()]

    def facts(self, slug: str) -> Mapping[str, Any]:
        return {"verified": True}

    async def reload(self) -> None: ...

    @asynccontextmanager
    async def writer(self, slug: str, password: Secret | None) -> AsyncIterator[BackupWriter]:
        yield CellarWriter(self, slug)

    def reader(self, slug: str, password: Secret | None) -> Any:
        raise NotImplementedError

    async def export(self, slug: str, archive: Path, progress: Progress) -> None:
        await asyncio.to_thread(write_archive, archive, raw_of(self.kept[slug]))

    async def delete(self, slug: str) -> None:
        self.kept.pop(slug, None)


@define
class CellarWriter:
    cellar: Cellar
    slug: str

    async def add(self, part: BackupPart, contents: PartContents, progress: Progress) -> StoredPart:
        self.cellar.parts.setdefault(self.slug, []).append(part.id.slug)
        return StoredPart(part=part, stored_bytes=1, digest=None)

    async def publish(self, head: BackupHead, progress: Progress) -> None:
        self.cellar.kept[head.slug] = head


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as running:
        yield running


async def test_hook_backup_source_has_the_parts_that_are_backed_up(home: House) -> None:
    owners = await home.system.hooks.call(backup_source)

    assert {owner.kind for owner in owners} == {"addon", "homeassistant"}
    answer = (await home.client.post("/backups/new/partial", json={"addons": ["local_bell"]})).data
    assert home.addons.held == ["hold local_bell", "let go local_bell"]
    assert (await home.listed())[answer["slug"]]["content"]["addons"] == ["local_bell"]


async def test_hook_backup_locations_are_listed_written_exported_and_emptied(home: House) -> None:
    cellar = Cellar()
    home.locations.append(cellar)  # type: ignore[arg-type]  # it can't be read from
    assert await home.system.hooks.call(backup_locations) == [[cellar]]

    slug = (await home.client.post("/backups/new/full", json={"location": "cellar"})).data["slug"]

    entry = (await home.listed())[slug]
    assert (entry["location"], entry["locations"], entry["size_bytes"]) == ("cellar", ["cellar"], 1234)
    assert cellar.parts[slug] == ["homeassistant", "local_lamp", "local_bell"]
    (known,) = (await home.client.get("/kernel/v1/backups")).data["backups"]
    assert known["facts"] == {"cellar": {"verified": True}}
    exported = await home.client.get(f"/backups/{slug}/download")
    assert (exported.status, exported.body[:13]) == (200, b"./backup.json")
    assert (await home.client.delete(f"/backups/{slug}")).data == {}
    assert cellar.kept == {}


async def test_each_part_is_read_once_for_all_places(home: House) -> None:
    home.mounts.add("nas")
    cellar = Cellar()
    home.locations.append(cellar)  # type: ignore[arg-type]  # it can't be read from

    body = {"location": [None, "cellar", "nas"], "addons": "ALL"}
    slug = (await home.client.post("/backups/new/partial", json=body)).data["slug"]

    assert (await home.listed())[slug]["locations"] == [None, "nas", "cellar"]
    assert home.addons.held.count("hold local_lamp") == 1


async def test_addons_may_be_read_from_copies_unless_a_place_stores_only_what_has_changed(home: House) -> None:
    home.mounts.add("nas")
    home.locations.append(Cellar())  # type: ignore[arg-type]  # it can't be read from

    for location in ([None, "nas"], [None, "cellar"]):
        body = {"location": location, "addons": ["local_lamp"]}
        assert (await home.client.post("/backups/new/partial", json=body)).status == 200

    assert [wishes.from_copy for wishes in home.addons.wishes] == [True, False]


async def test_hook_backup_settings_go_into_the_supervisors_part_and_back(home: House) -> None:
    home.mounts.add("nas")
    home.registries.has_settings = True
    parts = home.backups.parts
    owner = (await parts.owners())["supervisor"]
    async with owner.hold("supervisor", None) as contents:
        documents = dict(contents.documents)

    assert documents == {
        "mounts.json": b'{"default_backup_mount":null,"mounts":[{"name":"nas"}]}',
        "docker.json": b'{"registries":{"ghcr.io":{"username":"me","password":"mine"}}}',
    }
    left_out = await owner.put_back({**documents, "other.json": b"{}"})
    assert left_out == ("other.json: there is nobody here who keeps that",)
    assert home.mounts.restored == [{"default_backup_mount": None, "mounts": [{"name": "nas"}]}]
    assert home.registries.restored == [{"registries": {"ghcr.io": {"username": "me", "password": "mine"}}}]

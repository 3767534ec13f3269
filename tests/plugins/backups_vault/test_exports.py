"""A backup of a vault as an ordinary archive."""

from __future__ import annotations

import asyncio
import json
import tarfile
from pathlib import Path

import pytest
from attrs import evolve

from rooftree_archives import archive_reader
from rooftree_backups_vault.exports import EXPORTS
from tests.plugins.backups_vault.vault_house import LAMP, VaultHouse, lamp_contents, needs_restic, picture, quiet

pytestmark = needs_restic


async def test_archive_of_it_restores_to_what_was_backed_up(house: VaultHouse, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"layers")
    head = await house.back_up(local_lamp=evolve(lamp_contents(), image=image))
    told: list[tuple[int, int]] = []

    await house.cellar.export("0badcafe", tmp_path / "export.tar", lambda done, total: told.append((done, total)))

    async with archive_reader(tmp_path / "export.tar", None) as reader:
        assert reader.head.slug == head.slug and reader.head.name == head.name
        assert dict(reader.head.extra)["maker"] == {"since": 1}
        assert await reader.documents(LAMP) == {"addon.json": b'{"version": "1.0"}'}
        staged = await reader.unpack(LAMP, tmp_path / "staged", quiet)
    assert staged.has_image
    assert (tmp_path / "staged/image.tar").read_bytes() == b"layers"
    original = picture(house.data / "apps/data/local_lamp")
    assert {name: (shown[0], shown[-1]) for name, shown in picture(tmp_path / "staged/trees/data").items()} == {
        name: (shown[0], shown[-1]) for name, shown in original.items()
    }
    assert all(done <= total for done, total in told) and told[-1][0] > 0
    assert not list((house.data / EXPORTS).glob("*"))


async def test_archive_is_one_that_the_existing_supervisor_reads(house: VaultHouse, tmp_path: Path) -> None:
    await house.back_up()

    await house.cellar.export("0badcafe", tmp_path / "export.tar", quiet)

    def read() -> tuple[list[str], dict[str, object]]:
        with tarfile.open(tmp_path / "export.tar") as archive:
            file = archive.extractfile("./backup.json")
            assert file is not None
            return archive.getnames(), json.load(file)

    names, metadata = await asyncio.to_thread(read)
    assert names == ["local_lamp.tar.gz", "./backup.json"]
    assert (metadata["slug"], metadata["version"], metadata["protected"]) == ("0badcafe", 2, False)


async def test_export_that_fails_leaves_nothing(house: VaultHouse, tmp_path: Path) -> None:
    await house.back_up()
    (house.data / "vaults/cellar/config").unlink()
    (tmp_path / "out").mkdir()

    with pytest.raises(Exception, match="vault"):
        await house.cellar.export("0badcafe", tmp_path / "out" / "export.tar", quiet)

    assert not list((house.data / EXPORTS).glob("*"))
    assert list(tmp_path.glob("out/*")) == []

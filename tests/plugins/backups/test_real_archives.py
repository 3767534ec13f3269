"""Backups with the real archive format: what is made is listed, verified, and read by others."""

from __future__ import annotations

import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rooftree.interfaces.backups import PartContents, PartTree
from rooftree.interfaces.containers import DataPath
from rooftree_backups.archives import securetar_version
from tests.plugins.backups.house import House, house
from tests.requirements import SHARED, needs_shared

CORPUS = SHARED / "corpus" / "supervisor" / "backups"
PASSWORD = "p\u00e4ssw\u00f6rd"  # made up


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, real=True) as running:
        data = tmp_path / "data"
        (data / "ssl").mkdir()
        (data / "ssl" / "key.pem").write_text("secret key")
        (data / "apps" / "data" / "local_lamp").mkdir(parents=True)
        (data / "apps" / "data" / "local_lamp" / "state").write_text("on")
        tree = PartTree(source=DataPath("apps/data/local_lamp"), name="data")
        running.addons.contents = PartContents(documents={"addon.json": b"{}"}, trees=(tree,))
        running.core.contents = PartContents(documents={"homeassistant.json": b"{}"}, exclude_database=True)
        yield running


async def verified(home: House, slug: str, password: str | None = None) -> Any:
    outcome = (await home.client.post(f"/kernel/v1/backups/{slug}/verify", json={"password": password})).data
    assert outcome.pop("job_id")
    return outcome


async def test_plain_backup_is_a_tar_that_anybody_reads(home: House) -> None:
    home.mounts.add("nas")
    slug = (await home.client.post("/backups/new/full", json={"name": "Plain"})).data["slug"]

    with tarfile.open(home.local / f"{slug}.tar") as tar:
        names = tar.getnames()
        raw = json.load(tar.extractfile("./backup.json"))  # type: ignore[arg-type]
        with tarfile.open(fileobj=tar.extractfile("ssl.tar.gz")) as inner:
            assert inner.extractfile("key.pem").read() == b"secret key"  # type: ignore[union-attr]
    assert names[-1] == "./backup.json"
    assert {"supervisor.tar.gz", "homeassistant.tar.gz", "local_lamp.tar.gz", "local_bell.tar.gz", "ssl.tar.gz"} <= set(
        names
    )
    assert (raw["slug"], raw["folders"], raw["homeassistant"]["version"]) == (slug, ["ssl"], "2026.11.0")
    details = (await home.client.get(f"/backups/{slug}/info")).data
    assert details["homeassistant_exclude_database"] is True
    assert (await verified(home, slug))["whole"] is True


async def test_only_root_reads_what_a_backup_holds(home: House) -> None:
    nas = home.mounts.add("nas")
    slug = (await home.client.post("/backups/new/full", json={"location": [None, "nas"]})).data["slug"]

    files = [place / f"{slug}.tar" for place in (home.local, nas)]
    assert [oct(file.stat().st_mode & 0o777) for file in files] == ["0o600"] * 2


async def test_protected_backup_is_encrypted_and_opened_by_its_password_only(home: House) -> None:
    body = {"name": "Protected", "password": PASSWORD}
    slug = (await home.client.post("/backups/new/full", json=body)).data["slug"]

    assert b"secret key" not in (home.local / f"{slug}.tar").read_bytes()
    assert (await home.listed())[slug]["protected"] is True
    assert await verified(home, slug, PASSWORD) == {"whole": True, "authenticated": True, "findings": []}
    for wrong in ("wrong", "", None):
        answer = await home.client.post(f"/kernel/v1/backups/{slug}/verify", json={"password": wrong})
        assert (answer.status, answer.message.startswith("Invalid password for backup")) == (400, True)


async def test_password_is_in_no_journal_audit_or_index(home: House) -> None:
    await home.client.post("/backups/new/full", json={"password": "hunter2hunter2"})

    for path in (home.folder / "data").rglob("*"):
        if path.is_file() and path.stat().st_size < 50_000_000:
            assert b"hunter2hunter2" not in path.read_bytes(), path


async def test_altered_backup_is_a_problem_until_it_is_gone(home: House) -> None:
    slug = (await home.client.post("/backups/new/full", json={"password": PASSWORD})).data["slug"]
    path = home.local / f"{slug}.tar"
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        member = tar.getmember("ssl.tar.gz")
    data[member.offset_data + member.size - 20] ^= 1
    path.write_bytes(data)
    await home.reload()

    outcome = await verified(home, slug, PASSWORD)

    assert outcome["whole"] is False
    (problem,) = [problem for problem in home.system.problems if problem.type == "backup_damaged"]
    assert problem.reference == slug
    await home.client.delete(f"/backups/{slug}")
    await home.check_age()
    assert not [problem for problem in home.system.problems if problem.type == "backup_damaged"]


@pytest.mark.parametrize(
    ("version", "written"),
    [("2026.3.0", 3), ("2026.2.4", 2), ("2027.1.0b3", 3), ("2025.12.0", 2), (None, 2), ("landingpage", 2)],
)
def test_format_is_what_the_existing_supervisor_writes_beside_that_core(version: str | None, written: int) -> None:
    assert securetar_version(version) == written


@needs_shared(CORPUS)
async def test_backups_of_the_existing_supervisor_are_listed_as_it_lists_them(home: House) -> None:
    wanted: dict[str, Any] = {}
    for manifest in sorted(CORPUS.glob("*.json")):
        told = json.loads(manifest.read_text())
        if manifest.name != "index.json" and "info" in told:
            (home.local / f"{manifest.stem}.tar").write_bytes(manifest.with_suffix(".tar").read_bytes())
            wanted[told["info"]["slug"]] = told["info"]
    await home.reload()

    listed = await home.listed()

    assert set(wanted) == set(listed)
    for slug, told in wanted.items():
        details = (await home.client.get(f"/backups/{slug}/info")).data
        for key in ("name", "type", "date", "protected", "compressed", "supervisor_version", "homeassistant", "folders",
                    "repositories", "size_bytes", "homeassistant_exclude_database"):  # fmt: skip
            assert details[key] == told[key], (slug, key)
        assert [(addon["slug"], addon["version"]) for addon in details["addons"]] == [
            (addon["slug"], addon["version"]) for addon in told["addons"]
        ]

"""The proof that backups can be brought back."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection
from pathlib import Path

import pytest

from rooftree import Unavailable
from rooftree.interfaces.backups import PartContents, PartTree
from rooftree.interfaces.containers import DataPath
from rooftree_backups_vault import proofs
from rooftree_backups_vault.proof_reading import Report, look
from tests.plugins.backups_vault.vault_house import LAMP, SHARE, VaultHouse, lamp_contents, needs_restic, picture

pytestmark = needs_restic


async def test_each_night_the_part_is_proved_whose_turn_it_is(house: VaultHouse) -> None:
    (house.data / "share").mkdir(exist_ok=True)
    (house.data / "share" / "film").write_bytes(b"x" * 1000)
    share = PartContents(trees=(PartTree(source=DataPath("share"), name=""),))
    await house.back_up(local_lamp=lamp_contents(), share=share)

    await house.proofs.nightly()
    await house.proofs.nightly()

    (shown,) = (await house.client.get("/kernel/v1/vaults/cellar")).data["backups"]
    assert {proof["slug"] for proof in shown["proofs"]} == {"local_lamp", "share"}
    lamp = next(proof for proof in shown["proofs"] if proof["slug"] == "local_lamp")
    assert lamp["whole"] is True
    assert lamp["compared_files"] == 7
    assert lamp["compared_bytes"] > 3_000_000
    assert lamp["opened_files"] == 4  # options, scenes, states, and the part's document
    assert house.cellar.facts("0badcafe")["verified"] is True
    assert not list((house.data / "tmp").glob("vault-proofs/*"))


async def test_file_that_changed_since_is_not_compared_and_no_fault(house: VaultHouse) -> None:
    await house.back_up()
    (house.data / "apps/data/local_lamp/options.json").write_text("broken {")

    proof = await house.proofs.prove("cellar", "0badcafe", LAMP)

    assert proof.whole
    assert proof.compared_files == 6


def _flip_a_bit_in_each_pack(folder: Path, but: Collection[Path] = ()) -> None:
    for pack in set(folder.rglob("*")) - set(but):
        if pack.is_file():
            content = bytearray(pack.read_bytes())
            content[len(content) // 4] ^= 1
            pack.chmod(0o600)
            pack.write_bytes(content)


async def test_damage_is_a_fact_of_the_backup_a_problem_and_the_end_of_the_job(house: VaultHouse) -> None:
    await house.back_up()
    await asyncio.to_thread(_flip_a_bit_in_each_pack, house.data / "vaults/cellar/data")

    answer = await house.client.post("/kernel/v1/vaults/cellar/prove", json={})

    assert answer.status == 400
    (proof,) = house.backups.get("cellar", "0badcafe").proofs
    assert not proof.whole
    assert house.cellar.facts("0badcafe")["verified"] is False
    problem = next(problem for problem in house.system.problems if problem.type == "vault_proof_failed")
    assert "local_lamp" in problem.message
    async with house.cellar.reader("0badcafe", None) as reader:
        verification = await reader.verify(lambda _, __: None)
    assert not verification.whole


async def test_of_a_damaged_vault_the_hurt_backup_is_named_and_the_others_can_still_be_restored(
    house: VaultHouse, tmp_path: Path
) -> None:
    packs = house.data / "vaults/cellar/data"
    await house.back_up("0badcaf1")
    sound = set(packs.rglob("*"))
    (house.data / "share").mkdir(exist_ok=True)
    (house.data / "share" / "film").write_bytes(bytes(range(256)) * 1000)
    await house.back_up("0badcaf2", share=PartContents(trees=(PartTree(source=DataPath("share"), name=""),)))
    await asyncio.to_thread(_flip_a_bit_in_each_pack, packs, sound)

    answers = {
        slug: await house.client.post("/kernel/v1/vaults/cellar/prove", json={"slug": slug})
        for slug in ("0badcaf1", "0badcaf2")
    }

    assert {slug: answer.status for slug, answer in answers.items()} == {"0badcaf1": 200, "0badcaf2": 400}
    assert "The part share of the backup 0badcaf2" in answers["0badcaf2"].envelope["message"]
    assert {slug: house.cellar.facts(slug)["verified"] for slug in answers} == {"0badcaf1": True, "0badcaf2": False}
    async with house.cellar.reader("0badcaf1", None) as reader:
        await reader.unpack(LAMP, tmp_path / "back", lambda _, __: None)
    assert picture(tmp_path / "back/trees/data") == picture(house.data / "apps/data/local_lamp")


async def test_problem_goes_with_the_next_proof_that_is_whole(house: VaultHouse) -> None:
    from rooftree import Problem

    await house.back_up()
    house.system.problems.report(Problem(proofs.PROBLEM, "system", "cellar_local_lamp"))

    await house.proofs.prove("cellar", "0badcafe", LAMP)

    assert proofs.PROBLEM not in {problem.type for problem in house.system.problems}


async def test_proof_without_room_is_put_off_and_says_so(house: VaultHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.back_up()
    monkeypatch.setattr(proofs, "MARGIN_BYTES", 2**60)

    with pytest.raises(Unavailable, match="no room"):
        await house.proofs.prove("cellar", "0badcafe", LAMP)
    await house.proofs.nightly()

    assert house.backups.get("cellar", "0badcafe").proofs == ()


async def test_vault_that_can_not_be_reached_is_no_failed_proof(
    house: VaultHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.back_up()
    monkeypatch.setenv("PATH", "/nonexistent")

    await house.proofs.nightly()

    assert house.backups.get("cellar", "0badcafe").proofs == ()
    assert [problem for problem in house.system.problems if problem.type == proofs.PROBLEM] == []


async def test_nothing_to_prove_is_said(house: VaultHouse) -> None:
    answer = await house.client.post("/kernel/v1/vaults/cellar/prove", json={})
    other = await house.client.post("/kernel/v1/vaults/none/prove", json={})

    assert answer.status == 404
    assert other.status == 404


@pytest.fixture(autouse=True)
def data(tmp_path: Path) -> Path:
    """A data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def made(folder: Path, name: str, content: bytes) -> Path:
    """A file with the time 1."""
    import os

    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    return path


@pytest.mark.parametrize(
    ("name", "content", "finding"),
    [
        ("tree/a.json", b"{", "no JSON"),
        ("tree/.storage/auth", b"{", "no JSON"),
        ("tree/.storage/plain", b"text", None),
        ("tree/a.yaml", b"a: [", "no YAML"),
        ("tree/a.yaml", b"a: !include b.yaml\n", None),
        ("tree/a.db", b"SQLite format 3\0 and no more", "the database"),
        ("tree/a.json", b"", None),
        ("documents/addon.json", b"{", "no JSON"),
    ],
)
def test_what_can_not_be_opened_is_found(tmp_path: Path, name: str, content: bytes, finding: str | None) -> None:
    made(tmp_path / "restored", name, content)

    report = look(tmp_path / "data", tmp_path / "restored", ["tree"])

    assert len(report.findings) == (finding is not None)
    assert finding is None or finding in report.findings[0]


def test_what_can_not_be_opened_here_either_is_no_fault_of_the_backup(tmp_path: Path) -> None:
    for place in ("data", "restored"):
        made(tmp_path / place, "tree/a.json", b"{")

    report = look(tmp_path / "data", tmp_path / "restored", ["tree"])

    assert report == Report(compared_files=1, compared_bytes=1, opened_files=1)


def test_one_byte_that_differs_is_found(tmp_path: Path) -> None:
    made(tmp_path / "data", "tree/film", b"x" * 3_000_000)
    made(tmp_path / "restored", "tree/film", b"x" * 2_500_000 + b"y" + b"x" * 499_999)

    report = look(tmp_path / "data", tmp_path / "restored", ["tree"])

    assert report.findings == ["film differs from what is there now at byte 2500000"]


def test_links_lead_nowhere(tmp_path: Path) -> None:
    secret = made(tmp_path, "secret.json", b"{")
    (tmp_path / "restored/tree").mkdir(parents=True)
    (tmp_path / "restored/tree/a.json").symlink_to(secret)

    assert look(tmp_path / "data", tmp_path / "restored", ["tree"]) == Report()


def test_database_with_a_log_beside_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "restored/tree").mkdir(parents=True)
    connection = sqlite3.connect(tmp_path / "restored/tree/a.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()

    assert look(tmp_path / "data", tmp_path / "restored", ["tree"]) == Report(opened_files=1)


async def test_share_is_compared_where_it_lies(house: VaultHouse) -> None:
    (house.data / "share").mkdir(exist_ok=True)
    (house.data / "share" / "film").write_bytes(b"x" * 1000)
    await house.back_up(share=PartContents(trees=(PartTree(source=DataPath("share"), name=""),)))

    proof = await house.proofs.prove("cellar", "0badcafe", SHARE)

    assert (proof.compared_files, proof.compared_bytes) == (1, 1000)

"""All archives of the corpus: the good ones come out byte for byte, the broken ones are refused and harm nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rooftree.errors import NotFound, RooftreeError
from rooftree.interfaces.backups import BackupDamaged, PartId, PartKind, Verification, WrongPassword
from rooftree.model import Secret
from rooftree_archives import archive_reader, read_indexes, verify_archive
from tests.plugins.archives.corpus import BROKEN, CORPUS, GOOD, broken, manifest
from tests.plugins.archives.trees import described, quiet
from tests.requirements import needs, needs_shared

pytestmark = needs_shared(CORPUS)
needs_root = needs(os.geteuid() == 0, "gives files to others, for which it has to be root")
KINDS = {
    "file": stat.S_IFREG,
    "hard link": stat.S_IFREG,
    "folder": stat.S_IFDIR,
    "link": stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
}


def secret(password: str | None) -> Secret | None:
    return None if password is None else Secret(password)


@needs_root
@pytest.mark.parametrize("archive", GOOD, ids=lambda archive: archive.stem)
async def test_a_good_one_comes_out_as_its_manifest_says(archive: Path, tmp_path: Path) -> None:
    facts = manifest(archive)
    inner = {name.removeprefix("./").partition(".tar")[0]: entries for name, entries in facts["inner"].items()}
    async with archive_reader(archive, secret(facts["password"])) as reader:
        assert {key(stored.part.id) for stored in reader.parts} == inner.keys()
        for stored in reader.parts:
            into = tmp_path / key(stored.part.id)
            await reader.unpack(stored.part.id, into, quiet)
            hold_against(inner[key(stored.part.id)], stored.part.id, into)
            documents = await reader.documents(stored.part.id)
            assert documents == {
                path.name: path.read_bytes() for path in into.glob("documents/*") if path.name != "image.tar"
            }
        verification = await reader.verify(quiet)
    versions = set(facts.get("securetar_versions") or {entry.get("securetar", 0) for entry in facts["outer"]} - {None})
    assert verification == Verification(whole=True, authenticated=versions == {3} or not inner)


def key(part: PartId) -> str:
    return part.slug.replace("/", "_")


def hold_against(entries: list[dict[str, Any]], part: PartId, into: Path) -> None:
    there = {path: fact for tree in (into / "trees").iterdir() for path, fact in named(tree, part).items()}
    expected = {normal(entry["path"]): entry for entry in entries}
    documents = {path for path in expected if (into / "documents" / path).is_file() or path == "image.tar"}
    assert there.keys() - {"."} == expected.keys() - documents - {"."}
    for path, entry in expected.items():
        if path in documents or (path == "." and part.kind is not PartKind.FOLDER):
            continue
        hold_one_against(path, entry, expected, there)


def normal(path: str) -> str:
    return path.removeprefix("./") or "."


def named(tree: Path, part: PartId) -> Mapping[str, Any]:
    """What is in a tree, as it was called in the archive."""
    facts = described(tree)
    legacy = part.kind is PartKind.CORE and not (tree.parents[1] / "documents").exists()
    if part.kind is PartKind.FOLDER or legacy:
        return facts
    return {normal(f"{tree.name}/{path}").removesuffix("/."): fact for path, fact in facts.items()}


def hold_one_against(path: str, entry: dict[str, Any], expected: dict[str, Any], there: dict[str, Any]) -> None:
    fact = there[path]
    assert fact["kind"] == KINDS[entry["type"]], path
    assert fact["owner"] == (entry["uid"], entry["gid"]), path
    if entry["type"] == "hard link":
        assert fact["same as"] == there[normal(entry["target"])]["same as"], path
        return
    assert fact["mtime"] == pytest.approx(entry["mtime"] * 1e9, abs=1000), path
    if entry["type"] == "link":
        assert fact["target"] == entry["target"], path
        return
    mode = int(entry["mode"], 8)
    assert fact["mode"] == (mode if entry["type"] == "folder" else mode & ~0o6000), path
    if entry["type"] == "file":
        assert (fact["size"], fact["digest"]) == (entry["size"], entry["sha256"]), path


async def test_all_are_listed_with_what_they_say_of_themselves() -> None:
    indexes = await read_indexes(GOOD)

    for archive, index in zip(GOOD, indexes, strict=True):
        assert not isinstance(index, BackupDamaged), archive
        document, head = manifest(archive)["backup_json"], index.head
        assert (head.slug, head.name, head.type) == (document["slug"], document["name"], document["type"])
        assert head.protected is bool(document["protected"])
        assert [addon.id.slug for addon in head.addons] == [addon["slug"] for addon in document["addons"]]
        assert head.core_version == (document["homeassistant"] or {}).get("version")
        assert list(head.folders) == [folder for folder in document["folders"] if folder != "homeassistant"]
        assert head.extra == document.get("extra", {})
        assert head.date.isoformat() == document["date"]


@pytest.mark.parametrize("password", ["", "wrong", None, "Correct horse battery staple", "пароль"])
@pytest.mark.parametrize("name", ["d04-full-v3-gz", "d19-full-v2-gz", "by-hand/m02-snapshot-v1-encrypted"])
@needs_shared(CORPUS)
async def test_no_other_password_opens_one(name: str, password: str | None) -> None:
    with pytest.raises(WrongPassword, match="Invalid password for backup"):
        async with archive_reader(CORPUS / f"backups/{name}.tar", secret(password)):
            pass


READABLE = {
    "b04", "b05", "b19", "b25", "b26", "b32", "b33", "b43", "b45", "b46", "b47", "b49", "b50", "b51", "b52", "b53",
    "b54", "b67", "b79",
}  # fmt: skip
"""What is unusual in these is no damage to the archive, or can't be told (b79: SecureTar 2 with a bit flipped)."""
NOT_OPENED = {
    "b01", "b02", "b03", "b06", "b07", "b08", "b10", "b11", "b12", "b13", "b14", "b15", "b16", "b17", "b18", "b21",
    "b22",
}  # fmt: skip
WRONG_PASSWORD = {"b55", "b64", "b65", "b68", "b69", "b77"}


@pytest.mark.parametrize("archive", BROKEN, ids=lambda archive: archive.stem)
async def test_a_broken_one_is_refused_or_harmless(archive: Path, tmp_path: Path) -> None:
    password, name = secret(broken(archive)["password"]), archive.stem[:3]
    if name in NOT_OPENED | WRONG_PASSWORD:
        with pytest.raises(WrongPassword if name in WRONG_PASSWORD else BackupDamaged):
            await verify_archive(archive, password)
        return

    (tmp_path / "in").mkdir()
    async with archive_reader(archive, password) as reader:
        verification = await reader.verify(quiet)
        assert verification.whole is (name in READABLE)
        assert bool(verification.findings) is (name not in READABLE - {"b43"})
        failed = []
        for stored in reader.parts:
            try:
                await reader.unpack(stored.part.id, tmp_path / "in" / key(stored.part.id), quiet)
            except RooftreeError as error:
                failed.append(key(stored.part.id))
                assert key(stored.part.id) in error.message or isinstance(error, WrongPassword)
    missing = len(reader.head.folders) - sum(part.part.id.kind is PartKind.FOLDER for part in reader.parts)
    assert bool(failed or missing) is (name not in READABLE)
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]
    devices = (stat.S_ISCHR, stat.S_ISBLK)
    assert not any(is_device(path.lstat().st_mode) for path in tmp_path.rglob("*") for is_device in devices)


def test_they_are_all_there() -> None:
    assert (len(GOOD), len(BROKEN)) == (34, 80)


async def test_what_is_no_file_is_no_backup(tmp_path: Path) -> None:
    (tmp_path / "link.tar").symlink_to(GOOD[0])
    os.mkfifo(tmp_path / "pipe.tar")
    (tmp_path / "folder.tar").mkdir()
    paths = sorted(tmp_path.iterdir())

    assert [type(index) for index in await read_indexes(paths)] == [BackupDamaged] * 3
    for path in paths:
        with pytest.raises(BackupDamaged):
            await verify_archive(path, None)
    with pytest.raises(NotFound):
        await verify_archive(tmp_path / "absent/a.tar", None)
    with pytest.raises(NotFound):
        await verify_archive(tmp_path / "absent.tar", None)

"""What is put into an archive comes out again, the same in all that can be told of a file, and others can read it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import securetar

from rooftree.interfaces.backups import (
    BackupDamaged,
    BackupPart,
    PartContents,
    PartId,
    PartKind,
    PartTree,
    Verification,
)
from rooftree.interfaces.containers import DataPath
from rooftree.model import Secret
from rooftree_archives import ArchiveIndex, archive_reader, archive_writer, read_indexes
from tests.plugins.archives.trees import (
    ADDON,
    MIB,
    SHARE,
    described,
    head,
    make_odd_tree,
    quiet,
    unpack_folder,
    write_folder,
)
from tests.requirements import missing, needs

FORMS: list[dict[str, Any]] = [
    {"password": None, "compressed": False},
    {"password": None, "compressed": True},
    {"password": "geheim ключ", "version": 2, "compressed": False},
    {"password": "geheim ключ", "version": 2, "compressed": True},
    {"password": "geheim ключ", "version": 3, "compressed": False},
    {"password": "geheim ключ", "version": 3, "compressed": True},
]
needs_root = needs(os.geteuid() == 0, "gives files to others, for which it has to be root")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_odd_tree(folder / "share")
    return folder


@needs_root
@pytest.mark.parametrize("form", FORMS, ids=str)
async def test_everything_that_a_file_can_be_comes_back(tmp_path: Path, data: Path, form: dict[str, Any]) -> None:
    archive = tmp_path / "backup.tar"
    await write_folder(archive, data, **form)

    back = await unpack_folder(archive, tmp_path / "back", form["password"])

    assert described(back) == described(data / "share")
    assert (back / "sparse").stat().st_blocks * 512 < MIB
    async with archive_reader(archive, form["password"] and Secret(form["password"])) as reader:
        assert await reader.verify(quiet) == Verification(whole=True, authenticated=True)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "back", archive]


def inner_archive(archive: Path, name: str, into: Path) -> Path:
    with tarfile.open(archive) as outer:
        file = outer.extractfile(name)
        assert file is not None
        with into.open("wb") as inner:
            shutil.copyfileobj(file, inner)
    return into


@needs_root
@pytest.mark.parametrize(
    "command", [["tar", "--xattrs", "--xattrs-include=*", "-xpf"], ["bsdtar", "-xpf"]], ids=["gnu", "bsd"]
)
async def test_other_programs_unpack_it(tmp_path: Path, data: Path, command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        missing("needs bsdtar, of the package libarchive-tools")
    archive = tmp_path / "backup.tar"
    await write_folder(archive, data)
    (tmp_path / "there").mkdir()

    subprocess.run([*command, archive, "-C", tmp_path], check=True)
    subprocess.run(
        [*command, tmp_path / "share.tar.gz", "--numeric-owner", "-C", tmp_path / "there"],
        check=True,
        capture_output=True,
    )

    expected, there = described(data / "share"), described(tmp_path / "there")
    if command[0] == "bsdtar":
        del expected["."]["mtime"], there["."]["mtime"]  # it leaves the folder that it is told to be in as it is
    assert there == expected
    assert (tmp_path / "there/sparse").stat().st_blocks * 512 < MIB


@needs_root
@pytest.mark.parametrize("form", FORMS, ids=str)
async def test_the_library_of_the_existing_supervisor_unpacks_it(
    tmp_path: Path, data: Path, form: dict[str, Any]
) -> None:
    archive = tmp_path / "backup.tar"
    await write_folder(archive, data, **form)

    with securetar.SecureTarArchive(archive, "r", password=form["password"]) as outer:
        inner = next(member for member in outer.tar if member.name.startswith("share.tar"))
        if form["password"]:
            assert outer.validate_password(inner)
    with securetar.SecureTarArchive(archive, "r", password=form["password"]) as outer:
        metadata = outer.tar.extractfile("./backup.json")
        assert metadata is not None
        assert json.load(metadata)["protected"] is bool(form["password"])
        inner = outer.tar.getmember(inner.name)
        opened = unsealed(outer, inner, form["password"])
        with tarfile.open(fileobj=opened, mode="r|gz" if form["compressed"] else "r|") as tar:
            tar.extractall(tmp_path / "there", filter="fully_trusted", numeric_owner=True)

    expected, there = (described(folder, times=False) for folder in (data / "share", tmp_path / "there"))
    for facts in (expected, there):
        for fact in facts.values():
            fact.pop("attributes", None)  # it knows none
    assert there == expected


def unsealed(outer: securetar.SecureTarArchive, inner: tarfile.TarInfo, password: str | None) -> Any:
    file = outer.tar.extractfile(inner)
    if password is None:
        return file
    context = securetar.SecureTarRootKeyContext(password)
    return securetar.SecureTarDecryptStream(file, ciphertext_size=inner.size, root_key_context=context).__enter__()


async def test_documents_an_image_and_trees_lie_where_a_restore_looks_for_them(tmp_path: Path, data: Path) -> None:
    (tmp_path / "image").write_bytes(os.urandom(MIB))
    archive = tmp_path / "backup.tar"
    contents = PartContents(
        documents={"addon.json": b"{}", "apparmor.txt": b"profile"},
        trees=(PartTree(source=DataPath("share/sub"), name="data"), PartTree(source=DataPath("share"), name="config")),
        image=tmp_path / "image",
    )
    async with archive_writer(archive, data_folder=data, password=Secret("p")) as writer:
        stored = await writer.add(ADDON, contents, quiet)
        await writer.publish(head(addons=(ADDON,), protected=True), quiet)

    async with archive_reader(archive, Secret("p")) as reader:
        assert [part.part.id for part in reader.parts] == [ADDON.id]
        assert reader.parts[0].digest == stored.digest
        assert await reader.documents(ADDON.id) == contents.documents
        staged = await reader.unpack(ADDON.id, tmp_path / "back", quiet)

    assert (staged.trees, staged.has_image) == (("data", "config"), True)
    assert {path.name for path in (tmp_path / "back").iterdir()} == {"documents", "image.tar", "trees"}
    assert (tmp_path / "back/image.tar").read_bytes() == (tmp_path / "image").read_bytes()
    assert (tmp_path / "back/documents/addon.json").read_bytes() == b"{}"
    assert described(tmp_path / "back/trees/data").keys() == described(data / "share/sub").keys()


async def test_a_file_from_elsewhere_stands_for_one_in_a_tree(tmp_path: Path) -> None:
    (tmp_path / "data/core").mkdir(parents=True)
    (tmp_path / "data/core/home.db").write_bytes(b"torn")
    (tmp_path / "data/core/home.db").chmod(0o640)
    (tmp_path / "copy").write_bytes(b"consistent")
    archive = tmp_path / "backup.tar"
    core = BackupPart(id=PartId(kind=PartKind.CORE, slug="homeassistant"), name="Core", version="2026.11.0")
    contents = PartContents(
        documents={"homeassistant.json": b"{}"},
        trees=(PartTree(source=DataPath("core"), name="data"),),
        files={"data/home.db": tmp_path / "copy", "data/new/other.db": tmp_path / "copy"},
    )
    async with archive_writer(archive, data_folder=tmp_path / "data", password=None) as writer:
        await writer.add(core, contents, quiet)
        await writer.publish(head(core_version="2026.11.0"), quiet)

    async with archive_reader(archive, None) as reader:
        await reader.unpack(core.id, tmp_path / "back", quiet)

    assert (tmp_path / "back/trees/data/home.db").read_bytes() == b"consistent"
    assert (tmp_path / "back/trees/data/home.db").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "back/trees/data/new/other.db").read_bytes() == b"consistent"


@pytest.mark.parametrize(
    ("matching", "patterns", "kept"),
    [
        ("tail", ("*.log",), {"a.txt", "sub", "sub/c.txt"}),
        ("tail", ("sub",), {"a.txt", "b.log"}),
        ("tail", ("sub/*.txt",), {"a.txt", "b.log", "sub", "sub/d.log"}),
        ("tail", ("/data/share/b.log",), {"a.txt", "sub", "sub/c.txt", "sub/d.log"}),
        ("whole", ("*.log",), {"a.txt", "sub", "sub/c.txt", "sub/d.log"}),
        ("whole", ("**/*.log",), {"a.txt", "sub", "sub/c.txt"}),
    ],
)
async def test_what_is_excluded_is_left_out(tmp_path: Path, matching: Any, patterns: Any, kept: set[str]) -> None:
    (tmp_path / "data/share/sub").mkdir(parents=True)
    for name in ("a.txt", "b.log", "sub/c.txt", "sub/d.log"):
        (tmp_path / "data/share" / name).touch()
    tree = PartTree(source=DataPath("share"), name="data", excluded=patterns, matching=matching)
    async with archive_writer(tmp_path / "backup.tar", data_folder=tmp_path / "data", password=None) as writer:
        await writer.add(ADDON, PartContents(trees=(tree,)), quiet)
        await writer.publish(head(addons=(ADDON,)), quiet)

    async with archive_reader(tmp_path / "backup.tar", None) as reader:
        await reader.unpack(ADDON.id, tmp_path / "back", quiet)

    assert described(tmp_path / "back/trees/data").keys() - {"."} == kept


@pytest.mark.parametrize("extra", [{}, {"core": 1}, {"core": 1, "rooftree": {"schedule": "nightly", "failed": []}}])
async def test_notes_of_who_makes_backups_are_in_the_archive(tmp_path: Path, data: Path, extra: dict[str, Any]) -> None:
    archive = tmp_path / "backup.tar"
    async with archive_writer(archive, data_folder=data, password=None) as writer:
        await writer.add(SHARE, PartContents(trees=(PartTree(source=DataPath("share"), name=""),)), quiet)
        await writer.publish(head(folders=("share",), extra=extra), quiet)

    (index,) = await read_indexes([archive])

    assert isinstance(index, ArchiveIndex)
    assert index.head.extra == extra
    assert index.parts[0].digest is not None and index.parts[0].part.size_bytes > 0


async def test_an_index_says_what_was_written(tmp_path: Path, data: Path) -> None:
    archive = tmp_path / "backup.tar"
    await write_folder(archive, data, password="p")
    (tmp_path / "broken.tar").write_bytes(b"no archive")

    index, broken, absent = await read_indexes([archive, tmp_path / "broken.tar", tmp_path / "absent.tar"])

    assert not isinstance(index, BackupDamaged)
    assert index.head == head(folders=("share",), protected=True)
    assert index.size_bytes == archive.stat().st_size
    part = index.parts[0]
    assert 3 * MIB < part.part.size_bytes < 4 * MIB
    assert isinstance(broken, BackupDamaged)
    assert isinstance(absent, BackupDamaged)


async def test_the_digest_is_that_of_what_is_stored_before_it_is_encrypted(tmp_path: Path, data: Path) -> None:
    await write_folder(tmp_path / "plain.tar", data)
    inner = inner_archive(tmp_path / "plain.tar", "share.tar.gz", tmp_path / "inner")
    (index,) = await read_indexes([tmp_path / "plain.tar"])
    assert not isinstance(index, BackupDamaged)

    assert index.parts[0].digest == f"sha256:{hashlib.sha256(inner.read_bytes()).hexdigest()}"

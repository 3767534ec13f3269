"""One bit flipped anywhere in an encrypted archive: the part is refused, named, and nothing counts as unpacked."""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import tarfile
from pathlib import Path

import pytest
import securetar

from rooftree.errors import RooftreeError
from rooftree.interfaces.backups import BackupDamaged, PartContents, PartTree
from rooftree.interfaces.containers import DataPath
from rooftree.model import Secret
from rooftree_archives import UnpackLimits, archive_reader, archive_writer, verify_archive
from rooftree_archives.faults import Damaged, PasswordRefused
from rooftree_archives.outer_archive import read_outer
from rooftree_archives.reading import ArchiveFile, Reading
from rooftree_archives.tar_headers import Member, encode, padding
from tests.plugins.archives.trees import ADDON, MIB, SHARE, head, quiet, write_folder

SEED = 16
FLIPS = 24


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "share").mkdir()
    for number in range(20):
        (folder / f"share/{number}").write_bytes(os.urandom(70_000))
    return folder


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path, data: Path, version: int, compressed: bool) -> None:
    archive = tmp_path / "a.tar"
    asyncio.run(write_folder(archive, data, password="p", version=version, compressed=compressed))
    good = archive.read_bytes()
    with archive.open("rb") as file:
        inner = read_outer(file.fileno()).inner["share"]
    dice = random.Random(SEED)
    header = 48 if version == 2 else 136
    places = [*range(0, header, 7), header, inner.size - 1, inner.size - 17]
    places += [dice.randrange(header, inner.size) for _ in range(FLIPS)]
    for place in places:
        bad = bytearray(good)
        bad[inner.offset + place] ^= 1 << dice.randrange(8)
        archive.write_bytes(bad)
        with pytest.raises((Damaged, PasswordRefused)) as refusal:
            unpack_in_this_process(archive, tmp_path / "in")
        assert isinstance(refusal.value, PasswordRefused) or "share" in str(refusal.value), place


def unpack_in_this_process(archive: Path, into: Path) -> None:
    """As a worker does it; a process for each bit would take minutes."""
    file = ArchiveFile(archive)
    try:
        Reading(file, "p").unpack({"key": "share", "kind": "folder"}, into, UnpackLimits(), lambda _: None)
    finally:
        file.close()


async def test_an_archive_is_refused_when_a_part_stands_in_the_clear_in_it(tmp_path: Path, data: Path) -> None:
    """As somebody would do it who wants to have something restored without knowing the password."""
    await write_folder(tmp_path / "a.tar", data, password="p", compressed=False)
    await write_folder(tmp_path / "b.tar", data, compressed=False)
    sealed, clear = (tmp_path / name for name in ("a.tar", "b.tar"))
    with sealed.open("rb") as file, clear.open("rb") as other:
        metadata, inner = read_outer(file.fileno()).metadata, read_outer(other.fileno()).inner["share"]
    beginning = clear.read_bytes()[: inner.offset + inner.size]
    end = encode(Member(name="./backup.json", size=len(metadata))) + metadata
    (tmp_path / "c.tar").write_bytes(beginning + end + bytes(padding(len(metadata))))

    with pytest.raises(BackupDamaged, match="not encrypted"):
        async with archive_reader(tmp_path / "c.tar", Secret("p")) as reader:
            await reader.unpack(SHARE.id, tmp_path / "in", quiet)


async def test_who_decrypts_an_archive_leaves_its_digests_true(tmp_path: Path, data: Path) -> None:
    """As Core does it for a download: the inner archives as they are in the clear, and ``protected`` set to false."""
    archive, clear = tmp_path / "a.tar", tmp_path / "clear.tar"
    await write_folder(archive, data, password="p", version=2, compressed=False)
    context = securetar.SecureTarRootKeyContext("p")
    with tarfile.open(archive) as source, tarfile.open(clear, "w", format=tarfile.PAX_FORMAT) as target:
        for member in source:
            file = source.extractfile(member)
            assert file is not None
            if member.name.endswith("backup.json"):
                content = json.dumps({**json.load(file), "protected": False}).encode()
            else:
                stream = securetar.SecureTarDecryptStream(file, ciphertext_size=member.size, root_key_context=context)
                with stream as opened:
                    content = b"".join(iter(lambda: opened.read(MIB), b""))
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))

    verification = await verify_archive(clear, None)
    assert verification.whole
    assert verification.authenticated
    bad = bytearray(clear.read_bytes())
    bad[200_000] ^= 4
    clear.write_bytes(bad)
    assert not (await verify_archive(clear, None)).whole


async def test_documents_of_a_damaged_part_are_not_told(tmp_path: Path, data: Path) -> None:
    contents = PartContents(documents={"addon.json": b"{}"}, trees=(PartTree(source=DataPath("share"), name="data"),))
    archive = tmp_path / "a.tar"
    async with archive_writer(archive, data_folder=data, password=Secret("p"), compressed=False) as writer:
        await writer.add(ADDON, contents, quiet)
        await writer.publish(head(addons=(ADDON,), protected=True, compressed=False), quiet)
    bad = bytearray(archive.read_bytes())
    bad[1536 + 136 + 700] ^= 1
    archive.write_bytes(bad)

    async with archive_reader(archive, Secret("p")) as reader:
        with pytest.raises(RooftreeError, match="local_hello"):
            await reader.documents(ADDON.id)

"""Archives made to do harm: refused with the member named, or contained. The kernel tells what is touched."""

from __future__ import annotations

import gzip
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rooftree.interfaces.backups import BackupDamaged
from rooftree_archives import ArchiveIndex, UnpackLimits, read_indexes
from rooftree_archives.faults import Damaged, TargetFailed
from rooftree_archives.reading import ArchiveFile, Reading
from rooftree_archives.tar_headers import (
    BLOCK,
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    FILE,
    FOLDER,
    HARD_LINK,
    LINK,
    PIPE,
    Member,
    encode,
    padding,
)
from tests.plugins.archives.trees import MIB
from tests.plugins.archives.watching import Watch

METADATA = b"""{"slug": "0123abcd", "version": 2, "name": "", "date": "2026-11-30T12:00:00+00:00", "type": "partial",
"folders": ["share"], "compressed": false}"""
SHARE = {"key": "share", "kind": "folder"}

type Members = list[tuple[Member, bytes]]


def file(name: str, data: bytes = b"evil", **facts: object) -> tuple[Member, bytes]:
    return Member(name=name, size=len(data), **facts), data  # type: ignore[arg-type]


def other(name: str, kind: bytes, target: str = "", **facts: object) -> tuple[Member, bytes]:
    return Member(name=name, kind=kind, target=target, **facts), b""  # type: ignore[arg-type]


def tar(members: Members) -> bytes:
    blocks = [encode(member) + data + bytes(padding(len(data))) for member, data in members]
    return b"".join(blocks) + bytes(2 * BLOCK)


def archive_of(inner: bytes, path: Path) -> Path:
    path.write_bytes(tar([file("share.tar", inner), file("./backup.json", METADATA)]))
    return path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    return folder


@pytest.fixture
def unpack(tmp_path: Path, outside: Path) -> Iterator[Callable[..., Path]]:
    """Unpack as a worker does, and see that nothing was touched but what is in the folder for it."""
    into = tmp_path / "staging/into"
    into.parent.mkdir()

    def run(inner: bytes, limits: UnpackLimits = UnpackLimits()) -> Path:  # noqa: B008
        opened = ArchiveFile(archive_of(inner, tmp_path / "archive.tar"))
        try:
            Reading(opened, None).check(SHARE, limits, lambda _: None)
            Reading(opened, None).unpack(SHARE, into, limits, lambda _: None)
        except Damaged:
            with pytest.raises((Damaged, TargetFailed)):  # what verifying finds, unpacking finds
                Reading(opened, None).unpack(SHARE, into, limits, lambda _: None)
            raise
        finally:
            opened.close()
        return into / "trees/root"

    (tmp_path / "archive.tar").touch()
    with Watch([tmp_path, outside, into.parent, Path.cwd()]) as watch:
        yield run
        assert watch.changes() <= {into, tmp_path / "archive.tar"}
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "secret"


REFUSED: dict[str, Callable[[Path], Members]] = {
    "parent": lambda outside: [file("ok"), file("../evil")],
    "hidden parent": lambda outside: [file("a/../../evil")],
    "absolute": lambda outside: [file(f"{outside}/evil")],
    "through a link": lambda outside: [other("way", LINK, str(outside)), file("way/evil")],
    "through a relative link": lambda outside: [other("way", LINK, "../../../../outside"), file("way/evil")],
    "through two links": lambda outside: [other("a", LINK, ".."), other("b", LINK, "a"), file("b/evil")],
    "a folder on a link": lambda outside: [other("way", LINK, str(outside)), other("way", FOLDER, mode=0o777)],
    "hard link out": lambda outside: [other("x", HARD_LINK, "../../../../outside/secret")],
    "absolute hard link": lambda outside: [other("x", HARD_LINK, f"{outside}/secret"), file("x")],
    "hard link through a link": lambda outside: [other("way", LINK, str(outside)), other("x", HARD_LINK, "way/secret")],
    "hard link to a folder": lambda outside: [other("a", FOLDER), other("x", HARD_LINK, "a")],
    "hard link to nothing": lambda outside: [other("x", HARD_LINK, "absent")],
    "hard link to the top": lambda outside: [other("x", HARD_LINK, ".")],
    "link to nothing": lambda outside: [other("x", LINK, "")],
    "folder, then file": lambda outside: [other("a", FOLDER), file("a")],
    "file, then folder": lambda outside: [file("a"), file("a/b")],
    "pipe as a folder": lambda outside: [other("a", PIPE), file("a/b")],
    "the top is a file": lambda outside: [file("./")],
    "the top is a link": lambda outside: [other("./", LINK, str(outside))],
    "name too long": lambda outside: [file("x" * 300)],
    "too deep": lambda outside: [file("x/" * 1100 + "y")],
    "owner too large": lambda outside: [file("a", uid=2**40)],
    "sparse, larger than anything": lambda outside: [
        file("a", b"1\n0\n4\n".ljust(512, b"\0") + b"evil", sparse_size=2**63)
    ],
    "sparse, map too long": lambda outside: [file("a", b"9\n0\n4\n".ljust(512, b"\0") + b"evil", sparse_size=9)],
    "sparse, out of order": lambda outside: [file("a", b"2\n4\n2\n0\n2\n".ljust(512, b"\0") + b"evil", sparse_size=9)],
    "sparse, no map": lambda outside: [file("a", b"evil" * 300, sparse_size=9)],
    "more members than are allowed": lambda outside: [file(str(number), b"") for number in range(101)],
    "more bytes than are allowed": lambda outside: [file("a", bytes(2 * MIB))],
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_leads_out_is_refused(case: str, outside: Path, unpack: Callable[..., Path]) -> None:
    with pytest.raises((Damaged, TargetFailed), match="share"):
        unpack(tar(REFUSED[case](outside)), UnpackLimits(members=100, size=MIB))


def test_a_link_that_leads_out_is_a_link_and_a_later_file_takes_its_place(
    outside: Path, unpack: Callable[..., Path]
) -> None:
    root = unpack(tar([other("x", LINK, f"{outside}/secret"), other("y", LINK, str(outside)), file("x", b"mine")]))

    assert (root / "y").is_symlink()
    assert not (root / "x").is_symlink()
    assert (root / "x").read_bytes() == b"mine"


def test_a_later_file_takes_the_place_of_a_pipe_and_does_not_wait_for_a_reader(unpack: Callable[..., Path]) -> None:
    assert (unpack(tar([other("x", PIPE), file("x", b"mine")])) / "x").read_bytes() == b"mine"


def test_the_last_of_two_files_counts_and_a_link_keeps_the_first(unpack: Callable[..., Path]) -> None:
    root = unpack(tar([file("a", b"one"), other("b", HARD_LINK, "a"), file("a", b"two")]))

    assert ((root / "a").read_bytes(), (root / "b").read_bytes()) == (b"two", b"one")


def test_what_lets_programs_run_as_others_is_taken_off(unpack: Callable[..., Path]) -> None:
    capability = b"\x01\0\0\x02\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\0\0\0\0"
    root = unpack(
        tar(
            [
                file("x", mode=0o6755, attributes={"security.capability": capability, "user.note": b"mine"}),
                file("y", mode=0o4711),
            ]
        )
    )

    assert stat.S_IMODE((root / "x").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "y").stat().st_mode) == 0o711
    assert os.listxattr(root / "x") == ["user.note"]


def test_devices_are_left_out(unpack: Callable[..., Path]) -> None:
    root = unpack(tar([file("ok"), other("null", CHARACTER_DEVICE), other("disk", BLOCK_DEVICE)]))

    assert [path.name for path in root.iterdir()] == ["ok"]


def with_size(header: bytes, size: bytes) -> bytes:
    block = header[:124] + size.ljust(12, b"\0") + header[136:148] + b" " * 8 + header[156:512]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:] + header[512:]


@pytest.mark.parametrize("size", [b"77777777777", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"-1", b"99", b"0000000x"])
def test_a_size_that_is_not_true_is_found(size: bytes, unpack: Callable[..., Path]) -> None:
    inner = with_size(encode(Member(name="a", size=4)), size) + b"evil".ljust(512, b"\0") + bytes(2 * BLOCK)

    with pytest.raises(Damaged, match="share"):
        unpack(inner)


@pytest.mark.parametrize(
    "records",
    [
        b"13 size=-100\n", b"12 size=1e3\n", b"30 size=99999999999999999999\n", b"99 path=x\n", b"0 path=x\n", b"x",
        b"11 mtime=x\n", b"12 path=a\0b\n", b"22 GNU.sparse.major=0\n", b"9 path=x",
    ],
)  # fmt: skip
def test_an_extended_header_that_lies_is_found(records: bytes, unpack: Callable[..., Path]) -> None:
    extended = encode(Member(name="x", size=len(records)))
    block = extended[:156] + b"x" + extended[157:]
    block = with_size(block, b"%011o" % len(records))
    inner = (
        block + records.ljust(512, b"\0") + encode(Member(name="a", size=4)) + b"evil".ljust(512, b"\0") + bytes(1024)
    )

    with pytest.raises(Damaged, match="share"):
        unpack(inner)


def test_what_is_far_larger_than_its_archive_is_refused(unpack: Callable[..., Path]) -> None:
    inner = gzip.compress(tar([file("zeros", bytes(40 * MIB))]))

    with pytest.raises(Damaged, match="100 times"):
        unpack(inner, UnpackLimits(ratio=100, ratio_from=10 * MIB))
    assert (unpack(inner) / "zeros").stat().st_size == 40 * MIB


def test_what_is_called_like_no_kind_is_refused(unpack: Callable[..., Path]) -> None:
    for kind in (b"S", b"M", b"V", b"?"):
        with pytest.raises(Damaged, match="kind"):
            unpack(tar([other("x", kind)]))
    assert FILE == b"0"


HEADS_THAT_ARE_NONE = {
    "no date": METADATA.replace(b"2026-11-30T12:00:00+00:00", b"0001-01-01T00:00:00+14:00"),
    "the end of time": METADATA.replace(b"2026-11-30T12:00:00+00:00", b"9999-12-31T23:59:59-14:00"),
    "half a character": METADATA.replace(b'"name"', b'"extra": {"x": "\\ud800"}, "name"'),
    "a large number": METADATA.replace(b'"name"', b'"extra": {"x": 99999999999999999999}, "name"'),
    "too deep": METADATA.replace(b'"name"', b'"extra": {"x": %s1%s}, "name"' % (b"[" * 500, b"]" * 500)),
}


@pytest.mark.parametrize("case", HEADS_THAT_ARE_NONE)
async def test_a_head_that_is_none_costs_no_other_archive(case: str, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(tar([file("./backup.json", HEADS_THAT_ARE_NONE[case])]))
    (tmp_path / "good.tar").write_bytes(tar([file("./backup.json", METADATA)]))

    bad, good = await read_indexes([tmp_path / "bad.tar", tmp_path / "good.tar"])

    assert isinstance(bad, BackupDamaged)
    assert isinstance(good, ArchiveIndex)


async def test_a_number_that_json_does_not_have_is_nothing(tmp_path: Path) -> None:
    strange = METADATA.replace(b'"name"', b'"extra": {"x": NaN, "y": 1e999, "z": 1}, "name"')
    (tmp_path / "a.tar").write_bytes(tar([file("./backup.json", strange)]))

    (index,) = await read_indexes([tmp_path / "a.tar"])

    assert isinstance(index, ArchiveIndex)
    assert index.head.extra == {"x": None, "y": None, "z": 1}

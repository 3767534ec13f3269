"""Trees of files for archives: made with everything that a file can be, and described for comparing."""

from __future__ import annotations

import hashlib
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rooftree.interfaces.backups import (
    BackupHead,
    BackupPart,
    PartContents,
    PartId,
    PartKind,
    PartTree,
)
from rooftree.interfaces.containers import DataPath
from rooftree.model import Secret
from rooftree_archives import archive_reader, archive_writer

MIB = 1024 * 1024
SHARE = BackupPart(id=PartId(kind=PartKind.FOLDER, slug="share"), name="share")
ADDON = BackupPart(id=PartId(kind=PartKind.ADDON, slug="local_hello"), name="Hello", version="1.0")


def quiet(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def described(root: Path, *, times: bool = True) -> dict[str, dict[str, Any]]:
    """Everything below a folder, and the folder itself as ``.``, by path."""
    facts: dict[str, dict[str, Any]] = {}
    inodes: dict[tuple[int, int], str] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        shown = "." if path == root else str(path.relative_to(root))
        facts[shown] = _described(path, shown, inodes, times)
    return facts


def _described(path: Path, shown: str, inodes: dict[tuple[int, int], str], times: bool) -> dict[str, Any]:
    status = path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    fact: dict[str, Any] = {"kind": stat.S_IFMT(status.st_mode), "mode": mode, "owner": (status.st_uid, status.st_gid)}
    if times:
        fact["mtime"] = status.st_mtime_ns
    if stat.S_ISREG(status.st_mode):
        fact["digest"] = hashlib.sha256(path.read_bytes()).hexdigest()
        fact["size"] = status.st_size
        fact["same as"] = inodes.setdefault((status.st_dev, status.st_ino), shown)
    if stat.S_ISLNK(status.st_mode):
        fact["target"] = str(path.readlink())
    else:
        names = (name for name in os.listxattr(path) if name.startswith(("user.", "system.posix_acl")))
        fact["attributes"] = {name: os.getxattr(path, name) for name in names}
    return fact


def make_odd_tree(root: Path) -> None:
    """Everything that a file can be."""
    root.mkdir(parents=True)
    (root / "text.txt").write_text("hello\n" * 1000)
    (root / "empty").touch()
    (root / "noise.bin").write_bytes(os.urandom(3 * MIB + 17))
    (root / "sub/deep/er").mkdir(parents=True)
    (root / "sub/deep/er/end").write_text("end")
    (root / "empty folder").mkdir()
    (root / ("long " * 40)).write_text("long name")
    (root / ("d" * 120)).mkdir()
    (root / ("d" * 120) / ("f" * 200)).write_text("a long path")
    (root / "grüße-日本語 🏠").write_text("umlauts")
    Path(os.fsdecode(os.fsencode(root) + b"/not \xff utf-8")).write_text("bytes")
    (root / "new\nline").write_text("line")
    (root / "link").symlink_to("text.txt")
    (root / "dangling").symlink_to("nowhere/" + "y" * 150)
    (root / "outside").symlink_to("/etc/passwd")
    (root / "second name").hardlink_to(root / "text.txt")
    (root / "sub/third name").hardlink_to(root / "text.txt")
    os.mkfifo(root / "pipe", 0o640)
    with (root / "sparse").open("wb") as file:
        file.write(b"begin")
        file.seek(40 * MIB)
        file.write(b"middle")
        file.truncate(100 * MIB)
    with (root / "all hole").open("wb") as file:
        file.truncate(5 * MIB)
    for number, mode in enumerate((0o400, 0o755, 0o666, 0o000, 0o1644)):
        (root / f"mode {number}").write_text("m")
        (root / f"mode {number}").chmod(mode)
    (root / "sub").chmod(0o2775)
    (root / "empty folder").chmod(0o1777)
    os.setxattr(root / "text.txt", "user.note", b"\0\xff binary\n")
    if os.geteuid() == 0:
        os.chown(root / "empty", 1000, 1001)
        os.chown(root / "link", 12, 13, follow_symlinks=False)
        os.chown(root / "noise.bin", 3_000_000, 2**32 - 2)
    os.utime(root / "empty", ns=(0, 123_456_789))
    os.utime(root / "text.txt", ns=(0, -2_000_000_000))
    os.utime(root / "noise.bin", ns=(0, 4_102_444_800_000_000_001))
    os.utime(root / "sub", ns=(0, 1_000_000_000))


def head(**values: Any) -> BackupHead:
    """A head of a backup, of which only what matters is named."""
    usual: dict[str, Any] = {
        "slug": "0123abcd", "name": "Test", "date": datetime(2026, 11, 30, 12, tzinfo=UTC), "type": "partial",
        "supervisor_version": "2026.11.0", "protected": False, "compressed": True,
    }  # fmt: skip
    return BackupHead(**usual | values)


async def write_folder(archive: Path, data: Path, *, password: str | None = None, **options: Any) -> None:
    """An archive of the folder ``data/share``, and nothing else."""
    secret = None if password is None else Secret(password)
    compressed = options.get("compressed", True)
    async with archive_writer(archive, data_folder=data, password=secret, **options) as writer:
        await writer.add(SHARE, PartContents(trees=(PartTree(source=DataPath("share"), name=""),)), quiet)
        await writer.publish(head(folders=("share",), protected=bool(password), compressed=compressed), quiet)


async def unpack_folder(archive: Path, into: Path, password: str | None = None) -> Path:
    """Where the contents of ``share`` are now."""
    async with archive_reader(archive, None if password is None else Secret(password)) as reader:
        staged = await reader.unpack(SHARE.id, into, quiet)
    assert staged.trees == ("root",)
    return into / "trees/root"

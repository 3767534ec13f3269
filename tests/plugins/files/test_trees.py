"""Going through trees, copying and deleting them: however deep, whatever is in them, whoever moves them."""

from __future__ import annotations

import os
import resource
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from rooftree_files import (
    Entry,
    Folder,
    RemovalIncomplete,
    TreeChanged,
    TreeLimits,
    TreeTooLarge,
    copy_tree,
    size_in_words,
    size_of,
    walk,
)
from rooftree_files.copying import CopyStopped
from rooftree_files.removal import RemovalStopped, remove_tree
from tests.requirements import needs

needs_root = needs(os.geteuid() == 0, "needs root, to make devices, owners and mounts")


@contextmanager
def few_open_files(more: int = 40) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + more, hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def make_deep(place: Path, depth: int) -> None:
    place.mkdir()
    here = os.open(place, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=here))
    os.close(here)


def removed(place: Path) -> None:
    with Folder.open(place.parent) as parent:
        parent.remove(place.name)


def test_a_tree_of_thousands_of_levels_is_walked_copied_and_deleted_with_few_files_open(tmp_path: Path) -> None:
    make_deep(tmp_path / "deep", 3000)
    (tmp_path / "copy").mkdir()
    with few_open_files(), Folder.open(tmp_path / "deep") as deep, Folder.open(tmp_path / "copy") as copy:
        assert sum(1 for _ in walk(deep)) == 3001
        copy_tree(deep, copy)
        assert sum(1 for _ in walk(copy)) == 3001
        with pytest.raises(TreeTooLarge, match="deeper than 100 folders"):
            list(walk(deep, TreeLimits(depth=100)))
        removed(tmp_path / "copy")
        removed(tmp_path / "deep")
    assert not list(tmp_path.iterdir())


def test_a_walk_ends_at_its_limit_of_entries(tmp_path: Path) -> None:
    for number in range(11):
        (tmp_path / str(number)).touch()
    with Folder.open(tmp_path) as folder:
        assert sum(1 for _ in walk(folder, TreeLimits(entries=11))) == 11
        with pytest.raises(TreeTooLarge, match="more than 10 entries"):
            list(walk(folder, TreeLimits(entries=10)))


def test_a_walk_leaves_out_what_it_is_told_not_to_enter_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "tree" / "open").mkdir(parents=True)
    (tmp_path / "tree" / "open" / "x").touch()
    (tmp_path / "tree" / "closed").mkdir()
    (tmp_path / "tree" / "closed" / "y").touch()
    (tmp_path / "tree" / "link").symlink_to("/etc")
    with Folder.open(tmp_path / "tree") as folder:
        paths = [entry.path for entry in walk(folder, enter=lambda entry: entry.name != "closed")]
    assert paths == ["link", "closed", "open", "open/x"]


def test_a_walk_from_which_a_folder_is_moved_away_does_not_go_on_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").touch()
    paths = []
    with Folder.open(tmp_path / "tree") as folder, pytest.raises(TreeChanged):
        for entry in walk(folder):
            paths.append(entry.path)
            if entry.path == "a/b":
                (tmp_path / "tree" / "a").rename(tmp_path / "elsewhere" / "a")
    assert paths == ["a", "a/b"]


def test_size_counts_a_file_of_two_names_once_and_a_hole_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 100_000)
    os.link(tmp_path / "one", tmp_path / "two")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**9)
    with Folder.open(tmp_path) as folder:
        assert 100_000 <= size_of(folder) < 200_000


@needs_root
def test_a_copy_has_all_there_is_to_know(tmp_path: Path) -> None:
    original = tmp_path / "original"
    (original / "sub").mkdir(parents=True)
    (original / "sub" / "data").write_bytes(os.urandom(3_000_000))
    os.chown(original / "sub" / "data", 1234, 5678)
    (original / "sub" / "data").chmod(0o4750)
    os.link(original / "sub" / "data", original / "again")
    (original / "link").symlink_to("/etc/shadow")
    os.mkfifo(original / "pipe", 0o640)
    os.mknod(original / "node", stat.S_IFCHR | 0o660, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(original / "s"))
    with (original / "sparse").open("wb") as file:
        file.seek(50_000_000)
        file.write(b"end")
        file.truncate(100_000_000)
    with suppress(OSError):
        os.setxattr(original / "sub" / "data", "user.note", b"kept")
    os.utime(original / "sub", ns=(1_000_000_000, 2_000_000_123))
    original.chmod(0o711)
    os.utime(original, ns=(3_000_000_000, 4_000_000_456))
    (tmp_path / "copy").mkdir()

    with Folder.open(original) as source, Folder.open(tmp_path / "copy") as target:
        copy_tree(source, target)

    assert described(tmp_path / "copy") == described(original)
    assert (tmp_path / "copy" / "sub" / "data").read_bytes() == (original / "sub" / "data").read_bytes()
    assert (tmp_path / "copy" / "sparse").read_bytes() == (original / "sparse").read_bytes()
    assert (tmp_path / "copy" / "sparse").stat().st_blocks * 512 < 1_000_000
    assert (tmp_path / "copy" / "again").stat().st_ino == (tmp_path / "copy" / "sub" / "data").stat().st_ino


def described(tree: Path) -> dict[str, object]:
    facts = {}
    for path in [tree, *sorted(tree.rglob("*"))]:
        status = path.lstat()
        attributes = {}
        if path.is_file() and not path.is_symlink():
            attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)}
        facts[str(path.relative_to(tree))] = (
            status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_rdev,
            status.st_size if not path.is_dir() else 0, attributes, str(path.readlink()) if path.is_symlink() else None,
        )  # fmt: skip
    return facts


def test_a_copy_that_is_stopped_ends_and_tells_how_far_it_came(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    for number in range(10):
        (tmp_path / "from" / str(number)).write_bytes(b"x" * 1000)
    (tmp_path / "to").mkdir()
    progress: list[int] = []
    with Folder.open(tmp_path / "from") as source, Folder.open(tmp_path / "to") as target, pytest.raises(CopyStopped):
        copy_tree(source, target, stop=lambda: len(progress) >= 3, progress=progress.append)
    assert progress == [1000, 2000, 3000]
    assert len(list((tmp_path / "to").iterdir())) == 3


def test_a_copy_is_not_led_out_by_who_exchanges_folders_for_links(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "token").write_text("token")
    tree = tmp_path / "tree"
    for number in range(50):
        (tree / f"d{number}").mkdir(parents=True)
        (tree / f"d{number}" / "token").write_text("public")
    over = threading.Event()

    def exchange() -> None:
        while not over.is_set():
            for number in range(50):
                (tree / f"d{number}").rename(tree / "aside")
                (tree / f"d{number}").symlink_to(secret)
                (tree / f"d{number}").unlink()
                (tree / "aside").rename(tree / f"d{number}")

    attacker = threading.Thread(target=exchange)
    attacker.start()
    try:
        for number in range(30):
            target_path = tmp_path / f"copy{number}"
            target_path.mkdir()
            with (
                Folder.open(tree) as source,
                Folder.open(target_path) as target,
                suppress(TreeChanged, FileNotFoundError),
            ):
                copy_tree(source, target)
            for copied in target_path.rglob("token"):
                assert copied.is_symlink() or copied.parent.is_symlink() or copied.read_text() == "public"
    finally:
        over.set()
        attacker.join()


def test_link_that_becomes_a_folder_while_it_is_copied_ends_the_copy_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "link").symlink_to("anywhere")
    (tmp_path / "to").mkdir()

    def exchange(entry: Entry) -> bool:
        (tmp_path / "from" / entry.name).unlink()
        (tmp_path / "from" / entry.name).mkdir()
        return False

    with Folder.open(tmp_path / "from") as source, Folder.open(tmp_path / "to") as target, pytest.raises(TreeChanged):
        copy_tree(source, target, leave_out=exchange)


def test_deleting_takes_links_and_not_what_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "x").touch()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "top").symlink_to(tmp_path / "kept")
    removed(tmp_path / "tree")
    removed(tmp_path / "top")
    removed(tmp_path / "never-there")
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["kept", "x"]


@needs_root
def test_deleting_does_not_go_into_what_is_mounted_and_tells(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "tree" / "a" / "mounted").mkdir(parents=True)
    (tmp_path / "tree" / "z").touch()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "tree" / "a" / "mounted"], check=False)
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        (tmp_path / "tree" / "a" / "mounted" / "photo").touch()
        with pytest.raises(RemovalIncomplete, match="something is mounted there"):
            removed(tmp_path / "tree")
        assert (tmp_path / "tree" / "a" / "mounted" / "photo").exists()
        assert not (tmp_path / "tree" / "z").exists()
    finally:
        subprocess.run(["umount", tmp_path / "tree" / "a" / "mounted"], check=True)
    removed(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_deleting_can_be_stopped_and_goes_on_later(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for number in range(10):
        (tmp_path / "tree" / str(number)).touch()
    asked = iter(range(100))
    with Folder.open(tmp_path) as parent:
        with pytest.raises(RemovalStopped, match="no more time"):
            remove_tree(parent.descriptor, "tree", lambda: next(asked) >= 5)
        assert 0 < len(list((tmp_path / "tree").iterdir())) < 10
        remove_tree(parent.descriptor, "tree")
    assert not (tmp_path / "tree").exists()


@needs_root
def test_size_in_words_is_without_what_is_mounted(tmp_path: Path) -> None:
    mounted = tmp_path / "share" / "nas"
    mounted.mkdir(parents=True)
    (tmp_path / "share" / "mine").write_bytes(bytes(range(256)) * 4096)
    if subprocess.run(["mount", "-t", "tmpfs", "none", mounted], check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        (mounted / "film").write_bytes(bytes(range(256)) * 40960)
        assert size_in_words(tmp_path, "share") == "1.0 MiB"
    finally:
        subprocess.run(["umount", mounted], check=True)

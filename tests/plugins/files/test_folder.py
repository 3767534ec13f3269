"""Looking beneath an open folder: what is in the way, what leads out, and what may be read."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooftree_files import FileTooLarge, Folder, FolderMissing, PathRefused, TreeTooLarge


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret").write_text("token")
    return place


@pytest.fixture
def root(tmp_path: Path, outside: Path) -> Path:
    place = tmp_path / "root"
    (place / "a" / "b").mkdir(parents=True)
    (place / "a" / "b" / "text").write_text("hello")
    return place


@pytest.fixture
def folder(root: Path) -> Iterator[Folder]:
    with Folder.open(root) as folder:
        yield folder


def test_a_file_is_read_beneath_its_folder(folder: Folder) -> None:
    assert folder.read("a/b/text", 100) == b"hello"


def test_content_and_status_are_of_one_and_the_same_file(root: Path, folder: Folder) -> None:
    content = folder.content("a/b/text", 3)

    assert (content.data, content.status.st_size) == (b"hel", 5)
    assert content.status.st_ino == (root / "a" / "b" / "text").stat().st_ino


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(FolderMissing, match="There is no folder"):
        Folder.open(tmp_path / "none")


@pytest.mark.parametrize("path", ["", "/a", "a//b", "a/", "../outside/secret", "a/../a", "./a", "a\0b", "x" * 5000])
def test_a_path_that_is_no_plain_one_is_refused(folder: Folder, path: str) -> None:
    for call in (lambda: folder.read(path, 9), lambda: folder.status(path), lambda: folder.folder(path)):
        with pytest.raises(PathRefused, match="no plain path"):
            call()


@pytest.mark.parametrize("place", ["link", "a/link", "a/b/link"])
@pytest.mark.parametrize("links", [False, True])
def test_a_link_out_is_never_followed(root: Path, outside: Path, folder: Folder, place: str, links: bool) -> None:
    for target in (str(outside), os.path.relpath(outside, (root / place).parent)):
        (root / place).unlink(missing_ok=True)
        (root / place).symlink_to(target)
        with pytest.raises(PathRefused, match="leads"):
            folder.read(f"{place}/secret", 9, links=links)
        with pytest.raises(PathRefused):
            folder.folder(place, links=links)


def test_a_link_inside_is_followed_only_where_that_is_asked_for(root: Path, folder: Folder) -> None:
    (root / "short").symlink_to("a/./b/../b/text")
    (root / "deep").symlink_to("a/b")
    with pytest.raises(PathRefused, match="is a link"):
        folder.read("short", 9)
    with pytest.raises(PathRefused, match="through deep, which is a link"):
        folder.read("deep/text", 9)
    assert folder.read("short", 9, links=True) == b"hello"
    assert folder.read("deep/text", 9, links=True) == b"hello"


def test_a_hidden_name_is_closed_also_behind_a_link(root: Path) -> None:
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("password")
    (root / "CHANGELOG.md").symlink_to(".git/config")
    with Folder.open(root, hidden=frozenset({".git"})) as folder:
        for path in ("CHANGELOG.md", ".git/config"):
            with pytest.raises(PathRefused, match=r"leads into \.git"):
                folder.read(path, 9, links=True)


def test_links_that_go_round_end(root: Path, folder: Folder) -> None:
    (root / "x").symlink_to("y")
    (root / "y").symlink_to("x")
    with pytest.raises(PathRefused, match="too many links"):
        folder.read("x", 9, links=True)


def test_a_pipe_or_device_or_folder_is_no_file_and_does_not_hold_the_reader(root: Path, folder: Folder) -> None:
    os.mkfifo(root / "pipe")
    kinds = {"pipe": "a pipe", "a": "a folder"}
    if os.geteuid() == 0:
        os.mknod(root / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        kinds["zero"] = "a device"
    for name, kind in kinds.items():
        with pytest.raises(PathRefused, match=f"is {kind}, not a regular file"):
            folder.read(name, 9)


def test_a_file_is_read_up_to_its_limit_and_no_further(root: Path, folder: Folder) -> None:
    (root / "large").write_bytes(b"x" * 1000)
    assert len(folder.read("large", 1000)) == 1000
    with pytest.raises(FileTooLarge, match="larger than 999 bytes"):
        folder.read("large", 999)
    assert folder.read_beginning("large", 10) == b"x" * 10


def test_what_is_not_there_has_no_status_and_a_link_has_its_own(root: Path, folder: Folder) -> None:
    (root / "link").symlink_to("a")
    assert folder.status("none") is None
    assert folder.status("a/b/text/further") is None
    status = folder.status("link")
    assert status is not None
    assert stat.S_ISLNK(status.st_mode)
    assert not folder.is_folder("link")
    assert folder.is_folder("a/b")


def test_names_end_at_their_limit(root: Path, folder: Folder) -> None:
    for number in range(5):
        (root / str(number)).touch()
    assert sorted(folder.names()) == ["0", "1", "2", "3", "4", "a"]
    with pytest.raises(TreeTooLarge, match="more than 3 entries"):
        folder.names(most=3)


def test_folders_are_made_beneath_and_not_through_a_link(root: Path, outside: Path, folder: Folder) -> None:
    folder.make("new/deeper").close()
    assert (root / "new" / "deeper").is_dir()
    folder.make("new/deeper").close()
    (root / "trap").symlink_to(outside)
    with pytest.raises(PathRefused, match="trap"):
        folder.make("trap/made")
    assert not (outside / "made").exists()


@pytest.mark.parametrize("odd", ["file", "link", "folder", "pipe"])
def test_a_file_takes_the_place_of_whatever_has_its_name(root: Path, outside: Path, folder: Folder, odd: str) -> None:
    place = root / "options.json"
    if odd == "file":
        place.write_text("old")
    elif odd == "link":
        place.symlink_to(outside / "secret")
    elif odd == "folder":
        (place / "full" / "deep").mkdir(parents=True)
    else:
        os.mkfifo(place)
    folder.write("options.json", b"new", 0o600)
    assert place.read_bytes() == b"new"
    assert not place.is_symlink()
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert (outside / "secret").read_text() == "token"
    assert sorted(path.name for path in root.iterdir()) == ["a", "options.json"]


def test_what_is_read_was_looked_at_while_somebody_exchanges_it(root: Path, outside: Path, folder: Folder) -> None:
    (root / "icon").write_text("picture")
    over = threading.Event()

    def exchange() -> None:
        while not over.is_set():
            (root / "other").symlink_to(outside / "secret")
            (root / "other").replace(root / "icon")
            (root / "other").write_text("picture")
            (root / "other").replace(root / "icon")

    attacker = threading.Thread(target=exchange)
    attacker.start()
    try:
        answers = set()
        for _ in range(3000):
            try:
                answers.add(folder.read("icon", 100, links=True))
            except (PathRefused, FileNotFoundError):
                answers.add(b"refused")
    finally:
        over.set()
        attacker.join()
    assert b"token" not in answers
    assert {b"picture", b"refused"} <= answers


_NAMES = st.sampled_from(["a", "b", "..", ".", "", "link", "out", "loop", "text", "\0", "é", "\udcff"])


@given(st.lists(_NAMES, min_size=1, max_size=8).map("/".join), st.booleans())
def test_no_path_reads_what_lies_outside(tmp_path_factory: pytest.TempPathFactory, path: str, links: bool) -> None:
    root = tmp_path_factory.getbasetemp() / "hypothesis-folder"
    if not root.exists():
        (root / "inside" / "a" / "b").mkdir(parents=True)
        (root / "text").write_text("outside")
        (root / "inside" / "a" / "text").write_text("inside")
        (root / "inside" / "a" / "link").symlink_to("../a/b/../text")
        (root / "inside" / "a" / "out").symlink_to("../..")
        (root / "inside" / "out").symlink_to("..")
        (root / "inside" / "loop").symlink_to("loop")
        (root / "inside" / "link").symlink_to("a")
    with Folder.open(root / "inside") as folder, suppress(PathRefused, FileNotFoundError, NotADirectoryError):
        assert folder.read(path, 100, links=links) == b"inside"

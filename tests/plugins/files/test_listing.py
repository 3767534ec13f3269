"""Going through a tree folder by folder, while somebody else may be changing it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rooftree_files import Folder, Listing, TreeChanged, TreeLimits, TreeTooLarge, listings
from tests.plugins.files.test_trees import few_open_files, make_deep, removed
from tests.rig.files import write_files


def paths(place: Path, **options: object) -> list[str]:
    with Folder.open(place, hidden=frozenset({".git"})) as folder:
        return [listing.path for listing in listings(folder, **options)]  # type: ignore[arg-type]


def test_every_folder_comes_before_those_in_it_in_the_order_of_their_names(tmp_path: Path) -> None:
    write_files(tmp_path, {"b/x": "", "a/z/x": "", "a/b/x": "", "c": "", ".git/config": "", "a/.git/config": ""})
    (tmp_path / "link").symlink_to("a")

    assert paths(tmp_path) == ["", "a", "a/b", "a/z", "b"]


def test_a_listing_tells_names_depth_and_what_a_name_stands_for(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/text": "12345"})
    (tmp_path / "a" / "link").symlink_to("/")
    with Folder.open(tmp_path) as folder:
        for listing in listings(folder):
            if listing.path == "a":
                text, link = listing.status("text"), listing.status("link")
                assert (listing.depth, listing.others) == (1, {"text", "link"})
                assert text is not None and text.st_size == 5
                assert link is not None and os.path.stat.S_ISLNK(link.st_mode)  # type: ignore[attr-defined]
                assert listing.status("gone") is None


def test_what_is_not_wanted_is_not_gone_into(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/b/x": "", "rootfs/x": "", "c/rootfs/x": ""})

    def wanted(listing: Listing, name: str) -> bool:
        return name != "rootfs" and listing.depth < 1

    assert paths(tmp_path, enter=wanted) == ["", "a", "c"]


def test_a_deep_tree_is_gone_through_with_few_files_open(tmp_path: Path) -> None:
    make_deep(tmp_path / "deep", 2000)
    with few_open_files():
        assert len(paths(tmp_path / "deep")) == 2001
        with pytest.raises(TreeTooLarge, match="deeper than 50 folders"):
            paths(tmp_path / "deep", limits=TreeLimits(depth=50))
    removed(tmp_path / "deep")


def test_a_large_tree_is_given_up(tmp_path: Path) -> None:
    write_files(tmp_path, {f"{folder}/{name}": "" for folder in "ab" for name in range(10)})
    with pytest.raises(TreeTooLarge, match="more than 15 entries"):
        paths(tmp_path, limits=TreeLimits(entries=15))
    assert len(paths(tmp_path, limits=TreeLimits(entries=22))) == 3


def test_a_folder_that_becomes_a_link_meanwhile_is_left_out(tmp_path: Path) -> None:
    write_files(tmp_path, {"root/a/x": "", "outside/secret/x": ""})
    seen = []
    with Folder.open(tmp_path / "root") as folder:
        for listing in listings(folder):
            seen.append(listing.path)
            if not listing.path:
                (tmp_path / "root" / "a").rename(tmp_path / "moved")
                (tmp_path / "root" / "a").symlink_to(tmp_path / "outside")
    assert seen == [""]


def test_a_folder_that_is_moved_while_we_are_in_it_ends_the_walk(tmp_path: Path) -> None:
    write_files(tmp_path, {"root/a/b/x": "", "root/c/x": "", "outside/x": ""})
    with Folder.open(tmp_path / "root") as folder, pytest.raises(TreeChanged):
        for listing in listings(folder):
            if listing.path == "a/b":
                (tmp_path / "root" / "a" / "b").rename(tmp_path / "outside" / "b")


@pytest.mark.parametrize("told", [True, False])
def test_a_folder_that_cannot_be_opened_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    write_files(tmp_path, {"a/x": "", "b/x": ""})
    real = os.open

    def refusing(path: object, *arguments: object, **options: object) -> int:
        if path == "a":
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refusing)
    unreadable: dict[str, OSError] = {}

    if told:
        assert paths(tmp_path, unreadable=unreadable.__setitem__) == ["", "b"]
        assert list(unreadable) == ["a"]
    else:
        with pytest.raises(PermissionError):
            paths(tmp_path)

"""Reading the folder of a repository into what it offers."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from rooftree_files import TreeLimits
from rooftree_store import catalogue
from rooftree_store.catalogue import ConfigReader, Contents, Offer, read_contents
from rooftree_store.slugs import RepositorySlug
from rooftree_store.yaml_files import FileInvalid
from tests.plugins.files.test_trees import make_deep, removed
from tests.rig.files import write_files

REPOSITORY = RepositorySlug("0123abcd")


def config(slug: str = "hello", **keys: Any) -> str:
    """A config file's text."""
    usual = {"name": "Hello", "version": "1.0", "slug": slug, "description": "", "arch": ["amd64"]}
    return json.dumps(usual | keys)


class Folder:
    """A repository's folder, read again and again."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.path = data / "apps" / "git" / REPOSITORY
        self.reader = ConfigReader()
        self.write({"repository.json": json.dumps({"name": "Mine", "url": "https://example.com/mine"})})

    def write(self, files: dict[str, str]) -> None:
        """Put files into it."""
        write_files(self.path, files)

    def read(self) -> Contents:
        """What it holds."""
        return read_contents(self.data, self.path, REPOSITORY, self.reader)

    def offers(self) -> list[str]:
        """The slugs on offer."""
        return [str(slug) for slug in self.read().offers]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A repository without add-ons."""
    return Folder(tmp_path)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the folders whose config was parsed, as it is."""
    names: list[str] = []
    real = catalogue.parse_document

    def parse(data: bytes, path: str) -> Any:
        names.append(Path(path).parent.name)
        return real(data, path)

    monkeypatch.setattr(catalogue, "parse_document", parse)
    return names


def test_add_on_is_offered_with_its_folder_and_files(folder: Folder) -> None:
    folder.write({"hello/config.json": config(), "hello/icon.png": "x", "hello/README.md": "x", "hello/run.sh": "x"})

    contents = folder.read()

    (offer,) = contents.offers.values()
    assert contents.file is not None
    assert contents.file.name == "Mine"
    assert isinstance(offer, Offer)
    assert (offer.slug, offer.repository, offer.folder) == ("0123abcd_hello", REPOSITORY, "apps/git/0123abcd/hello")
    assert offer.files == {"icon.png", "README.md"}
    assert offer.changed.tzinfo is not None


@pytest.mark.parametrize("name", ["config.yaml", "config.yml", "config.json"])
@pytest.mark.parametrize("place", ["", "hello/", "a/b/c/"])
def test_config_is_found_at_any_depth_under_its_names(folder: Folder, name: str, place: str) -> None:
    folder.write({f"{place}{name}": config()})

    assert folder.offers() == ["0123abcd_hello"]


@pytest.mark.parametrize("place", [".git/", ".hidden/x/", "hello/rootfs/etc/", "hello/rootfs/"])
def test_hidden_folders_and_root_file_systems_are_not_looked_into(folder: Folder, place: str) -> None:
    folder.write({f"{place}config.json": config()})

    assert folder.offers() == []


@pytest.mark.parametrize("name", ["config.json.bak", "Config.yaml", "config", "addon.yaml", "config.toml"])
def test_other_files_are_no_configs(folder: Folder, name: str) -> None:
    folder.write({f"hello/{name}": config()})

    assert folder.offers() == []


def test_broken_add_on_hides_no_other_and_its_reason_is_kept(folder: Folder) -> None:
    folder.write(
        {
            "bad/config.yaml": "slug: x\nname: [",
            "good/config.json": config("good"),
            "lfs/config.yaml": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "slugless/config.json": config(slug=None),
        }
    )

    contents = folder.read()

    assert list(contents.offers) == ["0123abcd_good"]
    assert set(contents.broken) == {"bad/config.yaml", "lfs/config.yaml", "slugless/config.json"}
    assert "slug" in contents.broken["slugless/config.json"]
    assert contents.broken["bad/config.yaml"].startswith("line ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.yaml", ""),
        ("config.yaml", "# nothing\n"),
        ("config.yaml", "- name: x\n"),
        ("config.yaml", "wifi: !secret ssid\n"),
        ("config.yaml", "kind: A\n---\nkind: B\n"),
        ("config.yaml", "{% raw %}\n"),
        ("config.yaml", "name: app\nversion: 3\n"),
        ("config.json", '{"name": "X", // of a program\n}'),
        ("config.json", '[{"name": 5}]'),
        ("config.json", '{"client_id": "id"}'),
        ("config.json", json.dumps({"x": ["y" * 100] * 15_000})),
    ],
)
def test_file_of_something_else_is_no_broken_add_on(folder: Folder, name: str, text: str) -> None:
    folder.write({f"app/test/{name}": text, "app/config.yml": config()})

    contents = folder.read()

    assert (list(contents.offers), contents.broken) == (["0123abcd_hello"], {})


def test_second_add_on_of_a_slug_is_left_out_and_the_first_named(folder: Folder) -> None:
    folder.write({"b/config.json": config(version="2"), "a/config.json": config(version="1")})

    contents = folder.read()

    assert [offer.config.version for offer in contents.offers.values()] == ["1"]
    assert contents.broken.keys() == {"b/config.json"}
    assert "that of a" in contents.broken["b/config.json"]


def test_order_does_not_depend_on_the_file_system(folder: Folder) -> None:
    folder.write({f"{name}/config.json": config(name) for name in ("z", "a", "m")})

    assert folder.offers() == ["0123abcd_a", "0123abcd_m", "0123abcd_z"]


# --- nothing from outside ---------------------------------------------------------------------------------------------


def test_config_that_leads_out_of_the_repository_is_not_read(folder: Folder, parsed: list[str]) -> None:
    folder.write({"../secret.json": config("secret"), "inside/config.json": config("inside")})
    (folder.path / "outside").mkdir()
    (folder.path / "outside" / "config.json").symlink_to(folder.path.parent / "secret.json")
    (folder.path / "dangling").mkdir()
    (folder.path / "dangling" / "config.json").symlink_to("nowhere")

    contents = folder.read()

    assert list(contents.offers) == ["0123abcd_inside"]
    assert set(contents.broken) == {"outside/config.json", "dangling/config.json"}
    assert parsed == ["inside"]


def test_folder_that_leads_out_of_the_repository_is_not_looked_into(folder: Folder) -> None:
    folder.write({"../elsewhere/config.json": config("elsewhere")})
    (folder.path / "link").symlink_to(folder.path.parent / "elsewhere")

    assert folder.offers() == []


def test_config_that_links_to_a_file_of_the_repository_is_read(folder: Folder) -> None:
    folder.write({"shared.json": config("hello")})
    (folder.path / "hello").mkdir()
    (folder.path / "hello" / "config.json").symlink_to("../shared.json")

    assert folder.offers() == ["0123abcd_hello"]


def test_config_that_is_no_plain_file_is_left_out(folder: Folder) -> None:
    (folder.path / "pipe").mkdir()
    os.mkfifo(folder.path / "pipe" / "config.yaml")
    (folder.path / "folder" / "config.yaml").mkdir(parents=True)

    contents = folder.read()

    assert dict(contents.offers) == {}
    assert contents.broken.keys() == {"pipe/config.yaml"}
    assert "no file" in contents.broken["pipe/config.yaml"]


@pytest.mark.parametrize("target", ["../.git/config.json", "../dot/config.json"])
def test_config_that_leads_into_gits_own_folder_is_not_read(folder: Folder, target: str) -> None:
    folder.write({".git/config.json": config("stolen")})
    (folder.path / "dot").symlink_to(".git")
    (folder.path / "hello").mkdir()
    (folder.path / "hello" / "config.json").symlink_to(target)

    contents = folder.read()

    assert not contents.offers
    assert list(contents.broken) == ["hello/config.json"]


def test_what_was_read_is_what_is_remembered_where_a_file_is_exchanged_between_look_and_reading(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write({"hello/config.json": config(version="1"), "other.json": config(version="2")})
    real = catalogue.content_in

    def exchanged(opened: Any, path: str) -> Any:
        if path == "hello/config.json":
            (folder.path / "other.json").replace(folder.path / path)
        return real(opened, path)

    with monkeypatch.context() as attack:
        attack.setattr(catalogue, "content_in", exchanged)
        assert [offer.config.version for offer in folder.read().offers.values()] == ["2"]
    folder.write({"hello/config.json": config(version="3")})

    assert [offer.config.version for offer in folder.read().offers.values()] == ["3"]


def test_repository_file_that_leads_out_counts_as_missing(folder: Folder) -> None:
    folder.write({"../mine.json": json.dumps({"name": "Not mine"})})
    (folder.path / "repository.json").unlink()
    (folder.path / "repository.yaml").symlink_to(folder.path.parent / "mine.json")

    with pytest.raises(FileInvalid, match=r"repository\.yaml"):
        folder.read()


@pytest.mark.parametrize("text", [None, "name: [", "{}", "url: https://example.com", "name: 5"])
def test_repository_without_a_good_description_is_none(folder: Folder, text: str | None) -> None:
    (folder.path / "repository.json").unlink()
    if text is not None:
        folder.write({"repository.yaml": text})

    with pytest.raises(Exception, match=r"repository|name"):
        folder.read()


def test_local_repository_needs_no_description(tmp_path: Path) -> None:
    write_files(tmp_path / "apps" / "local", {"hello/config.json": config()})

    contents = read_contents(tmp_path, tmp_path / "apps" / "local", RepositorySlug("local"), ConfigReader())

    assert contents.file is None
    assert list(contents.offers) == ["local_hello"]


def test_repository_with_too_many_add_ons_is_cut_short_and_says_so(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "MAX_ADDONS", 3)
    folder.write({f"{name}/config.json": config(name) for name in "abcdef"})

    contents = folder.read()

    assert list(contents.offers) == ["0123abcd_a", "0123abcd_b", "0123abcd_c"]
    assert list(contents.broken) == ["d/config.json"]
    assert "more than 3" in contents.broken["d/config.json"]


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.mark.parametrize("attributes", [".gitattributes", "hello/.gitattributes"])
def test_files_that_are_kept_in_git_lfs_count_as_missing_and_are_named(folder: Folder, attributes: str) -> None:
    folder.write(
        {
            attributes: "*.png filter=lfs diff=lfs merge=lfs -text\n",
            "hello/config.json": config(),
            "hello/icon.png": POINTER,
            "hello/logo.png": "a picture",
            "hello/Dockerfile": POINTER,
            "bad/config.yaml": POINTER,
        }
    )

    contents = folder.read()

    (offer,) = contents.offers.values()
    assert offer.files == {"logo.png"}
    assert contents.pointers == ("hello/Dockerfile", "hello/icon.png")
    assert "kept in git LFS" in contents.broken["bad/config.yaml"]


def test_files_are_not_looked_into_where_nobody_speaks_of_git_lfs(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "_is_pointer", pytest.fail)
    folder.write({"hello/config.json": config(), "hello/icon.png": "x"})

    assert folder.read().pointers == ()


# --- what it may cost -------------------------------------------------------------------------------------------------


def test_repository_whose_configurations_take_too_much_memory_is_cut_short_and_says_so(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, parsed: list[str]
) -> None:
    monkeypatch.setattr(catalogue, "MAX_KEPT_BYTES", 3 * 1024**2)
    folder.write({f"{name}/config.json": config(name, description="x" * 1_000_000) for name in "abcdef"})

    contents = folder.read()

    assert list(contents.offers) == ["0123abcd_a", "0123abcd_b", "0123abcd_c"]
    assert list(contents.broken) == ["d/config.json"]
    assert "more than 3 MiB" in contents.broken["d/config.json"]
    assert parsed == ["a", "b", "c", "d"]
    assert folder.read() == contents
    assert parsed == ["a", "b", "c", "d"]


def test_files_that_are_refused_count_too_for_reading_them_costs_time(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, parsed: list[str]
) -> None:
    monkeypatch.setattr(catalogue, "MAX_KEPT_BYTES", 1024**2)
    folder.write({f"{number:02}/config.yaml": "a: [" + "x," * 10_000 for number in range(50)})

    folder.read()

    assert len(parsed) == 3


@pytest.mark.parametrize(
    ("text", "amount"),
    [("slug: [", 1200), ("slug: 5", 150), ("- slug", 150), ("arch: 5\nname: 5\nversion: 1", 150)],
)
def test_many_broken_files_are_told_briefly(folder: Folder, text: str, amount: int) -> None:
    folder.write({f"{number:04}/config.yaml": text for number in range(amount)})

    contents = folder.read()

    assert (len(contents.broken), contents.more_broken) == (100, amount - 100)
    assert all(len(reason) < 600 for reason in contents.broken.values())


def test_folders_deeper_than_a_hundred_are_left_out_by_name_and_hide_no_other(folder: Folder, tmp_path: Path) -> None:
    folder.write({"z/config.json": config()})
    make_deep(tmp_path / "deep", 3000)
    (tmp_path / "deep").rename(folder.path / "a")

    contents = folder.read()

    assert list(contents.offers) == ["0123abcd_hello"]
    (reason,) = contents.broken.values()
    assert reason == "has folders within each other deeper than 100; they are left out"
    removed(folder.path / "a")


def test_repository_with_too_many_files_is_offered_as_far_as_it_goes(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "TREE_LIMITS", TreeLimits(entries=50, depth=100))
    folder.write({"a/config.json": config(), "z/config.json": config("late"), **{f"b/{n}": "" for n in range(60)}})

    contents = folder.read()

    assert list(contents.offers) == ["0123abcd_hello"]
    assert contents.broken == {"": "the repository has more than 50 entries; the rest is left out"}


def test_names_that_are_no_text_or_move_a_terminals_cursor_can_be_answered(folder: Folder) -> None:
    for name in (b"caf\xe9", b"\x1b[2J", b"a\nb", b"\xff" * 200):
        write_files(folder.path / os.fsdecode(name), {"config.yaml": config(f"x{len(name)}"), "config.json": "["})

    contents = folder.read()

    assert list(contents.offers) == ["0123abcd_x4", "0123abcd_x3"]
    for offer in contents.offers.values():
        orjson.dumps(offer.folder)
    shown = orjson.dumps(dict(contents.broken)).decode()
    assert "\\u" not in shown and r"caf\\xe9/config.yaml" in shown
    assert contents.broken[r"caf\xe9/config.yaml"] == "its folder has a name that is no text (UTF-8)"
    assert all(path.isprintable() and len(path) <= 200 for path in contents.broken)


# --- reading again ----------------------------------------------------------------------------------------------------


def test_file_that_did_not_change_is_not_parsed_again(folder: Folder, parsed: list[str]) -> None:
    folder.write({"good/config.json": config(), "bad/config.json": "{"})
    first = folder.read()
    parsed.clear()

    second = folder.read()

    assert parsed == []
    assert second == first


@pytest.mark.parametrize("how", ["content", "content with its time put back", "time", "identity"])
def test_file_that_changed_is_parsed_again(folder: Folder, parsed: list[str], how: str) -> None:
    folder.write({"changed/config.json": config(version="1"), "kept/config.json": config("kept")})
    folder.read()
    parsed.clear()
    path = folder.path / "changed" / "config.json"
    before = path.stat()
    if how == "content":
        path.write_text(config(version="1.1"))
    elif how == "content with its time put back":
        path.write_text(config(version="9"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif how == "time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    else:
        fresh = path.with_name("fresh")
        fresh.write_text(config(version="2"))
        os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
        fresh.replace(path)

    folder.read()

    assert parsed == ["changed"]


@pytest.mark.parametrize("seconds", [2**40, 2**62, -(2**40), -(2**62)])
def test_time_that_no_calendar_has_hinders_nobody(folder: Folder, seconds: int) -> None:
    folder.write({"hello/config.json": config()})
    with suppress(OSError):  # what this file system can't keep, another can
        os.utime(folder.path / "hello" / "config.json", (seconds, seconds))

    assert folder.offers() == ["0123abcd_hello"]
    assert catalogue._moment(float(seconds)).year == 1970


def test_file_that_is_repaired_is_offered(folder: Folder) -> None:
    folder.write({"hello/config.json": "{"})
    folder.read()

    folder.write({"hello/config.json": config()})

    contents = folder.read()
    assert list(contents.offers) == ["0123abcd_hello"]
    assert dict(contents.broken) == {}


def test_what_is_gone_is_forgotten(folder: Folder) -> None:
    folder.write({"hello/config.json": config(), "other/config.json": config("other")})
    folder.read()
    (folder.path / "hello" / "config.json").unlink()

    offers = folder.offers()

    assert offers == ["0123abcd_other"]
    assert list(folder.reader._known[str(folder.path)]) == ["other/config.json"]

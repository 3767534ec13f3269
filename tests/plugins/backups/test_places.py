"""What is listed, and how backups come in, go out and go away."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rooftree.interfaces.backups import BackupDamaged
from rooftree.testing import Answer
from rooftree_backups import archive_folder, folder_listing
from rooftree_backups.archive_folder import FolderListing
from tests.plugins.backups.house import House, house
from tests.plugins.backups.plain_archives import PlainArchives, raw_backup, write_archive

ONE, TWO = "aaaaaaaa", "bbbbbbbb"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as running:
        yield running


async def sent(home: House, data: bytes, query: str = "", **options: Any) -> Answer:
    """A form with a file in it, as the official client sends one."""
    with aiohttp.MultipartWriter("form-data") as form:
        form.append(data)
    body = bytearray()

    class Line:
        async def write(self, piece: bytes) -> None:
            body.extend(piece)

    await form.write(Line())  # type: ignore[arg-type]
    headers = {"Content-Type": form.content_type}
    return await home.client.post(f"/backups/new/upload{query}", body=bytes(body), headers=headers, **options)


def archive(tmp_path: Path, slug: str, **changes: Any) -> bytes:
    path = tmp_path / "made.tar"
    write_archive(path, raw_backup(slug, **changes))
    return path.read_bytes()


# --- listed -----------------------------------------------------------------------------------------------------------


async def test_broken_file_costs_only_itself_and_is_a_problem_until_it_is_gone(home: House) -> None:
    write_archive(home.local / "one.tar", raw_backup(ONE))
    (home.local / "broken.tar").write_bytes(b"no tar")
    (home.local / ".hidden.tar").write_bytes(b"no tar")
    (home.local / "link.tar").symlink_to("/etc/passwd")
    (home.local / "folder.tar").mkdir()

    await home.reload()

    assert set(await home.listed()) == {ONE}
    (problem,) = [problem for problem in home.system.problems if problem.type == "backup_unreadable"]
    assert problem.message.startswith("broken.tar in .local can't be read as a backup")
    (home.local / "broken.tar").unlink()
    await home.reload()
    assert not [problem for problem in home.system.problems if problem.type == "backup_unreadable"]


async def test_archive_is_read_once_and_again_only_when_it_is_another(tmp_path: Path) -> None:
    archives = PlainArchives()
    async with house(tmp_path, archives) as home:
        await home.reload()  # the look at the start is over then
        write_archive(home.local / "one.tar", raw_backup(ONE))
        write_archive(home.local / "two.tar", raw_backup(TWO))
        await home.reload()
        await home.reload()
        assert archives.reads == 2

    async with house(tmp_path, archives) as home:
        assert set(await home.listed()) == {ONE, TWO}
        await home.reload()
        assert archives.reads == 2
        write_archive(home.local / "two.tar", raw_backup(TWO, name="Another"))
        await home.reload()
        assert archives.reads == 3
        assert (await home.listed())[TWO]["name"] == "Another"


async def test_same_backup_in_two_places_is_one_and_another_of_its_slug_is_left_out(home: House) -> None:
    nas, old = home.mounts.add("nas"), home.mounts.add("old")
    write_archive(home.local / "one.tar", raw_backup(ONE))
    write_archive(nas / "whatever.tar", raw_backup(ONE, protected=True))
    write_archive(old / "one.tar", raw_backup(ONE, name="Not the same"))

    await home.reload()

    entry = (await home.listed())[ONE]
    assert entry["locations"] == [None, "nas"]
    assert {name: place["protected"] for name, place in entry["location_attributes"].items()} == {
        ".local": False,
        "nas": True,
    }
    assert entry["name"] == f"Backup {ONE}"


async def test_mount_that_is_down_is_not_listed_and_is_again_when_it_is_back(home: House) -> None:
    nas = home.mounts.add("nas")
    write_archive(nas / "one.tar", raw_backup(ONE))
    await home.reload()
    home.mounts.take_down("nas")
    assert await home.listed() == {}

    home.mounts.add("nas")
    await home.system.bus.drained()

    assert set(await home.listed()) == {ONE}


async def test_what_a_kill_left_on_a_mount_goes_when_the_mount_is_back_and_what_is_anothers_stays(home: House) -> None:
    own, others = home.mounts.kernel.data.instance_id, "0" * 32
    nas = home.mounts.add("nas")
    home.mounts.take_down("nas")
    strangers = {f".rooftree-{others}-0123456789abcdef.partial", ".rooftree-0123456789abcdef.partial", ".partial", "x"}
    for folder in (nas, home.local):
        for name in (f".rooftree-{own}-0123456789abcdef.partial", *strangers):
            (folder / name).write_bytes(b"half of one")

    home.mounts.add("nas")
    await home.system.bus.drained()
    await home.reload()

    for folder in (nas, home.local):
        assert {path.name for path in folder.iterdir()} == strangers


async def test_upload_that_is_under_way_is_not_taken_for_left_over(home: House, tmp_path: Path) -> None:
    nas, data = home.mounts.add("nas"), archive(tmp_path, ONE)

    async def form() -> AsyncIterator[bytes]:
        yield b"--b\r\nContent-Type: application/x-tar\r\n\r\n" + data[:1000]
        async with asyncio.timeout(10):
            while not await asyncio.to_thread(os.listdir, nas):
                await asyncio.sleep(0.01)
        await home.reload()
        yield data[1000:] + b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await home.client.post("/backups/new/upload?location=nas", body=form(), headers=headers)

    assert answer.data == {"slug": ONE}, answer.text
    assert (nas / f"{ONE}.tar").read_bytes() == data


async def test_file_that_could_not_be_read_is_tried_again(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    write_archive(home.local / "one.tar", raw_backup(ONE))
    with monkeypatch.context() as broken:
        broken.setattr(home.archives, "_head", lambda _: BackupDamaged("the share had a hiccup"))
        await home.reload()
    assert await home.listed() == {}

    await home.reload()

    assert set(await home.listed()) == {ONE}


async def test_name_that_is_no_text_costs_only_its_own_file(home: House) -> None:
    nas = home.mounts.add("nas")
    for folder, slug in ((home.local, ONE), (nas, TWO)):
        write_archive(folder / "good.tar", raw_backup(slug))
        Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.tar")).write_bytes(b"whatever")

    await home.reload()

    assert set(await home.listed()) == {ONE, TWO}
    messages = [problem.message for problem in home.system.problems if problem.type == "backup_unreadable"]
    assert len(messages) == 2
    assert all(message.startswith("caf\ufffd.tar in ") for message in messages)


async def test_what_comes_and_goes_while_a_folder_is_looked_at_is_known_as_it_is(
    home: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_archive(home.local / "one.tar", raw_backup(ONE))
    await home.reload()
    look, listed, go_on = archive_folder.listing, threading.Event(), threading.Event()

    def slowly(path: Path) -> FolderListing:
        listing = look(path)
        if path == home.local:
            listed.set()
            go_on.wait(10)
        return listing

    monkeypatch.setattr(archive_folder, "listing", slowly)
    reloading = asyncio.create_task(home.reload())
    await asyncio.to_thread(listed.wait, 10)
    assert (await home.client.delete(f"/backups/{ONE}")).data == {}
    assert (await sent(home, archive(tmp_path, TWO))).data == {"slug": TWO}
    go_on.set()
    await reloading

    assert set(await home.listed()) == {TWO}
    assert [problem.message for problem in home.system.problems if problem.type == "backup_unreadable"] == []


def test_file_that_goes_while_a_mount_is_listed_costs_no_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.tar", "b.tar", "c.tar"):
        (tmp_path / name).touch()
    scan = os.scandir

    @contextmanager
    def going(folder: str) -> Iterator[list[os.DirEntry[str]]]:
        with scan(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        (tmp_path / "b.tar").unlink()
        yield found

    monkeypatch.setattr("os.scandir", going)

    assert set(folder_listing.listing(str(tmp_path))["archives"]) == {"a.tar", "c.tar"}


async def test_options_are_kept(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        assert (await home.client.get("/backups/info")).data["days_until_stale"] == 30
        assert (await home.client.post("/backups/options", json={"days_until_stale": 0})).status == 400
        assert (await home.client.post("/backups/options", json={"days_until_stale": 7})).data == {}

    async with house(tmp_path) as home:
        assert (await home.client.get("/backups/info")).data == {"backups": [], "days_until_stale": 7}


# --- away -------------------------------------------------------------------------------------------------------------


async def test_backup_is_removed_from_the_places_named_or_from_all(home: House) -> None:
    nas = home.mounts.add("nas")
    for path in (home.local / "one.tar", nas / "one.tar", home.local / "two.tar"):
        write_archive(path, raw_backup(TWO if path.name == "two.tar" else ONE))
    await home.reload()

    assert (await home.client.delete(f"/backups/{ONE}", json={"location": ["nas", "elsewhere"]})).data == {}
    assert (await home.listed())[ONE]["locations"] == [None]
    assert not (nas / "one.tar").exists()
    assert (await home.client.delete(f"/backups/{ONE}")).data == {}
    assert set(await home.listed()) == {TWO}
    assert home.names() == ["two.tar"]
    assert (await home.client.delete(f"/backups/{ONE}")).status == 404


async def test_removal_of_a_file_that_has_gone_is_404_and_it_is_no_longer_listed(home: House) -> None:
    write_archive(home.local / "one.tar", raw_backup(ONE))
    await home.reload()
    (home.local / "one.tar").unlink()

    assert (await home.client.delete(f"/backups/{ONE}")).status == 404
    assert await home.listed() == {}


async def test_file_that_has_the_name_of_a_backup_by_now_is_not_removed_for_it(home: House) -> None:
    nas = home.mounts.add("nas")
    for folder in (home.local, nas):
        write_archive(folder / "mine.tar", raw_backup(ONE))
    await home.reload()
    for folder in (home.local, nas):
        write_archive(folder / "mine.tar", raw_backup(TWO, name="Somebody has put it there"))

    for location in (".local", "nas"):
        assert (await home.client.delete(f"/backups/{ONE}", json={"location": location})).status == 404

    assert set(await home.listed()) == {TWO}
    assert (nas / "mine.tar").exists() and (home.local / "mine.tar").exists()


async def test_file_of_the_same_backup_is_removed_whenever_it_was_written(home: House) -> None:
    nas = home.mounts.add("nas")
    for folder in (home.local, nas):
        write_archive(folder / "mine.tar", raw_backup(ONE))
    await home.reload()
    for folder in (home.local, nas):
        os.utime(folder / "mine.tar", ns=(1, 1))

    assert (await home.client.delete(f"/backups/{ONE}")).data == {}

    assert not (nas / "mine.tar").exists() and not (home.local / "mine.tar").exists()


# --- in ---------------------------------------------------------------------------------------------------------------


async def test_uploaded_backup_is_listed_under_its_slug(home: House, tmp_path: Path) -> None:
    data = archive(tmp_path, ONE)

    assert (await sent(home, data)).data == {"slug": ONE}

    assert (home.local / f"{ONE}.tar").read_bytes() == data
    assert oct((home.local / f"{ONE}.tar").stat().st_mode & 0o777) == "0o600"
    assert home.names() == [f"{ONE}.tar"]
    assert set(await home.listed()) == {ONE}


async def test_upload_goes_to_the_places_named_under_the_name_given(home: House, tmp_path: Path) -> None:
    nas = home.mounts.add("nas")
    home.mounts.default = "nas"
    data = archive(tmp_path, ONE)

    assert (await sent(home, data, "?location=nas&location=.local&filename=My%20house.tar")).data == {"slug": ONE}

    assert (nas / "My house.tar").read_bytes() == (home.local / "My house.tar").read_bytes() == data
    assert (await home.listed())[ONE]["locations"] == [None, "nas"]


@pytest.mark.parametrize("data", [b"", b"no tar at all", b"\0" * 10240])
async def test_upload_that_is_no_backup_is_refused_and_nothing_of_it_stays(home: House, data: bytes) -> None:
    answer = await sent(home, data)

    assert answer.status == 400
    assert answer.message.startswith("The file is no backup that can be read")
    await settled(home)


async def settled(home: House) -> None:
    """Nothing unfinished is left, in a moment."""
    async with asyncio.timeout(5):
        while any(name.startswith(".") for name in home.names()):
            await asyncio.sleep(0.01)
    assert [name for name in home.names() if name.startswith(".")] == []


@pytest.mark.parametrize("slug", ["../../x", "a/b", "AAAAAAAA", "a" * 300, ""])
async def test_slug_that_is_no_file_name_never_becomes_one(home: House, tmp_path: Path, slug: str) -> None:
    answer = await sent(home, archive(tmp_path, slug))

    assert answer.status == 400
    await settled(home)
    assert home.names() == []


@pytest.mark.parametrize(
    "name", ["..%2Fx.tar", "%2Fetc%2Fx.tar", "x", ".x.tar", "a%00b.tar", "a%0Ab.tar", "x" * 300 + ".tar"]
)
async def test_file_names_from_clients_are_one_visible_file_name_or_refused(
    home: House, tmp_path: Path, name: str
) -> None:
    answer = await sent(home, archive(tmp_path, ONE), f"?filename={name}")

    assert answer.status == 400
    assert home.names() == []


async def test_upload_under_the_name_of_another_backup_leaves_that_alone(home: House, tmp_path: Path) -> None:
    await sent(home, archive(tmp_path, ONE), "?filename=mine.tar")
    before = (home.local / "mine.tar").read_bytes()

    other = await sent(home, archive(tmp_path, TWO), "?filename=mine.tar")
    same_slug = await sent(home, archive(tmp_path, ONE, name="Another"))

    assert (other.status, same_slug.status) == (400, 400)
    assert "stays" in other.message
    await settled(home)
    assert (home.local / "mine.tar").read_bytes() == before
    again = await sent(home, archive(tmp_path, ONE), "?filename=mine.tar")
    assert again.data == {"slug": ONE}


async def test_upload_that_breaks_off_leaves_nothing(home: House) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"--b\r\nContent-Type: application/x-tar\r\n\r\n" + b"x" * 300_000
        raise RuntimeError("the client breaks off")

    with suppress(Exception):  # whatever the client makes of its own end
        await home.client.post(
            "/backups/new/upload", body=broken(), headers={"Content-Type": "multipart/form-data; boundary=b"}
        )

    await settled(home)


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data", "multipart/form-data; boundary="])
async def test_upload_that_is_no_form_is_refused(home: House, content_type: str) -> None:
    answer = await home.client.post("/backups/new/upload", body=b"{}", headers={"Content-Type": content_type})

    assert answer.status == 400
    await settled(home)


# --- out --------------------------------------------------------------------------------------------------------------


async def test_download_is_the_file_with_a_name_made_of_the_backups(home: House) -> None:
    write_archive(home.local / f"{ONE}.tar", raw_backup(ONE, name="Mein Haus: 1/2 \u00fc"))
    await home.reload()

    answer = await home.client.get(f"/backups/{ONE}/download")

    assert answer.body == (home.local / f"{ONE}.tar").read_bytes()
    assert answer.headers["Content-Type"] == "application/tar"
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''mein_haus_1_2_%C3%BC.tar"
    assert int(answer.headers["Content-Length"]) == len(answer.body)


@pytest.mark.parametrize(
    ("wanted", "begin", "end"),
    [("bytes=0-0", 0, 1), ("bytes=100-199", 100, 200), ("bytes=10000-", 10000, None), ("bytes=-7", -7, None)],
)
@pytest.mark.parametrize("on_a_mount", [False, True])
async def test_part_of_a_download(home: House, wanted: str, begin: int, end: int | None, on_a_mount: bool) -> None:
    folder = home.mounts.add("nas") if on_a_mount else home.local
    write_archive(folder / "one.tar", raw_backup(ONE))
    await home.reload()

    answer = await home.client.get(f"/backups/{ONE}/download", headers={"Range": wanted})

    whole = (folder / "one.tar").read_bytes()
    assert (answer.status, answer.body) == (206, whole[begin:end])
    assert answer.headers["Content-Range"].endswith(f"/{len(whole)}")


async def test_part_behind_the_end_is_416_and_nonsense_is_the_whole(home: House) -> None:
    write_archive(home.local / "one.tar", raw_backup(ONE))
    await home.reload()
    path = f"/backups/{ONE}/download"

    assert (await home.client.get(path, headers={"Range": "bytes=99999999-"})).status == 416
    for nonsense in ("bytes=5-1", "bytes=-", "lines=1-2", "bytes=0-1,3-4"):
        answer = await home.client.get(path, headers={"Range": nonsense})
        assert (answer.status, len(answer.body)) == (200, (home.local / "one.tar").stat().st_size)
    head = await home.client.request("HEAD", path)
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize("on_a_mount", [False, True])
async def test_download_of_a_file_that_has_gone_is_404_and_it_is_no_longer_listed(
    home: House, on_a_mount: bool
) -> None:
    folder = home.mounts.add("nas") if on_a_mount else home.local
    write_archive(folder / "one.tar", raw_backup(ONE))
    await home.reload()
    (folder / "one.tar").unlink()

    assert (await home.client.get(f"/backups/{ONE}/download")).status == 404
    assert await home.listed() == {}
    unknown = await home.client.get(f"/backups/{TWO}/download")
    assert (unknown.status, unknown.envelope) == (404, {"result": "error", "message": f"There is no backup {TWO}"})


# --- the cloud's ------------------------------------------------------------------------------------------------------


async def test_what_core_is_about_to_send_away_is_cores_alone(home: House, tmp_path: Path) -> None:
    cloud = home.folder / "data" / "core" / "backup"
    write_archive(cloud / "one.tar", raw_backup(ONE))
    await home.reload()

    refused = [
        await home.client.post("/backups/new/full", json={"location": ".cloud_backup"}),
        await home.client.post(f"/kernel/v1/backups/{ONE}/verify", json={}),
        await home.client.post(f"/backups/{ONE}/restore/partial", json={"folders": ["share"]}),
        await sent(home, archive(tmp_path, TWO), "?location=.cloud_backup"),
        await home.client.get(f"/backups/{ONE}/download"),
        await home.client.delete(f"/backups/{ONE}"),
    ]

    assert [answer.status for answer in refused] == [403] * 6
    assert (await home.listed())[ONE]["locations"] == [".cloud_backup"]

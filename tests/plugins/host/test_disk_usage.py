"""What takes the room on the disk: counted as du does, off the loop, once for all who ask."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from rooftree import Unset
from rooftree.testing import Client, running_system
from rooftree_host import disk_usage
from rooftree_host.disk_usage import DiskUsages, measure
from rooftree_host.plugin import HostPlugin
from tests.plugins.recordings import difference, needs_recordings, recorded
from tests.requirements import needs


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with something in it."""
    return filled(tmp_path / "data")


@pytest.fixture
def data_on_disk() -> Iterator[Path]:
    """The same on the file system of the checkout, where folders themselves take room; in memory they take none."""
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent, prefix=".disk-") as folder:
        yield filled(Path(folder) / "data")


def filled(data: Path) -> Path:
    """Put something into a data folder."""
    for folder in ("apps/data/local_a/deep/er", "apps/data/local_b", "app_configs", "media", "backup"):
        (data / folder).mkdir(parents=True)
    (data / "apps/data/local_a/deep/er/file").write_bytes(b"x" * 300_000)
    (data / "apps/data/local_b/file").write_bytes(b"x" * 100_000)
    (data / "media/film").write_bytes(b"x" * 500_000)
    return data


@pytest.fixture
async def client(data: Path) -> AsyncIterator[Client]:
    """An administrator."""
    settings = {"plugins.host.bus": "unix:path=/nonexistent/bus"}
    async with (
        running_system(data.parent, plugins=[HostPlugin], settings=settings) as system,
        Client.over_unix(system) as found,
    ):
        yield found


def by_id(usage: dict[str, Any]) -> dict[str, int]:
    """The parts of an answer."""
    return {child["id"]: child["used_bytes"] for child in usage["children"]}


def du(folder: Path) -> int:
    """What du(1) says of what is in a folder."""
    return whole(folder) - folder.stat().st_blocks * 512


def whole(folder: Path) -> int:
    """What du(1) says of a folder with what is in it."""
    said = subprocess.run(["du", "--block-size=1", "-sx", folder], capture_output=True, text=True, check=True)
    return int(said.stdout.split()[0])


async def test_parts_add_up_to_the_whole(client: Client, data: Path) -> None:
    usage = (await client.get("/host/disks/default/usage")).data

    parts = by_id(usage)
    assert list(parts) == [
        "system", "addons_data", "addons_config", "media", "share", "backup", "ssl", "homeassistant",
    ]  # fmt: skip
    assert sum(parts.values()) == usage["used_bytes"] <= usage["total_bytes"]
    assert parts["addons_data"] == await asyncio.to_thread(du, data / "apps/data")
    assert parts["media"] == await asyncio.to_thread(du, data / "media")
    assert parts["share"] == 0
    assert not any("children" in child for child in usage["children"])


async def test_deeper_levels_show_the_folders_the_largest_first(client: Client) -> None:
    none = (await client.get("/host/disks/default/usage?max_depth=0")).data
    deep = (await client.get("/host/disks/default/usage?max_depth=3")).data

    addons = next(child for child in deep["children"] if child["id"] == "addons_data")
    assert "children" not in none
    assert [child["id"] for child in addons["children"]] == ["local_a", "local_b"]
    assert [child["id"] for child in addons["children"][0]["children"]] == ["deep"]
    assert addons["used_bytes"] == sum(child["used_bytes"] for child in addons["children"])


def test_each_folder_counts_with_what_it_takes_itself(data_on_disk: Path) -> None:
    data = data_on_disk
    if not (data / "media").stat().st_blocks:
        pytest.skip("folders take no room on this file system")
    areas = children_of(measure(data, 4, threading.Event()))

    addons = areas["addons_data"]
    assert addons.used_bytes == du(data / "apps/data")
    shown = children_of(addons)
    assert shown["local_b"].used_bytes == whole(data / "apps/data/local_b")
    assert shown["local_a"].used_bytes == whole(data / "apps/data/local_a")
    deep = children_of(shown["local_a"])["deep"]
    assert deep.used_bytes == whole(data / "apps/data/local_a/deep")


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("default/usage?max_depth=9", 400, "max_depth"),
        ("default/usage?max_depth=-1", 400, "max_depth"),
        ("default/usage?max_depth=many", 400, "max_depth"),
        ("other/usage", 404, "no disk other"),
    ],
)
async def test_what_cannot_be_measured_is_said(client: Client, path: str, status: int, reason: str) -> None:
    answer = await client.get(f"/host/disks/{path}")

    assert answer.status == status
    assert reason in answer.envelope["message"]


def test_file_with_two_names_counts_once_holes_and_links_not_at_all(data: Path) -> None:
    before = by_id_of(measure(data, 1, threading.Event()))
    os.link(data / "media/film", data / "backup/the_same")
    (data / "media/link").symlink_to("/usr")
    with (data / "media/sparse").open("wb") as file:
        file.truncate(10**9)

    after = by_id_of(measure(data, 1, threading.Event()))

    assert after["backup"] == before["backup"]
    assert after["media"] <= before["media"] + 8192


def by_id_of(usage: disk_usage.DiskUsage) -> dict[str, int]:
    """The parts of a measurement."""
    return {id_: child.used_bytes for id_, child in children_of(usage).items()}


def children_of(usage: disk_usage.DiskUsage) -> dict[str, disk_usage.DiskUsage]:
    """What is shown in a folder."""
    assert not isinstance(usage.children, Unset)
    return {child.id: child for child in usage.children}


@needs(os.geteuid() == 0, "needs root, to mount")
def test_what_is_mounted_below_is_not_counted(data: Path) -> None:
    place = data / "media" / "elsewhere"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "none", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        before = by_id_of(measure(data, 1, threading.Event()))
        (place / "file").write_bytes(b"x" * 1_000_000)

        assert by_id_of(measure(data, 1, threading.Event()))["media"] == before["media"]
    finally:
        subprocess.run(["umount", place], check=True)


def test_folder_that_may_not_be_read_and_files_that_vanish_do_no_harm(data: Path) -> None:
    (data / "share").symlink_to(data / "nothing")

    assert by_id_of(measure(data, 2, threading.Event()))["share"] == 0


async def test_many_who_ask_at_once_cost_one_measurement(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    go_on = threading.Event()

    def slow(folder: Path, depth: int, stop: threading.Event) -> disk_usage.DiskUsage:
        begun.append(depth)
        assert go_on.wait(10)
        return measure(folder, depth, stop)

    monkeypatch.setattr(disk_usage, "measure", slow)
    usages = DiskUsages(data, lambda: None)
    asked = [asyncio.create_task(usages.of_data(1)) for _ in range(10)]
    await asyncio.sleep(0.05)
    go_on.set()

    answers = await asyncio.gather(*asked)
    again = await usages.of_data(1)

    assert begun == [1]
    assert all(answer == again for answer in answers)


async def test_answer_is_given_again_for_half_a_minute_and_then_measured_anew(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usages, now = DiskUsages(data, lambda: None), 1000.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    first = await usages.of_data(1)
    (data / "media/film").write_bytes(b"x" * 2_000_000)

    now += 29
    again = await usages.of_data(1)
    now += 1
    anew = await usages.of_data(1)

    assert again is first
    assert by_id_of(anew)["media"] > by_id_of(first)["media"]


async def test_measurement_ends_when_nobody_waits_for_it_any_more(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def endless(_: Path, __: int, stop: threading.Event) -> disk_usage.DiskUsage:
        assert stop.wait(10)
        ended.set()
        raise disk_usage._NotWanted

    monkeypatch.setattr(disk_usage, "measure", endless)
    usages = DiskUsages(data, lambda: None)
    asked = [asyncio.create_task(usages.of_data(1)) for _ in range(2)]
    await asyncio.sleep(0.05)
    asked[0].cancel()
    await asyncio.sleep(0.05)
    still = not ended.is_set()

    asked[1].cancel()

    await asyncio.wait(asked)
    assert await asyncio.to_thread(ended.wait, 10)
    assert still
    await usages.stop()


async def test_who_asks_while_an_unwanted_measurement_ends_gets_one_of_their_own(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unwanted: list[threading.Event] = []
    may_end = threading.Event()

    def slow_to_end(folder: Path, depth: int, stop: threading.Event) -> disk_usage.DiskUsage:
        if unwanted:
            return measure(folder, depth, stop)
        unwanted.append(stop)
        assert may_end.wait(10)
        raise disk_usage._NotWanted

    monkeypatch.setattr(disk_usage, "measure", slow_to_end)
    usages = DiskUsages(data, lambda: None)
    impatient = asyncio.create_task(usages.of_data(1))
    async with asyncio.timeout(10):
        while not unwanted:
            await asyncio.sleep(0.01)
    impatient.cancel()
    await asyncio.wait([impatient])

    patient = asyncio.create_task(usages.of_data(1))
    await asyncio.sleep(0.05)
    may_end.set()

    assert unwanted[0].is_set()
    assert (await patient).id == "root"
    await usages.stop()


async def test_file_that_vanishes_while_its_folder_is_read_and_a_name_that_is_no_text_do_no_harm(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "media" / os.fsdecode(b"caf\xe9")).mkdir()
    (data / "media" / "gone").write_bytes(b"x" * 100_000)
    scan = os.scandir

    class Vanishing:
        """A listing whose files are removed once it is read."""

        def __init__(self, folder: int) -> None:
            with scan(folder) as entries:
                self._entries = sorted(entries, key=lambda entry: entry.name != "gone")  # before the others
            for entry in self._entries:
                if entry.name == "gone":
                    os.unlink(entry.name, dir_fd=folder)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self._entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Vanishing)
    usage = await asyncio.to_thread(measure, data, 2, threading.Event())
    monkeypatch.undo()

    assert not isinstance(usage.children, Unset)
    media = next(child for child in usage.children if child.id == "media")
    assert not isinstance(media.children, Unset)
    assert media.used_bytes == await asyncio.to_thread(du, data / "media")
    assert [child.id for child in media.children] == ["caf\ufffd"]


@needs_recordings
async def test_answer_has_the_recorded_shape(client: Client) -> None:
    usage = (await client.get("/host/disks/default/usage")).data

    assert difference(recorded("host.disk_usage")["answer"]["data"], usage) == []

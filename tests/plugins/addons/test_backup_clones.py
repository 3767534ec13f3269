"""A cold add-on on a disk that can share blocks is stopped until its data is cloned; a real disk, with btrfs."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rooftree.interfaces.backups import BackupPart, PartContents, PartId, PartKind, PartWishes
from rooftree.interfaces.containers import ContainerStatus
from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons import data_clones
from rooftree_archives import archive_reader, archive_writer
from rooftree_files import copy_tree
from tests.plugins.addons.house import House, house
from tests.plugins.addons.restoring import source_of
from tests.plugins.archives.trees import head, quiet
from tests.rig.cloning_disk import cloning_disk

COPY_DOES = PartWishes(from_copy=True)
COLD = {"backup": "cold", "map": ["addon_config"], "backup_exclude": ["/data/apps/data/local_hello/cache/*"]}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with cloning_disk(tmp_path / "disk") as place:
        yield place


@pytest.fixture
async def home(disk: Path, engine: FakeContainerEngine) -> AsyncIterator[House]:
    async with house(disk, engine) as here:
        yield here


async def run(home: House) -> str:
    """A cold add-on that has stored something."""
    slug = await home.run(config=COLD)
    data = home.data / "apps/data" / slug
    (data / "cache").mkdir()
    (data / "cache/page").write_bytes(b"x")
    (data / "state").write_bytes(b"on" * 100_000)
    (home.data / "app_configs" / slug / "settings").write_bytes(b"blue")
    home.engine.calls.clear()
    return str(slug)


async def status(home: House, slug: str) -> ContainerStatus:
    container = await home.container(slug)
    assert container is not None
    return container.status


def clones(home: House) -> list[Path]:
    """What lies in the plugin's own folder of clones."""
    return sorted(home.data.glob("plugins/addons/clones/*"))


def read_from(home: House, contents: PartContents) -> dict[str, Path]:
    """Where each tree is read, by its name."""
    return {tree.name: home.data / tree.read_from.path for tree in contents.trees if tree.read_from is not None}


async def test_cold_addon_runs_again_while_its_clone_is_read(home: House) -> None:
    slug = await run(home)

    async with (await source_of(home)).hold(slug, COPY_DOES) as contents:
        (home.data / "apps/data" / slug / "state").write_bytes(b"changed by the add-on, which runs")
        places = read_from(home, contents)
        assert await status(home, slug) is ContainerStatus.RUNNING
        assert (places["data"] / "state").read_bytes() == b"on" * 100_000
        assert (places["config"] / "settings").read_bytes() == b"blue"

    assert [verb for verb, _ in home.engine.calls if verb in {"stop", "start"}] == ["stop", "start"]
    assert clones(home) == []


async def test_archive_of_a_clone_is_that_of_the_addon(home: House, tmp_path: Path) -> None:
    slug = await run(home)
    part = BackupPart(id=PartId(kind=PartKind.ADDON, slug=slug), name="Hello", version="1.0")

    async with archive_writer(tmp_path / "a.tar", data_folder=home.data, password=None) as writer:
        async with (await source_of(home)).hold(slug, COPY_DOES) as contents:
            stored = await writer.add(part, contents, quiet)
        await writer.publish(head(addons=(stored.part,)), quiet)
    async with archive_reader(tmp_path / "a.tar", None) as reader:
        await reader.unpack(part.id, tmp_path / "back", quiet)

    trees = tmp_path / "back/trees"
    assert (trees / "data/state").read_bytes() == b"on" * 100_000
    assert (trees / "config/settings").read_bytes() == b"blue"
    assert (trees / "data/cache").is_dir()
    assert not (trees / "data/cache/page").exists(), "it is left out by a pattern that begins where the data lies"


async def test_who_needs_the_addon_still_has_it_stopped_all_the_time(home: House) -> None:
    slug = await run(home)

    async with (await source_of(home)).hold(slug, PartWishes()) as contents:
        assert await status(home, slug) is ContainerStatus.EXITED
        assert read_from(home, contents) == {}


async def test_what_is_mounted_in_the_data_is_not_cloned(home: House) -> None:
    slug = await run(home)
    films = home.data / "apps/data" / slug / "films"
    films.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", films], check=True)
    try:
        (films / "long").write_bytes(b"x")
        async with (await source_of(home)).hold(slug, COPY_DOES) as contents:
            place = read_from(home, contents)["data"]
            assert sorted(path.name for path in place.iterdir()) == ["cache", "options.json", "state"]
    finally:
        subprocess.run(["umount", films], check=True)


async def test_data_that_can_not_all_be_cloned_is_read_where_it_lies_with_the_addon_stopped(home: House) -> None:
    slug = await run(home)
    on_another_disk = home.data / "apps/data" / slug / "bound"
    on_another_disk.touch()
    subprocess.run(["mount", "--bind", "/etc/hostname", on_another_disk], check=True)
    try:
        async with (await source_of(home)).hold(slug, COPY_DOES) as contents:
            assert await status(home, slug) is ContainerStatus.EXITED
            assert read_from(home, contents) == {}
    finally:
        subprocess.run(["umount", on_another_disk], check=True)
    assert await status(home, slug) is ContainerStatus.RUNNING
    assert clones(home) == []


async def test_addon_runs_again_and_no_clone_stays_where_its_backup_is_cancelled_while_it_is_cloned(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug, cloned = await run(home), asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless(*folders: object, **options: object) -> None:
        copy_tree(*folders, **options)  # type: ignore[arg-type]
        loop.call_soon_threadsafe(cloned.set)
        while not options["stop"]():  # type: ignore[operator]
            pass
        raise OSError("stopped")

    monkeypatch.setattr(data_clones, "copy_tree", endless)
    holding = asyncio.ensure_future((await source_of(home)).hold(slug, COPY_DOES).__aenter__())
    await cloned.wait()
    assert clones(home) != []
    assert await status(home, slug) is ContainerStatus.EXITED

    holding.cancel()
    await asyncio.wait({holding})

    assert await status(home, slug) is ContainerStatus.RUNNING
    assert clones(home) == []


async def test_clone_that_a_kill_has_left_is_swept_at_the_next_start(disk: Path) -> None:
    engine = FakeContainerEngine()
    async with house(disk, engine) as home:
        slug = await run(home)
        holding = (await source_of(home)).hold(slug, COPY_DOES)  # its other end is not run, as with a kill
        await holding.__aenter__()
        assert clones(home) != []
    async with house(disk, engine) as home:
        assert clones(home) == []
        assert await status(home, slug) is ContainerStatus.RUNNING


async def test_disk_without_clones_has_the_addon_stopped_as_long_as_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "tmpfs").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "tmpfs"], check=True)
    try:
        async with house(tmp_path / "tmpfs", FakeContainerEngine()) as home:
            slug = await run(home)
            async with (await source_of(home)).hold(slug, COPY_DOES) as contents:
                assert await status(home, slug) is ContainerStatus.EXITED
                assert read_from(home, contents) == {}
    finally:
        subprocess.run(["umount", tmp_path / "tmpfs"], check=True)

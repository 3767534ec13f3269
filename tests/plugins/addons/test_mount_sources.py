"""What add-ons are shown of the data folder: nothing that another could have replaced since it was looked at."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rooftree import Kernel, Plugin, hookimpl
from rooftree.interfaces.containers import ContainerSpec, DataPath, Mount
from rooftree.interfaces.hooks import ContainerAdditions, ContainerOwner
from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons import own_folders
from rooftree_addons.mount_sources import SourceMovable, is_fixed, is_writable, refuse_movable
from rooftree_store import MapType
from tests.plugins.addons.house import HELLO, House, done, house, refusal

EVERYTHING: Sequence[Mapping[str, Any]] = [{"type": kind.value, "read_only": False} for kind in MapType]


def data_mounts(home: House, slug: str = HELLO) -> dict[str, Mount]:
    """What an add-on's container is shown of the data folder, by target."""
    mounts = home.engine.spec(f"app_{slug}").mounts
    return {mount.target: mount for mount in mounts if isinstance(mount.source, DataPath)}


@pytest.mark.parametrize("maps", [[entry] for entry in EVERYTHING] + [EVERYTHING], ids=lambda maps: maps[-1]["type"])
async def test_no_source_lies_in_a_folder_that_any_add_on_may_write(home: House, maps: list[Mapping[str, Any]]) -> None:
    await asyncio.to_thread((home.data / "app_configs" / "local_other").mkdir)

    await home.run(config={"map": maps})

    shown = data_mounts(home).values()
    assert all(is_fixed(mount.source.path) for mount in shown)
    cid = "cid_files/app_local_hello.cid"
    assert {mount.source.path for mount in shown if not is_writable(mount.source.path)} <= {"app_configs", cid}
    assert all(mount.read_only for mount in shown if not is_writable(mount.source.path))


@pytest.mark.parametrize("path", ["share/x", "apps/local/x/y", "homeassistant/a", "app_configs/x/y", "apps/data/x/y"])
def test_what_lies_in_a_folder_that_add_ons_write_is_refused(path: str) -> None:
    with pytest.raises(SourceMovable, match="cannot be shown at /there: it lies in a folder"):
        refuse_movable([Mount(DataPath(path), "/there", read_only=True)])


@pytest.mark.parametrize("path", ["app_configs", "apps/data"])
def test_folder_of_everybodys_own_folders_is_not_given_for_writing(path: str) -> None:
    refuse_movable([Mount(DataPath(path), "/there", read_only=True)])
    with pytest.raises(SourceMovable, match="cannot be shown at /there for writing"):
        refuse_movable([Mount(DataPath(path), "/there")])


class Careless(Plugin):
    """A plugin that gives add-ons what others can replace."""

    name = "careless"

    async def setup(self, kernel: Kernel) -> None:
        """Nothing."""

    @hookimpl
    def container_spec(self, owner: ContainerOwner, draft: ContainerSpec) -> ContainerAdditions:
        """One mount."""
        return ContainerAdditions(mounts=(Mount(DataPath("share/sockets"), "/run/sockets"),))


async def test_all_configurations_are_writable_one_by_one_and_their_names_are_not(home: House) -> None:
    for name in ("local_a", "local_b"):
        await asyncio.to_thread((home.data / "app_configs" / name).mkdir)
    (home.data / "app_configs" / "link").symlink_to("/")
    (home.data / "app_configs" / "file").touch()
    (home.data / "app_configs" / "bad\n").mkdir()

    await home.run(config={"map": ["all_addon_configs:rw", "addon_config:rw"]})

    shown = {target: (mount.source.path, mount.read_only) for target, mount in data_mounts(home).items()}
    assert {target: shown[target] for target in shown if target.startswith(("/addon_configs", "/config"))} == {
        "/addon_configs": ("app_configs", True),
        "/addon_configs/local_a": ("app_configs/local_a", False),
        "/addon_configs/local_b": ("app_configs/local_b", False),
        "/addon_configs/local_hello": ("app_configs/local_hello", False),
        "/config": ("app_configs/local_hello", False),
    }
    targets = list(shown)
    assert targets.index("/addon_configs") < targets.index("/addon_configs/local_a")


async def test_all_configurations_for_reading_are_one_mount(home: House) -> None:
    await asyncio.to_thread((home.data / "app_configs" / "local_a").mkdir)

    await home.run(config={"map": ["all_addon_configs"]})

    assert set(data_mounts(home)) == {"/data", "/addon_configs", "/run/cid"}


async def test_folder_that_is_shown_elsewhere_already_is_not_shown_twice(home: House) -> None:
    await asyncio.to_thread((home.data / "app_configs" / "local_a").mkdir)

    await home.run(config={"map": ["all_app_configs:rw", {"type": "share", "path": "/app_configs/local_a/"}]})

    assert data_mounts(home)["/app_configs/local_a/"].source == DataPath("share")
    assert "/app_configs/local_a" not in data_mounts(home)


async def test_number_of_mounts_has_a_limit(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_folders, "MOST_CONFIG_FOLDERS", 3)
    for number in range(5):
        await asyncio.to_thread((home.data / "app_configs" / f"local_{number}").mkdir)

    await home.run(config={"map": ["all_app_configs:rw"]})

    assert len(data_mounts(home)) == len({"/data", "/app_configs", "/run/cid"}) + 3


@pytest.mark.parametrize("folder", ["apps/data/local_hello", "app_configs/local_hello"])
@pytest.mark.parametrize("what", ["link", "file", "link above"])
async def test_what_is_in_the_place_of_an_own_folder_is_refused_by_name_before_anything_is_touched(
    home: House, folder: str, what: str
) -> None:
    await home.run(config={"map": ["addon_config:rw"]})
    way = home.data / folder
    way.rename(home.data / "elsewhere")
    if what == "file":
        way.touch()
    elif what == "link":
        way.symlink_to("/")
    else:
        way.parent.rename(home.data / "above")
        way.parent.symlink_to(home.data / "above")
    home.engine.calls.clear()

    for verb in ("restart", "stop", "start"):
        answer = await home.post(HELLO, verb)
        if verb == "stop":
            done(answer)
            continue
        said = refusal(answer, 400, "app_folder_refused_error")
        assert folder.rpartition("/")[0] in said
        assert "mount --bind" in said

    assert not {"create", "start"} & {verb for verb, _ in home.engine.calls}


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
async def test_odd_thing_named_as_the_options_is_replaced(home: House, kind: str) -> None:
    await home.install()
    options = home.data / "apps/data" / HELLO / "options.json"
    if kind == "folder":
        (options / "a" / "b").mkdir(parents=True)
        (options / "a" / "c").touch()
    elif kind == "link":
        (home.data / "admin").write_text("untouched")
        options.symlink_to(home.data / "admin")
    else:
        os.mkfifo(options)

    done(await home.post(HELLO, "start"))

    assert home.options_file() == {}
    assert not options.is_symlink()
    if kind == "link":
        assert (home.data / "admin").read_text() == "untouched"


async def test_container_is_told_its_id_even_where_the_engine_made_a_folder_of_the_file(home: House) -> None:
    cid = home.data / "cid_files" / f"app_{HELLO}.cid"
    (cid / "deeper").mkdir(parents=True)

    await home.run()

    container = await home.container()
    assert container is not None
    assert cid.read_text() == container.id
    assert cid.stat().st_mode & 0o777 == 0o644


async def test_source_that_a_plugin_adds_is_held_to_the_same_rule(tmp_path: Path) -> None:
    async with house(tmp_path, FakeContainerEngine(), plugins=[Careless]) as home:
        await home.install()

        said = refusal(await home.post(HELLO, "start"), 400, "app_mount_source_error")

    assert "share/sockets cannot be shown at /run/sockets" in said

"""Add-ons that want the host's disks: by their options, by their configuration, by nodes and links of their own.

The disk is a real one (a loop device with a partition), the engine too. What counts in the end is whether a process in
the container can read it, by whatever node.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.attacks.local_addons import hostile, says
from tests.attacks.partitioned_disk import Disk, partitioned_disk
from tests.rig.addon import Addon
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("attacks: devices")]

OPTIONS: dict[str, Any] = {"options": {}, "schema": {"disk": "device?", "disks": ["device?"]}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(engine: Engine) -> AsyncIterator[Daemon]:
    """A daemon that all tests share."""
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        yield daemon


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """The host's disk."""
    with partitioned_disk(tmp_path) as disk:
        yield disk


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def thief(daemon: Daemon, engine: Engine, base_image: str) -> Addon:
    """An add-on with `device` options and no role at all."""
    addon = await hostile(daemon, engine, base_image, "thief", **OPTIONS)
    await addon.start()
    return addon


def reads(addon: Addon, numbers: tuple[int, int]) -> bool:
    """Whether a process in the container can read a block device, by a node that it somehow came to."""
    put_node(addon.data / "n", numbers)
    return addon.run_inside("head -c 512 /data/n >/dev/null 2>&1 && echo yes || echo no") == "yes"


def put_node(path: Path, numbers: tuple[int, int]) -> None:
    """Put a block device's node into an add-on's data, which it can't do itself: that is not what is tried here."""
    path.unlink(missing_ok=True)
    os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(*numbers))


async def problem(daemon: Daemon, addon: Addon) -> Any:
    """The problem of devices that the add-on asks for and does not get."""
    issues = (await daemon.ok("GET", "/kernel/v1/problems"))["problems"]
    return next((one for one in issues if (one["type"], one["reference"]) == ("device_refused", addon.slug)), None)


async def test_add_on_chooses_no_disk_by_whatever_path(thief: Addon, disk: Disk) -> None:
    major, minor = disk.numbers
    data = thief.data
    put_node(data / "mine", disk.numbers)
    thief.run_inside(f"rm -f /data/link; ln -s {disk.node} /data/link")
    paths = [
        disk.node, disk.partition, f"/dev/..{disk.node}", f"/dev/./{disk.node[5:]}", f"//{disk.node[1:]}",
        f"{data}/mine", f"/dev/..{data}/mine", f"/sys/..{data}/mine", f"{data}/link", f"/dev/shm/../{disk.node[5:]}",
        f"/sys/block/{disk.node[5:]}", f"/sys/class/block/{disk.partition[5:]}", f"/sys/dev/block/{major}:{minor}",
        f"{disk.node}\0", "/dev/fd/0", "/dev/mem", "/dev/kmsg", "/dev/loop-control",
    ]  # fmt: skip

    answers = {path: says(thief, "/addons/self/options", {"options": {"disk": path}}) for path in paths}
    await thief.restart()

    for path, (status, answer) in answers.items():
        assert status == 400, f"{path!r}: {answer}"
        assert "disk: " in answer, f"{path!r}: {answer}"
    assert not reads(thief, disk.numbers)
    assert not reads(thief, disk.partition_numbers)


async def test_pipe_in_a_device_option_holds_nobody_up(daemon: Daemon, thief: Addon) -> None:
    thief.run_inside("mkdir -p /data/pipe; rm -f /data/pipe/uevent; mkfifo /data/pipe/uevent")
    data = thief.data
    paths = [f"/sys/..{data}/pipe", f"{data}/pipe", f"/sys/../..{data}/pipe", f"/dev/..{data}/pipe/uevent"] * 6
    began = time.monotonic()

    answers = await asyncio.gather(
        *(asyncio.to_thread(says, thief, "/addons/self/options", {"options": {"disk": path}}) for path in paths)
    )
    status, _ = await daemon.call("GET", "/supervisor/info")

    assert {status for status, _ in answers} == {400}
    assert status == 200
    assert time.monotonic() - began < 30


async def test_configuration_names_disks_and_gets_none_of_those_in_use(
    daemon: Daemon, engine: Engine, base_image: str, disk: Disk
) -> None:
    wanted = [disk.node, disk.partition, "/dev/loop-control", "/dev/kmsg", f"/sys/block/{disk.node[5:]}", "/dev/null"]
    with disk.mounted():
        addon = await hostile(daemon, engine, base_image, "greedy", devices=wanted)
        plan = await daemon.ok("POST", f"/addons/{addon.slug}/start?plan=1")
        await addon.start()
        refused = await problem(daemon, addon)

        assert not reads(addon, disk.numbers)
        assert not reads(addon, disk.partition_numbers)
    notes = [note for step in plan["steps"] for note in step["notes"]]
    assert "hardware granted: /dev/null" in notes
    for path in wanted[:-1]:
        assert any(note.startswith(f"hardware refused: {path} (") for note in notes), path
        assert path in refused["message"]
    await addon.uninstall()


@pytest.mark.parametrize("hidden", [False, True])
async def test_partition_that_its_user_gave_is_taken_back_when_the_host_mounts_it(
    daemon: Daemon, engine: Engine, base_image: str, disk: Disk, hidden: bool
) -> None:
    addon = await hostile(daemon, engine, base_image, f"nas{hidden}".lower(), **OPTIONS)
    await daemon.ok("POST", f"/addons/{addon.slug}/options", {"options": {"disk": disk.partition}})
    await addon.start()
    before = reads(addon, disk.partition_numbers), reads(addon, disk.numbers), await problem(daemon, addon)

    with disk.mounted(hidden=hidden):
        await addon.restart()
        after, told = reads(addon, disk.partition_numbers), await problem(daemon, addon)
        status, body = says(addon, "/addons/self/options", {"options": {"disks": [disk.partition]}})
    info = await addon.info()
    await addon.uninstall()

    assert before == (True, False, None)
    assert after is False
    assert disk.partition in told["message"]
    assert status == 200, body  # its own, and no more than it has: it gets nothing by it
    assert info["relaxations"] == [f"its options name the disk {disk.partition}"]


async def test_whole_disk_is_for_an_add_on_without_protection(
    daemon: Daemon, engine: Engine, base_image: str, disk: Disk
) -> None:
    addon = await hostile(daemon, engine, base_image, "trusted", **OPTIONS)
    body = {"options": {"disk": disk.node}}

    status, refused = await daemon.call("POST", f"/addons/{addon.slug}/options", body)
    await daemon.ok("POST", f"/addons/{addon.slug}/security", {"protected": False})
    await daemon.ok("POST", f"/addons/{addon.slug}/options", body)
    await addon.start()
    given = reads(addon, disk.numbers)
    own, _ = says(addon, "/addons/self/options", {"options": {"disk": disk.partition}})
    await daemon.ok("POST", f"/addons/{addon.slug}/security", {"protected": True})
    await addon.restart()
    after = reads(addon, disk.numbers)
    await addon.uninstall()

    assert (status, given, own, after) == (400, True, 400, False)
    assert "whole disk" in refused["message"]
    assert "protection" in refused["message"]


async def test_system_disk_is_nobodys(thief: Addon) -> None:
    root = Path("/").stat().st_dev

    assert not reads(thief, (root >> 8 & 0xFFF, root & 0xFF))

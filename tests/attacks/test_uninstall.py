"""Add-ons that leave what can't be deleted, or for which deleting never ends: they are uninstalled all the same."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.attacks.local_addons import hostile
from tests.rig.addon import Addon
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("attacks: uninstall")]

DEEP = """\
cd /data && mkdir deep && i=0
while [ $i -lt 3000 ]; do mkdir next && mv deep next/d && mv next deep && i=$((i+1)); done
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(engine: Engine) -> AsyncIterator[Daemon]:
    """A daemon for all of these."""
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        yield daemon


async def uninstalled(addon: Addon, within_s: float) -> None:
    """Uninstall with all that is its own; fails the test when that is refused, or takes longer."""
    began = time.monotonic()
    await addon.daemon.ok("POST", f"/addons/{addon.slug}/uninstall", {"remove_config": True})
    assert time.monotonic() - began < within_s
    assert addon.slug not in {entry["slug"] for entry in (await addon.daemon.ok("GET", "/addons"))["addons"]}
    assert not os.path.lexists(addon.data)
    assert not os.path.lexists(addon.daemon.data_dir / "app_configs" / addon.slug)


def removed(daemon: Daemon) -> list[Path]:
    """What is still to be deleted."""
    return list((daemon.data_dir / "apps" / "removed").glob("*"))


async def problems(daemon: Daemon) -> list[dict[str, Any]]:
    """What could not be deleted."""
    listed = (await daemon.ok("GET", "/kernel/v1/problems"))["problems"]
    return [problem for problem in listed if problem["type"] == "removal_incomplete"]


async def test_folders_three_thousand_deep_go(daemon: Daemon, engine: Engine, base_image: str) -> None:
    addon = await hostile(daemon, engine, base_image, "deep")
    await addon.start()
    addon.run_inside(DEEP)
    open_before = len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))

    await uninstalled(addon, within_s=30)

    assert removed(daemon) == []
    assert len(list(Path(f"/proc/{daemon.pid}/fd").iterdir())) <= open_before + 3
    assert await problems(daemon) == []


async def test_link_in_the_place_of_its_configuration_goes_and_not_what_it_leads_to(
    daemon: Daemon, engine: Engine, base_image: str
) -> None:
    addon = await hostile(daemon, engine, base_image, "linked", map=["addon_config:rw"])
    (daemon.data_dir / "share" / "precious").mkdir()
    (daemon.data_dir / "app_configs" / addon.slug).symlink_to(daemon.data_dir / "share")

    await uninstalled(addon, within_s=20)

    assert (daemon.data_dir / "share" / "precious").is_dir()


async def test_immutable_file_is_told_and_hinders_nobody(daemon: Daemon, engine: Engine, base_image: str) -> None:
    addon = await hostile(daemon, engine, base_image, "lasting")
    (addon.data / "file").touch()
    (addon.data / "other").touch()
    if shutil.which("chattr") is None or subprocess.run(["chattr", "+i", addon.data / "file"], check=False).returncode:
        pytest.skip("this file system knows no immutable files")
    try:
        await uninstalled(addon, within_s=20)

        (problem,) = await problems(daemon)
        assert f"apps/data/{addon.slug}" in problem["message"]
        assert "file (Operation not permitted)" in problem["message"]
        assert [path.name for path in removed(daemon)[0].iterdir()] == ["file"]
        await addon.install()
        assert list(addon.data.iterdir()) == []
    finally:
        for path in (*removed(daemon), addon.data):
            subprocess.run(["chattr", "-R", "-i", path], check=False)
    await daemon.stop()
    await daemon.start()
    async with asyncio.timeout(20):
        while await problems(daemon):
            await asyncio.sleep(0.2)
    assert removed(daemon) == []
    await addon.uninstall()


async def test_what_is_mounted_in_its_folder_stays_and_hinders_nobody(
    daemon: Daemon, engine: Engine, base_image: str
) -> None:
    addon = await hostile(daemon, engine, base_image, "mounted")
    (addon.data / "inner").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", addon.data / "inner"], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    (addon.data / "inner" / "precious").touch()
    try:
        await uninstalled(addon, within_s=20)

        (problem,) = await problems(daemon)
        assert "something is mounted there" in problem["message"]
        (place,) = removed(daemon)
        assert (place / "inner" / "precious").exists()
    finally:
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if line.split()[1].startswith(str(daemon.data_dir)):
                subprocess.run(["umount", line.split()[1]], check=False)


async def test_writer_without_end_does_not_keep_an_add_on_installed(
    daemon: Daemon, engine: Engine, base_image: str
) -> None:
    addon = await hostile(daemon, engine, base_image, "victim", map=["addon_config:rw"])
    await addon.start()
    writer = await hostile(daemon, engine, base_image, "writer", map=["all_addon_configs:rw"])
    await writer.start()
    loop = "i=0; while :; do i=$((i+1)); mkdir -p a$i/b; : >a$i/c; done"
    writer.run_inside(f"cd /addon_configs/{addon.slug} && ({loop}) >/dev/null 2>&1 &")

    await uninstalled(addon, within_s=75)

    await writer.stop()

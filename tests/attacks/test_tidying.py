"""What a step could not tidy away is away in the end: on a real engine, which keeps images that a container is of."""

from __future__ import annotations

import asyncio

import pytest

from tests.attacks.local_addons import hostile
from tests.rig.addon_files import addon_files
from tests.rig.daemon import Daemon
from tests.rig.engine import BUILT_BY_LABEL, Engine
from tests.rig.files import write_files

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("attacks: tidying")]


async def test_two_updates_of_a_stopped_add_on_leave_no_image_behind(
    daemon: Daemon, engine: Engine, base_image: str
) -> None:
    await daemon.start()
    addon = await hostile(daemon, engine, base_image, "growing")
    await addon.start()
    await addon.stop()
    for version in ("2.0", "3.0"):
        files = addon_files("growing", version, base=base_image)
        await asyncio.to_thread(write_files, daemon.data_dir / "apps" / "local", files)
        await daemon.ok("POST", "/store/reload")
        await addon.update()

    def versions() -> set[str]:
        label = f"label={BUILT_BY_LABEL}={daemon.instance}"
        listed = engine.run("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", label).split()
        return {name.rpartition(":")[2] for name in listed if not name.startswith("rooftree-kept")}

    assert versions() == {"1.0", "2.0", "3.0"}
    await addon.start()

    # The engine takes an image's name away first and its layers then: between the two it lists it as <none>.
    async with asyncio.timeout(30):
        while versions() != {"2.0", "3.0"}:
            await asyncio.sleep(0.5)
    await addon.uninstall()
    assert versions() == set()

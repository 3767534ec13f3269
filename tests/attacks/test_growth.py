"""Add-ons that declare more once they are installed, and see to it themselves that it is given to them."""

from __future__ import annotations

import asyncio

import pytest

from tests.attacks.local_addons import hostile, says
from tests.rig.addon_files import addon_files
from tests.rig.daemon import Daemon
from tests.rig.engine import Engine
from tests.rig.files import write_files

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("attacks: growth")]


async def test_add_on_cannot_rebuild_itself_into_more_than_was_installed(
    daemon: Daemon, engine: Engine, base_image: str
) -> None:
    await daemon.start()
    addon = await hostile(daemon, engine, base_image, "climber", hassio_api=True)
    await addon.start()
    grown = addon_files("climber", base=base_image, hassio_api=True, hassio_role="admin", privileged=["SYS_ADMIN"])
    await asyncio.to_thread(write_files, daemon.data_dir / "apps" / "local", grown)
    await daemon.ok("POST", "/store/reload")

    status, answer = says(addon, "/addons/self/rebuild", {})
    forced, _ = says(addon, "/addons/self/rebuild", {"force": True})
    before = await addon.info()
    await daemon.ok("POST", f"/addons/{addon.slug}/rebuild", {})
    after = await addon.info()
    await addon.uninstall()

    assert (status, forced) == (403, 403)
    assert "by itself" in answer
    assert (before["hassio_role"], before["privileged"]) == ("default", [])
    assert (after["hassio_role"], after["privileged"]) == ("admin", ["SYS_ADMIN"])

"""The database and all its copies are gone: what runs goes on, and is known again by what its container says."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest

from tests.attacks.local_addons import hostile
from tests.rig.daemon import Daemon
from tests.rig.engine import Engine

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("attacks: lost state")]


async def test_add_on_that_runs_survives_the_loss_of_everything_that_is_known_of_it(
    daemon: Daemon, engine: Engine, base_image: str
) -> None:
    await daemon.start()
    keys = {"options": {"greeting": "hello"}, "schema": {"greeting": "str"}}
    addon = await hostile(daemon, engine, base_image, "lasting", **keys)
    stranger = await hostile(daemon, engine, base_image, "unheard_of")
    await daemon.ok("POST", f"/addons/{addon.slug}/options", {"options": {"greeting": "good day"}})
    await addon.start()
    await stranger.start()
    ids = addon.container_id(), stranger.container_id()
    await daemon.stop()
    for path in daemon.data_dir.glob("rooftree.db*"):
        path.write_bytes(b"gone" * 5000)
    shutil.rmtree(daemon.data_dir / "copies")
    shutil.rmtree(daemon.data_dir / "apps" / "local" / "unheard_of")

    await daemon.start()
    await daemon.recovered()

    async def known() -> set[str]:
        listed = (await daemon.ok("GET", "/kernel/v1/problems"))["problems"]
        return {f"{problem['type']} {problem['reference']}" for problem in listed}

    async with asyncio.timeout(20):
        while not {f"addon_taken_over {addon.slug}", f"unknown_container {stranger.slug}"} <= await known():
            await asyncio.sleep(0.2)
    assert (addon.container_id(), stranger.container_id()) == ids
    assert addon.runs()
    assert stranger.runs()
    assert addon.ask("/addons/self/info")[1]["options"] == {"greeting": "good day"}
    assert stranger.ask("/addons/self/info")[0] == 403
    await addon.restart()
    assert json.loads(addon.run_beside("cat /data/options.json")) == {"greeting": "good day"}

"""The supervisor: its options."""

from __future__ import annotations

from tests.contract.situations.scene import Call, Scene, situation


@situation("POST /supervisor/options")
async def other_repositories_wanted(scene: Scene) -> Call:
    await scene.added()
    kept = await scene.added()
    wanted = [kept.url, scene.publish().url, scene.publish().url]
    return Call("/supervisor/options", {"addons_repositories": wanted, "wait_boot": 9})


@situation("POST /supervisor/options")
async def other_options_wanted(scene: Scene) -> Call:
    return Call("/supervisor/options", {"wait_boot": 9})

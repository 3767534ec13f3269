"""Add-ons: each of their verbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.contract.situations.scene import Call, Scene, situation
from tests.plugins.addons.house import HELLO

BUILT: Mapping[str, Any] = {"files": {"Dockerfile": "FROM base\n"}, "config": {"image": None}}
"""An add-on that is built here."""


def _verb(scene: Scene, verb: str) -> Call:
    return Call(f"/addons/{HELLO}/{verb}")


@situation("POST /store/addons/{addon}/install")
async def pulled(scene: Scene) -> Call:
    await scene.home.offer()
    return Call(f"/store/addons/{HELLO}/install")


@situation("POST /store/addons/{addon}/install")
async def pulled_in_the_background(scene: Scene) -> Call:
    await scene.home.offer()
    return Call(f"/store/addons/{HELLO}/install", {"background": True})


@situation("POST /store/addons/{addon}/install")
async def built(scene: Scene) -> Call:
    await scene.home.offer(**BUILT)
    return Call(f"/store/addons/{HELLO}/install")


@situation("POST /addons/{addon}/install")
async def installed_by_its_older_path(scene: Scene) -> Call:
    await scene.home.offer()
    return _verb(scene, "install")


@situation("POST /store/addons/{addon}/install/{version}")
async def installed_by_version(scene: Scene) -> Call:
    await scene.home.offer()
    return Call(f"/store/addons/{HELLO}/install/1.0")


@situation("POST /store/addons/{addon}/update")
async def updated_while_it_runs(scene: Scene) -> Call:
    await scene.home.run()
    await scene.home.offer(version="2.0")
    return Call(f"/store/addons/{HELLO}/update")


@situation("POST /store/addons/{addon}/update")
async def updated_while_it_is_stopped(scene: Scene) -> Call:
    await scene.home.install()
    await scene.home.offer(version="2.0")
    return Call(f"/store/addons/{HELLO}/update", {"background": True})


@situation("POST /addons/{addon}/update")
async def updated_by_its_older_path(scene: Scene) -> Call:
    await scene.home.install()
    await scene.home.offer(version="2.0")
    return _verb(scene, "update")


@situation("POST /store/addons/{addon}/update/{version}")
async def updated_by_version(scene: Scene) -> Call:
    await scene.home.install()
    await scene.home.offer(version="2.0")
    return Call(f"/store/addons/{HELLO}/update/2.0")


@situation("POST /addons/{addon}/uninstall")
async def uninstalled(scene: Scene) -> Call:
    await scene.home.run()
    return Call(f"/addons/{HELLO}/uninstall", {"remove_config": True})


@situation("POST /addons/{addon}/rebuild")
async def rebuilt(scene: Scene) -> Call:
    await scene.home.run(**BUILT)
    return _verb(scene, "rebuild")


@situation("POST /kernel/v1/addons/{addon}/roll-back")
async def rolled_back_while_it_runs(scene: Scene) -> Call:
    await scene.home.run()
    await scene.home.offer(version="2.0")
    await scene.home.post(HELLO, "update")
    return Call(f"/kernel/v1/addons/{HELLO}/roll-back")


@situation("POST /kernel/v1/addons/{addon}/roll-back")
async def rebuilt_one_rolled_back_while_it_is_stopped(scene: Scene) -> Call:
    await scene.home.install(**BUILT)
    await scene.home.post(HELLO, "rebuild")
    return Call(f"/kernel/v1/addons/{HELLO}/roll-back")


@situation("POST /addons/{addon}/uninstall")
async def uninstalled_on_probation(scene: Scene) -> Call:
    await rolled_back_while_it_runs(scene)
    return Call(f"/addons/{HELLO}/uninstall", {})


@situation("POST /addons/{addon}/start")
async def started(scene: Scene) -> Call:
    await scene.home.install()
    return _verb(scene, "start")


@situation("POST /addons/{addon}/start")
async def started_without_its_image(scene: Scene) -> Call:
    await scene.home.install()
    scene.home.engine.images.clear()
    return _verb(scene, "start")


@situation("POST /addons/{addon}/start")
async def started_while_it_runs(scene: Scene) -> Call:
    await scene.home.run()
    return _verb(scene, "start")


@situation("POST /addons/{addon}/stop")
async def stopped(scene: Scene) -> Call:
    await scene.home.run()
    return _verb(scene, "stop")


@situation("POST /addons/{addon}/restart")
async def restarted(scene: Scene) -> Call:
    await scene.home.run()
    return _verb(scene, "restart")

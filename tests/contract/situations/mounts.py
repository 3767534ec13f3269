"""Mounts: made, changed, mounted again, removed; of a server that is a folder of this machine."""

from __future__ import annotations

import asyncio

from tests.contract.situations.scene import Call, Scene, situation

FILMS = {"usage": "media", "type": "nfs", "server": "nas", "path": "/volume/films"}


async def _mounted(scene: Scene) -> Call:
    await asyncio.to_thread(scene.shares.add, "/volume/films")
    answer = await scene.home.client.post("/mounts", json={"name": "films", **FILMS})
    assert answer.status == 200, answer.text
    return Call("/mounts/films")


@situation("POST /mounts")
async def share_of_a_server(scene: Scene) -> Call:
    await asyncio.to_thread(scene.shares.add, "/volume/films")
    return Call("/mounts", {"name": "films", **FILMS})


@situation("PUT /mounts/{name}")
async def same_share_for_something_else(scene: Scene) -> Call:
    call = await _mounted(scene)
    return Call(call.path, {**FILMS, "usage": "share"})


@situation("DELETE /mounts/{name}")
async def mount_that_nobody_uses(scene: Scene) -> Call:
    return await _mounted(scene)


@situation("POST /mounts/{name}/reload")
async def mount_that_is_there(scene: Scene) -> Call:
    call = await _mounted(scene)
    return Call(f"{call.path}/reload")

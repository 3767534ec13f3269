"""The host: its name, power and services."""

from __future__ import annotations

import secrets

from tests.contract.situations.scene import Call, Scene, situation


@situation("POST /host/options")
async def another_name(scene: Scene) -> Call:
    return Call("/host/options", {"hostname": f"attic-{secrets.token_hex(4)}"})


@situation("POST /host/reboot")
async def reboot_asked_for(scene: Scene) -> Call:
    return Call("/host/reboot")


@situation("POST /host/shutdown")
async def shutdown_by_force(scene: Scene) -> Call:
    return Call("/host/shutdown", {"force": True})


@situation("POST /host/service/{service}/start")
async def service_to_start(scene: Scene) -> Call:
    return Call("/host/service/ssh/start")


@situation("POST /host/service/{service}/stop")
async def service_to_stop(scene: Scene) -> Call:
    return Call("/host/service/ssh/stop")


@situation("POST /host/service/{service}/reload")
async def service_to_reload(scene: Scene) -> Call:
    return Call("/host/service/ssh/reload")

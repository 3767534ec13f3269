"""What the host does about problems when its user chooses what is suggested."""

from __future__ import annotations

from pathlib import Path

from rooftree import Problem
from rooftree_resolution.plugin import ResolutionPlugin
from tests.bus.machine import HOSTNAME, LOGIN
from tests.plugins.host.house import house


async def test_machine_that_has_to_be_started_again_is_whoever_says_so(tmp_path: Path, socket_folder: Path) -> None:
    async with house(tmp_path, socket_folder, LOGIN, HOSTNAME, plugins=[ResolutionPlugin]) as home:
        home.system.problems.report(Problem("reboot_required", "system", "kernel", "", ("execute_reboot",)))
        home.system.problems.report(Problem("reboot_required", "addon", "local_lamp", "", ("execute_reboot",)))
        suggestions = (await home.client.get("/resolution/info")).data["suggestions"]
        uuids = {entry["context"]: entry["uuid"] for entry in suggestions}
        of_addon = await home.client.post(f"/resolution/suggestion/{uuids['addon']}")
        before = [name for name, _ in await home.machine.calls() if name == "Reboot"]
        of_system = await home.client.post(f"/resolution/suggestion/{uuids['system']}")
        after = [name for name, _ in await home.machine.calls() if name == "Reboot"]

    assert (of_addon.status, before) == (400, [])
    assert (of_system.status, after) == (200, ["Reboot"])

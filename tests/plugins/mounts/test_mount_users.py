"""The plan of a removal names who uses the mount."""

from __future__ import annotations

from pathlib import Path

from rooftree import Plugin, hookimpl
from rooftree.interfaces.mounts import Mount
from rooftree.testing import Client, running_system
from rooftree_mounts.plugin import MountsPlugin
from tests.plugins.mounts.conftest import Shares


class Player(Plugin):
    """Plays what is mounted among the media."""

    name = "player"

    @hookimpl
    async def mount_users(self, mount: Mount) -> list[str]:
        """Itself."""
        return [f"The player plays from /{mount.data_path.path}"] if mount.usage == "media" else []


async def test_hook_mount_users_is_asked_for_the_plan_of_a_removal(tmp_path: Path, shares: Shares) -> None:
    shares.add("films")
    async with (
        running_system(tmp_path, plugins=[MountsPlugin, Player]) as system,
        Client.over_unix(system) as client,
    ):
        for usage in ("media", "share"):
            keys = {"name": usage, "type": "cifs", "usage": usage, "server": "nas", "share": "films"}
            assert (await client.post("/mounts", json=keys)).status == 200

        plans = [(await client.request("DELETE", f"/mounts/{usage}?plan=1")).data for usage in ("media", "share")]

    assert [plan["steps"][0]["notes"] for plan in plans] == [["The player plays from /media/media"], []]

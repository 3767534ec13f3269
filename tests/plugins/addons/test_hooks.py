"""The hooks that add-ons ask: what other domains add to their containers, and know of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rooftree import Plugin, hookimpl
from rooftree.interfaces.containers import ContainerSpec, DataPath, Mount
from rooftree.interfaces.hooks import ContainerAdditions, ContainerOwner
from rooftree.interfaces.mounts import MOUNTS
from rooftree.testing.containers import FakeContainerEngine
from rooftree_mounts.plugin import MountsPlugin
from rooftree_supervisor.plugin import SupervisorPlugin
from tests.plugins.addons.house import HELLO, house

CONTAINER = f"app_{HELLO}"


class Sound(Plugin):
    """Adds to every add-on."""

    name = "sound"

    @hookimpl
    async def container_spec(self, owner: ContainerOwner, draft: ContainerSpec) -> ContainerAdditions | None:
        """A mount and a variable that tell who asked."""
        assert owner.kind == "addon"
        said = {"OWNER": owner.name, "IMAGE": draft.image}
        return ContainerAdditions(environment=said, mounts=(Mount(DataPath("share"), "/run/audio"),))

    @hookimpl
    def addon_facts(self, slug: str) -> Mapping[str, Any]:
        """Some that are right, one of a wrong type and one that nobody knows."""
        return {"audio_input": f"microphone of {slug}", "rating": "high", "colour": "green"}


class Broken(Plugin):
    """Fails at each question."""

    name = "broken"

    @hookimpl
    def container_spec(self) -> ContainerAdditions:
        """Fail."""
        raise RuntimeError("no")

    @hookimpl
    def addon_facts(self) -> Mapping[str, Any]:
        """Fail."""
        raise RuntimeError("no")


async def test_hook_container_spec_adds_to_the_container_and_one_that_fails_is_left_out(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine, plugins=[Broken, Sound], allow={"hook_failed"}) as home:
        await home.run()
        await home.quiet()

        spec = engine.spec(CONTAINER)
        assert (spec.environment["OWNER"], spec.environment["IMAGE"]) == (HELLO, spec.image)
        assert Mount(DataPath("share"), "/run/audio") in spec.mounts
        failed = [problem.reference for problem in home.system.problems if problem.type == "hook_failed"]
        assert failed == ["broken.container_spec"]


async def test_hook_addon_facts_are_in_the_info_as_far_as_they_fit_it(tmp_path: Path) -> None:
    async with house(tmp_path, FakeContainerEngine(), plugins=[Broken, Sound], allow={"hook_failed"}) as home:
        await home.install()

        info = await home.info(HELLO)

        assert info["audio_input"] == f"microphone of {HELLO}"
        assert info["rating"] == 5
        assert "colour" not in info


async def test_time_zone_of_the_options_is_that_of_containers(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine, plugins=[SupervisorPlugin]) as home:
        await home.run()
        before = engine.spec(CONTAINER).environment["TZ"]
        await home.client.post("/supervisor/options", json={"timezone": "Asia/Kathmandu"})

        await home.post(HELLO, "restart")

        assert before != "Asia/Kathmandu"
        assert engine.spec(CONTAINER).environment["TZ"] == "Asia/Kathmandu"


async def test_hook_mount_users_names_the_add_ons_that_see_a_mount(tmp_path: Path) -> None:
    async with house(tmp_path, FakeContainerEngine(), plugins=[MountsPlugin]) as home:
        await home.install(config={"map": ["media:rw", "share"]})
        records = [
            {"name": usage, "type": "nfs", "usage": usage, "server": "192.0.2.9", "path": "/x"}
            for usage in ("media", "share", "backup")
        ]
        await home.system.services.get(MOUNTS).restore({"mounts": records})

        plans = {
            usage: (await home.client.request("DELETE", f"/mounts/{usage}?plan=1")).data["steps"][0]["notes"]
            for usage in ("media", "share", "backup")
        }

    assert plans == {
        "media": ["The add-on Hello sees it at /media/media"],
        "share": ["The add-on Hello sees it at /share/share"],
        "backup": [],
    }

"""The store: its repositories."""

from __future__ import annotations

from rooftree_store.sources import RepositorySource
from tests.contract.situations.scene import Call, Scene, situation
from tests.rig.git_server import GitRepository


@situation("POST /store/reload")
async def reloaded(scene: Scene) -> Call:
    await scene.added()
    return Call("/store/reload")


@situation("POST /addons/reload")
async def reloaded_by_its_older_path(scene: Scene) -> Call:
    return Call("/addons/reload")


@situation("POST /refresh_updates")
async def refreshed(scene: Scene) -> Call:
    await scene.added()
    return Call("/refresh_updates")


@situation("POST /store/repositories")
async def repository_added(scene: Scene) -> Call:
    return Call("/store/repositories", {"repository": scene.publish().url})


@situation("DELETE /store/repositories/{repository}")
async def repository_removed(scene: Scene) -> Call:
    return Call(f"/store/repositories/{_slug(await scene.added())}")


@situation("POST /store/repositories/{repository}/repair")
async def repository_repaired(scene: Scene) -> Call:
    return Call(f"/store/repositories/{_slug(await scene.added())}/repair")


def _slug(repository: GitRepository) -> str:
    return RepositorySource.parse(repository.url).slug

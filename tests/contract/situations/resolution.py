"""What is suggested: each choice is another domain's job, and the end of an issue."""

from __future__ import annotations

from rooftree import Problem
from tests.contract.situations.scene import Call, Scene, situation
from tests.plugins.addons.house import HELLO

ROUTE = "POST /resolution/suggestion/{suggestion}"


async def _chosen(scene: Scene, problem: Problem) -> Call:
    scene.home.system.problems.report(problem)
    await scene.home.system.problems.written()
    suggestions = (await scene.home.client.get("/resolution/info")).data["suggestions"]
    (uuid,) = [entry["uuid"] for entry in suggestions if entry["reference"] == problem.reference]
    return Call(f"/resolution/suggestion/{uuid}")


@situation(ROUTE)
async def add_on_started(scene: Scene) -> Call:
    await scene.home.install()
    return await _chosen(scene, Problem("boot_fail", "addon", HELLO, "", ("execute_start",)))


@situation(ROUTE)
async def start_with_the_host_given_up(scene: Scene) -> Call:
    await scene.home.install()
    return await _chosen(scene, Problem("boot_fail", "addon", HELLO, "", ("disable_boot",)))


@situation(ROUTE)
async def port_given_up(scene: Scene) -> Call:
    await scene.home.install(config={"ports": {"80/tcp": 8080}})
    problem = Problem("app_port_conflict", "addon", HELLO, "", ("clear_port_config",), extra={"port": 8080})
    return await _chosen(scene, problem)


@situation(ROUTE)
async def repository_fetched_again(scene: Scene) -> Call:
    await scene.added()
    slug = next(slug for slug in scene.home.addons.store.sources if slug != "local")
    return await _chosen(scene, Problem("submodules_missing", "store", slug, "", ("execute_reload",)))

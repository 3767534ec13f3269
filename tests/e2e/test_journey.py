"""What a newcomer does in the first half hour: add a repository, install two add-ons, use them, take them away.

The tests share one daemon, with one add-on that comes as an image and one that is built here; each test leaves them
running.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.rig.addon import Addon
from tests.rig.addon_files import DOCKERFILE, LARGE_DOCKERFILE, REPOSITORY, WAITS, addon_files, large_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.footprint import Footprint
from tests.rig.git_server import GitRepository, GitServer
from tests.rig.line import line_to
from tests.rig.registry import Registry
from tests.rig.waiting import until

pytestmark = pytest.mark.xdist_group("journey")

OPTIONS: dict[str, Any] = {
    "options": {"interval": 10, "greeting": "hello"},
    "schema": {"interval": "int(1,60)", "greeting": "str"},
}
SLOW_BYTES_PER_S = 500_000
"""How fast an image of 4 MB comes whose fetching is watched."""


def image_of(registry: Registry, name: str, version: str) -> str:
    """Publish an image that waits. Its name without the tag."""
    image = registry.publish(f"journey/{name}", version, DOCKERFILE.format(version=version), {"run.sh": WAITS})
    return image.rpartition(":")[0]


@pytest.fixture(scope="module")
def repository(git_server: GitServer, registry: Registry, base_image: str) -> GitRepository:
    """An add-on repository behind a git server: ``board`` comes as an image, ``heart`` is built locally."""
    board = addon_files("board", image=image_of(registry, "board", "1.0"), **OPTIONS)
    return git_server.repository("journey", {**REPOSITORY, **board, **addon_files("heart", base=base_image)})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(engine: Engine, repository: GitRepository) -> AsyncIterator[Daemon]:
    """A daemon to which the repository was added."""
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        await daemon.ok("POST", "/store/repositories", {"repository": repository.url})
        yield daemon


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board(daemon: Daemon, engine: Engine) -> Addon:
    """The add-on that came as an image; it runs."""
    return await running(daemon, engine, "board")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def heart(daemon: Daemon, engine: Engine) -> Addon:
    """The add-on that was built here; it runs."""
    return await running(daemon, engine, "heart")


async def running(daemon: Daemon, engine: Engine, name: str) -> Addon:
    """Install and start one of the repository's add-ons."""
    addon = Addon(daemon, engine, await slug_of(daemon, name))
    await addon.install()
    await addon.start()
    return addon


async def slug_of(daemon: Daemon, name: str) -> str:
    """The full slug of an add-on on offer."""
    addons = (await daemon.ok("GET", "/store"))["addons"]
    slug: str = next(addon["slug"] for addon in addons if addon["slug"].endswith(f"_{name}"))
    return slug


async def test_added_repository_offers_its_add_ons(daemon: Daemon, repository: GitRepository) -> None:
    store = await daemon.ok("GET", "/store")

    added = next(entry for entry in store["repositories"] if entry["source"] == repository.url)
    offered = {addon["name"]: addon for addon in store["addons"]}
    assert (added["name"], added["maintainer"]) == ("Rig", "The rig")
    assert (offered["Board"]["build"], offered["Board"]["available"]) == (False, True)
    assert (offered["Heart"]["build"], offered["Heart"]["available"]) == (True, True)
    assert {offered["Board"]["repository"], offered["Heart"]["repository"]} == {added["slug"]}


async def test_install_from_a_registry_shows_its_progress(
    daemon: Daemon, engine: Engine, registry: Registry, repository: GitRepository
) -> None:
    registry.publish("journey/large", "1.0", LARGE_DOCKERFILE, large_files())
    async with line_to(int(registry.address.rpartition(":")[2])) as line:
        image = f"127.0.0.1:{line.port}/journey/large"
        repository.write(addon_files("large", image=image))
        repository.push()
        await daemon.ok("POST", "/store/reload")
        large = Addon(daemon, engine, await slug_of(daemon, "large"))
        line.speed = SLOW_BYTES_PER_S

        started = await daemon.ok("POST", f"/store/addons/{large.slug}/install", {"background": True})
        halfway = await until(lambda: progress_of(daemon, started["job_id"]), within_s=10, what="some progress")
        line.release()
        ended = await daemon.job(started["job_id"])

        assert (halfway["name"], halfway["reference"]) == ("app_manager_install", large.slug)
        assert 0 < halfway["progress"] < 100 and halfway["done"] is False
        assert (ended["progress"], ended["errors"]) == (100, [])
        assert (await large.info())["version"] == "1.0"
        await large.uninstall()
        assert engine.run("images", "--quiet", image) == ""


async def progress_of(daemon: Daemon, job_id: str) -> Any:
    """The job as ``/jobs/info`` shows it, once it has got on."""
    jobs = (await daemon.ok("GET", "/jobs/info"))["jobs"]
    return next((job for job in jobs if job["uuid"] == job_id and job["progress"] > 0), None)


async def test_add_on_that_names_no_image_is_built_from_its_dockerfile(heart: Addon, engine: Engine) -> None:
    info = await heart.info()

    assert (info["build"], info["state"], info["version"]) == (True, "started", "1.0")
    assert "version 1.0 begins" in engine.run("logs", heart.container)


async def test_wrong_option_is_refused_by_name_and_changes_nothing(daemon: Daemon, board: Addon) -> None:
    path = f"/addons/{board.slug}/options"
    await daemon.ok("POST", path, {"options": {"interval": 20, "greeting": "good day"}})

    status, body = await daemon.call("POST", path, {"options": {"interval": 99, "greeting": "good day"}})

    assert (status, body["result"], body["error_key"]) == (400, "error", "app_configuration_invalid_error")
    assert "interval" in body["message"] and "60" in body["message"]
    assert body["extra_fields"]["app"] == board.slug
    assert (await board.info())["options"] == {"interval": 20, "greeting": "good day"}


async def test_options_reach_the_add_on_at_its_next_start(daemon: Daemon, board: Addon) -> None:
    await daemon.ok("POST", f"/addons/{board.slug}/options", {"options": {"interval": 30, "greeting": "hi"}})

    await board.restart()

    status, inside = board.ask("/addons/self/options/config")
    assert (status, inside) == (200, {"interval": 30, "greeting": "hi"})
    assert '"interval": 30' in board.run_beside("cat /data/options.json")


async def test_add_on_reaches_itself_with_its_own_token_and_nothing_else(board: Addon, heart: Addon) -> None:
    own = board.ask("/addons/self/info")

    assert own[0] == 200 and own[1]["slug"] == board.slug
    assert board.ask(f"/addons/{board.slug}/info")[0] == 200
    refused = {
        path: board.ask(path)[0]
        for path in (
            f"/addons/{heart.slug}/info",
            f"/addons/{heart.slug}/logs",
            f"/addons/{heart.slug}/options/config",
            "/addons",
            "/store",
            "/supervisor/logs",
            "/kernel/v1/tokens",
        )
    }
    assert set(refused.values()) == {403}, refused
    assert board.ask(f"/addons/{heart.slug}/stop", body={})[0] == 403
    assert (await heart.info())["state"] == "started"


async def test_without_a_token_only_the_ping_answers(board: Addon) -> None:
    assert board.ask("/supervisor/ping", token=None)[0] == 200
    assert board.ask("/addons/self/info", token=None)[0] == 401
    assert board.ask("/addons/self/info", token="0" * 64)[0] == 403


async def test_logs_are_read_and_followed(daemon: Daemon, heart: Addon) -> None:
    logs = await daemon.ok("GET", f"/addons/{heart.slug}/logs")
    async with daemon.request("GET", f"/addons/{heart.slug}/logs/follow") as response:
        heart.run_inside("echo 'a new line' > /proc/1/fd/1")
        async with asyncio.timeout(10):
            seen = b""
            while b"a new line" not in seen:
                seen += await response.content.readany()

    assert "version 1.0 begins" in logs and "a new line" not in logs
    assert seen.startswith(logs.encode())


async def test_stats_measure_the_running_add_on(daemon: Daemon, heart: Addon) -> None:
    stats = await daemon.ok("GET", f"/addons/{heart.slug}/stats")

    assert 0 < stats["memory_usage"] < stats["memory_limit"]
    assert stats["cpu_percent"] >= 0 and 0 <= stats["memory_percent"] <= 100


async def test_update_brings_the_new_version_and_keeps_data_and_options(
    daemon: Daemon, engine: Engine, registry: Registry, repository: GitRepository, board: Addon
) -> None:
    await daemon.ok("POST", f"/addons/{board.slug}/options", {"options": {"interval": 40, "greeting": "moin"}})
    board.run_inside("echo 41 > /data/counter")
    old_token = board.token()
    image = image_of(registry, "board", "2.0")
    repository.write(addon_files("board", "2.0", image=image, **OPTIONS))
    repository.push("Release 2.0")

    before = await daemon.ok("GET", "/available_updates")
    await daemon.ok("POST", "/store/reload")
    offered = await board.info()
    waiting = (await daemon.ok("GET", "/available_updates"))["available_updates"]
    await board.update()

    assert before["available_updates"] == []
    assert (offered["version"], offered["version_latest"], offered["update_available"]) == ("1.0", "2.0", True)
    assert [(row["name"], row["version_latest"]) for row in waiting] == [("Board", "2.0")]
    updated = await board.info()
    assert (updated["version"], updated["update_available"], updated["state"]) == ("2.0", False, "started")
    assert updated["options"] == {"interval": 40, "greeting": "moin"}
    assert board.run_beside("cat /data/counter") == "41"
    assert "version 2.0 begins" in engine.run("logs", board.container)
    assert set(engine.run("images", "--format", "{{.Tag}}", image).split()) == {"2.0", "1.0"}  # to go back to
    assert (await daemon.call("GET", "/addons/self/info", token=old_token))[0] == 403
    assert board.ask("/addons/self/info")[1]["version"] == "2.0"


async def test_stopped_add_on_stays_stopped_and_starts_again(daemon: Daemon, heart: Addon) -> None:
    await heart.stop()

    assert (await heart.info())["state"] == "stopped" and not heart.runs()
    await daemon.restart()
    await daemon.recovered()
    assert (await heart.info())["state"] == "stopped" and not heart.runs()
    await heart.start()
    assert (await heart.info())["state"] == "started" and heart.runs()


@pytest.mark.parametrize("name", ["board", "heart"])
async def test_uninstall_leaves_nothing_behind(
    daemon: Daemon, engine: Engine, registry: Registry, name: str, request: pytest.FixtureRequest
) -> None:
    addon: Addon = request.getfixturevalue(name)
    full = await Footprint.of(daemon, engine, registry=registry.address)
    token = addon.token()

    await addon.uninstall()

    left = await Footprint.of(daemon, engine, registry=registry.address)
    shown = {*left.installed, *left.containers, *left.images, *left.files}
    assert not [entry for entry in shown if name in entry]
    assert (len(left.containers), left.tokens) == (len(full.containers) - 1, full.tokens - 1)
    assert (await daemon.call("GET", "/addons/self/info", token=token))[0] == 403
    shown_still = await addon.info()  # what the store has to say of it
    assert (shown_still["version"], shown_still["state"]) == (None, "unknown")
    assert (await daemon.call("GET", f"/addons/{addon.slug}/stats"))[1]["error_key"] == "app_not_installed_error"
    await addon.install()
    await addon.start()
